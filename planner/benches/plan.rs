//! How long a plan takes for 200 and for 2,000 services: reading the file, what it asks of a host,
//! the plan, and the plan as text. The host is a plain value on which all of it runs. Ten times the
//! services should take ten times as long.
//!
//! Nothing is asserted: a time depends on the machine and on what else it does.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "it is here to print, or to stop")]

#[path = "../tests/it/host.rs"]
#[expect(dead_code, reason = "tests break it as well")]
mod host;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use berth_planner::desired::Desired;
use berth_planner::{DownOptions, Inputs, Plan, UpOptions, down, resolve, up};
use berth_schema::stack::{Places, Stack};
use berth_schema::{LoadOptions, Source};

use host::FakeHost;

const ROUNDS: usize = 9;

/// What is measured, in the order of the columns.
const COLUMNS: [&str; 9] =
    ["load", "resolve", "no-op", "one", "all", "first", "down", "text", "json"];

fn main() {
    println!("milliseconds, least of {ROUNDS}");
    print!("{:>9}", "services");
    COLUMNS.iter().for_each(|column| print!("{column:>10}"));
    println!();
    for services in [200, 2000] {
        let rounds: Vec<BTreeMap<&str, f64>> = (0..ROUNDS).map(|_| round(services)).collect();
        print!("{services:>9}");
        for column in COLUMNS {
            let least = rounds.iter().map(|round| round[column]).fold(f64::INFINITY, f64::min);
            print!("{least:>10.2}");
        }
        println!();
    }
}

fn round(services: usize) -> BTreeMap<&'static str, f64> {
    let mut times = BTreeMap::new();
    let stack = timed(&mut times, "load", || load(&text(services, "1")));
    let mut host = FakeHost::new();
    let wanted = timed(&mut times, "resolve", || desired(&stack, &host));

    let first = timed(&mut times, "first", || plan(&wanted, &host, &stack.places));
    host.apply_all(&first, 1);
    let none = timed(&mut times, "no-op", || plan(&wanted, &host, &stack.places));
    assert!(none.is_empty(), "{none}");

    let mut other = wanted.clone();
    let changed = other.services.get_mut("s7").unwrap();
    changed.container.environment.insert("N".into(), Some("changed".into()));
    timed(&mut times, "one", || plan(&other, &host, &stack.places));

    let newer = load(&text(services, "2"));
    let newer_wanted = desired(&newer, &host);
    let all = timed(&mut times, "all", || plan(&newer_wanted, &host, &newer.places));
    timed(&mut times, "text", || all.to_string());
    timed(&mut times, "json", || serde_json::to_string(&all).unwrap());
    timed(&mut times, "down", || down("bench", &host.observed, &DownOptions::default()).unwrap());
    times
}

fn timed<T>(
    times: &mut BTreeMap<&'static str, f64>,
    what: &'static str,
    work: impl FnOnce() -> T,
) -> T {
    let begin = Instant::now();
    let done = work();
    times.insert(what, begin.elapsed().as_secs_f64() * 1000.0);
    done
}

fn plan(wanted: &Desired, host: &FakeHost, places: &Places) -> Plan {
    up(wanted, &host.observed, &UpOptions::default(), places).unwrap()
}

fn desired(stack: &Stack, host: &FakeHost) -> Desired {
    resolve(stack, &Inputs::default(), &host.observed.host).unwrap()
}

/// The file is where it is looked for, and nothing else is.
struct Text<'a>(&'a str);

impl Source for Text<'_> {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.as_bytes().to_vec())
    }

    fn exists(&self, path: &Path) -> bool {
        path == Path::new("/srv/bench/compose.yaml")
    }
}

fn load(text: &str) -> Stack {
    let options = LoadOptions {
        files: vec![PathBuf::from("/srv/bench/compose.yaml")],
        working_dir: PathBuf::from("/srv/bench"),
        ..LoadOptions::default()
    };
    berth_schema::load(&options, &Text(text)).unwrap().stack
}

/// A file of so many services of two networks, ten volumes, ports, and dependencies in chains of
/// ten; `tag` is that of all their images.
fn text(services: usize, tag: &str) -> String {
    let mut text = String::from("name: bench\nservices:\n");
    for number in 0..services {
        let _ = write!(
            text,
            "  s{number}:\n    image: app:{tag}\n    restart: unless-stopped\n    \
             environment: {{ N: '{number}', URL: 'http://s0' }}\n    \
             labels: {{ com.example.n: '{number}', com.example.tier: 't{}' }}\n    \
             ports: ['{}:80', '127.0.0.1:{}:81/udp']\n    \
             volumes: ['data{}:/data', 'cache{}:/cache']\n    networks: [front, back]\n    \
             healthcheck: {{ test: [CMD, 'true'], interval: 5s }}\n",
            number % 5,
            20_000 + number,
            30_000 + number,
            number % 10,
            number % 7,
        );
        let first = number - number % 10;
        if number > first {
            let _ = write!(
                text,
                "    depends_on:\n      s{first}: {{ condition: service_started, restart: true }}\n"
            );
        }
        if number > first + 1 {
            let _ = writeln!(text, "      s{}: {{ condition: service_healthy }}", number - 1);
        }
    }
    text += "volumes:\n";
    (0..10).for_each(|number| text += &format!("  data{number}: {{}}\n"));
    (0..7).for_each(|number| text += &format!("  cache{number}: {{}}\n"));
    text + "networks:\n  front: { ipam: { config: [{ subnet: 10.1.0.0/16 }] } }\n  \
            back: { internal: true, ipam: { config: [{ subnet: 10.2.0.0/16 }] } }\n"
}
