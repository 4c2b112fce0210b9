//! Questions and answers, checked by reading them with another implementation.

use std::net::IpAddr;

use insta::assert_snapshot;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE};

use super::{Answer, Fit, Secret, Transport, Zone, answer, failure, fit};
use super::{is_refusal, is_truncated, outgoing, returning};

fn names(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn zone() -> Zone {
    let mut zone = Zone::new();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    zone.add("shop_default", &names("shop-web-1 web www"), [address("10.20.0.2")]);
    zone.add(
        "shop_default",
        &names("shop-web-2 Web"),
        [address("10.20.0.3"), address("fd00:20::3")],
    );
    zone.add("back", &names("db.internal"), [address("10.20.0.4")]);
    zone.add("back", &names("mail.shop"), []);
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
    let mut zone = Zone::new();
    let addresses = (1..=4).map(|last| IpAddr::from([10, 0, 0, last]));
    zone.add("n", &names("web"), addresses);
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
    assert_snapshot!(ask(&zone, "2.0.20.10.in-addr.arpa", TYPE::PTR), @"NoError shop-web-1.shop_default");
    let v6 = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.0.d.f.ip6.arpa";
    assert_snapshot!(ask(&zone, v6, TYPE::PTR), @"NoError shop-web-2.shop_default");
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
    let mut zone = Zone::new();
    zone.close();
    zone.add("n", &names("web"), ["10.0.0.2".parse().unwrap()]);
    assert_snapshot!(ask(&zone, "web", TYPE::A), @"NoError 10.0.0.2");
    assert_snapshot!(ask(&zone, "example.org", TYPE::A), @"NameError");
    assert_snapshot!(ask(&zone, "9.9.9.9.in-addr.arpa", TYPE::PTR), @"NameError");
    assert_snapshot!(ask(&zone, ".", TYPE::NS), @"NameError");
}

#[test]
fn a_name_is_also_found_with_its_network_behind_it() {
    let zone = zone();
    assert_snapshot!(ask(&zone, "www.shop_default", TYPE::A), @"NoError 10.20.0.2");
    assert_snapshot!(ask(&zone, "Shop-Web-2.Shop_Default", TYPE::AAAA), @"NoError fd00:20::3");
    assert_snapshot!(ask(&zone, "www.shop_default", TYPE::AAAA), @"NoError");
    assert_snapshot!(ask(&zone, "db.internal.back", TYPE::A), @"NoError 10.20.0.4");
    assert_snapshot!(ask(&zone, "mail.shop.back", TYPE::A), @"NameError");
    // Not on that network.
    assert_snapshot!(ask(&zone, "db.internal.shop_default", TYPE::A), @"NameError");
    assert_snapshot!(ask(&zone, "nobody.shop_default", TYPE::A), @"NameError");
    assert_snapshot!(ask(&zone, "web.other_default", TYPE::A), @"NameError");
    // `back` may be a domain of others.
    assert_snapshot!(ask(&zone, "www.back", TYPE::A), @"Forward");
}

#[test]
fn questions_for_other_than_addresses_stay_here_too() {
    let zone = zone();
    let types = [TYPE::MX, TYPE::TXT, TYPE::SRV, TYPE::HTTPS, TYPE::SVCB, TYPE::NS, TYPE::SOA];
    for kind in types {
        assert_eq!(ask(&zone, "web", kind), "NoError", "{kind:?}");
        assert_eq!(ask(&zone, "web.shop_default", kind), "NoError", "{kind:?}");
        assert_eq!(ask(&zone, "mail.shop", kind), "NameError", "{kind:?}");
    }
}

#[test]
fn a_search_domain_takes_no_name_of_ours_outside() {
    let mut zone = zone();
    zone.searched(&["corp.example".to_owned(), "Test.".to_owned()], false);
    // The service is down, or has no such address: the C library goes on with these.
    assert_snapshot!(ask(&zone, "mail.shop.corp.example", TYPE::A), @"NameError");
    assert_snapshot!(ask(&zone, "mail.shop.test", TYPE::AAAA), @"NameError");
    assert_snapshot!(ask(&zone, "mail.shop.corp.example.test", TYPE::A), @"NameError");
    assert_snapshot!(ask(&zone, "WWW.Corp.Example", TYPE::AAAA), @"NoError");
    assert_snapshot!(ask(&zone, "nobody.shop_default.corp.example", TYPE::A), @"NameError");
    // The name alone would have been found: somebody means the other one.
    assert_snapshot!(ask(&zone, "www.corp.example", TYPE::A), @"Forward");
    assert_snapshot!(ask(&zone, "_ldap._tcp.dc._msdcs.corp.example", TYPE::SRV), @"Forward");
    assert_snapshot!(ask(&zone, "nas.corp.example", TYPE::A), @"Forward");
    assert_snapshot!(ask(&zone, "corp.example", TYPE::A), @"Forward");
    assert_snapshot!(ask(&zone, "www.example", TYPE::AAAA), @"Forward");
    // With `ndots` the C library begins with them.
    zone.searched(&["corp.example".to_owned()], true);
    assert_snapshot!(ask(&zone, "www.corp.example", TYPE::A), @"NameError");
    assert_snapshot!(ask(&zone, "nas.corp.example", TYPE::A), @"Forward");
}

#[test]
fn the_host_has_two_names() {
    let mut zone = zone();
    assert_snapshot!(ask(&zone, "host.docker.internal", TYPE::A), @"NameError");
    zone.host(["10.20.0.1".parse().unwrap(), "fd00:20::1".parse().unwrap()]);
    assert_snapshot!(ask(&zone, "host.docker.internal", TYPE::A), @"NoError 10.20.0.1");
    assert_snapshot!(ask(&zone, "gateway.docker.internal", TYPE::AAAA), @"NoError fd00:20::1");
    assert_snapshot!(ask(&zone, "other.docker.internal", TYPE::A), @"Forward");
    zone.add("n", &names("host.docker.internal"), ["10.20.0.9".parse().unwrap()]);
    assert_snapshot!(ask(&zone, "host.docker.internal", TYPE::A), @"NoError 10.20.0.9");
}

#[test]
fn long_answers_are_cut_for_datagrams_only() {
    let mut zone = Zone::new();
    let all = (0..=1).flat_map(|high| (0..=255).map(move |low| IpAddr::from([10, 0, high, low])));
    zone.add("n", &names("web"), all);
    let plain = query("web", TYPE::A);
    let told = |query: &[u8], transport| {
        let words = told(answer(query, &zone, transport, 1));
        let cut = words.starts_with("NoError truncated ");
        (cut, words.split(' ').count() - 1 - usize::from(cut))
    };
    // What fits is told: not everybody can ask again.
    assert_eq!(told(&plain, Transport::Udp), (true, 30));
    assert_eq!(told(&with_edns(plain.clone(), 1232, 0), Transport::Udp), (true, 75));
    assert_eq!(told(&with_edns(plain.clone(), 65535, 0), Transport::Udp), (true, 254));
    assert!(told(&with_edns(plain.clone(), 12, 0), Transport::Udp).0);
    assert_eq!(told(&plain, Transport::Tcp), (false, 512));
}

#[test]
fn an_asker_that_speaks_edns_is_answered_in_kind() {
    let asked = with_edns(query("www", TYPE::A), 1400, 0);
    let Answer::Reply(reply) = answer(&asked, &zone(), Transport::Udp, 1) else { panic!() };
    let packet = Packet::parse(&reply).unwrap();
    assert_eq!(packet.opt().unwrap().udp_packet_size, 4096);

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

/// All that is done with bytes of others.
fn try_all(zone: &Zone, good: &[u8], message: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        if let Answer::Reply(reply) = answer(message, zone, transport, 1) {
            assert!(reply.len() <= 4096 || transport == Transport::Tcp, "{message:?}");
        }
        let _ = returning(good, message, transport);
        let _ = returning(message, good, transport);
    }
    let _ = outgoing(message, Secret { id: 1, capitals: Some(u64::MAX) });
    let _ = (fit(good, message), fit(message, good));
    let _ = (failure(message), is_truncated(message), is_refusal(message));
}

#[test]
fn any_bytes_get_an_answer_without_harm() {
    // Every byte of a good message set to every edge value.
    let zone = zone();
    let good = with_edns(query("shop-web-1.very.long.example", TYPE::A), 1232, 0);
    for at in 0..good.len() {
        for value in [0, 1, 63, 64, 0x7f, 0x80, 0xc0, 0xff] {
            let mut message = good.clone();
            message[at] = value;
            try_all(&zone, &good, &message);
        }
    }
}

#[test]
fn changed_seeds_get_an_answer_without_harm() {
    let zone = zone();
    let pointer_to_itself = [&query("web", TYPE::A)[..12], &[0xc0, 12, 0, 1, 0, 1]].concat();
    let labels = [&[63][..], &[b'a'; 63]].concat().repeat(5);
    let too_long = [&query("web", TYPE::A)[..12], &labels, &[0, 0, 1, 0, 1]].concat();
    let mut records = with_edns(query("web", TYPE::A), 1232, 0);
    records[10..12].copy_from_slice(&[0xff, 0xff]);
    records.extend([0, 0, 41, 0, 0, 0, 0, 0, 0, 0, 0].repeat(5000));
    let mut short_edns = with_edns(query("web", TYPE::A), 0, 9);
    short_edns.truncate(short_edns.len() - 1);
    let mut huge = query("web", TYPE::A);
    huge.resize(65535, 0xc0);
    let seeds = [
        with_edns(query("shop-web-1.very.long.example", TYPE::AAAA), 1232, 0),
        query("2.0.20.10.in-addr.arpa", TYPE::PTR),
        pointer_to_itself,
        too_long,
        records,
        short_edns,
        huge,
    ];
    let mut state = 0x5eed_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    for seed in &seeds {
        try_all(&zone, &seeds[0], seed);
        let times = if seed.len() > 4096 { 100 } else { 2000 };
        for _ in 0..times {
            let mut message = seed.clone();
            for _ in 0..=random(4) {
                let at = random(message.len().min(64));
                match random(4) {
                    0 => message[at] = random(256) as u8,
                    1 => message[at] = [0, 63, 64, 0xc0, 0xff][random(5)],
                    2 => message.insert(at, random(256) as u8),
                    _ => drop(message.remove(at)),
                }
            }
            message.truncate(random(2 * message.len()).max(1));
            try_all(&zone, &seeds[0], &message);
        }
    }
}

fn secret(id: u16) -> Secret {
    Secret { id, capitals: None }
}

#[test]
fn a_forwarded_question_has_its_own_number_and_comes_back_with_the_askers() {
    let asked = query("example.org", TYPE::A);
    let sent = outgoing(&asked, secret(0xbeef)).unwrap();
    let mut reply = sent.clone();
    reply[2] |= 0x80;

    assert_eq!(sent[..2], [0xbe, 0xef]);
    assert_eq!(sent[2..], asked[2..]);
    assert_eq!(fit(&sent, &reply), Fit::Answer);
    assert_eq!(fit(&sent, &sent), Fit::Foreign, "a question is no answer");
    let other = outgoing(&asked, secret(0xbeee)).unwrap();
    assert_eq!(fit(&other, &reply), Fit::Foreign, "another number");
    let elsewhere = outgoing(&query("example.com", TYPE::A), secret(0xbeef)).unwrap();
    assert_eq!(fit(&elsewhere, &reply), Fit::Foreign, "another name");
    let otherwise = outgoing(&query("example.org", TYPE::AAAA), secret(0xbeef)).unwrap();
    assert_eq!(fit(&otherwise, &reply), Fit::Foreign, "another type");
    let back = returning(&asked, &reply, Transport::Udp).unwrap();
    assert_eq!(back[..2], asked[..2]);
    assert_eq!(back[2..], reply[2..]);
}

#[test]
fn capitals_are_part_of_the_secret_and_the_asker_does_not_see_them() {
    let asked = query("wWw.Example1.org", TYPE::A);
    let secret = Secret { id: 7, capitals: Some(0b101) };
    let sent = outgoing(&asked, secret).unwrap();
    assert_eq!(&sent[12..30], b"\x03WwW\x08example1\x03org\0");
    let mut reply = sent.clone();
    reply[2] |= 0x80;
    assert_eq!(fit(&sent, &reply), Fit::Answer);
    let back = returning(&asked, &reply, Transport::Udp).unwrap();
    assert_eq!(back[12..], asked[12..]);
    reply[13..16].copy_from_slice(b"www");
    assert_eq!(fit(&sent, &reply), Fit::OtherCase);
}

#[test]
fn another_server_is_asked_for_no_longer_datagrams_than_are_taken() {
    for (taken, asked_for) in [(512, 512), (1232, 1232), (4096, 4096), (65494, 4096)] {
        let asked = with_edns(query("example.org", TYPE::TXT), taken, 0);
        let sent = outgoing(&asked, secret(7)).unwrap();
        let wanted = with_edns(query("example.org", TYPE::TXT), asked_for, 0);
        assert_eq!(sent[2..], wanted[2..]);
    }
}

#[test]
fn two_sizes_in_one_question_are_an_error_of_the_asker() {
    let mut asked = with_edns(with_edns(query("web", TYPE::A), 1232, 0), 65494, 0);
    asked[11] = 2;
    assert_snapshot!(told(answer(&asked, &zone(), Transport::Udp, 1)), @"FormatError");
}

#[test]
fn some_replies_are_a_reason_to_ask_another_server() {
    let mut reply = outgoing(&query("example.org", TYPE::A), secret(1)).unwrap();
    let refusals: Vec<u8> = (0..=15)
        .filter(|code| {
            reply[3] = 0x80 | code;
            is_refusal(&reply)
        })
        .collect();
    assert_eq!(refusals, [2, 4, 5]);
}

#[test]
fn a_long_reply_from_elsewhere_is_cut_for_datagrams_only() {
    let asked = query("example.org", TYPE::TXT);
    let mut reply = outgoing(&asked, secret(7)).unwrap();
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
