//! A host of its own for each test: a thread in a fresh network namespace, and further
//! namespaces beside it for containers and for clients from outside.

// Each test program uses its own part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use berth_network::endpoint::{self, LinkSpec};
use berth_network::firewall::{self, Network, Published};
use berth_network::{bridge, links, netns, wall};
use berth_planner::desired::NetworkSpec;
use berth_planner::observed::{NetworkRecord, Subnet};
use berth_schema::stack::Protocol;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::Handle;
use tokio::runtime::Runtime;

/// How long an answer may take that must come, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for an answer that must not come.
const IMPATIENCE: Duration = Duration::from_millis(300);

/// The host of one test, entered by the thread that runs it.
pub struct Host {
    runtime: Runtime,
    netlink: Handle,
}

/// Runs `test` on a thread of its own, in a network namespace of its own with loopback on.
pub fn on_a_host(test: impl FnOnce(&Host) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: making network namespaces needs root");
        return;
    }
    let outcome = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        // New namespaces inherit it from the machine, which may have it on.
        fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        let here = netns::current().unwrap();
        endpoint::loopback_up(here.as_fd()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let netlink = runtime.block_on(async { bridge::open() }).unwrap();
        test(&Host { runtime, netlink });
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Host {
    pub fn create(&self, record: &NetworkRecord) -> berth_network::error::Result<Vec<String>> {
        self.runtime.block_on(bridge::create(&self.netlink, record))
    }

    pub fn remove(&self, name: &str) -> berth_network::error::Result<()> {
        self.runtime.block_on(bridge::remove(&self.netlink, name))
    }

    pub fn bridges(&self) -> Vec<bridge::Bridge> {
        bridge::among(&links::links().unwrap())
    }

    pub fn routes(&self) -> Vec<String> {
        let routes = links::destinations().unwrap();
        routes.iter().map(ToString::to_string).collect()
    }

    /// A container on `record` with the address ending in `last`.
    pub fn container(&self, record: &NetworkRecord, last: u8) -> Container {
        let container = Container::new();
        endpoint::connect(container.netns.as_fd(), &[link(record, "eth0", last)]).unwrap();
        container
    }

    /// Makes a network with its bridge, its walls and its packet rules.
    pub fn network(&self, record: NetworkRecord) -> NetworkRecord {
        firewall::create().unwrap();
        self.create(&record).unwrap();
        wall::build(&record.bridge).unwrap();
        firewall::add_network(&Network::from(&record)).unwrap();
        record
    }

    /// A machine at 192.168.7.LAST on a cable to this host, which is 192.168.7.1 there. It
    /// sends everything to the host.
    pub fn outside(&self, last: u8) -> Container {
        self.beside("lan0", 7, last)
    }

    /// The same on the cable `cable`, at 192.168.SUBNET.LAST.
    pub fn beside(&self, cable: &str, subnet: u8, last: u8) -> Container {
        if !self.ip("-br link").contains(cable) {
            self.ip(&format!("link add {cable} type bridge"));
            self.ip(&format!("address add 192.168.{subnet}.1/24 dev {cable}"));
            self.ip(&format!("link set {cable} up"));
        }
        let machine = Container::new();
        let mut lan = network("lan", &format!("192.168.{subnet}.0/24"));
        lan.bridge = cable.to_owned();
        endpoint::connect(machine.netns.as_fd(), &[link(&lan, "eth0", last)]).unwrap();
        machine
    }

    /// Runs the `ip` program here, to look or to lay cables that are not ours.
    pub fn ip(&self, arguments: &str) -> String {
        output("ip", arguments)
    }
}

/// A network namespace that plays a container, or a machine beside the host.
pub struct Container {
    pub netns: OwnedFd,
}

impl Container {
    pub fn new() -> Self {
        let netns = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            File::open("/proc/thread-self/ns/net").unwrap().into()
        })
        .join()
        .unwrap();
        Container { netns }
    }

    /// A namespace that belongs to a user namespace of its own, as that of a container does.
    /// `None`, with a word why, where that cannot be made.
    pub fn with_users() -> Option<Self> {
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-c", "echo ready; read -r _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let _ = BufReader::new(holder.stdout.take()?).read_line(&mut line);
        let netns = File::open(format!("/proc/{}/ns/net", holder.id()));
        // Its standard input closes, so it ends; the descriptor keeps the namespace.
        drop(holder.stdin.take());
        let _ = holder.wait();
        if line.trim() != "ready" {
            eprintln!("skipped: no user namespaces here");
            return None;
        }
        Some(Container { netns: netns.unwrap().into() })
    }

    /// Runs `work` on a thread inside.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(self.netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    pub fn ip(&self, arguments: &str) -> String {
        self.within(|| output("ip", arguments))
    }

    /// Answers every TCP connection to `port` with `name`, a space, and the caller's address.
    pub fn serve_tcp(&self, port: u16, name: &'static str) {
        let listener = self.within(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap());
        // The thread ends with the test process; its sockets hold the namespace until then.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let peer = stream
                    .peer_addr()
                    .map(|p| p.ip().to_canonical().to_string())
                    .unwrap_or_default();
                let _ = stream.write_all(format!("{name} {peer}").as_bytes());
            }
        });
    }

    /// Answers every datagram to `port` in the same way.
    pub fn serve_udp(&self, port: u16, name: &'static str) {
        let socket = self.within(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap());
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ =
                    socket.send_to(format!("{name} {}", peer.ip().to_canonical()).as_bytes(), peer);
            }
        });
    }

    pub fn ask_tcp(&self, to: &str) -> Option<String> {
        self.within(|| ask_tcp(to))
    }

    pub fn ask_udp(&self, to: &str) -> Option<String> {
        self.within(|| ask_udp(to))
    }

    pub fn try_tcp(&self, to: &str) -> Option<String> {
        self.within(|| try_tcp(to))
    }

    pub fn try_udp(&self, to: &str) -> Option<String> {
        self.within(|| try_udp(to))
    }
}

