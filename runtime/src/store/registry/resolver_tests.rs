//! Names, by files and by a server of the test.

use super::super::super::test_images::Scratch;
use super::*;

#[test]
fn hosts_and_resolv_conf_are_read_with_their_comments() {
    let hosts = "127.0.0.1 localhost\n10.0.0.1 reg.test Alias # other.test\n10.0.0.2 reg.test\nbad reg.test\n";
    assert_eq!(
        in_hosts(hosts, "reg.test"),
        ["10.0.0.1".parse::<IpAddr>().unwrap(), "10.0.0.2".parse().unwrap()]
    );
    assert_eq!(in_hosts(hosts, "alias").len(), 1);
    assert!(in_hosts(hosts, "other.test").is_empty());
    let found = settings(
        "# x\nsearch a.test b.test.\nnameserver 10.0.0.3 ; y\nnameserver fe80::1%eth0\noptions ndots:2\n",
    );
    let servers = vec!["10.0.0.3".parse().unwrap()];
    let search = vec!["a.test".to_owned(), "b.test".to_owned()];
    assert_eq!(found, Settings { servers, search, ndots: 2 });
    assert_eq!(candidates("x.y", &found), ["x.y.a.test", "x.y.b.test", "x.y"]);
    assert_eq!(candidates("x.y.z", &found)[0], "x.y.z");
    assert_eq!(settings("").servers, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
}

/// Answers every question over UDP with `udp` and over TCP with `tcp`.
async fn server(udp: fn(&Packet<'_>) -> Vec<u8>, tcp: fn(&Packet<'_>) -> Vec<u8>) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            let reply = udp(&Packet::parse(&buffer[..n]).unwrap());
            // A forged answer, which is to be ignored, before the true one.
            let mut forged = reply.clone();
            forged[0] ^= 0xff;
            socket.send_to(&forged, from).await.unwrap();
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut query = vec![0; usize::from(length)];
            stream.read_exact(&mut query).await.unwrap();
            let reply = tcp(&Packet::parse(&query).unwrap());
            stream.write_u16(reply.len() as u16).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    port
}

fn reply(query: &Packet<'_>) -> Vec<u8> {
    let mut reply = Packet::new_reply(query.id());
    let question = query.questions[0].clone();
    let name = question.qname.clone();
    if name.to_string() != "reg.example.test" {
        *reply.rcode_mut() = RCODE::NameError;
    } else if question.qtype == QTYPE::TYPE(TYPE::A) {
        let a = simple_dns::rdata::A { address: u32::from(Ipv4Addr::new(10, 9, 8, 7)) };
        reply.answers.push(simple_dns::ResourceRecord::new(name, CLASS::IN, 60, RData::A(a)));
    }
    reply.questions.push(question);
    reply.build_bytes_vec().unwrap()
}

fn cut(query: &Packet<'_>) -> Vec<u8> {
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::TRUNCATION);
    reply.questions.push(query.questions[0].clone());
    reply.build_bytes_vec().unwrap()
}

fn resolver(scratch: &Scratch, port: u16) -> Resolver {
    let (hosts, resolv_conf) = (scratch.path().join("hosts"), scratch.path().join("resolv.conf"));
    std::fs::write(&hosts, "").unwrap();
    std::fs::write(&resolv_conf, "nameserver 127.0.0.1\nsearch example.test\n").unwrap();
    Resolver { hosts, resolv_conf, port }
}

#[tokio::test]
async fn a_name_is_asked_for_with_its_search_domain_and_by_tcp_when_cut() {
    let scratch = Scratch::new("resolver");
    for udp in [reply, cut] {
        let resolver = resolver(&scratch, server(udp, reply).await);
        let wanted = [IpAddr::from(Ipv4Addr::new(10, 9, 8, 7))];
        assert_eq!(resolver.look_up("reg").await.unwrap(), wanted);
        assert_eq!(resolver.look_up("REG.example.test.").await.unwrap(), wanted);
        let unknown = resolver.look_up("nothing.test").await.unwrap_err();
        assert_eq!(unknown.to_string(), "no address for `nothing.test`: it does not exist");
    }
}

#[tokio::test]
async fn localhost_needs_no_server() {
    let found = Resolver::of_this_host().look_up("x.localhost").await.unwrap();
    assert_eq!(found[0], IpAddr::from(Ipv4Addr::LOCALHOST));
}
