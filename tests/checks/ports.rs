//! Published ports: where they answer, who has them when two want the same, whom they lead to after a
//! change, and what the relay of them can be made to do.

use std::time::{Duration, Instant};

use berth_tests::evil::probe;
use berth_tests::machine::Place;
use berth_tests::{Running, TestHost, images};
use nix::sys::signal::Signal;

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "N04",
        what: "a port on one address is asked for at the others",
        without: "ports.one_address",
        places: &[],
        run: one_address,
    },
    Check {
        id: "N18",
        what: "two stacks, and a program, take a port at the same time",
        without: "ports.reserved",
        places: &["ports.reserve"],
        run: races,
    },
    Check {
        id: "N19",
        what: "a container is replaced while its clients talk",
        without: "net.new_flows",
        places: &[],
        run: stale_flows,
    },
    Check {
        id: "N23",
        what: "the relay of a port is taken over",
        without: "relay.confined",
        places: &[],
        run: taken_over,
    },
];

fn one_address(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&images::busybox());
    bench.stack(
        "
services:
  web:
    image: busybox:1
    command: [httpd, -f, -p, '80']
    networks: [one]
    ports: ['192.0.2.1:8080:80', '[2001:db8::1]:8080:80']
  other: { image: 'busybox:1', command: [sleep, '100000'], networks: [two] }
networks:
  one:
    enable_ipv6: true
    ipam: { config: [{ subnet: 10.91.0.0/24 }, { subnet: 'fd91::/64' }] }
  two: {}
",
    );
    host.shell(
        "ip link add inner type bridge; ip link set inner addrgenmode none up; \
         ip address add 198.51.100.1/24 dev inner; \
         ip address add 2001:db8:5::1/64 dev inner nodad",
    )
    .succeeds();
    host.berth("up -d").succeeds();
    host.neighbour(
        "ip route add 198.51.100.0/24 via 192.0.2.1; ip route add 10.91.0.0/24 via 192.0.2.1; \
         ip -6 route add 2001:db8:5::/64 via 2001:db8::1; ip -6 route add fd91::/64 via 2001:db8::1",
    )
    .succeeds();
    let get = |at: &str| format!("curl -gs -o /dev/null -m 2 http://{at}:8080/");
    for at in ["192.0.2.1", "[2001:db8::1]"] {
        host.eventually("it answers where it is", || host.neighbour(&get(at)).code == 0);
    }
    let mut answers = Vec::new();
    for at in ["198.51.100.1", "10.91.0.1", "[2001:db8:5::1]", "[fd91::1]"] {
        bench.fired(2);
        for (who, done) in [("outside", host.neighbour(&get(at))), ("here", host.shell(&get(at)))] {
            answers.extend((done.code == 0).then(|| format!("{at} {who}")));
        }
    }
    for at in ["127.0.0.1", "[::1]"] {
        bench.fired(1);
        answers.extend((host.shell(&get(at)).code == 0).then(|| format!("{at} here")));
    }
    bench.fired(1);
    let inside = host.berth("exec -T other nc -w 2 198.51.100.1 8080 -e true");
    answers.extend((inside.code == 0).then(|| "198.51.100.1 in a container".to_owned()));
    host.shell("ip link del inner").succeeds();
    holds!(answers.is_empty(), "it also answers at {answers:?}");
    Ok(())
}

const WANTED: &str = "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'echo container >/index.html; exec httpd -f -p 80 -h /']
    ports: ['8080:80']
    stop_grace_period: 0s
";

fn races(bench: &Bench) -> Outcome {
    bench.host.load(&images::busybox());
    bench.stack(WANTED);
    two_stacks(bench)?;
    a_program(bench)
}

/// Exactly one of them has it in the end, and the other one says who that is and is not there.
fn two_stacks(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let mut second = None;
    let first = bench.at(
        "ports.reserve",
        || host.start_berth("-p one up -d"),
        || second = Some(two_are_there(bench, host.start_berth("-p two up -d"))),
    );
    bench.fired(1);
    let second = second.expect("the other one").ends();
    holds!(
        (first.code == 0) != (second.code == 0),
        "both of two, or none, got the port: {first} {second}"
    );
    let (winner, loser, refused) =
        if first.code == 0 { ("one", "two", second) } else { ("two", "one", first) };
    holds!(refused.stderr.contains("8080/tcp"), "it does not say which port: {refused}");
    holds!(host.get("127.0.0.1:8080/index.html") == "container\n", "who won does not answer");
    let rules = host.shell("nft list table inet berth").succeeds().stdout;
    holds!(!rules.contains(&format!("{loser}-web-1")), "who lost is published: {rules}");
    for project in [loser, winner] {
        host.berth(&format!("-p {project} down -t 0")).succeeds();
    }
    Ok(())
}

