//! `config` of files of 200 and of 2,000 services with anchors, `extends` and variables: the time
//! of the loader and the printer, the start of the program included. Ten times the services should
//! take ten times as long.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Least and middle milliseconds of wall and processor time of each file.
pub fn measure(program: &Path, rounds: usize) {
    let folder = std::env::temp_dir().join(format!("berth-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    println!(
        "{:>9} {:>10} {:>10} {:>10} {:>10}",
        "services", "wall min", "wall p50", "cpu min", "cpu p50"
    );
    for services in [1, 200, 2000] {
        let file = folder.join(format!("{services}.yaml"));
        std::fs::write(&file, text(services)).unwrap();
        let mut times: Vec<(f64, f64)> = (0..rounds).map(|_| once(program, &file)).collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wall = (times[0].0, times[rounds / 2].0);
        times.sort_by(|a, b| a.1.total_cmp(&b.1));
        let cpu = (times[0].1, times[rounds / 2].1);
        let (wall_min, wall, cpu_min, cpu) = (wall.0, wall.1, cpu.0, cpu.1);
        println!("{services:>9} {wall_min:>10.1} {wall:>10.1} {cpu_min:>10.1} {cpu:>10.1}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// One run: milliseconds of wall time and of processor time.
fn once(program: &Path, file: &Path) -> (f64, f64) {
    let (cpu, start) = (cpu(), Instant::now());
    let mut command = Command::new(program);
    let status = command.arg("-f").arg(file).arg("config").stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
    (start.elapsed().as_secs_f64() * 1000.0, self::cpu() - cpu)
}

/// Milliseconds of processor time of all ended children.
fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    micros as f64 / 1000.0
}

/// A file of so many services that start from one another's settings.
fn text(services: usize) -> String {
    let mut text = String::from(
        "name: bench\n\
         x-env: &env { A: one, B: '${BENCH_B:-two}', C: '${HOME:?home}' }\n\
         x-base: &base\n  image: busybox:1\n  restart: unless-stopped\n  \
         logging: { driver: json-file, options: { max-size: 10m } }\n\
         services:\n  root:\n    <<: *base\n    environment: { <<: *env, ROOT: '1' }\n    \
         healthcheck: { test: [CMD, 'true'], interval: 5s, timeout: 2s, retries: 3 }\n",
    );
    for number in 1..services {
        let before = if number == 1 { "root".into() } else { format!("s{}", number - 1) };
        let _ = write!(
            text,
            "  s{number}:\n    extends: {{ service: root }}\n    environment:\n      <<: *env\n      \
             N: '{number}'\n      URL: http://{before}:80/${{BENCH_P:-x}}\n    \
             ports: ['{}:80', '127.0.0.1:{}:81/udp']\n    \
             labels: {{ com.example.n: '{number}', com.example.tier: 't{}' }}\n    \
             volumes: ['data{}:/data', './src:/src:ro']\n    networks: [front, back]\n    \
             depends_on: {{ {before}: {{ condition: service_started }} }}\n",
            20_000 + number,
            30_000 + number,
            number % 5,
            number % 10,
        );
    }
    text += "volumes:\n";
    (0..10).for_each(|number| text += &format!("  data{number}: {{}}\n"));
    text + "networks: { front: {}, back: { internal: true } }\n"
}
