//! `resolv.conf`: the host's is read, the container's is written.

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv4Addr};
use std::str::FromStr;

use super::SERVER;

/// A server that a `resolv.conf` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Its address.
    pub address: IpAddr,
    /// The link it is on, for an address of a link (`fe80::1%eth0`).
    pub link: Option<String>,
}

impl FromStr for NameServer {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, link) = match text.split_once('%') {
            Some((address, link)) => (address, Some(link.to_owned())),
            None => (text, None),
        };
        Ok(NameServer { address: address.parse()?, link })
    }
}

impl From<IpAddr> for NameServer {
    fn from(address: IpAddr) -> Self {
        NameServer { address, link: None }
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        self.link.iter().try_for_each(|link| write!(f, "%{link}"))
    }
}

/// What a `resolv.conf` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Servers, in the order they are asked.
    pub nameservers: Vec<NameServer>,
    /// Domains tried after a short name.
    pub search: Vec<String>,
    /// Options, as they stand.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads the text of a `resolv.conf`. What is not understood is left out, as the resolver of
    /// the C library does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next();
            let words = words.map(str::to_owned);
            match keyword {
                Some("nameserver") => {
                    conf.nameservers.extend(words.take(1).flat_map(|w| w.parse::<NameServer>()))
                }
                // The last one of these counts.
                Some("search") => conf.search = words.collect(),
                Some("domain") => conf.search = words.take(1).collect(),
                Some("options") => conf.options.extend(words),
                _ => {}
            }
        }
        conf
    }

    /// What a container gets: our resolver, with the given search domains and options, or else
    /// the host's. A search domain `.` means none. Names are first tried as they stand, unless an
    /// option says otherwise.
    #[must_use]
    pub fn for_container(host: &ResolvConf, search: &[String], options: &[String]) -> Self {
        let search = if search.is_empty() { &host.search } else { search };
        let options = if options.is_empty() { &host.options } else { options };
        let mut options = options.to_vec();
        if !options.iter().any(|option| option.starts_with("ndots:")) {
            options.push("ndots:0".to_owned());
        }
        ResolvConf {
            nameservers: vec![IpAddr::V4(SERVER).into()],
            search: search.iter().filter(|domain| *domain != ".").cloned().collect(),
            options,
        }
    }

    /// Whether the C library tries search domains before a name without a dot as it stands.
    #[must_use]
    pub fn searches_first(&self) -> bool {
        let dots =
            self.options.iter().filter_map(|option| option.strip_prefix("ndots:")).next_back();
        dots.is_none_or(|dots| dots.parse::<u32>().is_ok_and(|dots| dots > 0))
    }

    /// Servers to ask from the host: without any, the host's own, as the C library has it.
    #[must_use]
    pub fn servers(&self) -> Vec<NameServer> {
        match self.nameservers.as_slice() {
            [] => vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into()],
            some => some.to_vec(),
        }
    }
}

impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.nameservers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.search.is_empty() {
            writeln!(f, "search {}", self.search.join(" "))?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
# made by hand
nameserver 127.0.0.53
nameserver 192.168.7.1 ; the router
nameserver fe80::1%eth0
nameserver fd00::53
domain old.example
search corp.example example
options edns0 trust-ad
sortlist 130.155.160.0
";

    #[test]
    fn a_host_file_is_read_as_the_c_library_does() {
        let conf = ResolvConf::parse(HOST);

        insta::assert_snapshot!(conf, @r"
        nameserver 127.0.0.53
        nameserver 192.168.7.1
        nameserver fe80::1%eth0
        nameserver fd00::53
        search corp.example example
        options edns0 trust-ad
        ");
        assert_eq!(ResolvConf::parse(&conf.to_string()), conf);
    }

    #[test]
    fn a_container_gets_our_server_and_what_the_host_has() {
        let host = ResolvConf::parse(HOST);
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();

        insta::assert_snapshot!(ResolvConf::for_container(&host, &[], &[]), @r"
        nameserver 127.0.0.11
        search corp.example example
        options edns0 trust-ad ndots:0
        ");
        let given = ResolvConf::for_container(&host, &words("."), &words("ndots:2 timeout:1"));
        insta::assert_snapshot!(given, @r"
        nameserver 127.0.0.11
        options ndots:2 timeout:1
        ");
    }

    #[test]
    fn names_are_looked_for_as_they_stand_unless_an_option_says_otherwise() {
        let first = |options: &str| {
            let options: Vec<String> = options.split(' ').map(str::to_owned).collect();
            ResolvConf { options, ..ResolvConf::default() }.searches_first()
        };
        assert!(first("edns0"), "resolv.conf(5): the default is 1");
        assert!(!first("ndots:0 edns0"));
        assert!(first("ndots:0 ndots:5"));
        assert!(!first("ndots:"), "what is no number is 0, as strtol(3) has it");
    }

    #[test]
    fn a_host_without_a_server_has_its_own() {
        assert_eq!(ResolvConf::default().servers(), [IpAddr::V4(Ipv4Addr::LOCALHOST).into()]);
        assert_eq!(ResolvConf::parse(HOST).servers().len(), 4);
    }
}
