//! A machine of its own for each test: a process, a network namespace, two folders.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use berth_planner::desired::PortSpec;
use berth_planner::observed::{NetworkRecord, Subnet};
use berth_runtime::bundle::{Bundle, Cgroup, Link, Log, Network, Phase, Process, Rootfs, Status};
use berth_runtime::container::DEFAULT_CAPABILITIES;
use berth_runtime::container::cgroup::Group;
use berth_runtime::logs::{LogQuery, read};
use berth_runtime::monitor::{StartFailure, client};
use berth_runtime::paths::Roots;
use berth_runtime::record::{self, Durability};
use berth_runtime::starter::Starter;
use berth_schema::stack::Protocol;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// No wait of a test is longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What is there for a test.
pub struct Machine {
    dir: PathBuf,
    starter: Starter,
}

/// A container that was described, and may run.
pub struct Made {
    pub bundle: Bundle,
    pub dir: PathBuf,
}

/// Runs one test; `false` when it failed.
pub fn alone(
    test: fn(Machine) -> std::pin::Pin<Box<dyn std::future::Future<Output = ()>>>,
) -> bool {
    if !rustix::process::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
        eprintln!("skipped: it needs root and /bin/busybox");
        return true;
    }
    let result = std::panic::catch_unwind(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let netns = berth_network::netns::current().unwrap();
        berth_network::endpoint::loopback_up(netns.as_fd()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let whole = tokio::time::timeout(PATIENCE * 4, test(Machine::new()));
            whole.await.expect("the test takes too long");
        });
    });
    result.is_ok()
}

