//! A cold pull of an image of several hundred megabytes from a registry on loopback, beside what
//! the programs of every machine need for the same bytes: fetched, hashed, inflated, hashed and
//! unpacked by a pipe of `curl`, `sha256sum`, `gzip` and `tar`. Both end with what they wrote on
//! the disk.

use berth_tests::TestHost;
use berth_tests::registry::{OPEN, Registry};

/// Megabytes of the files in the image: the first of `/usr`.
const MEGABYTES: u32 = 600;

/// Runs its words and prints seconds of wall and of processor time, and the KiB of the largest
/// process of them.
const METER: &str = "\
import resource, subprocess, sys, time
start = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss)
";

const PIPE: &str = "\
set -o pipefail; mkdir $1; curl -sf $2 | tee >(sha256sum) | gzip -dc | tee >(sha256sum) | tar -xC $1
sync -f $1
";

/// What one run took.
#[derive(Clone, Copy)]
struct Run {
    wall: f64,
    cpu: f64,
    memory: f64,
}

/// Prints the least and the middle of both, and what one is of the other.
pub fn measure(rounds: usize) {
    let host = TestHost::bare();
    for (file, text) in [("meter.py", METER), ("pipe.sh", PIPE)] {
        host.write(file, text);
    }
    let registry = Registry::start(&host, OPEN);
    let blob = make_image(&host);
    let (mut pipes, mut pulls) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        pipes.push(run(&host, &format!("bash pipe.sh pipe.{round} {blob}")));
        let root = format!("export BERTH_ROOT=$PWD/root.{round};");
        pulls.push(run_with(&host, &root, "$berth image pull 127.0.0.1:5000/bench:1"));
    }
    registry.end();
    report(&pipes, &pulls);
}

/// Puts the image into the registry; gives the address of its layer.
fn make_image(host: &TestHost) -> String {
    let list = format!(
        "find /usr -xdev \\( -type f -o -type l \\) -printf '%s %P\\n' | sort -k2 | \
         awk '{{ size += $1; if (size > {MEGABYTES}e6) exit; sub(/^[0-9]+ /, \"\"); print }}' >list"
    );
    host.shell(&list).succeeds();
    let making = "tar -C /usr -cT list | $berth image import - 127.0.0.1:5000/bench:1 && \
                  $berth image push -q 127.0.0.1:5000/bench:1 && sync";
    host.shell(making).succeeds();
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let ask = format!("curl -sfH '{accept}' 127.0.0.1:5000/v2/bench/manifests/1");
    let manifest = host.shell(&ask).succeeds().json();
    let layer = &manifest["layers"][0];
    println!(
        "an image of {MEGABYTES} MB in {} files, packed {} MB",
        host.shell("wc -l <list").succeeds().stdout.trim(),
        layer["size"].as_u64().unwrap() / 1_000_000
    );
    format!("127.0.0.1:5000/v2/bench/blobs/{}", layer["digest"].as_str().unwrap())
}

fn run(host: &TestHost, words: &str) -> Run {
    run_with(host, "", words)
}

fn run_with(host: &TestHost, before: &str, words: &str) -> Run {
    let ran = host.shell(&format!("{before} exec python3 meter.py {words}")).succeeds();
    let told: Vec<f64> = ran.stdout.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Run { wall: told[0], cpu: told[1], memory: told[2] / 1024.0 }
}

fn report(pipes: &[Run], pulls: &[Run]) {
    println!("{:>12} {:>18} {:>18} {:>8}", "", "pipe min / p50", "berth min / p50", "ratio");
    row("wall s", pipes, pulls, |run| run.wall);
    row("cpu s", pipes, pulls, |run| run.cpu);
    row("memory MiB", pipes, pulls, |run| run.memory);
}

fn row(name: &str, pipes: &[Run], pulls: &[Run], of: impl Fn(&Run) -> f64) {
    let [(pipe_min, pipe), (berth_min, berth)] = [pipes, pulls].map(|runs| {
        let mut all: Vec<f64> = runs.iter().map(&of).collect();
        all.sort_by(f64::total_cmp);
        (all[0], all[all.len() / 2])
    });
    let ratio = berth / pipe;
    println!("{name:>12} {pipe_min:>9.2} {pipe:>8.2} {berth_min:>9.2} {berth:>8.2} {ratio:>7.2}x");
}
