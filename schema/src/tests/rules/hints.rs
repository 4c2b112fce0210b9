//! What works and is hardly meant is a warning.

use insta::assert_snapshot;

use super::warnings;
use crate::tests::{Texts, options, problems};

#[test]
fn what_is_hardly_meant_is_a_warning() {
    let text = "\
services:
  a:
    image: i
    hostname: a_b
    restart: unless-stopped
    privileged: true
    cap_add: [SYS_TIME]
    cap_drop: [CAP_SYS_TIME]
    command: cd /app && run
    labels: {com.docker.compose.project: x}
    environment: {\"MY VAR\": x}
    deploy: {restart_policy: {condition: none}}
    healthcheck: {test: [CMD, curl, -f, x, \"||\", exit, \"1\"], start_interval: 1s}
    networks: {default: {aliases: [b]}}
  b:
    image: i
    healthcheck: {test: [CMD, \"curl -f x\"], disable: true}
    volumes: [\"one:/1\", \"two:/2\"]
    networks: [closed]
    ports: [\"80:80\"]
volumes:
  one: {name: same}
  two: {name: same}
networks:
  closed: {internal: true, ipam: {config: [{subnet: \"fd00::/64\"}]}}
";
    assert_snapshot!(warnings(text), @r#"
    compose.yaml:4:15 berth::doubtful
      `services.a.hostname`: `a_b` is no host name by RFC 1123
      → use letters, digits and, inside, `-`, in parts with dots between them
    compose.yaml:7:14 berth::doubtful
      `a` is privileged and has all capabilities already
      → take one of them away
    compose.yaml:8:16 berth::doubtful
      `a` adds and drops the capability `SYS_TIME`
      → keep one of them
    compose.yaml:9:14 berth::doubtful
      `services.a.command`: `&&` is passed to the program as a word
      → write `["sh", "-c", "the whole line"]` where a shell is wanted
    compose.yaml:10:14 berth::doubtful
      `services.a.labels.com.docker.compose.project` is a label that berth sets itself
      → take it away, names with `com.docker.compose.` are reserved
    compose.yaml:11:19 berth::doubtful
      `services.a.environment`: `MY VAR` has a space in it
      → no shell can read such a variable; use `_`
    compose.yaml:12:42 berth::doubtful
      `a` says twice when it is started again, and the two differ
      → keep one of them
    compose.yaml:13:44 berth::doubtful
      `services.a.healthcheck.test`: `||` is passed to the program as a word
      → use `CMD-SHELL` with one line where a shell is wanted
    compose.yaml:13:78 berth::doubtful
      `services.a.healthcheck.start_interval` counts during `start_period`, which is 0
      → add `start_period:`, like `start_period: 30s`
    compose.yaml:17:31 berth::doubtful
      `services.b.healthcheck.test` runs a program whose name is `curl -f x`
      → write each word as an item of its own, or use `CMD-SHELL`
    compose.yaml:17:54 berth::doubtful
      `services.b.healthcheck` is switched off, so its `test` says nothing
      → take one of them away
    compose.yaml:20:13 berth::doubtful
      `b` publishes ports and is on internal networks only
      → nobody outside can reach them: add a network that is not internal
    compose.yaml:23:15 berth::duplicate
      the volumes `one` and `two` are both named `same`
      → use one volume for both, or give them different names
    compose.yaml:25:53 berth::doubtful
      the network `closed` has an IPv6 subnet, and IPv6 is not on
      → add `enable_ipv6: true` to `closed`
    "#);
}

#[test]
fn values_that_yaml_rewrites_are_named() {
    let text = "\
services:
  a:
    image: i
    environment:
      ID: 0123
      VERSION: 1.10
      LONG: 123456789012345678901234567890
      DAY: 2001-12-14
      BIG: 1e3
      HEX: 0x50
      FLAG: True
      FINE: 80
      TEXT: \"0123\"
      TIME: 12:30
      VAR: ${TAG}
    labels: {build: 007}
    configs:
      - {source: c, target: /a, mode: 440}
      - {source: c, target: /b, mode: 0440}
configs:
  c: {content: x}
";
    assert_snapshot!(warnings(text), @r#"
    compose.yaml:5:11 berth::rewritten
      `services.a.environment.ID`: `0123` without quotes becomes `83`
      → write it in quotes: `"0123"`
    compose.yaml:6:16 berth::rewritten
      `services.a.environment.VERSION`: `1.10` without quotes becomes `1.1`
      → write it in quotes: `"1.10"`
    compose.yaml:7:13 berth::rewritten
      `services.a.environment.LONG`: `123456789012345678901234567890` without quotes becomes `1.2345678901234568e+29`
      → write it in quotes: `"123456789012345678901234567890"`
    compose.yaml:8:12 berth::rewritten
      `services.a.environment.DAY`: `2001-12-14` without quotes becomes `2001-12-14 00:00:00 +0000 UTC`
      → write it in quotes: `"2001-12-14"`
    compose.yaml:9:12 berth::rewritten
      `services.a.environment.BIG`: `1e3` without quotes becomes `1000`
      → write it in quotes: `"1e3"`
    compose.yaml:10:12 berth::rewritten
      `services.a.environment.HEX`: `0x50` without quotes becomes `80`
      → write it in quotes: `"0x50"`
    compose.yaml:11:13 berth::rewritten
      `services.a.environment.FLAG`: `True` without quotes becomes `true`
      → write it in quotes: `"True"`
    compose.yaml:16:21 berth::rewritten
      `services.a.labels.build`: `007` without quotes becomes `7`
      → write it in quotes: `"007"`
    compose.yaml:18:39 berth::rewritten
      `services.a.configs.0.mode`: `440` is a decimal number, the mode 0670
      → write it in octal: `0440`
    "#);
}

#[test]
fn a_list_of_variables_is_text_already() {
    let text = "services: {a: {image: i, environment: [\"ID=0123\", V=1.10]}}\n";
    assert_eq!(warnings(text), "");
}

#[test]
fn a_stack_without_services_is_told() {
    assert_snapshot!(warnings("services: {}\n"), @r"
    - berth::no_services
      the stack has no services
      → add one below `services:`
    ");
    assert_snapshot!(warnings("services: {a: {image: i, profiles: [x]}}\n"), @r"
    - berth::no_services
      every service of the stack is switched off by its profiles
      → activate a profile with `--profile`
    ");
}

#[test]
fn what_the_compose_tools_show_is_still_shown() {
    let text = "\
services:
  a: {image: i, hostname: \"a b\", ports: [\"80:80\", \"80:81\"], networks: {default: {ipv4_address: 1.2.3.4}}}
";
    let files = [("/p/compose.yaml".into(), text.to_owned())].into();
    let loaded = crate::config::load(&options(), &Texts(files));
    assert!(loaded.is_ok(), "{loaded:?}");
}

#[test]
fn a_variable_that_is_unset_in_many_places_is_told_once() {
    let lines: String = (0..40).map(|n| format!("      V{n:02}: ${{GONE}}\n")).collect();
    let text = format!(
        "services:\n  a:\n    image: i\n    command: $ONCE $ONCE\n    environment:\n{lines}"
    );
    assert_snapshot!(warnings(&text), @r"
    compose.yaml:4:14 berth::unset_variable
      the variable `ONCE` is not set, empty text stands in its place
      → set it in the environment or in `.env`, or give a default: `${ONCE:-…}`
    compose.yaml:6:12 berth::unset_variable
      the variable `GONE` is not set, empty text stands in its place, in 40 places
      → set it in the environment or in `.env`, or give a default: `${GONE:-…}`
    ");
}

#[test]
fn a_volume_that_looks_like_a_folder_is_told_how_to_be_one() {
    let text = "services: {a: {image: i, volumes: [\"src:/app\", \"src/web:/web\"]}}\n";
    assert_snapshot!(problems(text), @r"
    compose.yaml:1:36 berth::unknown_volume
      `a` uses the volume `src`, which is not in the stack
      → add `src:` below `volumes:` at the top level, or write `./src` for the folder beside the file
    compose.yaml:1:48 berth::unknown_volume
      `a` uses the volume `src/web`, which is not in the stack
      → a folder of this host starts with `./` or `/`: `./src/web`
    ");
}

#[test]
fn what_is_only_made_absolute_or_left_empty_is_not_rewritten() {
    let text = "\
services: {a: {image: i, labels: {x: null, y: ~}, volumes: [\"vol:/v\"]}}
volumes: {vol: {driver: local, driver_opts: {type: none, o: bind, device: ./dev}}}
";
    assert_eq!(warnings(text), "");
}

#[test]
fn a_colon_in_a_list_of_pairs_is_hardly_meant() {
    let text = "services: {a: {image: i, environment: [D:4, E=a:b], labels: [\"x: y\", z]}}\n";
    assert_snapshot!(warnings(text), @r"
    compose.yaml:1:40 berth::doubtful
      `services.a.environment`: `D:4` is all of it a name, without a value
      → write `D=4`
    compose.yaml:1:62 berth::doubtful
      `services.a.labels`: `x: y` is all of it a name, without a value
      → write `x=y`
    ");
}

#[test]
fn labels_for_selinux_are_no_reason_to_warn() {
    assert_eq!(warnings("services: {a: {image: i, volumes: [\"/srv:/a:ro,z\"]}}\n"), "");
}
