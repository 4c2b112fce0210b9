//! Networks beside a link of the host: macvlan and ipvlan.

use berth_tests::rows::says;
use berth_tests::{TestHost, Vm};

const SERVICE: &str =
    "image: 'busybox:1', command: [sleep, '100000'], stop_grace_period: 0s, cap_add: [NET_RAW]";

/// The network that the host's `wire0` leads to.
const WIRE: &str = "driver: macvlan, driver_opts: { parent: wire0 }, \
                    ipam: { config: [{ subnet: 192.0.2.0/24, gateway: 192.0.2.2, ip_range: 192.0.2.64/28 }] }";

#[test]
fn containers_of_macvlan_are_neighbours_of_those_on_the_wire_and_not_of_the_host() {
    let host = TestHost::with(
        "compose.yaml",
        &format!(
            "services:
  web: {{ {SERVICE}, networks: {{ wire: {{ ipv4_address: 192.0.2.70, aliases: [front] }} }} }}
  other: {{ {SERVICE}, networks: [wire] }}
  both: {{ {SERVICE}, networks: [wire, default], ports: ['8080:80'] }}
networks: {{ wire: {{ {WIRE} }} }}
"
        ),
    );
    let wire = || host.shell("ip -d link show dev wire0; ip addr show dev wire0").succeeds().stdout;
    let before = wire();
    host.berth("up -d").succeeds().stderr_has("G-LINK");
    let of_web = format!("nsenter -n -t {} ip -d link show dev eth0", host.pid_of("web").pid);
    assert!(host.shell(&of_web).succeeds().stdout.contains("macvlan mode bridge"));
    assert_eq!(
        says(&host, "web", "ip -4 route show default | cut -d\" \" -f1-5"),
        "default via 192.0.2.2 dev eth0"
    );
    assert!(says(&host, "web", "ip -o addr show dev eth0").contains("192.0.2.70/24"));
    assert!(says(&host, "other", "ip -o addr show dev eth0").contains("192.0.2.65/24"));
    says(&host, "web", "ping -c 1 -W 5 other");
    says(&host, "other", "ping -c 1 -W 5 front");
    says(&host, "web", "ping -c 1 -W 5 192.0.2.2");
    host.neighbour("busybox ping -c 1 -W 5 192.0.2.70").succeeds();
    let from_host = host.shell("busybox ping -c 1 -W 1 192.0.2.70");
    assert_ne!(from_host.code, 0, "the kernel keeps the host apart: {}", from_host.stdout);
    // A port leads to the link that it can come by.
    let rules = host.shell("nft list table inet berth").succeeds().stdout;
    assert!(rules.contains("8080") && !rules.contains("192.0.2."), "{rules}");
    host.berth("network ls").succeeds().stdout_has("macvlan").stdout_has("wire0");
    host.kill("KILL", host.monitor_of("web"));
    host.berth("up -d").succeeds();
    host.berth("up -d").succeeds().stderr_has("nothing to do");
    host.berth("restart -t 0 web").succeeds();
    host.neighbour("busybox ping -c 1 -W 5 192.0.2.70").succeeds();
    // A second stack on the same wire gives other addresses.
    let second = |range: &str| {
        let wire = WIRE.replace("192.0.2.64/28", range);
        let text = format!(
            "services: {{ db: {{ {SERVICE}, networks: [wire] }} }}\nnetworks: {{ wire: {{ {wire} }} }}\n"
        );
        host.write("second/compose.yaml", &text);
        host.berth("-f second/compose.yaml -p second up -d")
    };
    second("192.0.2.72/29").fails_with(1).stderr_has("choose another `ip_range`");
    second("192.0.2.80/28").succeeds();
    host.neighbour("busybox ping -c 1 -W 5 192.0.2.80").succeeds();
    host.berth("-f second/compose.yaml -p second down").succeeds();
    host.berth("down").succeeds();
    assert_eq!(wire(), before);
}

