//! A container on its networks, attribute by attribute, seen from inside.

use berth_tests::TestHost;
use berth_tests::rows::says;

/// Containers that sleep; `{}` stands for what each of them has besides.
fn sleeping(services: &[(&str, &str)], networks: &str) -> String {
    let service = |(name, more): &(&str, &str)| {
        format!(
            "  {name}: {{ image: 'busybox:1', command: [sleep, '100000'], stop_grace_period: 0s, {more} }}\n"
        )
    };
    let services: String = services.iter().map(service).collect();
    format!("services:\n{services}networks: {networks}\n")
}

#[track_caller]
fn up(services: &[(&str, &str)], networks: &str) -> TestHost {
    let host = TestHost::with("compose.yaml", &sleeping(services, networks));
    host.berth("up -d").succeeds();
    host
}

/// Addresses of a link: those of the subnet and of the link alone, but the one the kernel makes.
fn addresses(host: &TestHost, service: &str, link: &str) -> String {
    let shown = says(host, service, &format!("ip -o addr show dev {link}"));
    let mut all: Vec<String> = shown
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(2);
            let (_, address) = (words.next()?, words.next()?);
            // Made from the MAC address: not told by anybody.
            (!address.contains("ff:fe")).then(|| address.to_owned())
        })
        .collect();
    all.sort();
    all.join(" ")
}

#[test]
fn a_link_has_the_name_of_the_file_and_others_the_next_free_one() {
    let networks = "{ a: {}, b: {}, c: {} }";
    let host = up(
        &[
            (
                "web",
                "networks: { a: { interface_name: eth0 }, b: { priority: 5 }, \
                 c: { driver_opts: { com.docker.network.endpoint.ifname: wan.7 } } }",
            ),
            ("plain", "networks: [a, b]"),
        ],
        networks,
    );
    let mac = |service: &str, link: &str| {
        says(&host, service, &format!("cat /sys/class/net/{link}/address"))
    };
    assert_eq!(says(&host, "web", "ls /sys/class/net"), "eth0\neth1\nlo\nwan.7");
    assert_eq!(says(&host, "plain", "ls /sys/class/net"), "eth0\neth1\nlo");
    // The same network, so the same subnet; what is made first has no name of its own.
    let subnet = |service: &str, link: &str| {
        addresses(&host, service, link).rsplit_once('.').unwrap().0.to_owned()
    };
    assert_eq!(subnet("web", "eth0"), subnet("plain", "eth0"));
    assert_eq!(subnet("web", "eth1"), subnet("plain", "eth1"));
    let order = says(&host, "web", "ip -o link | cut -d: -f2 | cut -d@ -f1");
    assert_eq!(order.split_whitespace().collect::<Vec<_>>(), ["lo", "eth1", "eth0", "wan.7"]);
    let before = mac("web", "wan.7");
    host.berth("restart -t 0 web").succeeds();
    assert_eq!(
        (before, says(&host, "web", "ls /sys/class/net")),
        (mac("web", "wan.7"), "eth0\neth1\nlo\nwan.7".to_owned())
    );
    host.berth("up -d").succeeds().stderr_has("nothing to do");
    host.edit("compose.yaml", "interface_name: eth0", "interface_name: wan.7");
    host.berth("up -d").fails_with(65).stderr_has("both `wan.7`").stderr_has("compose.yaml:2:");
    host.edit("compose.yaml", "interface_name: wan.7", "interface_name: lan");
    host.berth("plan").succeeds().stdout_has("networks.stack_a.interface_name");
}

#[test]
fn addresses_of_the_link_reach_their_neighbours_without_any_ipv6_network() {
    let host = up(
        &[
            (
                "web",
                "cap_add: [NET_RAW], networks: { default: { link_local_ips: [169.254.8.8, 'fe80::8'] } }",
            ),
            ("other", "networks: { default: { link_local_ips: ['fe80::9', 169.254.8.9] } }"),
            ("plain", ""),
        ],
        "{ default: { ipam: { config: [{ subnet: 10.97.0.0/24 }] } } }",
    );
    assert_eq!(addresses(&host, "web", "eth0"), "10.97.0.4/24 169.254.8.8/16 fe80::8/64");
    assert_eq!(addresses(&host, "plain", "eth0"), "10.97.0.3/24");
    assert!(
        says(&host, "web", "ip -o addr").contains("169.254.8.8/16 brd 169.254.255.255 scope link")
    );
    says(&host, "web", "ping -c 1 -W 5 169.254.8.9");
    says(&host, "web", "ping -c 1 -W 5 fe80::9%eth0");
    assert_eq!(says(&host, "plain", "cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6"), "1");
    host.berth("up -d").succeeds().stderr_has("nothing to do");
    host.edit("compose.yaml", "169.254.8.9", "169.254.8.8");
    host.berth("up -d").fails_with(65).stderr_has("have the same address on `default`");
    host.edit("compose.yaml", "'fe80::9', 169.254.8.8", "10.97.0.9");
    host.berth("up -d")
        .fails_with(65)
        .stderr_has("is not an address of a link")
        .stderr_has("compose.yaml:3:");
}

