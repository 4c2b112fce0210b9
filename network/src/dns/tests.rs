//! Questions and answers, checked by reading them with another implementation.

use std::net::IpAddr;

use insta::assert_snapshot;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE};

use super::returning;
use super::{Answer, Transport, Zone, answer, failure, is_answer_to, is_truncated, outgoing};

fn zone() -> Zone {
    let mut zone = Zone::new(false);
    let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    zone.add(&names("shop-web-1 web www"), [address("10.20.0.2")]);
    zone.add(&names("shop-web-2 Web"), [address("10.20.0.3"), address("fd00:20::3")]);
    zone.add(&names("db.internal"), [address("10.20.0.4")]);
    zone.reserve("mail.shop");
    zone.own("10.20.0.0/24".parse().unwrap());
    zone.own("fd00:20::/64".parse().unwrap());
    zone
}

fn query(name: &str, kind: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(0x1234);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new_unchecked(name);
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().unwrap()
}

/// Makes room for long answers: adds an OPT record.
fn with_edns(mut query: Vec<u8>, size: u16, version: u8) -> Vec<u8> {
    query[11] = 1;
    query.extend([0, 0, 41]);
    query.extend(size.to_be_bytes());
    query.extend([0, version, 0, 0, 0, 0]);
    query
}

fn ask(zone: &Zone, name: &str, kind: TYPE) -> String {
    told(answer(&query(name, kind), zone, Transport::Udp, 1))
}

/// An answer in a line: its code, and its records.
fn told(answer: Answer) -> String {
    let reply = match answer {
        Answer::Reply(reply) => reply,
        other => return format!("{other:?}"),
    };
    let packet = Packet::parse(&reply).unwrap();
    assert_eq!(packet.id(), 0x1234);
    assert!(packet.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_AVAILABLE));
    let mut words = vec![format!("{:?}", packet.rcode())];
    if packet.has_flags(PacketFlag::TRUNCATION) {
        words.push("truncated".to_owned());
    }
    for record in &packet.answers {
        use simple_dns::rdata::RData;
        assert_eq!(record.ttl, 5);
        words.push(match &record.rdata {
            RData::A(a) => std::net::Ipv4Addr::from(a.address).to_string(),
            RData::AAAA(a) => std::net::Ipv6Addr::from(a.address).to_string(),
            RData::PTR(name) => name.0.to_string(),
            other => format!("{other:?}"),
        });
    }
    words.join(" ")
}

#[test]
fn names_of_the_zone_are_answered_whatever_their_case() {
    let zone = zone();
    assert_snapshot!(ask(&zone, "shop-web-1", TYPE::A), @"NoError 10.20.0.2");
    assert_snapshot!(ask(&zone, "WWW", TYPE::A), @"NoError 10.20.0.2");
    assert_snapshot!(ask(&zone, "DB.Internal", TYPE::A), @"NoError 10.20.0.4");
    assert_snapshot!(ask(&zone, "web", TYPE::AAAA), @"NoError fd00:20::3");
}

#[test]
fn a_name_without_such_an_address_exists_all_the_same() {
    let zone = zone();
    assert_snapshot!(ask(&zone, "www", TYPE::AAAA), @"NoError");
    assert_snapshot!(ask(&zone, "www", TYPE::MX), @"NoError");
}

