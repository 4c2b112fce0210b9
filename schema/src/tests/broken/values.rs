//! Values that cannot be what they are.

use insta::assert_snapshot;

use crate::tests::{brief, problems, report};

#[test]
fn unknown_keys_at_every_level_are_named() {
    let text = "\
services:
  web:
    image: nginx
    enviroment: {A: 1}
    healthcheck: {tst: x, interval: 5s}
    deploy: {resources: {limit: {memory: 1g}}}
    ports: [{target: 80, publish: \"80\"}]
netwroks: {}
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:5 berth::unknown_key
      `services.web`: a service has no attribute `enviroment`
      → did you mean `environment`?
    compose.yaml:5:19 berth::unknown_key
      `services.web.healthcheck`: a health check has no attribute `tst`
      → did you mean `test`?
    compose.yaml:6:26 berth::unknown_key
      `services.web.deploy.resources`: resources has no attribute `limit`
      → did you mean `limits`?
    compose.yaml:7:26 berth::unknown_key
      `services.web.ports.0`: a port has no attribute `publish`
      → did you mean `published`?
    compose.yaml:8:1 berth::unknown_key
      a Compose file has no attribute `netwroks`
      → did you mean `networks`?
    "#);
}

#[test]
fn wrong_types_say_what_is_wanted() {
    let text = "\
services:
  web:
    image: 5
    command: {a: b}
    ports: 80
    environment: [1, {a: b}]
    depends_on: db
    tty: maybe
    restart: false
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:3:12 berth::wrong_type
      `services.web.image` must be text, and this is a number
      → write it in quotes
    compose.yaml:4:14 berth::wrong_type
      `services.web.command` must be text or a list of texts, and this is a map
    compose.yaml:5:12 berth::wrong_type
      `services.web.ports` must be a list, and this is a number
      → write it as a list: `- "80"`
    compose.yaml:6:19 berth::wrong_type
      `services.web.environment` must be `KEY=value`, and this is a number
    compose.yaml:6:22 berth::wrong_type
      `services.web.environment` must be `KEY=value`, and this is a map
      → write `- a=b`, or `a: b` in all lines without the dashes
    compose.yaml:7:17 berth::wrong_type
      `services.web.depends_on` must be a list or a map, and this is text
      → write it as a list: `- db`
    compose.yaml:8:10 berth::wrong_type
      `services.web.tty` must be true or false, and this is text
      → write `true` or `false`
    compose.yaml:9:14 berth::wrong_type
      `services.web.restart` must be text, and this is a boolean
      → `no` without quotes is text here, but `false` is not: write `restart: "no"`
    "#);
}

#[test]
fn bad_durations_and_sizes_name_their_units() {
    let text = "\
services:
  web:
    image: nginx
    stop_grace_period: 10
    mem_limit: 5x
    shm_size: 1.5.5
    healthcheck: {test: \"true\", interval: 5 minutes, timeout: -1s, retries: -2}
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:24 berth::bad_value
      `services.web.stop_grace_period`: `10` has no unit
      → write `10s` for seconds, or `10ms`
    compose.yaml:5:16 berth::bad_value
      `services.web.mem_limit`: `5x` has the unit `x`, which is no unit of size
      → write it like `512m`, `1g` or `1048576`; units are b k m g t p, times 1024 each
    compose.yaml:6:15 berth::bad_value
      `services.web.shm_size`: `1.5.5` is not a size
      → write it like `512m`, `1g` or `1048576`; units are b k m g t p, times 1024 each
    compose.yaml:7:43 berth::bad_value
      `services.web.healthcheck.interval`: `5 minutes` is not a duration
      → write it like `30s`, `1m30s`, `200ms`; units are ns us ms s m h d w
    compose.yaml:7:63 berth::bad_value
      `services.web.healthcheck.timeout`: `-1s` is not a duration
      → write it like `30s`, `1m30s`, `200ms`; units are ns us ms s m h d w
    compose.yaml:7:77 berth::bad_value
      `services.web.healthcheck.retries`: `-2` is below 0
    "#);
}

#[test]
fn bad_ports_are_explained() {
    let text = "\
services:
  web:
    image: nginx
    ports:
      - \"80:80:80:80\"
      - \"8000-8010:80-81\"
      - \"99999:80\"
      - \"80/icmp\"
      - \"300.1.1.1:80:80\"
      - {published: \"80\"}
      - {target: 80, host_ip: nope}
    expose: [\"a\"]
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:5:9 berth::bad_value
      `services.web.ports.0`: `80:80:80:80` has the address `80:80`, which is none
      → write `[[IP:]HOST:]CONTAINER[/tcp|udp|sctp]`, an IPv6 address in brackets
    compose.yaml:6:9 berth::bad_value
      `services.web.ports.1`: `8000-8010:80-81` has ranges of different length
      → give both sides as many ports
    compose.yaml:7:9 berth::bad_value
      `services.web.ports.2`: `99999:80` is no port: ports are 1 to 65535
      → ports are 1 to 65535; a range is written `8000-8010`
    compose.yaml:8:9 berth::bad_value
      `services.web.ports.3`: `80/icmp` has the protocol `icmp`
      → protocols are tcp, udp and sctp
    compose.yaml:9:9 berth::bad_value
      `services.web.ports.4`: `300.1.1.1:80:80` has the address `300.1.1.1`, which is none
      → write `[[IP:]HOST:]CONTAINER[/tcp|udp|sctp]`, an IPv6 address in brackets
    compose.yaml:10:9 berth::missing
      `services.web.ports`: a port needs `target`
      → add `target:`
    compose.yaml:11:31 berth::bad_value
      `services.web.ports.6.host_ip`: `nope` is not an address
      → write an IPv4 or IPv6 address of this host
    compose.yaml:12:14 berth::bad_value
      `services.web.expose.0`: `a` is not a port
      → ports are 1 to 65535; a range is written `8000-8010`
    ");
}

#[test]
fn empty_values_are_pointed_at() {
    let text = "\
services:
  web:
    image: nginx
    ports:
    dns:
    depends_on:
    healthcheck:
volumes:
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:5 berth::wrong_type
      `services.web.ports` is left empty
      → give it a value, or take the key away
    compose.yaml:5:5 berth::wrong_type
      `services.web.dns` is left empty
      → give it a value, or take the key away
    compose.yaml:6:5 berth::wrong_type
      `services.web.depends_on` is left empty
      → give it a value, or take the key away
    compose.yaml:7:5 berth::wrong_type
      `services.web.healthcheck` is left empty
      → give it a value, or take the key away
    compose.yaml:8:1 berth::wrong_type
      `volumes` is left empty
      → give it a value, or take the key away
    "#);
}

#[test]
fn names_and_images_are_checked() {
    let text = "\
services:
  \"web server\": {image: nginx}
  web: {image: Nginx:latest}
  db: {image: \"pg:\"}
  app: {}
  old: {image: \"a@sha256:12\", container_name: \"-x\"}
volumes: {\"a b\": }
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:2:3 berth::bad_name
      `web server` is not a name for a service
      → names have letters, digits, `.`, `_` and `-`
    compose.yaml:3:16 berth::bad_value
      `services.web.image`: `Nginx:latest` has upper case letters in its name
      → a reference is `[HOST[:PORT]/]name[:tag][@sha256:…]`, the name in lower case
    compose.yaml:4:15 berth::bad_value
      `services.db.image`: `pg:` has the tag ``, which is none
      → a reference is `[HOST[:PORT]/]name[:tag][@sha256:…]`, the name in lower case
    compose.yaml:5:3 berth::no_image
      `app` has no image
      → add `image:`; `localhost/host` runs the programs of this host
    compose.yaml:6:16 berth::bad_value
      `services.old.image`: `a@sha256:12` has a digest that is none
      → a reference is `[HOST[:PORT]/]name[:tag][@sha256:…]`, the name in lower case
    compose.yaml:6:47 berth::bad_value
      `services.old.container_name`: `-x` is not a container name
      → two or more letters, digits, `.`, `_` and `-`, starting with a letter or digit
    compose.yaml:7:11 berth::bad_name
      `a b` is not a name for a volume
      → names have letters, digits, `.`, `_` and `-`
    ");
}

#[test]
fn values_of_the_system_are_checked() {
    let text = "\
services:
  web:
    image: nginx
    cap_add: [NET_ADMINN, SYS_TIME]
    stop_signal: SIGTREM
    restart: sometimes
    pull_policy: weekely
    dns: [nowhere]
    extra_hosts: [\"a\", \"b=c\"]
    oom_score_adj: 5000
    cpuset: a-b
    networks: {default: {ipv4_address: 1.2.3, mac_address: zz}}
networks:
  default: {ipam: {config: [{subnet: 10.0.0.0, gateway: x}]}}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:4:15 berth::bad_value
      `services.web.cap_add.0`: `NET_ADMINN` is not a capability
      → did you mean `NET_ADMIN`?
    compose.yaml:5:18 berth::bad_value
      `services.web.stop_signal`: `SIGTREM` is not a signal
      → did you mean `SIGTERM`?
    compose.yaml:6:14 berth::bad_value
      `services.web.restart`: `sometimes` is not a restart policy
      → write no, always, unless-stopped, on-failure or on-failure:3
    compose.yaml:7:18 berth::bad_value
      `services.web.pull_policy`: `weekely` is not a pull policy
      → did you mean `weekly`?
    compose.yaml:8:11 berth::bad_value
      `services.web.dns.0`: `nowhere` is not an address
    compose.yaml:9:19 berth::bad_value
      `services.web.extra_hosts`: `a` names no host and address
      → write `name=address`
    compose.yaml:9:24 berth::bad_value
      `services.web.extra_hosts.0`: `b=c` does not end in an address
      → write an IPv4 or IPv6 address, or `host-gateway`
    compose.yaml:10:20 berth::bad_value
      `services.web.oom_score_adj`: `5000` is not between -1000 and 1000
    compose.yaml:11:13 berth::bad_value
      `services.web.cpuset`: `a-b` is not a list of processors
      → write it like `0-1,3`
    compose.yaml:12:40 berth::bad_value
      `services.web.networks.default.ipv4_address`: `1.2.3` is not an IPv4 address
    compose.yaml:12:60 berth::bad_value
      `services.web.networks.default.mac_address`: `zz` is not a MAC address
      → write six pairs of hexadecimal digits: `02:42:ac:11:00:02`
    compose.yaml:14:38 berth::bad_value
      `networks.default.ipam.config.0.subnet`: `10.0.0.0` is not a subnet
      → write an address and a length: `10.1.0.0/24`
    compose.yaml:14:57 berth::bad_value
      `networks.default.ipam.config.0.gateway`: `x` is not an address
    ");
}

#[test]
fn mounts_need_what_they_need() {
    let text = "\
services:
  web:
    image: nginx
    volumes:
      - {type: bind, target: /a}
      - {type: volme, target: /b}
      - {target: /c}
      - \"a:b:c:d\"
      - \"::\"
      - \"data:relative\"
      - {type: volume}
volumes: {data: }
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:5:9 berth::bad_value
      `services.web.volumes.0`: a bind mount needs a source
      → add `source:` with a path of this host
    compose.yaml:6:16 berth::bad_value
      `services.web.volumes.1.type`: `volme` is not known here
      → did you mean `volume`?
    compose.yaml:7:9 berth::missing
      `services.web.volumes`: a mount needs `type`
      → add `type:`
    compose.yaml:8:9 berth::bad_value
      `services.web.volumes.3`: `a:b:c:d` has too many colons
      → write `[SOURCE:]TARGET[:ro]`
    compose.yaml:9:9 berth::bad_value
      `services.web.volumes.4`: `::` has an empty part between its colons
      → write `[SOURCE:]TARGET[:ro]`
    compose.yaml:10:9 berth::bad_value
      `services.web.volumes.3`: `relative` is not an absolute path in the container
      → start it with `/`
    compose.yaml:11:9 berth::bad_value
      `services.web.volumes.4`: the mount has no target
      → add `target:`
    ");
}

#[test]
fn a_service_has_no_endless_number_of_containers() {
    let text = "services:\n  a: {image: i, scale: 99999999999}\n  b: {image: i, deploy: {replicas: 10001}}\n  c: {image: i, scale: 10000}\n";
    assert_snapshot!(brief(&[("compose.yaml", text)]), @"
    compose.yaml:2:24 berth::bad_value
      `services.a.scale`: `99999999999` is not between 0 and 10000
    compose.yaml:3:36 berth::bad_value
      `services.b.deploy.replicas`: `10001` is not between 0 and 10000
    ");
}

#[test]
fn variables_that_cannot_be_read_are_pointed_at() {
    let text = "\
services:
  web:
    image: nginx:${TAG-
    command: echo ${1A} ${B.c}
    environment:
      A: ${MUST:?set it in .env}
      B: \"x ${ALSO?} y\"
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:3:18 berth::interpolation
      `${TAG-` is never closed
      → close it with `}`, or write `$$` where a dollar sign is meant
    compose.yaml:4:19 berth::interpolation
      `${1A}` is not a variable
      → write `${NAME}` or `${NAME:-default}`, and `$$` where a dollar sign is meant
    compose.yaml:6:10 berth::required_variable
      the variable `MUST` must be set: set it in .env
      → set `MUST` in the environment or in `.env`
    compose.yaml:7:13 berth::required_variable
      the variable `ALSO` must be set
      → set `ALSO` in the environment or in `.env`
    ");
}

#[test]
fn a_variable_is_pointed_at_inside_its_text() {
    let text = "services:\n  web:\n    image: registry/${NAME?}:$TAG\n";
    assert_snapshot!(report(&[("compose.yaml", text)]), @r#"
    berth::required_variable

      × the variable `NAME` must be set
       ╭─[compose.yaml:3:21]
     2 │   web:
     3 │     image: registry/${NAME?}:$TAG
       ·                     ───┬──
       ·                        ╰── required here
       ╰────
      help: set `NAME` in the environment or in `.env`
    "#);
}

#[test]
fn what_is_not_done_yet_is_refused_with_its_place() {
    let text = "\
services:
  web:
    image: nginx
    build: .
    volumes: [{type: image, source: a, target: /b}]
    logging: {driver: gelf}
networks:
  default: {driver: macvlan}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:4:5 berth::not_yet
      `services.web.build` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:6:23 berth::not_yet
      `services.web.logging.driver`: the log driver `gelf` is part of the Compose Specification, but berth does not do it yet
      → use json-file, local, none, journald or syslog
    ");
}
