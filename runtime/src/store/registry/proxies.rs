//! Through which proxy a registry is reached: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in
//! either case of letters, read as Docker reads them.
//!
//! `NO_PROXY` lists names (with all below them; with a dot before them, only those below),
//! addresses, networks, and any of these with a port; `*` is everything. This machine itself is
//! never reached through a proxy.

use std::net::IpAddr;

use ipnet::IpNet;
use reqwest::Url;

use super::error::RegistryError;
use super::http::is_loopback;

/// The proxies of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    except: Vec<Except>,
}

/// What is reached directly.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Except {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    Below { domain: String, itself: bool },
    Net(IpNet),
}

impl Proxies {
    /// Those the environment names.
    pub(super) fn of_environment() -> Result<Proxies, RegistryError> {
        Proxies::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Proxies, RegistryError> {
        let either = |name: &str| {
            let text = variable(name).filter(|text| !text.is_empty());
            text.or_else(|| variable(&name.to_ascii_lowercase())).filter(|text| !text.is_empty())
        };
        let proxy = |name: &str| either(name).map(|text| address(name, &text)).transpose();
        let except = either("NO_PROXY").unwrap_or_default();
        // In a CGI program this variable is what a client sent as the header `Proxy`.
        let is_cgi = variable("REQUEST_METHOD").is_some();
        Ok(Proxies {
            http: if is_cgi { None } else { proxy("HTTP_PROXY")? },
            https: proxy("HTTPS_PROXY")?,
            except: except.split(',').filter_map(|text| Except::read(text.trim())).collect(),
        })
    }

    /// The proxy for an address; `None` is directly.
    pub(super) fn of(&self, url: &Url) -> Option<Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
        let port = url.port_or_known_default();
        let direct = is_loopback(&host) || self.except.iter().any(|e| e.covers(&host, port));
        proxy.clone().filter(|_| !direct)
    }
}

impl Except {
    fn read(text: &str) -> Option<Except> {
        let text = text.to_ascii_lowercase();
        if let Some(net) = net(&text) {
            return Some(Except { hosts: Hosts::Net(net), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text.as_str(), None),
        };
        let hosts = match (net(host), host) {
            (Some(net), _) => Hosts::Net(net),
            (None, "") => return None,
            (None, "*") => Hosts::All,
            (None, name) => {
                let below = name.strip_prefix("*.").or(name.strip_prefix('.'));
                let domain = below.unwrap_or(name).to_owned();
                Hosts::Below { domain, itself: below.is_none() }
            }
        };
        Some(Except { hosts, port })
    }

    fn covers(&self, host: &str, port: Option<u16>) -> bool {
        let here = match &self.hosts {
            Hosts::All => true,
            Hosts::Below { domain, itself } => {
                let rest = host.strip_suffix(domain.as_str());
                rest.is_some_and(|rest| rest.ends_with('.') || (rest.is_empty() && *itself))
            }
            Hosts::Net(net) => ip(host).is_some_and(|address| net.contains(&address)),
        };
        here && self.port.is_none_or(|only| Some(only) == port)
    }
}

fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| ip(text).map(IpNet::from))
}

fn ip(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn address(name: &str, text: &str) -> Result<Url, RegistryError> {
    let failed = |why: &str| RegistryError::Settings { path: name.to_owned(), why: why.to_owned() };
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).ok().filter(Url::has_host);
    let url = url.ok_or_else(|| failed("it is no address of a proxy: `http://HOST:PORT`"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(failed("only proxies that speak HTTP are known: `http://HOST:PORT`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, String> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
        Proxies::read(|name| find(name).map(|(_, value)| (*value).to_owned()))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_this_machine_has_none() {
        let proxies =
            proxies(&[("HTTP_PROXY", "a:3128"), ("https_proxy", "https://u:p@b")]).unwrap();
        let of = |url| proxies.of(&Url::parse(url).unwrap()).map(|url| url.to_string());
        assert_eq!(of("http://x/").unwrap(), "http://a:3128/");
        assert_eq!(of("https://x:5000/").unwrap(), "https://u:p@b/");
        for direct in ["http://localhost:5000/", "https://127.0.0.9/", "http://[::1]:1/"] {
            assert_eq!(of(direct), None, "{direct}");
        }
    }

    #[test]
    fn names_networks_and_ports_are_left_out() {
        let list =
            " x.y, .sub.z,*.star.z,10.0.0.0/8,192.168.1.7,[fd00::1]:5000,fd00:2::/32,p.q:5000 ,,:";
        let proxies = proxies(&[("HTTP_PROXY", "a:1"), ("NO_PROXY", list)]).unwrap();
        let direct =
            |host: &str| proxies.of(&Url::parse(&format!("http://{host}/")).unwrap()).is_none();
        let yes = [
            "x.y",
            "X.Y",
            "x.y.",
            "a.x.y",
            "a.sub.z",
            "b.star.z",
            "10.200.3.4",
            "192.168.1.7:81",
            "[fd00::1]:5000",
            "[fd00:2::9]",
            "p.q:5000",
            "a.p.q:5000",
        ];
        for host in yes {
            assert!(direct(host), "{host}");
        }
        for host in ["xx.y", "sub.z", "star.z", "11.0.0.1", "[fd00::1]:80", "p.q", "p.q:5001", "y"]
        {
            assert!(!direct(host), "{host}");
        }
        let all = self::proxies(&[("HTTP_PROXY", "a:1"), ("no_proxy", "*")]).unwrap();
        assert_eq!(all.of(&Url::parse("http://x/").unwrap()), None);
    }

    #[test]
    fn what_is_no_proxy_is_named() {
        for wrong in ["socks5://a:1", "http://", "::"] {
            let error = proxies(&[("HTTPS_PROXY", wrong)]).unwrap_err();
            assert!(error.contains("`HTTPS_PROXY`"), "{error}");
        }
        let cgi = proxies(&[("HTTP_PROXY", "a:1"), ("REQUEST_METHOD", "GET")]).unwrap();
        assert_eq!(cgi, Proxies::default());
    }
}
