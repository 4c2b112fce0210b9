//! Values that do not go with each other.

use insta::assert_snapshot;

use crate::tests::{problems, report};

#[test]
fn unknown_references_of_every_kind() {
    let text = "\
services:
  web:
    image: nginx
    networks: [frnt]
    volumes: [\"dta:/data\"]
    configs: [conf]
    secrets: [pasword]
    network_mode: service:db
    depends_on: {dbb: {condition: service_healthy}}
networks: {front: }
volumes: {data: }
secrets: {password: {file: ./p}}
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:16 berth::unknown_network
      `web` uses the network `frnt`, which is not in the stack
      → did you mean `front`?
    compose.yaml:5:15 berth::unknown_volume
      `web` uses the volume `dta`, which is not in the stack
      → did you mean `data`?
    compose.yaml:6:15 berth::unknown_config
      `web` uses the config `conf`, which is not in the stack
      → add `conf:` below `configs:` at the top level
    compose.yaml:7:15 berth::unknown_secret
      `web` uses the secret `pasword`, which is not in the stack
      → did you mean `password`?
    compose.yaml:8:19 berth::unknown_dependency
      `web` takes `network_mode` from `db`, which is not in the stack
      → add a service `db`, or take this away
    compose.yaml:8:19 berth::conflict
      `web` has `network_mode` and `networks`, and only one of them can be
      → keep one of them
    compose.yaml:9:18 berth::unknown_dependency
      `web` depends on `dbb`, which is not in the stack
      → add a service of this name, or take the dependency away
    "#);
}

#[test]
fn circles_of_dependencies_name_their_path() {
    let text = "\
services:
  a: {image: i, depends_on: [b]}
  b: {image: i, depends_on: [c]}
  c: {image: i, depends_on: [a, c]}
  d: {image: i, network_mode: \"service:e\"}
  e: {image: i, depends_on: [d]}
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:30 berth::cycle
      services depend on each other in a circle: a → b → c → a
      → take one of these dependencies away
    compose.yaml:4:33 berth::cycle
      `c` depends on itself
      → take it away
    compose.yaml:6:30 berth::cycle
      services depend on each other in a circle: d → e → d
      → take one of these dependencies away
    "#);
}

#[test]
fn conflicts_show_both_places() {
    let text = "\
services:
  web:
    image: nginx
    container_name: one
    scale: 3
    deploy: {replicas: 2, resources: {limits: {memory: 1g, cpus: \"1\"}}}
    mem_limit: 2g
    cpus: 0.5
    network_mode: host
    networks: [default]
    ports: [\"80:80\"]
  other:
    image: nginx
    container_name: one
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:21 berth::conflict
      `web` has a fixed container name and more than one container
      → take `container_name` away, berth numbers the containers
    compose.yaml:5:12 berth::conflict
      `web` has two numbers of containers that differ
      → keep `deploy.replicas` and take `scale` away
    compose.yaml:7:16 berth::conflict
      `web` has `mem_limit` and `deploy.resources.limits.memory`, and they differ
      → keep one of them
    compose.yaml:8:11 berth::conflict
      `web` has `cpus` and `deploy.resources.limits.cpus`, and they differ
      → keep one of them
    compose.yaml:9:19 berth::conflict
      `web` has `network_mode` and `networks`, and only one of them can be
      → keep one of them
    compose.yaml:11:12 berth::conflict
      `services.web` publishes ports and has `network_mode: host`
      → with `host` the ports are open already: take `ports` away
    compose.yaml:11:13 berth::conflict
      `web` has 2 containers, and one of them takes the host port 80
      → publish a range, `80-81:80`, or any free port, `80`
    compose.yaml:14:21 berth::duplicate
      two services have the container name `one`
      → take one of them away, berth names the containers
    "#);
}

#[test]
fn things_that_can_be_only_once() {
    let text = "\
services:
  a:
    image: nginx
    ports: [\"8080:80\", \"127.0.0.1:8080:81\"]
    volumes: [\"xx:/data\", \"yy:/data/\"]
    tmpfs: [/run, \"/run:size=1m\"]
  b:
    image: nginx
    ports: [\"8080:80\"]
volumes: {xx: , yy: }
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:4:24 berth::duplicate
      `a` publishes the host port 8080 twice
      → give one of them another host port
    compose.yaml:5:27 berth::duplicate
      `a` mounts two things at `/data`
      → give one of them another target
    compose.yaml:6:19 berth::duplicate
      `a` mounts two things at `/run`
      → give one of them another target
    compose.yaml:9:13 berth::duplicate
      `a` and `b` both publish the host port 8080
      → give one of them another host port
    ");
}

#[test]
fn configs_and_secrets_have_one_content() {
    let text = "\
services:
  web:
    image: nginx
    configs: [a, {source: b, mode: \"999\"}]
    secrets: [s]
configs:
  a: {file: ./a, content: x}
  b: {}
secrets:
  s: {environment: A, file: ./s}
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:36 berth::bad_value
      `services.web.configs.1.mode`: `999` is not a file mode
      → write it in octal: `0440`
    compose.yaml:7:27 berth::conflict
      the config `a` has two contents
      → keep one of file, environment, content
    compose.yaml:8:6 berth::missing
      the config `b` has no content
      → add one of file, environment, content
    compose.yaml:10:20 berth::conflict
      the secret `s` has two contents
      → keep one of file, environment
    "#);
}

#[test]
fn external_resources_have_no_attributes() {
    let text = "\
services:
  web: {image: nginx, networks: [n], volumes: [\"v:/v\"]}
networks: {n: {external: true, internal: true}}
volumes: {v: {external: true, driver: local, labels: {a: b}}}
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:2:48 berth::bad_value
      `services.web.volumes.0`: `v:/v` is read as a path of Windows: one letter stands before its colon
      → give the volume a longer name, or use the long form (`type:`, `source:`, `target:`)
    compose.yaml:3:32 berth::conflict
      the network `n` is external, so `internal` has no say here
      → take it away, or take `external` away
    compose.yaml:4:31 berth::conflict
      the volume `v` is external, so `driver` has no say here
      → take it away, or take `external` away
    compose.yaml:4:46 berth::conflict
      the volume `v` is external, so `labels` has no say here
      → take it away, or take `external` away
    "#);
}

#[test]
fn dependencies_have_known_conditions() {
    let text = "\
services:
  web:
    image: nginx
    depends_on:
      db: {condition: service_healty}
      cache: {required: false}
  db: {image: pg}
  cache: {image: redis}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:5:23 berth::bad_value
      `services.web.depends_on.db.condition`: `service_healty` is not known here
      → did you mean `service_healthy`?
    compose.yaml:6:14 berth::missing
      `services.web.depends_on.cache`: a dependency needs `condition`
      → add `condition:`
    ");
}

#[test]
fn a_conflict_over_two_files_shows_both_texts() {
    let files = [
        ("compose.yaml", "services:\n  web:\n    image: a\n    ports: [\"80:80\"]\n"),
        ("compose.override.yaml", "services:\n  api:\n    image: b\n    ports: [\"80:81\"]\n"),
    ];
    assert_snapshot!(report(&files), @r#"
    berth::duplicate

      × `web` and `api` both publish the host port 80
       ╭─[compose.override.yaml:4:13]
     3 │     image: b
     4 │     ports: ["80:81"]
       ·             ───┬───
       ·                ╰── again here
       ╰────
      help: give one of them another host port

    Advice:
      ☞ first here
       ╭─[compose.yaml:4:13]
     3 │     image: a
     4 │     ports: ["80:80"]
       ·             ───┬───
       ·                ╰── first here
       ╰────
    "#);
}
