//! Where the model comes from: files, `.env`, the environment, profiles, the project's name.

use berth_tests::TestHost;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    environment:
      FROM: ${WHERE:-the file}
";

fn value(host: &TestHost, project: &str) -> String {
    host.berth(&format!("-p {project} exec -T web sh -c 'echo $FROM'")).stdout.trim().to_owned()
}

#[test]
fn the_environment_counts_more_than_dot_env_and_that_more_than_the_default() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    assert_eq!(value(&host, "stack"), "the file");
    host.write(".env", "WHERE=dot env\n");
    host.berth("up -d").succeeds();
    assert_eq!(value(&host, "stack"), "dot env");
    host.write("other.env", "WHERE='the other file'\n");
    host.berth("--env-file other.env up -d").succeeds();
    assert_eq!(value(&host, "stack"), "the other file");
    host.shell("WHERE='the shell' $berth up -d").succeeds();
    assert_eq!(value(&host, "stack"), "the shell");
}

#[test]
fn later_files_are_merged_over_earlier_ones() {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("more.yaml", "services: { web: { environment: { FROM: more, ALSO: 'yes' } }, extra: { image: 'busybox:1', command: [sleep, '9'] } }\n");
    host.berth("-f compose.yaml -f more.yaml config --services").succeeds().stdout_is("extra\nweb");
    host.berth("-f compose.yaml -f more.yaml up -d web").succeeds();
    assert_eq!(value(&host, "stack"), "more");
    // Beside `compose.yaml`, an override is found by itself.
    host.write("compose.override.yaml", "services: { web: { environment: { FROM: override } } }\n");
    host.berth("up -d").succeeds();
    assert_eq!(value(&host, "stack"), "override");
}

#[test]
fn a_file_is_read_from_standard_input() {
    let host = TestHost::with("compose.yaml", STACK);
    host.shell("sed 's/the file/a pipe/' compose.yaml | $berth -f - up -d").succeeds();
    assert_eq!(value(&host, "stack"), "a pipe");
}

#[test]
fn an_env_file_gives_the_container_its_variables() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sleep, '100000'], env_file: [web.env], environment: { FROM: here } } }",
    );
    host.write("web.env", "# words\nFROM=the env file\nQUOTED=\"two words\"\n");
    host.berth("up -d").succeeds();
    host.berth("exec -T web sh -c 'echo $FROM, $QUOTED, $FROM_IMAGE'")
        .succeeds()
        .stdout_is("here, two words, yes");
}

#[test]
fn two_projects_of_one_file_live_side_by_side() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("-p one up -d").succeeds();
    host.shell("WHERE=two $berth -p two up -d").succeeds();
    assert_eq!([value(&host, "one"), value(&host, "two")], ["the file", "two"]);
    let one = host.pid_of_container("one-web-1");
    host.berth("-p two down").succeeds();
    assert_eq!(host.pid_of_container("one-web-1"), one);
    host.berth("-p one down").succeeds();
}

#[test]
fn the_project_is_found_from_a_folder_below() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.shell("mkdir -p deep/down && cd deep/down && $berth exec -T web true").succeeds();
}

#[test]
fn what_config_prints_is_a_file_that_means_the_same() {
    let host = TestHost::with("compose.yaml", STACK);
    host.shell("$berth config >again.yaml").succeeds();
    host.berth("-f again.yaml config").succeeds().stdout_is(&host.berth("config").stdout);
    host.berth("up -d").succeeds();
    let before = host.pid_of("web");
    host.berth("-f again.yaml up -d").succeeds();
    assert_eq!(host.pid_of("web"), before);
    let json = host.berth("config --format json").succeeds().json();
    assert_eq!(json["services"]["web"]["environment"]["FROM"], "the file");
}

#[test]
fn config_names_what_the_models_that_services_use_are_made_from_each_once() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web: { image: 'busybox:1', models: [small, same] }
  shop: { image: 'busybox:1', models: [large] }
models:
  small: { model: ai/smollm2 }
  same: { model: ai/smollm2, context_size: 1024 }
  large: { model: 'ai/qwen3:8B' }
  unused: { model: ai/gemma3 }
",
    );
    host.berth("config --models").succeeds().stdout_is("ai/qwen3:8B\nai/smollm2");
    // Which services are named makes no difference, and a stack without models names none.
    host.berth("config --models web").succeeds().stdout_is("ai/qwen3:8B\nai/smollm2");
    let all = "ai/gemma3\nai/qwen3:8B\nai/smollm2";
    host.berth("--all-resources config --models").succeeds().stdout_is(all);
    host.write("none.yaml", "services: { web: { image: 'busybox:1' } }\n");
    host.berth("-f none.yaml config --models").succeeds().stdout_is("");
    host.berth("config --models --images").fails_with(64).stderr_has("cannot be used with");
}

#[test]
fn a_file_is_shown_as_who_needs_whom() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web: { image: 'web:1', depends_on: { db: { condition: service_healthy } }, secrets: [key] }
  db: { image: 'db:1', volumes: ['data:/data:ro'], healthcheck: { test: [CMD, 'true'] } }
  probe: { image: 'probe:1', network_mode: 'service:web' }
volumes: { data: {} }
secrets: { key: { environment: HOME } }
",
    );
    host.berth("graph").succeeds().stdout_is(
        "\
stack
1  db     db:1
            networks default
            volumes data (/data, read-only)
2  web    web:1
            after db (healthy)
            networks default
            secrets key
3  probe  probe:1
            in the network of web",
    );
    host.berth("graph --format dot db")
        .succeeds()
        .stdout_has("n0 -> n2 [style=dashed, label=\"/data, read-only\"];")
        .stdout_lacks("web");
    host.berth("graph --format mermaid").succeeds().stdout_has("n2 -->|\"healthy\"| n0\n");
    host.edit("compose.yaml", "db: { image", "db: { depends_on: [web], image");
    host.berth("graph").fails_with(65).stderr_has("in a circle");
}