#[test]
fn after_a_reboot_such_a_network_takes_new_containers() {
    let web = format!("  web: {{ {SERVICE}, networks: {{ wire: {{ aliases: [front] }} }} }}\n");
    let stack =
        |other: &str| format!("services:\n{web}{other}networks: {{ wire: {{ {WIRE} }} }}\n");
    let host = TestHost::with("compose.yaml", &stack(""));
    host.berth("up -d").succeeds();
    // A reboot takes every process and `/run`, but not the link of the host.
    let all = format!("{} {}", host.monitor_of("web"), host.pid_of("web").pid);
    host.shell(&format!("kill -KILL {all}; rm -rf /run/berth")).succeeds();
    host.eventually("the cgroups are empty and gone", || {
        host.shell("for d in /sys/fs/cgroup/*/berth; do [ ! -d $d ] || find $d -depth -type d -exec rmdir {} +; done").code == 0
    });
    host.write("compose.yaml", &stack(&format!("  other: {{ {SERVICE}, networks: [wire] }}\n")));
    host.berth("plan").stdout_has("the names on it are gone");
    host.berth("up -d other").succeeds();
    // Those of who does not run yet are its own already.
    host.shell("grep -q front /run/berth/names/stack_wire/stack-web-1").succeeds();
    host.berth("up -d").succeeds();
    says(&host, "other", "ping -c 1 -W 5 front");
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn what_such_a_network_cannot_have_is_refused() {
    let host = TestHost::with("compose.yaml", "services: { web: { image: 'busybox:1' } }");
    let refused = |service: &str, network: &str, why: &str| {
        let text = format!(
            "services: {{ web: {{ image: 'busybox:1', command: [sleep, '100000'], {service} }} }}\nnetworks: {{ wire: {{ {network} }} }}\n"
        );
        host.write("compose.yaml", &text);
        let place = if network.contains("eth7") { "" } else { "compose.yaml:" };
        let done = host.berth("up -d");
        assert_ne!(done.code, 0, "{text}");
        done.stderr_has(why).stderr_has(place);
    };
    let on = "networks: [wire]";
    refused(on, "driver: macvlan, driver_opts: { parent: wire0 }", "needs the subnet");
    refused(on, &format!("{WIRE}, internal: true"), "take `internal` away");
    refused(
        on,
        &WIRE.replace("parent: wire0", "parent: wire0, macvlan_mode: brigde"),
        "did you mean `bridge`?",
    );
    refused(on, &WIRE.replace("parent: wire0", "parent: wire0, ipvlan_mode: l2"), "no such option");
    refused(&format!("{on}, ports: ['80:80']"), WIRE, "take `ports` away");
    let ipvlan = WIRE.replace("macvlan", "ipvlan");
    refused(
        "networks: { wire: { mac_address: '02:42:0a:00:00:09' } }",
        &ipvlan,
        "use the driver `macvlan`",
    );
    refused(on, &WIRE.replace("wire0", "eth7"), "this host has no link `eth7`");
    let both = format!("{WIRE} }}, eth7: {{ {}", WIRE.replace("192.0.2", "198.51.100"));
    let on_both = "networks: [wire, eth7]";
    refused(on_both, &both.replacen("macvlan", "ipvlan", 1), "as macvlan (bridge)");
    let passed = both.replacen("wire0 }", "wire0, macvlan_mode: passthru }", 1);
    refused(on_both, &passed, "make both the same, or name another `parent`");
    assert_eq!(host.berth("network ls -q").succeeds().stdout, "");
}

#[test]
fn modes_of_macvlan_say_who_reaches_whom_beside_a_link() {
    let stack = |mode: &str, replicas: u32| {
        let wire = WIRE.replace("wire0 }", &format!("wire0, macvlan_mode: {mode} }}"));
        format!(
            "services: {{ web: {{ {SERVICE}, scale: {replicas}, networks: [wire] }} }}\n\
             networks: {{ wire: {{ {wire} }} }}\n"
        )
    };
    let host = TestHost::with("compose.yaml", &stack("vepa", 2));
    host.shell("ip link property add dev wire0 altname uplink").succeeds();
    let wire = || host.shell("ip -d link show dev wire0; ip addr show dev wire0").succeeds().stdout;
    let before = wire();
    for (mode, told) in [("vepa", "mode vepa"), ("private", "mode private")] {
        host.write("compose.yaml", &stack(mode, 2));
        host.berth("up -d").succeeds();
        let link = format!("nsenter -n -t {} ip -d link show dev eth0", host.pid_of("web").pid);
        assert!(host.shell(&link).succeeds().stdout.contains(told), "{mode}");
        // No switch is there that sends back what one of them sends to the other.
        let asked = host.berth("exec -T --index 1 web ping -c 1 -W 1 192.0.2.65");
        asked.fails_with(1).stdout_has("100% packet loss");
        for address in ["192.0.2.64", "192.0.2.65"] {
            host.neighbour(&format!("busybox ping -c 1 -W 5 {address}")).succeeds();
        }
    }
    host.berth("down").succeeds();
    host.write("compose.yaml", &stack("passthru", 2));
    host.berth("up -d").fails_with(1).stderr_has("leaves its link to one container");
    assert_eq!(host.berth("network ls -q").succeeds().stdout, "");
    // By another of its names.
    let alone = stack("passthru", 1).replace("parent: wire0", "parent: uplink");
    host.write("compose.yaml", &alone);
    host.berth("up -d").succeeds();
    host.berth("up -d").succeeds().stderr_has("nothing to do");
    let address = "sed 's/ *$//' /sys/class/net/eth0/address";
    let own = host.shell("cat /sys/class/net/wire0/address").succeeds().stdout;
    assert_eq!(says(&host, "web", address), own.trim());
    host.neighbour("busybox ping -c 1 -W 5 192.0.2.64").succeeds();
    // Replaced, the old one has left the link before the new one comes.
    host.write("compose.yaml", &alone.replace("scale", "environment: [A=1], scale"));
    host.berth("up -d").succeeds();
    host.neighbour("busybox ping -c 1 -W 5 192.0.2.64").succeeds();
    host.berth("down").succeeds();
    assert_eq!(wire(), before);
    host.shell("ip link property del dev wire0 altname uplink").succeeds();
}

const VLANS: &str = "
x-all: &all { image: busybox:1, command: [sleep, '100000'], stop_grace_period: 0s, cap_add: [NET_RAW] }
services:
  a: { <<: *all, networks: { tagged: { ipv4_address: 10.7.0.10 } } }
  b: { <<: *all, networks: { tagged: { ipv4_address: 10.7.0.11 } } }
  routed: { <<: *all, networks: { routed: { ipv4_address: 10.8.0.10 } } }
  strict: { <<: *all, networks: { strict: { ipv4_address: 10.6.0.10 } } }
  other: { <<: *all, networks: { strict: { ipv4_address: 10.6.0.11 } } }
  alone: { <<: *all, networks: { inner: { ipv4_address: 10.9.0.10 } } }
  beside: { <<: *all, networks: { inner: { ipv4_address: 10.9.0.11 } } }
networks:
  tagged: { driver: ipvlan, driver_opts: { parent: up0.10 }, ipam: { config: [{ subnet: 10.7.0.0/24 }] } }
  routed: { driver: ipvlan, driver_opts: { parent: up1, ipvlan_mode: l3 }, ipam: { config: [{ subnet: 10.8.0.0/24 }] } }
  strict: { driver: ipvlan, driver_opts: { parent: up2, ipvlan_mode: l3s }, ipam: { config: [{ subnet: 10.6.0.0/24 }] } }
  inner: { driver: macvlan, ipam: { config: [{ subnet: 10.9.0.0/24 }] } }
";

const SCRIPT: &str = r#"
step load berth image load -q -i /given/busybox.tar
for link in up0 up1 up2; do
  ip link add $link type veth peer name far-$link || ip link add $link type veth
  ip link set $link up
done
for link in /sys/class/net/*; do ip link set ${link##*/} up; done
links() { ls /sys/class/net | grep -v '^\(lo\|sit0\)$' | tr '\n' ' '; echo; }
modprobe dummy # which makes one of its own
step before links
step up berth up -d
step made links
at() { berth exec -T $1 sh -c "$2"; }
step a at a "'ip -o addr show dev eth0 | grep -c 10.7.0.10/24; ip route; ping -c 1 -W 5 10.7.0.11 >/dev/null && echo there'"
step routed at routed "'ip route'"
step strict at strict "'ip route; ping -c 1 -W 5 10.6.0.11 >/dev/null && echo there'"
step alone at alone "'ip route; ping -c 1 -W 5 beside >/dev/null && echo there'"
step again berth up -d
step doctor "berth doctor --format json; true"
step down berth down
step after links
"#;

