//! What no host can do is told before anything is touched, with both places where two lines
//! exclude each other.

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
    berth::not_yet

      × `services.c.volumes_from` is part of the Compose Specification, but berth does not do it yet
        ╭─[compose.yaml:10:5]
      9 │     image: i
     10 │     volumes_from: [a]
        ·     ──────┬─────
        ·           ╰── not done yet
        ╰────
      help: take it away to go on without it

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
    compose.yaml:2:17 berth::not_yet
      `services.a.links` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:3:17 berth::not_yet
      `services.b.ipc` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
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
fn one_host_port_is_published_once() {
    let text = "\
services:
  web:
    image: i
    ports: [\"80:80\", \"0.0.0.0:81:81\", \"[::]:81:81\", \"127.0.0.1:82:82\", \"83:83/udp\"]
  api:
    image: i
    ports: [\"127.0.0.1:80:8080\", \"127.0.0.2:82:82\", \"[::1]:81:1\", \"83:83/tcp\"]
  many:
    image: i
    scale: 3
    ports: [\"9000:90\", \"9001-9002:91\", \"9003-9005:92\", \"93\"]
  late:
    image: i
    ports: [\"80-80:1\", \"82-83:2\"]
  host:
    image: i
    network_mode: host
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:7:13 berth::duplicate
      `web` and `api` both publish the host port 80
      → give one of them another host port
    compose.yaml:7:53 berth::duplicate
      `web` and `api` both publish the host port 81
      → give one of them another host port
    compose.yaml:11:13 berth::conflict
      `many` has 3 containers, and one of them takes the host port 9000
      → publish a range, `9000-9002:90`, or any free port, `90`
    compose.yaml:11:24 berth::conflict
      `many` has 3 containers and 2 host ports for them
      → publish a range, `9001-9003:91`, or any free port, `91`
    compose.yaml:14:13 berth::duplicate
      `api` and `late` both publish the host port 80
      → give one of them another host port
    compose.yaml:14:24 berth::duplicate
      `late` finds no free host port from 82 to 83
      → give it another range
    ");
}

#[test]
fn a_clash_shows_both_lines() {
    let text = "\
services:
  web:
    image: i
    ports:
      - \"8080:80\"
  api:
    image: i
    ports:
      - target: 80
        host_ip: 127.0.0.1
        published: \"8080\"
";
    assert_snapshot!(report(&[("compose.yaml", text)]), @r#"
    berth::duplicate

      × `web` and `api` both publish the host port 8080
        ╭─[compose.yaml:5:9]
      4 │         ports:
      5 │           - "8080:80"
        ·             ────┬────
        ·                 ╰── first here
      6 │       api:
      7 │         image: i
      8 │         ports:
      9 │ ╭─▶       - target: 80
     10 │ │           host_ip: 127.0.0.1
     11 │ ├─▶         published: "8080"
        · ╰──── again here
        ╰────
      help: give one of them another host port
    "#);
}

#[test]
fn a_range_whose_ports_are_all_taken_is_told() {
    let text = "\
services:
  a: {image: i, ports: [\"80:80\", \"81:81\"]}
  b: {image: i, ports: [\"80-81:80\"]}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:3:25 berth::duplicate
      `b` finds no free host port from 80 to 81
      → give it another range
    ");
}

#[test]
fn address_pools_hold_what_they_name() {
    let text = "\
services:
  web: {image: i, networks: [a, b, c, d, e]}
networks:
  a: {ipam: {config: [{subnet: 10.0.0.5/24, gateway: 10.0.1.1, ip_range: 10.0.2.0/28, aux_addresses: {x: 10.9.0.1}}]}}
  b: {ipam: {config: [{subnet: 10.0.0.128/25}]}}
  c: {ipam: {config: [{gateway: 10.3.0.1}]}}
  d: {ipam: {config: [{subnet: 10.4.0.0/31}]}}
  e: {name: \"bad name\", driver_opts: {com.docker.network.bridge.name: much-too-long-name}}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:4:32 berth::bad_value
      `networks.a.ipam.config.0.subnet`: `10.0.0.5/24` has bits set behind its length
      → write `10.0.0.0/24`
    compose.yaml:4:54 berth::conflict
      the gateway `10.0.1.1` is outside the subnet `10.0.0.5/24`
      → take one from 10.0.0.1 to 10.0.0.254
    compose.yaml:4:74 berth::conflict
      the range `10.0.2.0/28` is outside the subnet `10.0.0.5/24`
      → take one from 10.0.0.1 to 10.0.0.254
    compose.yaml:4:106 berth::conflict
      the address `10.9.0.1` is outside the subnet `10.0.0.5/24`
      → take one from 10.0.0.1 to 10.0.0.254
    compose.yaml:5:32 berth::conflict
      the subnets of `a` and `b` overlap
      → give one of them another subnet
    compose.yaml:6:33 berth::missing
      `networks.c.ipam.config.0`: `gateway` says nothing without `subnet`
      → add `subnet:` beside it, like `subnet: 10.1.0.0/24`
    compose.yaml:7:32 berth::bad_value
      `networks.d.ipam.config.0.subnet`: `10.4.0.0/31` has no room for a gateway and a container
      → write a length of at most 30
    compose.yaml:8:13 berth::bad_name
      `networks.e.name`: `bad name` is not a name for a network
      → letters, digits, `.`, `_` and `-`, starting with a letter or digit
    compose.yaml:8:71 berth::bad_value
      `networks.e.driver_opts.com.docker.network.bridge.name`: `much-too-long-name` is too long
      → the name of a link has at most 15 characters
    ");
}

#[test]
fn fixed_addresses_are_free_and_of_the_subnet() {
    let text = "\
services:
  a: {image: i, networks: {n: {ipv4_address: 10.1.0.9, mac_address: \"02:42:ac:11:00:02\"}}}
  b: {image: i, networks: {n: {ipv4_address: 10.1.0.9, mac_address: \"02:42:AC:11:00:02\"}}}
  c: {image: i, networks: {n: {ipv4_address: 10.2.0.9}}}
  d: {image: i, networks: {n: {ipv4_address: 10.1.0.1}}}
  e: {image: i, networks: {n: {ipv4_address: 10.1.0.7}}, scale: 2}
  f: {image: i, networks: {m: {ipv4_address: 10.1.0.7, mac_address: \"03:42:ac:11:00:02\"}}}
  g: {image: i, networks: {n: {ipv4_address: 10.1.0.255}}}
  h: {image: i, networks: {n: {ipv4_address: 10.1.0.50}}}
networks:
  n: {ipam: {config: [{subnet: 10.1.0.0/24, aux_addresses: {printer: 10.1.0.50}}]}}
  m: {}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:3:46 berth::duplicate
      `a` and `b` have the same address on `n`
      → give one of them another address
    compose.yaml:3:69 berth::duplicate
      `a` and `b` have the same MAC address on `n`
      → give one of them another address
    compose.yaml:4:46 berth::conflict
      `c` has the address `10.2.0.9`, which `n` cannot give
      → take one from 10.1.0.1 to 10.1.0.254
    compose.yaml:5:46 berth::conflict
      `d` has the address `10.1.0.1`, which is the gateway of `n`
      → take another address
    compose.yaml:6:65 berth::conflict
      `e` has 2 containers and one fixed address
      → take the fixed address away
    compose.yaml:7:46 berth::missing
      `f` has a fixed address on `m`, which has no subnet
      → give `m` an `ipam:` with `config: [{subnet: …}]` around it
    compose.yaml:7:69 berth::bad_value
      `services.f.networks.m.mac_address`: `03:42:ac:11:00:02` is an address of many cards
      → make the second digit even, like `02:42:ac:11:00:02`
    compose.yaml:8:46 berth::conflict
      `g` has the address `10.1.0.255`, which `n` cannot give
      → take one from 10.1.0.1 to 10.1.0.254
    compose.yaml:9:46 berth::conflict
      `h` has the address `10.1.0.50`, which is kept free on `n`
      → take another address
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
      → did you mean `512m`? units are b k m g t p, times 1024 each; the least is `1m`
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
fn a_shared_network_excludes_what_belongs_to_its_owner() {
    let text = "\
services:
  a: {image: i}
  b: {image: i, network_mode: \"service:a\", ports: [\"80:80\"], hostname: b, dns: [1.1.1.1], extra_hosts: [\"h=1.2.3.4\"]}
  c: {image: i, network_mode: host, sysctls: {net.core.somaxconn: 5}}
  d: {image: i, sysctls: {vm.max_map_count: 262144, kernel.shmmax: 5}}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:3:51 berth::conflict
      `b` has `network_mode: service:a`, so `ports` cannot be
      → publish them from the service whose network it takes
    compose.yaml:3:72 berth::conflict
      `b` has `network_mode: service:a`, so `hostname` cannot be
      → set it at the service whose network it takes
    compose.yaml:3:80 berth::conflict
      `b` has `network_mode: service:a`, so `dns` cannot be
      → set it at the service whose network it takes
    compose.yaml:3:104 berth::conflict
      `b` has `network_mode: service:a`, so `extra_hosts` cannot be
      → set it at the service whose network it takes
    compose.yaml:4:47 berth::conflict
      `c` sets `net.core.somaxconn` and has the network of the host
      → set it on the host, or take `network_mode` away
    compose.yaml:5:27 berth::bad_value
      `services.d.sysctls.vm.max_map_count` is a setting of the whole host
      → a container can set `net.*`, `kernel.shm*`, `kernel.msg*`, `kernel.sem` and `fs.mqueue.*`
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
    let loaded = crate::config::load(&options(), &super::Texts(files));
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
fn a_small_subnet_has_an_address_for_every_container() {
    let text = "\
services:
  a: {image: i, scale: 4, networks: [n]}
  b: {image: i, networks: {n: , wide: }}
networks:
  n: {ipam: {config: [{subnet: 10.0.0.0/29, aux_addresses: {x: 10.0.0.3}}]}}
  wide: {ipam: {config: [{subnet: 10.1.0.0/30}]}}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:5:32 berth::conflict
      `n` has room for 4 containers, and 5 are on it
      → take a shorter length, like `/24`
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
