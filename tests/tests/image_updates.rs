//! A published service gets another image again and again under load, and nobody is left without an
//! answer: not who asks for a moment, not who reads longer than an update takes, and not who sends
//! datagrams.

use berth_tests::TestHost;
use berth_tests::command::Running;
use berth_tests::machine::Place;

const STACK: &str = "
services:
  web:
    image: app:1
    command: [/usr/bin/python3, -S, -E, /srv/serve.py]
    volumes: ['/usr:/usr:ro', '.:/srv']
    ports: ['9000:8000', '9000:8000/udp']
    stop_grace_period: 10s
";
const READY: &str = "    x-berth: { ready: { tcp: 8000, interval: 20ms, retries: 500 } }\n";

/// A host with images whose programs are those of the host and whose version is in a file, and a stack
/// that is up.
fn host_with(stack: &str) -> TestHost {
    let host = TestHost::with("compose.yaml", stack);
    host.write("serve.py", include_str!("image_updates/serve.py"));
    host.write("load.py", include_str!("image_updates/load.py"));
    host.shell("mkdir shared image; cd image; mkdir usr srv etc tmp; ln -s usr/lib usr/lib64 .")
        .succeeds();
    for (tag, version) in [("1", "8001"), ("2", "8002"), ("bad", "bad")] {
        let make = format!(
            "echo {version} >image/version && tar -C image -cf image.tar . && \
             $berth image import image.tar app:{tag}"
        );
        host.shell(&make).succeeds();
    }
    host.berth("up -d").succeeds();
    host.listens("web");
    host
}

/// Clients of these ports from outside and on the host.
fn load(host: &TestHost, ports: &[u16], ways: &str) -> Vec<Running> {
    let load = |from, address: &str, port: u16| {
        host.start_shell(from, &format!("python3 load.py {address} {port} {ways}"))
    };
    let both = |port: &u16| {
        [load(Place::Neighbour, "192.0.2.1", *port), load(Place::Inside, "127.0.0.1", *port)]
    };
    ports.iter().flat_map(both).collect()
}

/// How many answers the clients have had in each way.
fn answered(host: &TestHost, ports: &[u16], ways: &str) -> Vec<u64> {
    let mut counts = Vec::new();
    for (port, address) in ports.iter().flat_map(|p| [(p, "192.0.2.1"), (p, "127.0.0.1")]) {
        for way in ways.split(',') {
            let file = host.project(&format!("answered-{address}-{port}-{way}"));
            counts.push(std::fs::metadata(file).map_or(0, |meta| meta.len()));
        }
    }
    counts
}

/// Ends the load: each way had so many answers at least, and no question went without one.
fn all_were_answered(host: &TestHost, clients: Vec<Running>, least: usize) {
    host.write("done", "");
    for client in clients {
        let ended = client.ends().succeeds();
        assert!(!ended.stdout.is_empty());
        for line in ended.stdout.lines() {
            let counts: Vec<usize> =
                line.split(' ').skip(1).map(|number| number.parse().expect("a number")).collect();
            assert_eq!(counts[1], 0, "{line}\n{}", ended.stderr);
            assert!(counts[0] >= least, "{line}");
        }
    }
}

/// Replaces the image so often, while clients ask from outside and on the host.
fn nobody_is_left_without_an_answer(host: &TestHost, updates: usize, ways: &str) {
    let clients = load(host, &[9000], ways);
    for round in 0..updates {
        let (from, to) = [("1", "2"), ("2", "1")][round % 2];
        host.edit("compose.yaml", &format!("app:{from}\n"), &format!("app:{to}\n"));
        let before = answered(host, &[9000], ways);
        host.berth("up -d").succeeds();
        let says = host.neighbour("curl -sS --max-time 60 http://192.0.2.1:9000/").stdout;
        assert_eq!(says, format!("800{to}\n"), "update {round}");
        host.eventually("all clients are answered again", || {
            answered(host, &[9000], ways).iter().zip(&before).all(|(now, before)| now > before)
        });
    }
    host.berth("plan --detailed-exitcode").fails_with(0);
    all_were_answered(host, clients, updates);
}

#[test]
fn fifty_images_that_start_first_leave_nobody_without_an_answer() {
    let order = "    deploy: { update_config: { order: start-first } }\n";
    let host = host_with(&format!("{STACK}{READY}{order}"));
    nobody_is_left_without_an_answer(&host, 50, "short,long,udp");
}

#[test]
fn fifty_images_that_stop_first_leave_no_connection_without_an_answer() {
    let host = host_with(STACK);
    nobody_is_left_without_an_answer(&host, 50, "short,long");
}

#[test]
fn a_bad_image_at_the_second_of_three_is_taken_back_and_nobody_is_left_without_an_answer() {
    let order = "    deploy: { replicas: 3, update_config: { order: start-first, failure_action: rollback } }\n";
    let stack = STACK.replace("'9000:", "'9000-9002:");
    let host = host_with(&format!("{stack}{READY}{order}"));
    let ports = [9000, 9001, 9002];
    let ways = "short,long,udp";
    let containers = || {
        let listed =
            host.berth("ps -a --format '{{.Name}} {{.Image}} {{.State}} {{.ID}}'").succeeds();
        let mut lines: Vec<String> = listed.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = containers();
    assert!(before[1].starts_with("stack-web-2 app:1 running "), "{before:?}");
    let last = || [2, 3].map(|number| host.pid_of_container(&format!("stack-web-{number}")));
    let ran = last();
    let clients = load(&host, &ports, ways);
    host.eventually("all clients are answered", || {
        answered(&host, &ports, ways).iter().all(|n| *n > 0)
    });

    host.edit("compose.yaml", "app:1\n", "app:bad\n");
    host.berth("up -d")
        .fails_with(6)
        .stderr_has("`stack-web-2-b` exited (1); its last lines:")
        .stderr_has("no table called orders")
        .stderr_has("rolled back: `web` is 3 containers of image `app:1` as before");
    assert_eq!(containers(), before);
    assert_eq!(last(), ran, "these have never stopped");
    let now = answered(&host, &ports, ways);
    host.eventually("all clients are answered again", || {
        answered(&host, &ports, ways).iter().zip(&now).all(|(now, before)| now > before)
    });
    all_were_answered(&host, clients, 1);
}