#[test]
fn vlans_and_links_that_lead_nowhere_are_made_and_taken_away() {
    let vm = match Vm::run(&[("compose.yaml", VLANS)], SCRIPT) {
        Ok(vm) => vm,
        Err(why) => return berth_tests::skipped(&why),
    };
    vm.ok("load");
    vm.ok("up");
    let made = vm.ok("made").to_owned();
    assert!(made.contains("up0.10") && made.contains("br-"), "{made}");
    assert_eq!(
        vm.ok("a"),
        "1\ndefault via 10.7.0.1 dev eth0 \n10.7.0.0/24 dev eth0 scope link  src 10.7.0.10 \nthere"
    );
    assert_eq!(
        vm.ok("routed"),
        "default dev eth0 scope link \n10.8.0.0/24 dev eth0 scope link  src 10.8.0.10"
    );
    assert_eq!(
        vm.ok("strict"),
        "default dev eth0 scope link \n10.6.0.0/24 dev eth0 scope link  src 10.6.0.10 \nthere"
    );
    assert_eq!(vm.ok("alone"), "10.9.0.0/24 dev eth0 scope link  src 10.9.0.10 \nthere");
    assert!(vm.ok("again").contains("nothing to do"));
    // They need neither rules nor forwarding, and nothing turned it on.
    let doctor = vm.ok("doctor");
    assert!(doctor.contains("off; berth turns it on with the first network"), "{doctor}");
    assert!(!doctor.contains("table inet berth"), "{doctor}");
    vm.ok("down");
    assert_eq!(vm.ok("after"), vm.ok("before"));
}