#[test]
fn settings_of_a_link_are_of_that_link_alone() {
    let sysctls = "com.docker.network.endpoint.sysctls";
    let host = up(
        &[
            (
                "web",
                &format!(
                    "networks: {{ a: {{ interface_name: w.1, driver_opts: {{ {sysctls}: \
                     'net.ipv4.conf.IFNAME.log_martians=1, net.ipv6.neigh.IFNAME.app_solicit=2' }} }}, b: {{}} }}"
                ),
            ),
            ("plain", "networks: [a]"),
        ],
        "{ a: {}, b: {} }",
    );
    let see = |service: &str, link: &str| {
        let all = format!("cat ipv4/conf/{link}/log_martians ipv6/neigh/{link}/app_solicit");
        says(&host, service, &format!("cd /proc/sys/net; {all}"))
    };
    assert_eq!(see("web", "w.1"), "1\n2");
    assert_eq!((see("web", "eth0"), see("plain", "eth0")), ("0\n0".into(), "0\n0".into()));
    host.berth("restart -t 0 web").succeeds();
    assert_eq!(see("web", "w.1"), "1\n2");
    host.edit("compose.yaml", "log_martians", "of_nobody");
    host.berth("up -d").fails_with(1).stderr_has("write sysctl `net/ipv4/conf/w.1/of_nobody`");
    host.edit("compose.yaml", "conf.IFNAME.of_nobody", "conf.all.forwarding");
    host.berth("up -d").fails_with(65).stderr_has("IFNAME").stderr_has("compose.yaml:2:");
}

#[test]
fn each_family_leaves_by_its_best_network() {
    let host = up(
        &[
            (
                "web",
                "networks: { four: { gw_priority: 5 }, both: {}, inner: { gw_priority: 9 }, zero: {} }",
            ),
            ("plain", "networks: [zero, both]"),
        ],
        "{ four: { ipam: { config: [{ subnet: 10.97.1.0/24 }] } }, \
           both: { enable_ipv6: true, ipam: { config: [{ subnet: 10.97.2.0/24 }, { subnet: 'fd97:2::/64' }] } }, \
           inner: { internal: true, enable_ipv6: true }, \
           zero: { enable_ipv6: true, ipam: { config: [{ subnet: 10.97.3.0/24 }, { subnet: 'fd97:3::/64' }] } } }",
    );
    let ways = |service: &str, family: &str| {
        says(&host, service, &format!("ip {family} route show default | cut -d' ' -f1-5"))
    };
    assert_eq!(ways("web", "-4"), "default via 10.97.1.1 dev eth1");
    assert_eq!(ways("web", "-6"), "default via fd97:2::1 dev eth0");
    assert_eq!(ways("plain", "-4"), "default via 10.97.2.1 dev eth0");
    assert_eq!(ways("plain", "-6"), "default via fd97:2::1 dev eth0");
    host.edit("compose.yaml", "gw_priority: 5", "gw_priority: -5");
    host.berth("up -d").succeeds();
    assert_eq!(ways("web", "-4"), "default via 10.97.2.1 dev eth0");
}