/// What the server at `to` says, when it has to be reached.
pub fn ask_tcp(to: &str) -> Option<String> {
    tcp(to, PATIENCE)
}

/// What the server at `to` says, when it should not be reached: `None`.
pub fn try_tcp(to: &str) -> Option<String> {
    tcp(to, IMPATIENCE)
}

/// As [`ask_tcp`] by one datagram, from a connected socket, so that only `to` can answer.
pub fn ask_udp(to: &str) -> Option<String> {
    udp(to, PATIENCE)
}

/// As [`try_tcp`] by one datagram.
pub fn try_udp(to: &str) -> Option<String> {
    udp(to, IMPATIENCE)
}

fn tcp(to: &str, patience: Duration) -> Option<String> {
    let to: SocketAddr = to.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn udp(to: &str, patience: Duration) -> Option<String> {
    let to: SocketAddr = to.parse().unwrap();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.connect(to).ok()?;
    socket.send(b"?").ok()?;
    let mut buffer = [0; 512];
    let len = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
}

/// A network `name` on bridge `br-NAME` with one subnet.
pub fn network(name: &str, subnet: &str) -> NetworkRecord {
    let net: ipnet::IpNet = subnet.parse().unwrap();
    NetworkRecord {
        name: name.to_owned(),
        project: "test".to_owned(),
        realm: None,
        spec: NetworkSpec::default(),
        bridge: format!("br-{name}"),
        subnets: vec![Subnet { net, gateway: net.hosts().next().unwrap() }],
    }
}

/// Publishes `[HOST:]PORT` to `target`, for the container `owner`.
pub fn publish(owner: &str, protocol: Protocol, at: &str, target: &str) -> Published {
    let port = published(owner, protocol, at, target);
    firewall::publish(std::slice::from_ref(&port)).unwrap();
    port
}

/// A published port, not published yet.
pub fn published(owner: &str, protocol: Protocol, at: &str, target: &str) -> Published {
    let (host, port) = match at.rsplit_once(':') {
        Some((host, port)) => (Some(host.trim_matches(['[', ']']).parse().unwrap()), port),
        None => (None, at),
    };
    Published {
        owner: owner.to_owned(),
        host,
        port: port.parse().unwrap(),
        protocol,
        target: target.parse().unwrap(),
    }
}

/// A link into the network with the address ending in `last`, and the default route by it.
pub fn link(record: &NetworkRecord, name: &str, last: u8) -> LinkSpec {
    let subnet = &record.subnets[0];
    let IpAddr::V4(gateway) = subnet.gateway else { panic!("an IPv4 network") };
    let [a, b, c, _] = gateway.octets();
    let address = IpAddr::V4(Ipv4Addr::new(a, b, c, last));
    LinkSpec {
        bridge: record.bridge.clone(),
        name: name.to_owned(),
        addresses: vec![ipnet::IpNet::new(address, subnet.net.prefix_len()).unwrap()],
        gateways: if record.spec.internal { vec![] } else { vec![subnet.gateway] },
        ..LinkSpec::default()
    }
}

/// What a program prints; it must succeed.
pub fn output(program: &str, arguments: &str) -> String {
    let out = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {arguments}: {errors}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Whether a program is there that only helps a test to look.
pub fn has(program: &str) -> bool {
    let there = Command::new(program).arg("-V").output().is_ok();
    if !there {
        eprintln!("skipped: there is no `{program}` program here");
    }
    there
}
