//! `explain` tells where a value came from, what it went over, and why.

use berth_tests::TestHost;

const BASE: &str = r#"name: shop
include: [part/compose.yaml]
x-env: &env
  LOG: info
x-base: &base
  restart: always
  labels: { a: "1" }
services:
  base:
    image: base:1
    environment: { FROM_BASE: "1", LOG: base }
  web:
    <<: *base
    image: nginx:${TAG:-1.25}
    environment: *env
    env_file: app.env
    ports: ["8080:80", "9000:90"]
  api:
    extends: base
    image: api:${VERSION:-2}
    env_file: [app.env, more.env]
    environment:
      LOG: own
      SHELL_VARIABLE:
      DB_PASSWORD: hush
volumes:
  data:
"#;
const OVER: &str = r#"services:
  web:
    image: nginx:${TAG:-9}
    ports:
      - { target: 80, published: "8080", mode: host }
    labels: !override { b: "2" }
    restart: !reset null
"#;

fn host() -> TestHost {
    let host = TestHost::bare();
    host.write("compose.yaml", BASE);
    host.write("compose.override.yaml", OVER);
    host.write("part/compose.yaml", "services: { worker: { image: 'w:${PART}' } }\n");
    host.write("part/.env", "PART=7\n");
    host.write(".env", "# tags\nTAG=1.27\n");
    host.write("app.env", "A=1\nLOG=fromfile\n");
    host.write("more.env", "export A=2\n");
    host
}