impl Machine {
    fn new() -> Machine {
        let dir = std::env::temp_dir().join(format!("berth-monitor-{}", std::process::id()));
        for folder in ["run/containers", "lib/containers", "lower/bin", "lower/tmp", "lower/etc"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        let bin = dir.join("lower/bin");
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in [
            "sh", "cat", "sleep", "nc", "nslookup", "stty", "grep", "touch", "rm", "wc", "yes",
            "head",
        ] {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        fs::write(dir.join("lower/etc/resolv.conf"), "nameserver 127.0.0.11\n").unwrap();
        let starter = Starter::spawn(&Roots::below(&dir)).unwrap();
        Machine { dir, starter }
    }

    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Describes a container that runs a shell line.
    pub fn container(&self, name: &str, line: &str) -> Made {
        let roots = Roots::below(&self.dir);
        let (run_dir, state_dir) = (roots.container_run(name), roots.container(name));
        for folder in [&run_dir, &state_dir.join("upper"), &state_dir.join("work")] {
            fs::create_dir_all(folder).unwrap();
        }
        let number = u32::try_from(fs::read_dir(self.run().join("containers")).unwrap().count());
        let bundle = Bundle {
            name: name.to_owned(),
            project: "test".into(),
            service: name.to_owned(),
            process: Process {
                argv: ["/bin/sh", "-c", line].map(String::from).into(),
                env: vec!["PATH=/bin".into()],
                cwd: "/".into(),
                capabilities: DEFAULT_CAPABILITIES.map(String::from).into(),
                ..Process::default()
            },
            rootfs: Rootfs {
                lowers: vec![self.dir.join("lower")],
                upper: state_dir.join("upper"),
                work: state_dir.join("work"),
            },
            shm_size: 1 << 20,
            hostname: name.to_owned(),
            id_base: Some(100_000 + 65_536 * number.unwrap()),
            cgroup: Cgroup {
                path: format!("berth/monitor-{}-{name}", std::process::id()),
                pids: 64,
                ..Cgroup::default()
            },
            network: Network::Own(Vec::new()),
            log: Log { none: false, max_size: 1 << 20, max_files: 2 },
            stop_signal: libc::SIGTERM,
            stop_grace_ms: 10_000,
            run_dir: run_dir.clone(),
            state_dir,
            ..Bundle::default()
        };
        Made { bundle, dir: run_dir }
    }

    pub async fn start(&self, made: &Made) -> Result<Status, StartFailure> {
        record::write(&made.dir.join("bundle.json"), &made.bundle, Durability::Volatile).unwrap();
        self.starter.start(&made.dir).await
    }

    pub async fn adopt(&self, made: &Made) -> Result<Status, StartFailure> {
        self.starter.adopt(&made.dir).await
    }

    /// Starts all at once; gives their monitors.
    pub async fn start_all(&self, made: &[Made]) -> Vec<i32> {
        let starts: Vec<_> = made.iter().map(|made| Box::pin(self.start(made))).collect();
        all(starts).await.into_iter().map(|status| status.unwrap().monitor).collect()
    }

    pub async fn stop_all(&self, made: &[Made]) {
        let stops: Vec<_> = made
            .iter()
            .map(|m| Box::pin(client::stop(&m.dir, Some(Duration::ZERO), true)))
            .collect();
        all(stops).await.into_iter().for_each(|status| drop(status.unwrap()));
    }

    /// Waits until a process has gone.
    pub async fn is_gone(&self, pid: i32) {
        let pid = Pid::from_raw(pid).unwrap();
        wait_for("the end of a process", || test_kill_process(pid).is_err()).await;
    }

    /// A bridge of this machine, with the packet rules.
    pub async fn network(&self) -> Net {
        let record = NetworkRecord {
            name: "net".into(),
            project: "test".into(),
            spec: Default::default(),
            bridge: "berth-test".into(),
            realm: None,
            subnets: vec![Subnet {
                net: "10.99.0.0/24".parse().unwrap(),
                gateway: "10.99.0.1".parse().unwrap(),
            }],
        };
        let netlink = berth_network::bridge::open().unwrap();
        berth_network::bridge::create(&netlink, &record).await.unwrap();
        berth_network::firewall::create().unwrap();
        berth_network::firewall::add_network(&(&record).into()).unwrap();
        Net { record, names: self.run().join("names/net") }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // What a failed test left: everything in cgroups of this test.
        for entry in fs::read_dir(self.run().join("containers")).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            if let Ok(Some(status)) = record::read::<Status>(&entry.path().join("status.json"))
                && client::is_monitored(&entry.path())
            {
                let _ = Pid::from_raw(status.monitor).map(|pid| kill_process(pid, Signal::KILL));
            }
            let path = format!("berth/monitor-{}-{name}", std::process::id());
            if let Ok(group) = Group::find(&path)
                && group.exists()
            {
                drop(group.kill_all());
                drop(group.remove());
            }
        }
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// A network of the machine.
pub struct Net {
    record: NetworkRecord,
    names: PathBuf,
}

impl Net {
    pub fn connect(&self, made: &mut Made, last: u8, names: &[&str]) {
        made.bundle.network = Network::Own(vec![Link {
            network: self.record.name.clone(),
            bridge: self.record.bridge.clone(),
            name: "eth0".into(),
            ipv4: Some((Ipv4Addr::new(10, 99, 0, last), 24)),
            gateways: vec![self.record.subnets[0].gateway],
            names: names.iter().map(ToString::to_string).collect(),
            ..Link::default()
        }]);
        made.bundle.dns.networks.insert(self.record.name.clone(), self.names.clone());
    }

    /// How many containers have names on it.
    pub fn names(&self) -> usize {
        fs::read_dir(&self.names).map(Iterator::count).unwrap_or_default()
    }
}

impl Made {
    pub fn status(&self) -> Status {
        record::read(&self.dir.join("status.json")).unwrap().unwrap()
    }

    pub async fn reaches(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut updates = client::subscribe(&self.dir).await.unwrap();
        let found = async {
            loop {
                let Some(status) = updates.next().await else {
                    panic!("its monitor is gone: {:?}", self.status())
                };
                if wanted(&status) {
                    return status;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("it never comes to that")
    }

    /// The last status, when its monitor has ended.
    pub async fn ended(&self) -> Status {
        wait_for("the end of a monitor", || !client::is_monitored(&self.dir)).await;
        let status = self.status();
        assert_eq!(status.phase, Phase::Exited);
        status
    }

    /// Kills its monitor as nothing else would.
    pub async fn kill_monitor(&self, machine: &Machine, monitor: i32) {
        kill_process(Pid::from_raw(monitor).unwrap(), Signal::KILL).unwrap();
        machine.is_gone(monitor).await;
    }

    /// Its log, sorted: two streams have no order between them.
    pub fn log(&self) -> Vec<String> {
        let mut lines = self.log_in_order();
        lines.sort();
        lines
    }

    pub fn log_in_order(&self) -> Vec<String> {
        read(&self.bundle.state_dir.join("logs"), &LogQuery::default())
            .unwrap()
            .map(|line| line.unwrap())
            .map(|line| format!("{} {}", line.stream, String::from_utf8_lossy(&line.text)))
            .collect()
    }

    pub async fn wrote(&self, line: &str) {
        wait_for("a line of its log", || self.log_in_order().iter().any(|l| l == line)).await;
    }

    pub fn run_files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn has_cgroup(&self) -> bool {
        Group::find(&self.bundle.cgroup.path).unwrap().exists()
    }

    /// Makes a file in its root.
    pub fn touch(&self, name: &str) {
        assert_eq!(self.exec(&format!("touch /{name}")), "");
    }

    /// What a shell line in it says.
    pub fn exec(&self, line: &str) -> String {
        let pid = self.status().pid.to_string();
        let output = Command::new("nsenter")
            .args(["-t", &pid, "-U", "-m", "-n", "-p", "-S", "0", "-G", "0", "/bin/sh", "-c", line])
            .env("PATH", "/bin:/usr/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    }
}

/// Waits until something is so, looking every few milliseconds.
async fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs futures side by side.
async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// A port of the container on any free port of the loopback address.
pub fn port(target: u16) -> PortSpec {
    PortSpec { host_ip: None, published: None, target, protocol: Protocol::Tcp }
}

/// What a published port says first.
pub async fn ask(port: u16) -> String {
    let address = SocketAddr::from((Ipv4Addr::new(10, 99, 0, 1), port));
    let end = Instant::now() + PATIENCE;
    loop {
        let said =
            TcpStream::connect_timeout(&address, Duration::from_secs(2)).and_then(|mut s| {
                let mut text = String::new();
                s.set_read_timeout(Some(Duration::from_secs(5)))?;
                s.read_to_string(&mut text)?;
                Ok(text)
            });
        match said {
            Ok(text) if !text.is_empty() => return text,
            other => assert!(Instant::now() < end, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a port of the host is held.
pub fn cannot_listen(port: u16) -> bool {
    TcpListener::bind(("0.0.0.0", port)).is_err()
}

/// Answers every question on the host's bridge with this IPv4 address, but for names
/// that begin with `silent`.
pub fn serve_names(address: [u8; 4]) {
    let socket = std::net::UdpSocket::bind("10.99.0.1:53").unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut buffer) {
            let end = 12 + buffer[12..length].iter().position(|b| *b == 0).unwrap() + 5;
            if buffer[13..19].eq_ignore_ascii_case(b"silent") {
                continue;
            }
            let mut answer = buffer[..end].to_vec();
            answer[2] |= 0x80;
            let is_v4 = buffer[end - 4..end - 2] == [0, 1];
            answer[4..12].copy_from_slice(&[0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]);
            if is_v4 {
                answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend_from_slice(&address);
            }
            socket.send_to(&answer, asker).unwrap();
        }
    });
}

/// How many ports lead to containers.
pub fn published() -> usize {
    berth_network::firewall::observe().unwrap().published.len()
}

/// Memory of processes together.
pub fn memory_of(pids: &[i32]) -> String {
    let (mut pss, mut private) = (0, 0);
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (key, value) = (words.next(), words.next().and_then(|v| v.parse::<u64>().ok()));
            match (key, value) {
                (Some("Pss:"), Some(kb)) => pss += kb,
                (Some("Private_Dirty:" | "Private_Clean:"), Some(kb)) => private += kb,
                _ => {}
            }
        }
    }
    format!("PSS of their monitors {pss} kB, private {} kB each", private / pids.len() as u64)
}
