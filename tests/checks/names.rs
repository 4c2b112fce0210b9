//! What a resolver tells, whom it asks, and what it takes to hold it up.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use berth_tests::machine::Place;
use berth_tests::{Running, TestHost};
use nix::sys::signal::Signal;

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "N07d",
        what: "a container of internal networks sends data out as names",
        without: "dns.internal",
        places: &[],
        run: internal,
    },
    Check {
        id: "N08",
        what: "names of other networks and stacks are asked for",
        without: "dns.own_networks",
        places: &[],
        run: scope,
    },
    Check {
        id: "N08b",
        what: "a resolver is asked from outside its container",
        without: "dns.own_address",
        places: &[],
        run: outside,
    },
    Check {
        id: "N09",
        what: "the C library goes on with the names of services that are down",
        without: "dns.kept_names",
        places: &[],
        run: down,
    },
    Check {
        id: "N10",
        what: "others answer in place of the name server, and it says what is not its own",
        without: "dns.fit",
        places: &[],
        run: spoofed,
    },
    Check {
        id: "N11",
        what: "connections that ask nothing, or half a question, keep others waiting",
        without: "dns.patient_streams",
        places: &[],
        run: streams,
    },
    Check {
        id: "N12",
        what: "messages that are no questions",
        without: "dns.bounded_names",
        places: &[],
        run: malformed,
    },
    Check {
        id: "N13",
        what: "the host's name server is silent",
        without: "dns.end",
        places: &[],
        run: silent,
    },
];

const STACK: &str = "
services:
  web: { image: 'busybox:1', command: [sleep, '100000'], networks: [front] }
  api:
    image: 'busybox:1'
    command: [sleep, '100000']
    networks: { front: { aliases: [api.example] } }
  database: { image: 'busybox:1', command: [sleep, '100000'], networks: [back] }
networks: { front: {}, back: { internal: true } }
";

/// The stack on the bench, and the scripted name server of the host.
fn up(bench: &Bench) -> Running {
    up_with(bench, "dns.py 127.0.0.1")
}

fn up_with(bench: &Bench, server: &str) -> Running {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    host.write("dns.py", include_str!("../tests/names/dns.py"));
    host.write("ask.py", include_str!("../tests/names/ask.py"));
    host.write("abuse.py", include_str!("probes/names.py"));
    host.write("asked.log", "");
    host.shell("printf 'nameserver 127.0.0.1\\nsearch corp.example\\n' >/etc/resolv.conf")
        .succeeds();
    let server = host.start_shell(Place::Inside, &format!("exec python3 -u {server}"));
    server.prints("listens");
    bench.stack(STACK);
    host.berth("up -d").succeeds();
    server
}

fn end(server: Running) {
    server.signal(Signal::SIGKILL);
    let _ = server.ends();
}

/// What the host's name server was asked.
fn asked(host: &TestHost) -> String {
    std::fs::read_to_string(host.project("asked.log")).unwrap()
}

/// The command line of a program in the network of a container.
fn within(host: &TestHost, service: &str, line: &str) -> String {
    format!("nsenter -t {} -n {line}", host.pid_of(service).pid)
}

fn ask(host: &TestHost, service: &str, questions: &str) -> String {
    host.shell(&within(host, service, &format!("python3 ask.py {questions}"))).succeeds().stdout
}

fn internal(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let server = up(bench);
    let data = format!("{}.{}.outside.test", "5ec2e7".repeat(10), "da7a".repeat(15));
    for way in ["", "tcp "] {
        let questions = format!("{way}{data}:A {data}:AAAA {data}:TXT outside.test:A");
        bench.fired(4);
        let told = ask(host, "database", &questions);
        holds!(asked(host).is_empty(), "outside they heard {}", asked(host));
        holds!(told.matches("NXDOMAIN").count() == 4, "it was told {told}");
    }
    end(server);
    Ok(())
}

fn scope(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.write(
        "other/compose.yaml",
        "services: { secret: { image: 'busybox:1', command: [sleep, '100000'] } }",
    );
    let server = up(bench);
    host.berth("-f other/compose.yaml -p other up -d").succeeds();
    let names = ["database", "stack-database-1", "database.stack_back", "secret", "other-secret-1"];
    for name in names.into_iter().chain(["secret.other_default"]) {
        bench.fired(1);
        let told = ask(host, "web", &format!("{name}:A"));
        holds!(told.ends_with(" NXDOMAIN\n"), "it was told {told}");
    }
    holds!(asked(host).is_empty(), "outside they heard {}", asked(host));
    host.berth("-f other/compose.yaml -p other down -t 0").succeeds();
    end(server);
    Ok(())
}

fn outside(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let server = up(bench);
    let ports = host.status("stack-web-1")["resolver"].clone();
    let told = ask(host, "web", "web:A");
    let own = told.trim().rsplit(' ').next().unwrap().to_owned();
    let neighbour = within(host, "api", "");
    for (who, way) in [("the host", String::new()), ("a neighbour", neighbour)] {
        for (index, kind) in ["udp", "tcp"].into_iter().enumerate() {
            for address in [own.as_str(), "127.0.0.11"] {
                bench.fired(1);
                let line = format!("{way} python3 abuse.py {kind} {address} {}", ports[index]);
                let told = host.shell(&line).succeeds().stdout;
                holds!(told == "nothing\n", "{who} was told {told} by {kind} at {address}");
            }
        }
    }
    end(server);
    Ok(())
}