/// The answer without the lines that tell what the attribute is for and how it takes effect.
#[track_caller]
fn told(host: &TestHost, words: &str) -> String {
    let answer = host.berth(&format!("explain {words}")).succeeds().stdout;
    let lines = answer.lines();
    let lines =
        lines.filter(|line| !line.starts_with("  is  ") && !line.starts_with("  changed  "));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn an_override_file_a_variable_and_what_they_went_over_are_named() {
    let host = host();
    assert_eq!(
        told(&host, "web.image"),
        "\
services.web.image = \"nginx:1.27\"
  from       compose.override.yaml:3:12  image: nginx:${TAG:-9}  (override file)
  variable   .env:2:1                    TAG = \"1.27\"
  over       compose.yaml:14:12          image: nginx:${TAG:-1.25}
  why        a later value replaces the earlier one
"
    );
    let shell = host.shell("TAG=8 $berth explain web.image").succeeds();
    shell.stdout_has("\"nginx:8\"").stdout_has("the environment of the process");
    host.berth("explain api.image").succeeds().stdout_has("not set, the default `2` counts");
    host.leaves_nothing_but(&[]);
}

#[test]
fn aliases_merge_keys_and_environment_files_are_named() {
    let host = host();
    assert_eq!(
        told(&host, "web.environment.LOG"),
        "\
services.web.environment.LOG = \"info\"
  from       compose.yaml:4:8    LOG: info
             compose.yaml:15:18  (alias `*env`)
  over       app.env:2:1         LOG=fromfile
             compose.yaml:16:15  (environment file)
  why        `environment` counts more than `env_file`
"
    );
    assert_eq!(
        told(&host, "api.environment.A"),
        "\
services.api.environment.A = \"2\"
  from       more.env:1:8        export A=2
             compose.yaml:21:25  (environment file)
  over       app.env:1:1         A=1
             compose.yaml:21:16  (environment file)
  why        a later environment file counts more than an earlier one
"
    );
}

#[test]
fn what_reset_and_override_took_away_is_told() {
    let host = host();
    assert_eq!(
        told(&host, "web.restart").replace("  default    no\n", ""),
        "\
services.web.restart is not set
  written    compose.yaml:6:12          restart: always
             compose.yaml:13:9          (merge key `<<: *base`)
  written    compose.override.yaml:7:5  restart: !reset null  (override file, `!reset`)
  why        `!reset` takes away what earlier files say
"
    );
    host.berth("explain web.labels.a")
        .succeeds()
        .stdout_has("services.web.labels.a is not set\n")
        .stdout_has("`!override` replaces what earlier files say");
}

#[test]
fn what_stands_for_a_replaced_list_tells_the_list_and_its_short_form() {
    let host = TestHost::bare();
    let base = "services:\n  web:\n    image: i\n    volumes:\n      - data:/data\n    ports:\n      - 80:80\n      - 81:81\nvolumes: { data: }\n";
    host.write("compose.yaml", base);
    let over = "services:\n  web:\n    ports: !override\n      - 90:90\n";
    host.write("compose.override.yaml", over);
    assert_eq!(
        told(&host, "web.ports[0]"),
        "\
services.web.ports[0]
  from       compose.override.yaml:4:9  90:90  (override file, `!override`)
  over       compose.yaml:6:5           ports
  why        `!override` replaces what earlier files say

PATH        VALUE       PLACE                       HOW
mode        \"ingress\"   compose.override.yaml:4:9   short form `90:90`
protocol    \"tcp\"       compose.override.yaml:4:9   short form `90:90`
published   \"90\"        compose.override.yaml:4:9   short form `90:90`
target      90          compose.override.yaml:4:9   short form `90:90`
"
    );
    assert_eq!(
        told(&host, "web.volumes[0].source"),
        "\
services.web.volumes[0].source = \"data\"
  from       compose.yaml:5:9  data:/data  (short form `data:/data`)
"
    );
}

#[test]
fn an_extended_service_and_an_included_part_are_named() {
    let host = host();
    assert_eq!(
        told(&host, "api.environment.FROM_BASE"),
        "\
services.api.environment.FROM_BASE = \"1\"
  from       compose.yaml:11:31  FROM_BASE: \"1\"
             compose.yaml:19:14  (extends `base`)
"
    );
    assert_eq!(
        told(&host, "worker.image"),
        "\
services.worker.image = \"w:7\"
  from       part/compose.yaml:1:30  image: 'w:${PART}'
             compose.yaml:2:11       (included)
  variable   part/.env:1:1           PART = \"7\"
"
    );
}

#[test]
fn entries_of_a_list_are_found_by_number_and_by_what_they_are_called() {
    let host = host();
    let by_number = host.berth("explain web.ports[0]").succeeds().stdout;
    assert_eq!(host.berth("explain services.web.ports.8080").succeeds().stdout, by_number);
    assert!(by_number.contains("  over       compose.yaml:17:13"), "{by_number}");
    assert!(by_number.contains("same address, ports and protocol"), "{by_number}");
    host.berth("explain web.ports[1].protocol").succeeds().stdout_has("(short form `\"9000:90\"`)");
}

#[test]
fn a_service_is_told_value_by_value() {
    let host = host();
    let web = host.berth("explain web").succeeds();
    for line in [
        "environment.LOG      \"info\"         compose.yaml:4:8             alias `*env`",
        "image                \"nginx:1.27\"   compose.override.yaml:3:12   override file",
        "networks.default     null                                        a service that names no network is on `default`",
    ] {
        assert!(web.stdout.contains(line), "{line}\n{web}");
    }
}

#[test]
fn what_no_file_says_is_told_too() {
    let host = host();
    let tells = |words: &str, text: &str| {
        host.berth(&format!("explain {words}")).succeeds().stdout_has(text);
    };
    tells("volumes.data.name --all-resources", "made of the project's name and the key");
    tells("web.init", "services.web.init is not set\n");
    tells("name", "from       compose.yaml:1:7  name: shop\n");
    host.berth("-p other explain name").succeeds().stdout_has("from       `--project-name`\n");
    host.shell("SHELL_VARIABLE=x $berth explain api.environment.SHELL_VARIABLE")
        .succeeds()
        .stdout_has("that of the environment of the process");
}

#[test]
fn what_sounds_like_a_secret_is_shown_only_on_request() {
    let host = host();
    for path in ["api.environment.DB_PASSWORD", "api.environment", "api", "api --format json"] {
        host.berth(&format!("explain {path}"))
            .succeeds()
            .stdout_lacks("hush")
            .stdout_has("********");
        host.berth(&format!("explain {path} --show-secrets")).succeeds().stdout_has("hush");
    }
}

#[test]
fn secrets_are_covered_in_every_line_of_the_answer() {
    let host = TestHost::bare();
    host.write(
        "compose.yaml",
        r#"services:
  web: {image: "x:${PW:-topsecret}", environment: {DB_PASSWORD: "${P:-topsecret}"}, build: {args: {API_TOKEN: topsecret}}}
  db:
    image: db
    command: [run, --password, topsecret, --token=topsecret]
    environment: [API_TOKEN=topsecret, "URL=postgres://u:topsecret@db/x"]
"#,
    );
    for path in [
        "web",
        "web.image",
        "web.environment",
        "web.environment.DB_PASSWORD",
        "web.build.args",
        "web.build.args.API_TOKEN",
        "db",
        "db.image",
        "db.command",
        "db.command[3]",
        "db.environment",
        "db.environment.API_TOKEN",
        "db.environment.URL",
    ] {
        for format in ["text", "json"] {
            host.berth(&format!("explain {path} --format {format}"))
                .succeeds()
                .stdout_lacks("topsecret");
        }
    }
    host.berth("explain web.image --show-secrets").succeeds().stdout_has("x:topsecret");
}

#[test]
fn a_wrong_path_is_answered_with_the_nearest_name() {
    let host = host();
    for (path, message, help) in [
        ("web.imge", "`services.web` has no `imge`", "did you mean `image`?"),
        ("wbe.image", "no such service: `wbe`", "did you mean `web`?"),
        ("web.ports[7]", "`services.web.ports` has no entry `7`", "it has the entries [0] to [1]"),
        ("web.image.x", "`services.web.image` has nothing below it", ""),
    ] {
        host.berth(&format!("explain {path}")).fails_with(1).stderr_has(message).stderr_has(help);
    }
    host.write("compose.yaml", "services: { web: { imge: a } }\n");
    host.berth("explain web").fails_with(65).stderr_has("did you mean `image`?");
}

#[test]
fn programs_get_the_same_answer() {
    let host = host();
    let answer = host.berth("explain web.image --format json").succeeds().json();
    assert_eq!(answer["path"], "services.web.image");
    assert_eq!(answer["value"], "nginx:1.27");
    assert_eq!(answer["from"]["place"]["line"], 3);
    assert_eq!(answer["from"]["ways"][0]["what"], "override file");
    assert_eq!(answer["variables"][0]["name"], "TAG");
    assert_eq!(answer["over"][0]["place"]["file"], "compose.yaml");
    assert_eq!(answer["attribute"]["class"], "done");
}