#[test]
fn fixed_addresses_stay_and_ipv6_is_ready_and_deaf_to_routers() {
    let host = up(
        &[
            (
                "web",
                "cap_add: [NET_RAW], networks: { default: { ipv4_address: 10.97.0.9, ipv6_address: 'fd97::9', \
                 mac_address: '02:42:0a:61:00:63' } }",
            ),
            ("other", ""),
            ("one", "mac_address: '02:42:0a:61:00:64'"),
        ],
        "{ default: { enable_ipv6: true, ipam: { config: [{ subnet: 10.97.0.0/24 }, { subnet: 'fd97::/64' }] } } }",
    );
    let see = |service: &str| {
        let mac = says(&host, service, "cat /sys/class/net/eth0/address");
        format!("{} {mac}", addresses(&host, service, "eth0"))
    };
    let first = ["web", "other", "one"].map(see);
    assert_eq!(first[0], "10.97.0.9/24 fd97::9/64 02:42:0a:61:00:63");
    assert!(first[1].starts_with("10.97.0."), "{first:?}");
    assert!(first[2].ends_with(" 02:42:0a:61:00:64"), "{first:?}");
    host.berth("restart -t 0").succeeds();
    // Of a start that is just over: an address that waits for its test is `tentative`.
    let now = says(&host, "web", "ip -6 -o addr show dev eth0 scope global");
    assert!(now.contains("fd97::9/64") && !now.contains("tentative"), "{now}");
    assert_eq!(says(&host, "web", "cat /proc/sys/net/ipv6/conf/eth0/accept_ra"), "0");
    says(&host, "web", "ping -c 1 -W 5 fd97::1");
    assert_eq!(["web", "other", "one"].map(see), first);
    host.berth("up -d --force-recreate").succeeds();
    assert_eq!(["web", "other", "one"].map(see), first);
}

#[test]
fn an_address_or_a_mac_that_two_have_is_found_before_anything_is_touched() {
    let host = TestHost::with(
        "compose.yaml",
        &sleeping(
            &[(
                "web",
                "networks: { n: { ipv4_address: 10.97.0.9, mac_address: '02:42:0a:61:00:63' } }",
            )],
            "{ n: { name: n, ipam: { config: [{ subnet: 10.97.0.0/24 }] } } }",
        ),
    );
    host.berth("up -d").succeeds();
    let theirs = |more: &str| {
        let text = sleeping(&[("db", more)], "{ n: { name: n, external: true } }");
        host.write("other/compose.yaml", &text);
        host.berth("-f other/compose.yaml -p other up -d")
    };
    theirs("networks: { n: { ipv4_address: 10.97.0.9 } }")
        .fails_with(1)
        .stderr_has("address 10.97.0.9 of `other-db-1` on network `n` is taken by `stack-web-1`");
    theirs("networks: { n: { mac_address: '02-42-0A-61-00-63' } }").fails_with(1).stderr_has(
        "address 02:42:0a:61:00:63 of `other-db-1` on network `n` is taken by `stack-web-1`",
    );
    assert_eq!(host.berth("ps -a -q").succeeds().stdout.lines().count(), 1);
    host.edit("compose.yaml", "ipv4_address: 10.97.0.9, ", "");
    host.berth("up -d --scale web=2").fails_with(1).stderr_has(
        "address 02:42:0a:61:00:63 of `stack-web-2` on network `n` is taken by `stack-web-1`",
    );
}

#[test]
fn a_mode_of_the_network_says_which_links_there_are() {
    let host = up(
        &[
            ("none", "network_mode: none"),
            ("host", "network_mode: host"),
            ("bridge", "network_mode: bridge, mac_address: '02:42:0a:61:00:63'"),
            ("side", "network_mode: 'service:bridge'"),
        ],
        "{}",
    );
    let links = |service: &str| says(&host, service, "ls /sys/class/net").replace('\n', " ");
    assert_eq!(links("none"), "lo");
    assert!(says(&host, "none", "ip -o link show lo").contains("LOWER_UP"));
    assert_eq!(
        host.shell("ls /sys/class/net").succeeds().stdout.trim().replace('\n', " "),
        links("host")
    );
    assert_eq!(links("bridge"), "eth0 lo");
    let of = |service: &str| says(&host, service, "readlink /proc/self/ns/net");
    assert_eq!(of("side"), of("bridge"));
    assert_eq!(says(&host, "side", "cat /sys/class/net/eth0/address"), "02:42:0a:61:00:63");
    let beside = sleeping(&[("beside", "network_mode: 'container:stack-bridge-1'")], "{}");
    host.write("other/compose.yaml", &beside);
    host.berth("-f other/compose.yaml -p other up -d --allow G-NS-PEER:beside").succeeds();
    let joined =
        host.berth("-f other/compose.yaml -p other exec -T beside readlink /proc/self/ns/net");
    assert_eq!(joined.succeeds().stdout.trim(), of("bridge"));
    host.berth("-f other/compose.yaml -p other down").succeeds();
    host.berth("restart -t 0 bridge").succeeds();
    assert_eq!(of("side"), of("bridge"));
}