fn down(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let server = up(bench);
    let resolve = |name: &str| {
        // The host's C library, with the container's files and network.
        let pid = host.pid_of("web").pid;
        let copy = format!("cat /proc/{pid}/root/etc/resolv.conf >own.conf");
        let mount = "mount --bind own.conf /etc/resolv.conf";
        let ask = format!("nsenter -n -t {pid} getent ahosts {name}");
        host.shell(&format!("{copy}; unshare -m sh -c '{mount}; {ask}'")).stdout
    };
    for name in ["api", "api.example", "stack-api-1", "api.stack_front"] {
        assert!(!resolve(name).is_empty(), "{name} is up");
    }
    let address = resolve("api").split_whitespace().next().unwrap().to_owned();
    let mut nobodys: Vec<&str> = address.rsplit('.').collect();
    nobodys[0] = "99";
    host.berth("stop -t 0 api").succeeds();
    for name in ["api", "api.example", "stack-api-1", "api.stack_front", "absent"] {
        bench.fired(1);
        assert_eq!(resolve(name), "", "{name} is down");
    }
    bench.fired(1);
    ask(host, "web", &format!("{}.in-addr.arpa:PTR", nobodys.join(".")));
    // A name that is nobody's may be one of the house.
    let heard = asked(host).replace("udp absent.corp.example A\n", "");
    let heard = heard.replace("udp absent.corp.example AAAA\n", "");
    holds!(heard.is_empty(), "outside they heard {heard}");
    end(server);
    Ok(())
}

/// Questions that are asked to see how they differ, and how many of them may be alike.
const QUESTIONS: usize = 30;
const ALIKE: usize = 5;

fn spoofed(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.write("liar.py", include_str!("probes/liar.py"));
    let server = up_with(bench, "liar.py");
    let own = ask(host, "web", "api:A");
    for _ in 0..QUESTIONS {
        bench.fired(1);
        let told = ask(host, "web", "outside.test:A");
        holds!(told.ends_with(" NOERROR 198.51.100.77\n"), "it was told {told}");
    }
    let heard = std::fs::read_to_string(host.project("heard.log")).unwrap();
    let with_capitals = heard.lines().filter(|line| *line != line.to_lowercase());
    let asked: Vec<Vec<&str>> = with_capitals.map(|line| line.splitn(3, ' ').collect()).collect();
    for (index, what) in ["numbers", "ports", "spellings"].into_iter().enumerate() {
        let kinds: BTreeSet<&str> = asked.iter().map(|words| words[index]).collect();
        holds!(kinds.len() + ALIKE > QUESTIONS, "{} {what} of {heard}", kinds.len());
    }
    // Names of the stack stay what they are, whatever comes along.
    bench.fired(2);
    ask(host, "web", "cname.test:A");
    let after = ask(host, "web", "api:A");
    holds!(after == own, "it was told {own}, and now {after}");
    let told = ask(host, "web", "database:A");
    holds!(told.ends_with(" NXDOMAIN\n"), "a name of another network is {told}");
    end(server);
    Ok(())
}

fn streams(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let server = up(bench);
    let used = |pid: i64| {
        let line = host.shell(&format!("cat /proc/{pid}/stat")).succeeds().stdout;
        let fields: Vec<&str> = line.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    for kind in ["idle", "half", "empty", "closing", "deaf"] {
        let line = within(host, "web", &format!("python3 -u abuse.py {kind}"));
        let attack = host.start_shell(Place::Inside, &format!("exec {line}"));
        attack.prints("attacks");
        bench.fired(1);
        let before = used(host.monitor_of("web"));
        let begun = Instant::now();
        for way in ["", "tcp "] {
            let told = ask(host, "web", &format!("{way}web:A api:A"));
            holds!(told.matches(" NOERROR 1").count() == 2, "{kind}: it was told {told}");
        }
        holds!(begun.elapsed() < Duration::from_secs(5), "{kind}: it took {:?}", begun.elapsed());
        // Its other work goes on.
        host.berth("exec -T web true").succeeds();
        std::thread::sleep(Duration::from_secs(2));
        let ticks = used(host.monitor_of("web")) - before;
        let seconds = begun.elapsed().as_secs();
        holds!(ticks <= 30 * (seconds + 1), "{kind}: {ticks} ticks in {seconds} s");
        end(attack);
    }
    end(server);
    Ok(())
}

fn malformed(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let server = up(bench);
    let monitor = host.monitor_of("web");
    bench.fired(1);
    let line = within(host, "web", "python3 abuse.py malformed");
    let done = host.shell(&line);
    let still = ask(host, "web", "web:A");
    holds!(still.contains(" NOERROR 1"), "then it said {still}");
    holds!(done.stdout == "sent\n", "not all was taken: {done}");
    holds!(host.monitor_of("web") == monitor, "the monitor is another one");
    end(server);
    Ok(())
}

fn silent(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let server = up(bench);
    let many: Vec<String> = (0..200).map(|n| format!("n{n}.dead.test")).collect();
    let flood = within(host, "web", &format!("python3 abuse.py ask {}", many.join(" ")));
    let flood = host.start_shell(Place::Inside, &format!("exec {flood}"));
    flood.prints("asked");
    bench.fired(1);
    let told = ask(host, "web", "api:A");
    holds!(told.contains(" NOERROR 1"), "names of the stack wait: {told}");
    let begun = Instant::now();
    let told = ask(host, "web", "silent.test:A");
    holds!(told.ends_with(" SERVFAIL\n"), "it was told {told}");
    holds!(begun.elapsed() < Duration::from_secs(6), "after {:?}", begun.elapsed());
    let told = flood.ends().succeeds().stdout;
    holds!(told.contains("200 answers"), "of 200 questions: {told}");
    let told = ask(host, "web", "outside.test:A");
    holds!(told.ends_with(" NOERROR 198.51.100.77\n"), "it does not recover: {told}");
    end(server);
    Ok(())
}
