//! Names to addresses without the C library: `/etc/hosts`, then the servers of
//! `/etc/resolv.conf`. A static program must not load the host's name service modules.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const MAX_SERVERS: usize = 3;
const ROUNDS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks names up as this host's files say.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    port: u16,
}

/// No address was found.
#[derive(Debug)]
pub(super) struct Unknown {
    name: String,
    why: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no address for `{}`: {}", self.name.escape_debug(), self.why)
    }
}

impl std::error::Error for Unknown {}

/// What `/etc/resolv.conf` says, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
}

impl Resolver {
    pub(super) fn of_this_host() -> Resolver {
        Resolver { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into(), port: 53 }
    }

    pub(super) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Unknown> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let hosts = std::fs::read_to_string(&self.hosts).unwrap_or_default();
        let listed = in_hosts(&hosts, &name);
        if !listed.is_empty() {
            return Ok(listed);
        }
        let settings = settings(&std::fs::read_to_string(&self.resolv_conf).unwrap_or_default());
        let mut why = "it does not exist".to_owned();
        for candidate in candidates(&name, &settings) {
            match self.ask(&settings, &candidate).await {
                Ok(found) if !found.is_empty() => return Ok(found),
                Ok(_) => {}
                Err(error) => why = error.to_string(),
            }
        }
        Err(Unknown { name, why })
    }

    /// IPv4 addresses first: a host without IPv6 then loses no time.
    async fn ask(&self, settings: &Settings, name: &str) -> io::Result<Vec<IpAddr>> {
        let (v4, v6) = tokio::join!(
            self.ask_all(settings, name, TYPE::A),
            self.ask_all(settings, name, TYPE::AAAA)
        );
        match (v4, v6) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => Ok(v4.into_iter().chain(v6).flatten().collect()),
        }
    }

    async fn ask_all(
        &self,
        settings: &Settings,
        name: &str,
        kind: TYPE,
    ) -> io::Result<Vec<IpAddr>> {
        let mut last = io::Error::other("`/etc/resolv.conf` names no server");
        for _ in 0..ROUNDS {
            for server in &settings.servers {
                match self.ask_one(SocketAddr::new(*server, self.port), name, kind).await {
                    Ok(found) => return Ok(found),
                    Err(error) => {
                        last = io::Error::new(error.kind(), format!("server {server}: {error}"))
                    }
                }
            }
        }
        Err(last)
    }

    async fn ask_one(&self, server: SocketAddr, name: &str, kind: TYPE) -> io::Result<Vec<IpAddr>> {
        let id = RandomState::new().hash_one(name) as u16;
        let query = query(id, name, kind).map_err(io::Error::other)?;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time");
        let answer = timeout(PATIENCE, over_udp(server, id, &query)).await.map_err(late)??;
        let answer = match read(&answer, kind)? {
            Some(found) => return Ok(found),
            None => timeout(PATIENCE, over_tcp(server, &query)).await.map_err(late)??,
        };
        read(&answer, kind)?.ok_or_else(|| io::Error::other("its answer is cut"))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.look_up(name.as_str()).await?;
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let found = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    });
    let mut seen = BTreeSet::new();
    found.filter(|address| seen.insert(*address)).collect()
}

fn settings(text: &str) -> Settings {
    let mut settings = Settings { servers: Vec::new(), search: Vec::new(), ndots: 1 };
    for line in text.lines() {
        let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
        match words.next() {
            Some("nameserver") => {
                settings.servers.extend(words.next().and_then(|w| w.parse::<IpAddr>().ok()))
            }
            Some("search" | "domain") => {
                settings.search = words.map(|word| word.trim_end_matches('.').to_owned()).collect();
            }
            Some("options") => {
                let dots =
                    words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                settings.ndots = dots.unwrap_or(settings.ndots);
            }
            _ => {}
        }
    }
    settings.servers.truncate(MAX_SERVERS);
    if settings.servers.is_empty() {
        // resolv.conf(5): without a server the one on this machine is asked.
        settings.servers.push(Ipv4Addr::LOCALHOST.into());
    }
    settings
}

/// The names to ask for, in order: a name with enough dots first as it is.
fn candidates(name: &str, settings: &Settings) -> Vec<String> {
    let mut names: Vec<String> =
        settings.search.iter().filter(|s| !s.is_empty()).map(|s| format!("{name}.{s}")).collect();
    let dots = name.matches('.').count();
    let at = if dots >= settings.ndots { 0 } else { names.len() };
    names.insert(at, name.to_owned());
    names
}

fn query(id: u16, name: &str, kind: TYPE) -> Result<Vec<u8>, simple_dns::SimpleDnsError> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = simple_dns::Name::new(name)?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind), CLASS::IN.into(), false));
    packet.build_bytes_vec()
}

/// The addresses of an answer; `None` when it was cut and has to be asked for by TCP.
fn read(answer: &[u8], kind: TYPE) -> io::Result<Option<Vec<IpAddr>>> {
    let packet =
        Packet::parse(answer).map_err(|e| io::Error::other(format!("a damaged answer: {e}")))?;
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Ok(None);
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Some(Vec::new())),
        code => return Err(io::Error::other(format!("it answered {code:?}"))),
    }
    let addresses = packet.answers.iter().filter_map(|record| match (&record.rdata, kind) {
        (RData::A(a), TYPE::A) => Some(IpAddr::from(Ipv4Addr::from(a.address))),
        (RData::AAAA(aaaa), TYPE::AAAA) => Some(IpAddr::from(Ipv6Addr::from(aaaa.address))),
        _ => None,
    });
    Ok(Some(addresses.collect()))
}

async fn over_udp(server: SocketAddr, id: u16, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let n = socket.recv(&mut buffer).await?;
        // Anything else is late or forged; the caller's patience ends the wait.
        if n >= 12 && buffer[..2] == id.to_be_bytes() && answers(&buffer[..n], query) {
            buffer.truncate(n);
            return Ok(buffer);
        }
    }
}

/// Whether an answer repeats the question, up to the case of its letters.
fn answers(answer: &[u8], query: &[u8]) -> bool {
    answer.len() >= query.len() && answer[12..query.len()].eq_ignore_ascii_case(&query[12..])
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if answers(&answer, query) {
        Ok(answer)
    } else {
        Err(io::Error::other("it answered another question"))
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
