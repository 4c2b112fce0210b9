//! The harness itself: a ledger that cannot see a leak would make every other test worthless.

use std::time::Duration;

use berth_tests::TestHost;

/// A shell line that leaks, the line that takes it back, and how the ledger shows it.
const LEAKS: &[(&str, &str, &str)] = &[
    (
        "sleep 1000 >/dev/null 2>&1 &",
        "kill $(pidof sleep | tr ' ' '\\n' | head -1)",
        "+ process sleep sleep 1000",
    ),
    (
        "mkdir /run/m && mount -t tmpfs none /run/m",
        "umount /run/m && rmdir /run/m",
        "+ mount /run/m",
    ),
    ("ip link add br-leak type bridge", "ip link del br-leak", "+ link "),
    ("ip link add v0 type veth peer name v1", "ip link del v0", "v1@v0"),
    (
        "ip address add 198.51.100.1/32 dev lo",
        "ip address del 198.51.100.1/32 dev lo",
        "+ address ",
    ),
    (
        "ip route add 198.51.100.0/24 via 192.0.2.2",
        "ip route del 198.51.100.0/24",
        "+ route 198.51.100.0/24",
    ),
    ("ip rule add from 198.51.100.7 table 100", "ip rule del from 198.51.100.7", "+ rule "),
    ("nft add table inet leak", "nft delete table inet leak", "+ nft table inet leak"),
    (
        "for d in /sys/fs/cgroup/*; do mkdir $d/leak; done",
        "rmdir /sys/fs/cgroup/*/leak",
        "+ cgroup ",
    ),
    ("echo x >/run/leak", "rm /run/leak", "+ file /run/leak"),
    (
        "mkdir -p /var/lib/berth/containers/leak",
        "rm -r /var/lib/berth",
        "+ file /var/lib/berth/containers/leak",
    ),
];

#[test]
fn every_kind_of_leak_shows_in_the_ledger() {
    let host = TestHost::bare();
    for (plant, uproot, line) in LEAKS {
        let clean = host.ledger();
        host.shell(plant).succeeds();
        let seen = host.ledger().since(&clean, &[]).to_string();
        assert!(seen.contains(line), "`{plant}` did not show as {line:?}:\n{seen}");
        host.shell(uproot).succeeds();
        let gone = || host.ledger().since(&clean, &[]).to_string();
        host.eventually(&format!("`{uproot}` takes it back: {}", gone()), || gone().is_empty());
    }
}

#[test]
fn a_listening_socket_shows_in_the_ledger() {
    let host = TestHost::bare();
    let clean = host.ledger();
    let server =
        host.start_shell(berth_tests::machine::Place::Inside, "exec busybox nc -l -p 7777");
    host.eventually("it listens", || {
        host.ledger().since(&clean, &[]).to_string().contains("socket tcp 00000000:1E61")
            || host.ledger().since(&clean, &[]).to_string().contains(":1E61")
    });
    server.signal(nix::sys::signal::Signal::SIGKILL);
    let _ = server.ends();
}

#[test]
fn a_leak_fails_the_test_that_made_it() {
    let leaky = std::panic::catch_unwind(|| {
        let host = TestHost::bare().waits_for_leaks(Duration::from_secs(2));
        host.shell("ip link add br-leak type bridge").succeeds();
    });
    let why = *leaky.expect_err("the leak must fail").downcast::<String>().unwrap();
    assert!(why.contains("br-leak"), "{why}");
}

#[test]
fn a_machine_does_not_see_the_real_host() {
    let host = TestHost::bare();
    let links = host.shell("ls /sys/class/net").stdout;
    assert_eq!(links, "lo\nwire0\n");
    host.shell("ls /run /var/lib").stdout_is("/run:\nlock\nmount\n\n/var/lib:");
    let processes = host.shell("ls -d /proc/[0-9]* | wc -l").stdout;
    assert!(processes.trim().parse::<u32>().unwrap() < 10, "{processes}");
    host.shell("cat /proc/self/cgroup | cut -d: -f3 | grep -v -x -e / -e /init").fails_with(1);
}

#[test]
fn the_neighbour_reaches_the_machine_and_the_other_way_round() {
    let host = TestHost::bare();
    host.neighbour("ping -c1 -W2 192.0.2.1 || busybox ping -c1 -W2 192.0.2.1").succeeds();
    host.shell("busybox ping -c1 -W2 192.0.2.2").succeeds();
}
