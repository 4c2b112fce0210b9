use std::net::{TcpListener, UdpSocket};

use super::*;
use crate::logs::testing::Folder;

fn spec(published: Option<(u16, u16)>, protocol: Protocol) -> PortSpec {
    PortSpec { host_ip: Some(Ipv4Addr::LOCALHOST.into()), published, target: 80, protocol }
}

/// For the first time.
fn reserve(wanted: &[PortSpec], run_dir: &Path) -> Result<Reserved, Taken> {
    super::reserve(wanted, Vec::new(), run_dir)
}

#[test]
fn a_reserved_port_cannot_be_taken_by_others() {
    let dir = Folder::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let reserved = reserve(&[spec(None, protocol)], dir.path()).unwrap();
        let (port, _) = reserved.ports[0].published.unwrap();
        assert!(TcpListener::bind(("127.0.0.1", port)).is_err() || protocol == Protocol::Udp);
        assert!(UdpSocket::bind(("127.0.0.1", port)).is_err() || protocol == Protocol::Tcp);
        drop(reserved);
        reserve(&[spec(Some((port, port)), protocol)], dir.path()).unwrap();
    }
}

#[test]
fn the_first_free_port_of_a_range_is_taken_and_a_full_range_names_the_owner() {
    let dir = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    if port > u16::MAX - 20 {
        return;
    }
    let range = spec(Some((port, port + 20)), Protocol::Tcp);
    let reserved = reserve(&[range.clone(), range], dir.path()).unwrap();
    let ports: Vec<u16> = reserved.ports.iter().map(|p| p.published.unwrap().0).collect();
    assert!(ports[0] > port && ports[1] > ports[0], "{ports:?}");

    let refusal = reserve(&[spec(Some((port, port)), Protocol::Tcp)], dir.path()).unwrap_err();
    let own = format!("it is taken by process {} (", std::process::id());
    assert!(refusal.to_string().starts_with(&own), "{refusal}");
    assert_eq!(refusal.port, format!("127.0.0.1:{port}/tcp"));
}

#[test]
fn ports_that_fit_stay_and_a_refusal_leaves_what_was_there() {
    let dir = Folder::new();
    let any = |target| PortSpec { target, ..spec(None, Protocol::Tcp) };
    let mut reserved = reserve(&[any(80), any(81)], dir.path()).unwrap();
    let [first, second] = [0, 1].map(|index| reserved.ports[index].clone());
    let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = squatter.local_addr().unwrap().port();

    // On all addresses what was on one, and one that somebody has.
    let wide = PortSpec { host_ip: None, ..first.clone() };
    let gone = |wanted: &[PortSpec]| -> Vec<PortSpec> {
        reserved.given_up(wanted).map(|(port, _)| port.clone()).collect()
    };
    assert_eq!(gone(&[any(82), wide.clone()]), std::slice::from_ref(&second));
    let range = Some((1, u16::MAX));
    assert_eq!(
        gone(&[PortSpec { published: range, ..wide.clone() }]),
        [first.clone(), second.clone()]
    );
    assert_eq!(gone(&[any(82), any(83)]), []);
    let wanted = [wide.clone(), spec(Some((taken, taken)), Protocol::Tcp)];
    let refusal = reserved.turn_into((&wanted, &[]), dir.path()).unwrap_err();
    assert!(refusal.starts_with(&format!("reserve port `127.0.0.1:{taken}/tcp`: ")), "{refusal}");
    assert_eq!(reserved.ports, [first.clone(), second.clone()]);
    let port = |spec: &PortSpec| spec.published.unwrap().0;
    assert!(TcpListener::bind(("127.0.0.1", port(&first))).is_err());

    drop(squatter);
    let moved = PortSpec { target: 82, ..second.clone() };
    let wanted = [spec(Some((taken, taken)), Protocol::Tcp), moved.clone(), wide.clone()];
    reserved.turn_into((&wanted, &[]), dir.path()).unwrap();
    assert_eq!(reserved.ports, wanted);
    reserved.turn_into((&[any(83)], &[]), dir.path()).unwrap();
    assert_eq!(port(&reserved.ports[0]), taken, "the first that fits");
    assert!(TcpListener::bind(("127.0.0.1", port(&second))).is_ok());
}

#[test]
fn a_port_of_ones_choice_stays_where_it_was_if_that_is_free() {
    let dir = Folder::new();
    // Where no other test chooses ports.
    let host_ip = Some(Ipv4Addr::new(127, 7, 7, 7).into());
    let any = |target| PortSpec { host_ip, target, ..spec(None, Protocol::Tcp) };
    let wanted = [any(80), any(80), any(81)];
    let numbers = |reserved: &Reserved| -> Vec<u16> {
        reserved.ports.iter().map(|port| port.published.unwrap().0).collect()
    };
    let reserved = reserve(&wanted, dir.path()).unwrap();
    let (before, last) = (numbers(&reserved), reserved.ports.clone());
    drop(reserved);
    let reserved = super::reserve(&wanted, last.clone(), dir.path()).unwrap();
    assert_eq!(numbers(&reserved), before);

    drop(reserved);
    let _squatter = TcpListener::bind(("127.7.7.7", before[0])).unwrap();
    let fixed = PortSpec { published: Some((before[2], before[2])), ..any(80) };
    let wanted = [&wanted[..], &[fixed]].concat();
    let now = numbers(&super::reserve(&wanted, last, dir.path()).unwrap());
    assert_eq!((now[1], now[3]), (before[1], before[2]));
    assert!(now[0] != before[0] && now[2] != before[2], "{now:?} after {before:?}");
}

#[test]
fn closing_connections_do_not_keep_a_port() {
    let dir = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::net::TcpStream::connect(address).unwrap();
    let (server, _) = listener.accept().unwrap();
    // The side that closes first keeps the port in TIME_WAIT.
    drop(server);
    drop(client);
    drop(listener);
    let wanted = spec(Some((address.port(), address.port())), Protocol::Tcp);
    let _reserved = reserve(&[wanted], dir.path()).unwrap();
    assert!(TcpListener::bind(address).is_err());
}

#[test]
fn another_container_is_named() {
    let dir = Folder::new();
    let (one, two) = (dir.path().join("shop-web-1"), dir.path().join("shop-web-2"));
    fs::create_dir(&one).unwrap();
    let reserved = reserve(&[spec(None, Protocol::Udp)], &one).unwrap();
    let wanted = reserved.ports.clone();
    let status = Status { phase: Phase::Running, published: wanted.clone(), ..Status::default() };
    record::write(&one.join("status.json"), &status, record::Durability::Volatile).unwrap();
    let refusal = reserve(&wanted, &two).unwrap_err();
    assert_eq!(refusal.to_string(), "it is published by `shop-web-1`");
}

#[test]
fn an_address_the_host_does_not_have_is_refused() {
    let dir = Folder::new();
    let wanted = PortSpec {
        host_ip: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
        ..spec(Some((8080, 8080)), Protocol::Tcp)
    };
    let refusal = reserve(&[wanted], dir.path()).unwrap_err();
    assert_eq!(refusal.port, "192.0.2.1:8080/tcp");
    assert_eq!(refusal.to_string(), "the host does not have this address");
}