#[test]
fn several_addresses_come_in_an_order_that_the_seed_decides() {
    let mut zone = Zone::new(false);
    let addresses = (1..=4).map(|last| IpAddr::from([10, 0, 0, last]));
    zone.add(&["web".to_owned()], addresses);
    let seeded = |seed| told(answer(&query("web", TYPE::A), &zone, Transport::Udp, seed));

    assert_eq!(seeded(7), seeded(7));
    let firsts: std::collections::BTreeSet<String> =
        (0..64).map(|seed| seeded(seed).split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(firsts.len(), 4, "each comes first sometimes: {firsts:?}");
    assert_eq!(seeded(7).split(' ').count(), 5, "all are told");
}

#[test]
fn addresses_lead_back_to_names() {
    let zone = zone();
    assert_snapshot!(ask(&zone, "2.0.20.10.in-addr.arpa", TYPE::PTR), @"NoError shop-web-1");
    let v6 = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.0.d.f.ip6.arpa";
    assert_snapshot!(ask(&zone, v6, TYPE::PTR), @"NoError shop-web-2");
    assert_snapshot!(ask(&zone, "9.0.20.10.in-addr.arpa", TYPE::PTR), @"NameError");
    assert_snapshot!(ask(&zone, "9.9.9.9.in-addr.arpa", TYPE::PTR), @"Forward");
    assert_snapshot!(ask(&zone, "20.10.in-addr.arpa", TYPE::PTR), @"Forward");
}

#[test]
fn names_of_a_stack_are_never_forwarded_and_others_are() {
    let zone = zone();
    assert_snapshot!(ask(&zone, "mail.shop", TYPE::A), @"NameError");
    assert_snapshot!(ask(&zone, "cache", TYPE::A), @"NameError");
    assert_snapshot!(ask(&zone, "cache", TYPE::AAAA), @"NameError");
    assert_snapshot!(ask(&zone, "example.org", TYPE::A), @"Forward");
    assert_snapshot!(ask(&zone, "web.example.org", TYPE::A), @"Forward");
    assert_snapshot!(ask(&zone, "org", TYPE::NS), @"Forward");
    assert_snapshot!(ask(&zone, ".", TYPE::NS), @"Forward");
}

#[test]
fn nothing_leaves_an_internal_network() {
    let mut zone = Zone::new(true);
    zone.add(&["web".to_owned()], ["10.0.0.2".parse().unwrap()]);
    assert_snapshot!(ask(&zone, "web", TYPE::A), @"NoError 10.0.0.2");
    assert_snapshot!(ask(&zone, "example.org", TYPE::A), @"NameError");
    assert_snapshot!(ask(&zone, "9.9.9.9.in-addr.arpa", TYPE::PTR), @"NameError");
    assert_snapshot!(ask(&zone, ".", TYPE::NS), @"NameError");
}

#[test]
fn long_answers_are_cut_for_datagrams_only() {
    let mut zone = Zone::new(false);
    zone.add(&["web".to_owned()], (0..60).map(|last| IpAddr::from([10, 0, 0, last])));
    let plain = query("web", TYPE::A);
    let roomy = with_edns(plain.clone(), 4096, 0);
    let words = |query: &[u8], transport| told(answer(query, &zone, transport, 1));

    assert_eq!(words(&plain, Transport::Udp), "NoError truncated");
    assert_eq!(words(&plain, Transport::Tcp).split(' ').count(), 61);
    assert_eq!(words(&roomy, Transport::Udp).split(' ').count(), 61);
    zone.add(&["web".to_owned()], (0..60).map(|last| IpAddr::from([10, 0, 1, last])));
    let words = |query: &[u8], transport| told(answer(query, &zone, transport, 1));
    assert_eq!(words(&roomy, Transport::Udp), "NoError truncated", "more than one packet holds");
}

#[test]
fn an_asker_that_speaks_edns_is_answered_in_kind() {
    let asked = with_edns(query("www", TYPE::A), 1400, 0);
    let Answer::Reply(reply) = answer(&asked, &zone(), Transport::Udp, 1) else { panic!() };
    let packet = Packet::parse(&reply).unwrap();
    assert_eq!(packet.opt().unwrap().udp_packet_size, 1232);

    let newer = with_edns(query("www", TYPE::A), 1400, 1);
    let Answer::Reply(reply) = answer(&newer, &zone(), Transport::Udp, 1) else { panic!() };
    let high_bits_of_16_then_version_flags_and_length = [1, 0, 0, 0, 0, 0];
    assert!(reply.ends_with(&high_bits_of_16_then_version_flags_and_length), "{reply:?}");
    assert_eq!(reply[3] & 0xf, 0);
}

#[test]
fn what_is_no_question_is_refused_or_dropped() {
    let zone = zone();
    let words = |message: &[u8]| told(answer(message, &zone, Transport::Udp, 1));
    let good = query("www", TYPE::A);

    let mut response = good.clone();
    response[2] |= 0x80;
    assert_snapshot!(words(&response), @"Drop");
    let mut update = good.clone();
    update[2] |= 5 << 3;
    assert_snapshot!(words(&update), @"NotImplemented");
    let mut two = good.clone();
    two[5] = 2;
    assert_snapshot!(words(&two), @"FormatError");
    let mut pointer = good.clone();
    pointer[12..14].copy_from_slice(&[0xc0, 12]);
    assert_snapshot!(words(&pointer), @"FormatError");
    let mut chaos = good.clone();
    *chaos.last_mut().unwrap() = 3;
    assert_snapshot!(words(&chaos), @"Refused");
    let mut many = good.clone();
    many[10..12].copy_from_slice(&[0xff, 0xff]);
    assert_snapshot!(words(&many), @"FormatError");
    for len in 0..good.len() {
        let told = words(&good[..len]);
        assert!(["Drop", "FormatError"].contains(&told.as_str()), "{len} bytes: {told}");
    }
}

#[test]
fn a_label_with_a_dot_in_it_is_not_taken_for_a_name() {
    let mut asked = query("dbxinternal", TYPE::A);
    let at = asked.iter().position(|byte| *byte == b'x').unwrap();
    asked[at] = b'.';
    assert_snapshot!(told(answer(&asked, &zone(), Transport::Udp, 1)), @"Forward");
}

#[test]
fn any_bytes_get_an_answer_without_harm() {
    // Not random in truth: every byte of good messages set to every edge value.
    let zone = zone();
    let good = with_edns(query("shop-web-1.very.long.example", TYPE::A), 1232, 0);
    for at in 0..good.len() {
        for value in [0, 1, 63, 64, 0x7f, 0x80, 0xc0, 0xff] {
            let mut message = good.clone();
            message[at] = value;
            if let Answer::Reply(reply) = answer(&message, &zone, Transport::Udp, 1) {
                assert!(reply.len() <= 512);
            }
            let _ = outgoing(&message, 1);
            let _ = is_answer_to(&good, &message);
            let _ = returning(&good, &message, Transport::Udp);
            let _ = failure(&message);
        }
    }
}

#[test]
fn a_forwarded_question_has_its_own_number_and_comes_back_with_the_askers() {
    let asked = query("example.org", TYPE::A);
    let sent = outgoing(&asked, 0xbeef).unwrap();
    let mut reply = sent.clone();
    reply[2] |= 0x80;

    assert_eq!(sent[..2], [0xbe, 0xef]);
    assert_eq!(sent[2..], asked[2..]);
    assert!(is_answer_to(&sent, &reply));
    assert!(!is_answer_to(&sent, &sent), "a question is no answer");
    let other = outgoing(&asked, 0xbeee).unwrap();
    assert!(!is_answer_to(&other, &reply), "another number");
    let elsewhere = outgoing(&query("example.com", TYPE::A), 0xbeef).unwrap();
    assert!(!is_answer_to(&elsewhere, &reply), "another name");
    let otherwise = outgoing(&query("example.org", TYPE::AAAA), 0xbeef).unwrap();
    assert!(!is_answer_to(&otherwise, &reply), "another type");
    let back = returning(&asked, &reply, Transport::Udp).unwrap();
    assert_eq!(back[..2], asked[..2]);
    assert_eq!(back[2..], reply[2..]);
}

#[test]
fn a_long_reply_from_elsewhere_is_cut_for_datagrams_only() {
    let asked = query("example.org", TYPE::TXT);
    let mut reply = outgoing(&asked, 7).unwrap();
    reply[2] |= 0x80;
    reply.resize(900, 0);

    let cut = returning(&asked, &reply, Transport::Udp).unwrap();
    assert!(is_truncated(&cut) && cut.len() < 512);
    assert!(!is_truncated(&reply));
    assert_eq!(returning(&asked, &reply, Transport::Tcp).unwrap().len(), 900);
    let roomy = with_edns(asked, 1232, 0);
    assert_eq!(returning(&roomy, &reply, Transport::Udp).unwrap().len(), 900);
}

#[test]
fn a_silent_server_becomes_a_failure() {
    let reply = failure(&query("example.org", TYPE::A)).unwrap();
    assert_snapshot!(told(Answer::Reply(reply)), @"ServerFailure");
    assert_eq!(failure(b"no query"), None);
}
