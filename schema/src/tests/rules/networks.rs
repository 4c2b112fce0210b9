//! Ports, addresses and pools that cannot all be.

use insta::assert_snapshot;

use crate::tests::{problems, report};

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
fn a_shared_network_excludes_what_belongs_to_its_owner() {
    let text = "\
services:
  a: {image: i}
  b: {image: i, network_mode: \"service:a\", ports: [\"80:80\"], hostname: b, dns: [1.1.1.1], extra_hosts: [\"h=1.2.3.4\"]}
  c: {image: i, network_mode: host, sysctls: {net.core.somaxconn: 5}}
  d: {image: i, sysctls: {vm.max_map_count: 262144, kernel.shmmax: 5}}
  e: {image: i, privileged: true, sysctls: {vm.swappiness: 5}}
  f: {image: i, network_mode: \"service:a\", sysctls: {net.core.somaxconn: 5}}
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
      → set it where it belongs, or take one of them away
    compose.yaml:5:27 berth::bad_value
      `services.d.sysctls.vm.max_map_count` is a setting of the whole host
      → a container can set `net.*`, `kernel.shm*`, `kernel.msg*`, `kernel.sem` and `fs.mqueue.*`
    compose.yaml:6:45 berth::bad_value
      `services.e.sysctls.vm.swappiness` is a setting of the whole host
      → a container can set `net.*`, `kernel.shm*`, `kernel.msg*`, `kernel.sem` and `fs.mqueue.*`
    compose.yaml:7:54 berth::conflict
      `f` sets `net.core.somaxconn` and has the network of another
      → set it where it belongs, or take one of them away
    ");
}

#[test]
fn what_is_no_kernel_setting_is_refused_where_it_stands() {
    let text = "\
services:
  a:
    image: i
    sysctls:
      net/../kernel/modprobe: 1
      net..core: 1
      net.: 1
      net.a b: 1
      net/ipv4/conf/eth0.1/forwarding: 1
      net.core.somaxconn: \"1\\n2\"
      kernel.sem: \"1 2\\t3 4\"
  b: {image: i, ipc: \"container:x\", sysctls: {fs/mqueue/msg_max: 5}}
  c: {image: i, uts: host, sysctls: {kernel.domainname: x}}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:5:7 berth::bad_name
      `services.a.sysctls.net/../kernel/modprobe` is no name of a kernel setting
      → write `net.core.somaxconn`, with slashes where a part has a dot in it
    compose.yaml:6:7 berth::bad_name
      `services.a.sysctls.net..core` is no name of a kernel setting
      → write `net.core.somaxconn`, with slashes where a part has a dot in it
    compose.yaml:7:7 berth::bad_name
      `services.a.sysctls.net.` is no name of a kernel setting
      → write `net.core.somaxconn`, with slashes where a part has a dot in it
    compose.yaml:8:7 berth::bad_name
      `services.a.sysctls.net.a b` is no name of a kernel setting
      → write `net.core.somaxconn`, with slashes where a part has a dot in it
    compose.yaml:10:27 berth::bad_value
      `services.a.sysctls.net.core.somaxconn`: `1
    2` is no value of a kernel setting
      → a value is one line of at most 256 bytes
    compose.yaml:12:47 berth::conflict
      `b` sets `fs/mqueue/msg_max` and has the shared memory of another
      → set it where it belongs, or take one of them away
    compose.yaml:13:38 berth::conflict
      `c` sets `kernel.domainname` and has the names of the host
      → set it where it belongs, or take one of them away
    ");
}

#[test]
fn an_empty_name_is_no_name_of_a_network_or_volume() {
    let text = "\
services:
  a: {image: i, networks: [n], volumes: [data:/v]}
networks: {n: {name: \"\"}}
volumes: {data: {name: \"\"}}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:3:22 berth::bad_name
      `networks.n.name` is empty
      → write a name, or take the key away
    compose.yaml:4:24 berth::bad_name
      `volumes.data.name` is empty
      → write a name, or take the key away
    ");
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
fn a_container_does_not_ask_its_own_resolver_what_that_does_not_know() {
    let text = "\
services:
  a: {image: i, dns: 127.0.0.11}
  b: {image: i, dns: [127.0.0.1, '::ffff:127.0.0.11', '::1']}
  c: {image: i, dns: 127.0.0.11, network_mode: host}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:2:22 berth::bad_value
      `services.a.dns.0`: `127.0.0.11` is where the container asks for names, and would ask itself
      → leave it out, for the servers the host uses, or name another server
    compose.yaml:3:34 berth::bad_value
      `services.b.dns.1`: `::ffff:127.0.0.11` is where the container asks for names, and would ask itself
      → leave it out, for the servers the host uses, or name another server
    ");
}