/// Gives the other one time to come to the same place, which it does if the first is held there.
fn two_are_there(bench: &Bench, second: Running) -> Running {
    if !bench.is_plain() {
        let before = Instant::now();
        while bench.reached("ports.reserve") < 2 && before.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    second
}

/// A program of the host takes the port between the plan and the start.
fn a_program(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.write("say.py", include_str!("probes/say.py"));
    let mut program = None;
    let up = bench.at(
        "ports.reserve",
        || host.start_berth("-p three up -d"),
        || {
            let other = host.start_shell(Place::Inside, "exec python3 say.py program 8080");
            host.eventually("it has it or not", || {
                other.said().contains("says") || other.said().contains("refused")
            });
            program = Some(other);
        },
    );
    bench.fired(1);
    let program = program.expect("a program");
    let has = program.said().contains("says");
    holds!(has != (up.code == 0), "it is the program's ({has}), and the container's: {up}");
    if has {
        holds!(up.stderr.contains("8080/tcp"), "it does not say which port: {up}");
        holds!(up.stderr.contains("python3"), "it does not say who has it: {up}");
        let told = host.neighbour("timeout 2 bash -c 'cat </dev/tcp/192.0.2.1/8080'").stdout;
        holds!(told == "program", "who has the port is not who answers: {told}");
        program.signal(Signal::SIGKILL);
    }
    let _ = program.ends();
    host.berth("-p three down -t 0").succeeds();
    Ok(())
}

fn end(program: Running) {
    program.signal(Signal::SIGKILL);
    let _ = program.ends();
}

/// How long a client may be led to who is gone, on a slow machine.
const SOON: Duration = Duration::from_secs(10);

fn stale_flows(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.write("say.py", include_str!("probes/say.py"));
    host.write("flow.py", include_str!("probes/flow.py"));
    let stack = "
services:
  web:
    image: localhost/host
    command: [python3, /srv/say.py, first]
    volumes: ['.:/srv']
    ports: ['9000:9000', '9000:9000/udp']
    networks: { default: { ipv4_address: 10.94.0.4 } }
    stop_grace_period: 0s
networks: { default: { ipam: { config: [{ subnet: 10.94.0.0/24 }] } } }
";
    bench.stack(stack);
    host.berth("up -d").succeeds();
    let clients: Vec<Running> = ["192.0.2.1", "127.0.0.1"]
        .into_iter()
        .zip([Place::Neighbour, Place::Inside])
        .map(|(at, place)| host.start_shell(place, &format!("exec python3 flow.py {at} 9000")))
        .collect();
    for client in &clients {
        client.prints("tcp first");
        client.prints("udp first");
    }
    let changed =
        stack.replace("say.py, first", "say.py, second").replace("10.94.0.4", "10.94.0.5");
    bench.stack(&changed);
    host.berth("up -d").succeeds();
    bench.fired(2 * clients.len());
    let ready = Instant::now();
    let missing = || {
        let each = clients.iter().flat_map(|c| ["tcp second", "udp second"].map(|w| (c.said(), w)));
        each.filter(|(said, word)| !said.contains(word)).map(|(said, _)| said).collect::<Vec<_>>()
    };
    while !missing().is_empty() && ready.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(50));
    }
    let late = missing();
    clients.into_iter().for_each(end);
    holds!(late.is_empty(), "clients are led to who is gone: {late:?}");
    Ok(())
}

fn taken_over(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&images::busybox());
    bench.stack(WANTED);
    host.berth("up -d").succeeds();
    host.eventually("a relay serves", || host.get("[::1]:8080/index.html") == "container\n");
    let relay = relay_of(host);
    let show = |line: &str| host.shell(&format!("{line} /proc/{relay}/status")).succeeds().stdout;
    let names = "Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Seccomp";
    let state = show(&format!("grep -E '^({names}):'"));
    let fds = format!("find /proc/{relay}/fd -type l -printf '%l\\n'");
    let fds = host.shell(&fds).succeeds().stdout;
    let harmless = |fd: &&str| {
        let kinds = ["socket:[", "anon_inode:[eventpoll]", "/dev/null"];
        kinds.iter().any(|kind| fd.starts_with(kind))
    };
    let bystander = "setpriv --reuid 65534 --regid 65534 --clear-groups sleep 100000";
    let bystander = host.start_shell(Place::Inside, &format!("echo $$; exec {bystander}"));
    host.eventually("the bystander says its id", || bystander.said().contains('\n'));
    let program = probe("takeover");
    let line = format!("{} {relay} {}", program.display(), bystander.said().trim());
    let told = host.shell(&line).succeeds().stdout;
    end(bystander);
    host.shell("rm -rf /tmp/taken /tmp/taken.d").succeeds();
    assert!(told.starts_with("internet done\n"), "it is in our hands: {told}");
    let tried: Vec<&str> = told.lines().skip(1).collect();
    bench.fired(tried.len());
    let refused = |line: &&&str| line.ends_with(" EPERM") || line.ends_with(" ENOSYS");
    let open: Vec<&&str> = tried.iter().filter(|line| !refused(line)).collect();
    holds!(open.is_empty() && tried.len() > 30, "it can {open:?} of {}", tried.len());
    let expected = "Uid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\nGroups:\t \n\
        CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    holds!(state == expected, "it is {state}");
    let more: Vec<&str> = fds.lines().filter(|fd| !harmless(fd)).collect();
    holds!(more.is_empty(), "it has {more:?}");
    // It goes on as if nothing had been.
    holds!(host.get("[::1]:8080/index.html") == "container\n", "it does not serve any more");
    Ok(())
}

/// Process id of the only relay.
fn relay_of(host: &TestHost) -> i64 {
    let found = host.shell("grep -lsz '^relay$' /proc/[0-9]*/cmdline; true").succeeds().stdout;
    let pids = found.lines().filter_map(|path| path.split('/').nth(2)?.parse().ok());
    let relays: Vec<i64> = pids
        .filter(|pid| {
            let line = host.shell(&format!("tr '\\0' ' ' </proc/{pid}/cmdline")).stdout;
            line.starts_with("berth relay ")
        })
        .collect();
    assert_eq!(relays.len(), 1, "{found}");
    relays[0]
}
