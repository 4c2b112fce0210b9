//! Broken files: every problem of each in one run, with place, words and advice.

use insta::assert_snapshot;

use super::{brief, load_all, options, problems, report};
use crate::LoadOptions;

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
fn duplicate_keys_show_both_places() {
    let text = "\
services:
  web:
    image: a
    image: b
    environment: {A: 1, \"A\": 2}
  web:
    image: c
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:5 berth::duplicate_key
      the key `image` stands twice in one map
      → keep one of them
    compose.yaml:5:25 berth::duplicate_key
      the key `A` stands twice in one map
      → keep one of them
    compose.yaml:6:3 berth::duplicate_key
      the key `web` stands twice in one map
      → keep one of them
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
fn not_yaml_at_all() {
    let text = "\
services:
  web:
    image: \"nginx
    ports: [80
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:3:12 berth::syntax
      this quote is never closed
      → close it with `"`
    "#);
}

#[test]
fn tabs_are_explained() {
    let text = "\
services:
\tweb:
\t\timage: nginx
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:2:1 berth::syntax
      a tab stands in the indentation, and YAML allows spaces only
      → put spaces in the place of every tab; two for each level are usual
    ");
}

#[test]
fn an_empty_file_is_an_error() {
    let text = "\
# nothing
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:1:1 berth::wrong_type
      the Compose file is empty
      → start with `services:` and the services below it
    "#);
}

#[test]
fn a_list_is_no_compose_file() {
    let text = "\
- services
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:1:3 berth::wrong_type
      a Compose file is a map, and this is a list
      → start with `services:` and the services below it
    "#);
}

#[test]
fn a_space_in_a_port_makes_a_map_of_it() {
    let text = "\
services:
  web:
    image: nginx
    ports:
      - 8080: 80
      - 9000: \"90\" # the other
      - 127.0.0.1:70: 7
      - {7: 8, 1: 2}
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:5:9 berth::unknown_key
      `services.web.ports.0`: a port has no attribute `8080`
      → take the space behind the colon away: `- "8080:80"`
    compose.yaml:6:9 berth::unknown_key
      `services.web.ports.1`: a port has no attribute `9000`
      → take the space behind the colon away: `- "9000:90"`
    compose.yaml:7:9 berth::unknown_key
      `services.web.ports.2`: a port has no attribute `127.0.0.1:70`
      → take the space behind the colon away: `- "127.0.0.1:70:7"`
    compose.yaml:8:10 berth::unknown_key
      `services.web.ports.3`: a port has no attribute `7`
      → a port has app_protocol, host_ip, mode, name, protocol, published, target
    compose.yaml:8:16 berth::unknown_key
      `services.web.ports.3`: a port has no attribute `1`
      → a port has app_protocol, host_ip, mode, name, protocol, published, target
    "#);
}

#[test]
fn keys_that_are_not_text() {
    let text = "\
services:
  1: {image: a}
  web:
    image: nginx
    labels: {true: x, 2001-12-14: y}
    ? {a: b}
    : c
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:2:3 berth::key_not_text
      the key `1` is a number, keys are text
      → write it in quotes: `"1":`
    compose.yaml:5:14 berth::key_not_text
      the key `true` is a boolean, keys are text
      → write it in quotes: `"true":`
    compose.yaml:5:23 berth::key_not_text
      the key `2001-12-14` is a date, keys are text
      → write it in quotes: `"2001-12-14":`
    compose.yaml:6:7 berth::key_not_text
      a key is a map, keys are text
      → fill a template `{{ … }}` in first, or put the value in quotes
    "#);
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
fn what_is_not_done_yet_is_refused_with_its_place() {
    let text = "\
services:
  web:
    image: nginx
    build: .
    devices: [\"/dev/fuse\"]
    pid: host
    security_opt: [no-new-privileges]
    networks: {default: {interface_name: eth7}}
    volumes: [{type: image, source: a, target: /b}]
    logging: {driver: syslog}
    deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}
networks:
  default: {driver: macvlan}
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:5 berth::not_yet
      `services.web.build` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:5:5 berth::not_yet
      `services.web.devices` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:6:5 berth::not_yet
      `services.web.pid` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:7:5 berth::not_yet
      `services.web.security_opt` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:8:26 berth::not_yet
      `services.web.networks.default.interface_name` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:9:22 berth::not_yet
      `services.web.volumes.0`: a mount of type `image` is part of the Compose Specification, but berth does not do it yet
      → use a volume, a bind mount or a tmpfs
    compose.yaml:10:23 berth::not_yet
      `services.web.logging.driver`: the log driver `syslog` is part of the Compose Specification, but berth does not do it yet
      → use json-file, local or none
    compose.yaml:11:41 berth::not_yet
      `services.web.deploy.resources.reservations.devices` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:13:21 berth::not_yet
      `networks.default`: the network driver `macvlan` is part of the Compose Specification, but berth does not do it yet
      → use bridge
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
fn an_alias_cannot_hold_itself() {
    let text = "\
x-a: &a {b: *a}
services:
  web: {image: nginx, <<: [1]}
  db:
    <<: text
    image: pg
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:1:13 berth::cycle
      this alias stands inside the value it refers to
      → write the value out here
    compose.yaml:3:28 berth::wrong_type
      `<<` merges maps, and this is a number
      → write `<<: *anchor` with the anchor on a map
    compose.yaml:5:9 berth::wrong_type
      `<<` merges maps, and this is text
      → write `<<: *anchor` with the anchor on a map
    ");
}

#[test]
fn problems_in_other_files_name_those_files() {
    let files = [
        (
            "compose.yaml",
            "include: [part.yaml]\nservices:\n  web:\n    extends: {file: base.yaml, service: bse}\n  app:\n    extends: {file: base.yaml, service: base}\n    ports: [\"x\"]\n",
        ),
        ("part.yaml", "services:\n  db: {image: pg, tty: 7}\n"),
        ("base.yaml", "services:\n  base: {image: a, imag: b}\n"),
    ];
    assert_snapshot!(brief(&files), @r#"
    compose.yaml:4:41 berth::unknown_service
      there is no service `bse` in `base.yaml` to extend
      → did you mean `base`?
    compose.yaml:7:13 berth::bad_value
      `services.app.ports.0`: `x` is not a port
      → ports are 1 to 65535; a range is written `8000-8010`
    base.yaml:2:20 berth::unknown_key
      `services.base`: a service has no attribute `imag`
      → did you mean `image`?
    part.yaml:2:24 berth::wrong_type
      `services.db.tty` must be true or false, and this is a number
    "#);
}

#[test]
fn files_that_are_not_there() {
    let files = [(
        "compose.yaml",
        "include: [gone.yaml]\nservices:\n  web:\n    image: a\n    env_file: [gone.env]\n    label_file: gone.labels\n  app:\n    extends: {file: gone-too.yaml, service: a}\n",
    )];
    assert_snapshot!(brief(&files), @r#"
    compose.yaml:1:11 berth::unreadable
      the file `gone.yaml` does not exist
      → create it, or correct the path
    compose.yaml:5:16 berth::unreadable
      the environment file `gone.env` does not exist
      → create it, or write `{ path: gone.env, required: false }` if the service can do without
    compose.yaml:6:17 berth::unreadable
      the label file `gone.labels` does not exist
      → create it, or take the line away
    compose.yaml:8:21 berth::unreadable
      the file `gone-too.yaml` does not exist
      → create it, or correct the path
    "#);
}

#[test]
fn broken_lines_of_environment_files() {
    let files = [
        (
            "compose.yaml",
            "services:\n  web:\n    image: a\n    env_file: [a.env, {path: b.env, format: raw}, {path: a.env, format: new}]\n",
        ),
        (".env", "OK=1\nNOT OK=2\n"),
        ("a.env", "A=1\nB=\"open\n"),
        ("b.env", "no name=1\n"),
    ];
    assert_snapshot!(brief(&files), @r#"
    .env:2:1 berth::env_file
      `NOT OK` is no name of a variable: it has a space in it
      → write one `NAME=value` in each line
    compose.yaml:4:73 berth::bad_value
      `new` is not a format of an environment file
      → write `raw`, or take the key away
    a.env:2:3 berth::env_file
      a quote is opened and never closed
      → close it where the value ends; a value in quotes may have several lines
    b.env:1:1 berth::env_file
      `no name` is no name of a variable
      → write one `NAME=value` in each line
    "#);
}

#[test]
fn services_that_extend_each_other_in_a_circle() {
    let files = [
        (
            "compose.yaml",
            "services:\n  a: {image: i, extends: b}\n  b: {extends: {service: a}}\n  c: {extends: {file: c.yaml, service: d}}\n",
        ),
        ("c.yaml", "services:\n  d: {extends: {file: ./c.yaml, service: d}}\n"),
    ];
    assert_snapshot!(brief(&files), @r#"
    compose.yaml:2:26 berth::cycle
      services extend each other in a circle: a → b → a
      → move what they share into a service that extends nothing
    c.yaml:2:16 berth::cycle
      services extend each other in a circle: d → d
      → move what they share into a service that extends nothing
    "#);
}

#[test]
fn files_that_include_each_other() {
    let files = [
        ("compose.yaml", "include: [a.yaml]\nservices: {w: {image: i}}\n"),
        ("a.yaml", "include: [b.yaml]\n"),
        ("b.yaml", "include: [a.yaml]\nservices: {x: {image: I}}\n"),
    ];
    assert_snapshot!(brief(&files), @r"
    b.yaml:1:11 berth::cycle
      files include each other in a circle: a.yaml → b.yaml → a.yaml
      → take it out of the list
    b.yaml:2:23 berth::bad_value
      `services.x.image`: `I` has upper case letters in its name
      → a reference is `[HOST[:PORT]/]name[:tag][@sha256:…]`, the name in lower case
    ");
}

#[test]
fn every_path_of_a_part_is_checked() {
    let files = [
        (
            "compose.yaml",
            "include:\n  - path: [a.yaml, b.yaml]\n  - path: [c.yaml, \"oci://r.io/x\"]\n",
        ),
        ("a.yaml", "services: {w: {image: i}}\n"),
        ("b.yaml", "include:\n  - path: [c.yaml, b.yaml]\n"),
        ("c.yaml", "services: {x: {image: i}}\n"),
    ];
    assert_snapshot!(brief(&files), @"
    compose.yaml:3:20 berth::not_yet
      files from elsewhere are not included
      → fetch the files and include them by path
    b.yaml:2:20 berth::cycle
      files include each other in a circle: b.yaml → b.yaml
      → take it out of the list
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
fn signs_that_stand_alone_are_no_words_of_the_parser() {
    for (text, message) in [
        ("%YAML 1.1\n", "no document follows this directive"),
        ("\"\n", "this quote is never closed"),
        ("services:\n  a: &a *a\n", "an alias cannot have an anchor of its own"),
    ] {
        let told = brief(&[("compose.yaml", text)]);
        assert!(told.contains(message), "{told}");
    }
}

#[test]
fn remote_parts_are_refused() {
    let files = [(
        "compose.yaml",
        "include: [\"https://example.com/a.git\", \"oci://r.io/x\"]\nservices:\n  w: {image: i, extends: {file: \"git@example.com:a/b\", service: s}}\n",
    )];
    assert_snapshot!(brief(&files), @r#"
    compose.yaml:1:11 berth::not_yet
      files from elsewhere are not included
      → fetch the files and include them by path
    compose.yaml:1:40 berth::not_yet
      files from elsewhere are not included
      → fetch the files and include them by path
    compose.yaml:3:33 berth::not_yet
      services of files from elsewhere are not extended
      → fetch the file and name it by path
    "#);
}

#[test]
fn a_file_from_elsewhere_is_refused_by_name() {
    for file in ["https://example.com/compose.yaml", "git@example.com:a/b.git", "oci://r.io/x"] {
        let options = LoadOptions { files: vec![file.into()], ..options() };
        let told = load_all(&[], &options).unwrap_err();
        assert_eq!(told.to_string(), format!("`{file}` is no file of this host"));
        assert_eq!(told.0[0].advice(), Some("fetch it, and name the file by its path"));
    }
    let extends = "services:\n  w: {extends: {file: 'https://example.com/a.yaml', service: s}}\n";
    assert_snapshot!(brief(&[("compose.yaml", extends)]), @"
    compose.yaml:2:23 berth::not_yet
      services of files from elsewhere are not extended
      → fetch the file and name it by path
    ");
}

#[test]
fn parts_that_include_each_other_by_a_detour_are_a_circle() {
    let files = [
        ("compose.yaml", "include: [sub/../part.yaml]\n"),
        ("part.yaml", "include: [./sub/../compose.yaml]\nservices: {a: {image: i}}\n"),
    ];
    assert_snapshot!(brief(&files), @"
    part.yaml:1:11 berth::cycle
      files include each other in a circle: compose.yaml → part.yaml → compose.yaml
      → take it out of the list
    ");
}

#[test]
fn of_a_very_long_line_the_place_is_shown() {
    let long = "v".repeat(3000);
    let text = format!("services: {{a: {{image: i, x-a: {long}, prots: [1], x-b: {long}}}}}\n");
    assert_snapshot!(report(&[("compose.yaml", &text)]), @r"
    berth::unknown_key

      × `services.a`: a service has no attribute `prots`
       ╭─[compose.yaml:1:3033]
     1 │ vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv, prots: [1], x-b: vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv
       ·                                                   ──┬──
       ·                                                     ╰── unknown
       ╰────
      help: did you mean `ports`?
    ");
    let apart = format!(
        "services: {{a: {{image: i, network_mode: host, x-a: {long}, networks: [x]}}}}\nnetworks: {{x: }}\n"
    );
    assert_snapshot!(report(&[("compose.yaml", &apart)]), @r"
    berth::conflict

      × `a` has `network_mode` and `networks`, and only one of them can be
       ╭─[compose.yaml:1:40]
     1 │ services: {a: {image: i, network_mode: host, x-a: vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv
       ·                                        ──┬─
       ·                                          ╰── this
       ╰────
       ╭─[compose.yaml:1:3063]
     1 │ vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv, networks: [x]}}
       ·                                                   ─┬─
       ·                                                    ╰── and this
       ╰────
      help: keep one of them
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
fn a_duplicate_key_is_shown_with_its_first_place() {
    let text = "services:\n  web:\n    image: a\n    tty: true\n    image: b\n";
    assert_snapshot!(report(&[("compose.yaml", text)]), @r#"
    berth::duplicate_key

      × the key `image` stands twice in one map
       ╭─[compose.yaml:3:5]
     2 │   web:
     3 │     image: a
       ·     ──┬──
       ·       ╰── first here
     4 │     tty: true
     5 │     image: b
       ·     ──┬──
       ·       ╰── again here
       ╰────
      help: keep one of them
    "#);
}
