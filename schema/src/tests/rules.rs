//! What no host can do is told before anything is touched, with both places where two lines
//! exclude each other.

mod hints;
mod networks;
mod rollout;

use insta::assert_snapshot;

use super::{lines, load_all, options, problems, report};

/// The warnings of a file that loads.
fn warnings(text: &str) -> String {
    match load_all(&[("compose.yaml", text)], &options()) {
        Ok(loaded) => lines(&loaded.warnings),
        Err(problems) => panic!("{problems}"),
    }
}

#[test]
fn a_circle_shows_every_edge_and_how_it_is_one() {
    let text = "\
services:
  a:
    image: i
    depends_on: [b]
  b:
    image: i
    network_mode: service:c
  c:
    image: i
    volumes_from: [a]
";
    assert_snapshot!(report(&[("compose.yaml", text)]), @r"
    berth::cycle

      × services depend on each other in a circle: a → b → c → a
        ╭─[compose.yaml:4:18]
      3 │     image: i
      4 │     depends_on: [b]
        ·                  ┬
        ·                  ╰── `a` depends on `b`
      5 │   b:
      6 │     image: i
      7 │     network_mode: service:c
        ·                   ────┬────
        ·                       ╰── `b` takes `network_mode` from `c`
      8 │   c:
      9 │     image: i
     10 │     volumes_from: [a]
        ·                    ┬
        ·                    ╰── `c` takes the volumes of `a`: the circle is closed
        ╰────
      help: take one of these dependencies away
    ");
}

#[test]
fn circles_through_links_and_builds_are_found() {
    let text = "\
services:
  a: {image: i, links: [\"b:db\"]}
  b: {image: i, ipc: \"service:a\"}
  c: {build: {context: ., additional_contexts: {base: \"service:d\"}}}
  d: {build: {context: ., additional_contexts: {base: \"service:c\", x: \"service:dd\"}}}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:3:22 berth::cycle
      services depend on each other in a circle: a → b → a
      → take one of these dependencies away
    compose.yaml:4:7 berth::not_yet
      `services.c.build` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:5:7 berth::not_yet
      `services.d.build` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:5:55 berth::cycle
      services depend on each other in a circle: c → d → c
      → take one of these dependencies away
    compose.yaml:5:71 berth::unknown_service
      `d` is built from `dd`, which is not in the stack
      → did you mean `d`?
    ");
}

#[test]
fn what_waits_for_the_impossible_is_told() {
    let text = "\
services:
  web:
    image: i
    depends_on:
      db: {condition: service_healthy}
      tool: {condition: service_healthy}
      job: {condition: service_completed_successfully}
  db: {image: i, healthcheck: {disable: true}}
  tool: {image: localhost/host}
  job: {image: i, restart: always}
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:5:23 berth::conflict
      `web` waits for `db` to be healthy, which it never is
      → give `db` a health check, or wait for `service_started`
    compose.yaml:6:25 berth::conflict
      `web` waits for `tool` to be healthy, which nobody checks
      → give `tool` a health check, or wait for `service_started`
    compose.yaml:7:24 berth::conflict
      `web` waits for `job` to be done, and it is always started again
      → write `restart: "no"` or `restart: on-failure` for `job`
    "#);
}

#[test]
fn limits_that_cannot_be_are_told() {
    let text = "\
services:
  a: {image: i, mem_limit: 512, mem_reservation: 1g}
  b: {image: i, cpu_quota: 10, cpu_period: 5, cpu_shares: 1}
  c: {image: i, cpus: 0.5, cpu_quota: 50000}
  e: {image: i, mem_limit: 1Gi, cpus: 500m, stop_grace_period: 10, shm_size: 64Mi}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:2:28 berth::bad_value
      `services.a.mem_limit` is 512 bytes, too little for any program
      → did you mean `512m`? units are b k m g t p, times 1024 each; the least is `6m`
    compose.yaml:2:50 berth::conflict
      `services.a.mem_reservation` is more than `mem_limit`
      → reserve no more than the limit, or raise the limit
    compose.yaml:3:28 berth::bad_value
      `services.b.cpu_quota`: `10` is not 1000 microseconds or more, -1 or 0
    compose.yaml:3:44 berth::bad_value
      `services.b.cpu_period`: `5` is not between 1000 and 1000000 microseconds, or 0
    compose.yaml:3:59 berth::bad_value
      `services.b.cpu_shares`: `1` is not between 2 and 262144 shares, or 0
    compose.yaml:4:39 berth::conflict
      `services.c` limits processor time twice, in `cpus` and `cpu_quota`
      → keep `cpus`
    compose.yaml:5:28 berth::bad_value
      `services.e.mem_limit`: `1Gi` has the unit `gi`, which is no unit here
      → write `1g`, it is the same
    compose.yaml:5:39 berth::bad_value
      `services.e.cpus`: `500m` is not a number of processors
      → write `0.5`, the number of processors
    compose.yaml:5:64 berth::bad_value
      `services.e.stop_grace_period`: `10` has no unit
      → write `10s` for seconds, or `10ms`
    compose.yaml:5:78 berth::bad_value
      `services.e.shm_size`: `64Mi` has the unit `mi`, which is no unit here
      → write `64m`, it is the same
    ");
}

#[test]
fn names_that_cannot_be_are_told() {
    let text = "\
services:
  a: {image: i, user: \"a b\", container_name: p-b-1, environment: {\"A=1\": x, \"\": y}}
  b: {image: i, user: \"1:2:3\", dns_search: [\"a, b\"], working_dir: app}
  c: {image: i, user: \"4294967295\", networks: [n, m], tmpfs: [/], volumes: [\"./x:/proc\"]}
networks:
  n: {name: same}
  m: {name: same}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:2:23 berth::bad_value
      `services.a.user`: `a b` has a space in it
      → write `NAME`, `UID`, `NAME:GROUP` or `UID:GID`
    compose.yaml:2:46 berth::duplicate
      `a` has the name that a container of `b` gets
      → choose another name, or take it away
    compose.yaml:2:67 berth::bad_name
      `services.a.environment`: `A=1` is no name of a variable
      → write `A: 1`
    compose.yaml:2:77 berth::bad_name
      `services.a.environment`: `` is no name of a variable
      → write `NAME: value`
    compose.yaml:3:23 berth::bad_value
      `services.b.user`: `1:2:3` has too many colons
      → write `NAME`, `UID`, `NAME:GROUP` or `UID:GID`
    compose.yaml:3:45 berth::bad_value
      `services.b.dns_search.0`: `a, b` is no domain
      → write one domain in each item, `example.com`
    compose.yaml:3:67 berth::bad_value
      `services.b.working_dir`: `app` is not an absolute path in the container
      → write `/app`
    compose.yaml:4:23 berth::bad_value
      `services.c.user`: `4294967295` is too large for an id
      → ids are 0 to 4294967294
    compose.yaml:4:63 berth::bad_value
      `services.c.tmpfs.0`: `/` is the root of the container
      → name a folder below it: the root is the image's
    compose.yaml:4:77 berth::bad_value
      `services.c.volumes.0`: `/proc` belongs to the kernel
      → choose another target
    compose.yaml:7:13 berth::duplicate
      the networks `n` and `m` are both named `same`
      → use one network for both, or give them different names
    ");
}

#[test]
fn a_container_name_has_two_letters_or_more() {
    let text = "\
services:
  a: {image: i, container_name: \"\"}
  b: {image: i, container_name: \"${NOTHING:-}\"}
  c: {image: i, container_name: c}
  d: {image: i, container_name: 12}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:2:33 berth::bad_value
      `services.a.container_name`: `` is not a container name
      → two or more letters, digits, `.`, `_` and `-`, starting with a letter or digit
    compose.yaml:3:33 berth::bad_value
      `services.b.container_name`: `` is not a container name
      → two or more letters, digits, `.`, `_` and `-`, starting with a letter or digit
    compose.yaml:4:33 berth::bad_value
      `services.c.container_name`: `c` is not a container name
      → two or more letters, digits, `.`, `_` and `-`, starting with a letter or digit
    compose.yaml:5:33 berth::bad_value
      `services.d.container_name`: `12` is not text
      → write it in quotes
    ");
}

#[test]
fn a_section_of_the_wrong_type_is_told_once() {
    let text = "services: {a: {image: i, networks: [n]}}\nnetworks:\n";
    assert_snapshot!(problems(text), @r"
    compose.yaml:2:1 berth::wrong_type
      `networks` is left empty
      → give it a value, or take the key away
    ");
}

#[test]
fn numbers_without_an_end_and_colons_without_a_space_are_told_as_such() {
    let text = "\
services:
  a: {image: i, environment: {G: .inf, Q: 1e400}}
  b:
    image: i
    environment:
      A:1
  c:
    image x
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:2:34 berth::wrong_type
      `services.a.environment.G` must be text or a number, and this is not a finite number
      → write it in quotes
    compose.yaml:2:43 berth::wrong_type
      `services.a.environment.Q` must be text or a number, and this is not a finite number
      → write it in quotes
    compose.yaml:6:7 berth::wrong_type
      `services.b.environment` must be a map or a list of `KEY=value`, and this is text
      → put a space behind the colon: `A: 1`
    compose.yaml:8:5 berth::wrong_type
      `services.c` must be a map, and this is text
      → write `image: x` in a line below `c:`
    ");
}
