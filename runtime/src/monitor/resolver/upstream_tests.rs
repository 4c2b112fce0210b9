//! Scripted servers on the loopback.

use std::net::TcpListener;

use super::*;

const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\0\0\x01\0\x01";

fn server() -> (UdpSocket, SocketAddr) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

/// The next question, as an answer without records.
fn hear(server: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 512];
    let (length, asker) = server.recv_from(&mut buffer).unwrap();
    buffer[2] |= 0x80;
    (buffer[..length].to_vec(), asker)
}

/// Answers the next question with this code, as it was asked.
fn respond(server: &UdpSocket, code: u8) {
    let (mut reply, asker) = hear(server);
    reply[3] |= code;
    server.send_to(&reply, asker).unwrap();
}

fn wait(question: &Upstream) {
    let mut set = PollSet::default();
    question.poll(Token::Resolver(7), &mut set);
    set.wait().unwrap();
}

fn ask(servers: &[SocketAddr], asker: Asker, now: Instant) -> Upstream {
    ask_for(QUESTION, servers, asker, now)
}

fn ask_for(question: &[u8], servers: &[SocketAddr], asker: Asker, now: Instant) -> Upstream {
    let servers = Servers { all: servers.to_vec(), netns: None };
    Upstream::new(question, asker, servers, now).unwrap()
}

fn datagram() -> Asker {
    Asker::Datagram("127.0.0.1:9".parse().unwrap())
}

#[track_caller]
fn answer(outcome: Outcome) -> (Vec<u8>, Option<SocketAddr>) {
    let Outcome::Answer { answer: Some(answer), instead } = outcome else {
        panic!("no answer: {outcome:?}")
    };
    (answer, instead)
}

#[test]
fn an_answer_comes_back_as_it_was_asked() {
    let (server, address) = server();
    let now = Instant::now();
    let mut question = ask(&[address], datagram(), now);
    respond(&server, 0);
    wait(&question);
    let (answer, instead) = answer(question.serve(now));
    assert_eq!(answer[..2], QUESTION[..2]);
    assert_eq!(answer[12..], QUESTION[12..]);
    assert_eq!(instead, None);
}

#[test]
fn the_next_server_is_asked_and_the_first_is_heard_all_the_same() {
    let (slow, first) = server();
    let (other, second) = server();
    let now = Instant::now();
    let mut question = ask(&[first, second], datagram(), now);
    let later = question.deadline();
    assert_eq!(later, now + PATIENCE[0]);
    assert!(matches!(question.tick(later), Outcome::Waiting));
    hear(&other);
    respond(&slow, 0);
    wait(&question);
    assert_eq!(answer(question.serve(later)).1, None);

    let mut question = ask(&[first, second], datagram(), now);
    assert!(matches!(question.tick(later), Outcome::Waiting));
    respond(&other, 0);
    wait(&question);
    assert_eq!(answer(question.serve(later)).1, Some(second));
}

#[test]
fn silence_ends_in_a_failure_before_the_asker_gives_up() {
    let (_silent, address) = server();
    let mut now = Instant::now();
    let end = now + Duration::from_secs(5);
    let mut question = ask(&[address], datagram(), now);
    for _ in 0..10 {
        now = question.deadline();
        if let Outcome::Answer { answer, .. } = question.tick(now) {
            assert_eq!(answer, dns::failure(QUESTION));
            assert!(now < end);
            return;
        }
    }
    panic!("it still waits");
}

#[test]
fn a_server_that_refuses_is_not_the_last_one_asked() {
    for code in [2, 4, 5] {
        let (first, one) = server();
        let (second, two) = server();
        let now = Instant::now();
        let mut question = ask(&[one, two], datagram(), now);
        respond(&first, code);
        wait(&question);
        assert!(matches!(question.serve(now), Outcome::Waiting));
        respond(&second, 0);
        wait(&question);
        let (told, instead) = answer(question.serve(now));
        assert_eq!((told[3] & 15, instead), (0, None), "one bad name does not move all");

        let mut question = ask(&[one, two], datagram(), now);
        respond(&first, code);
        wait(&question);
        assert!(matches!(question.serve(now), Outcome::Waiting));
        respond(&second, 2);
        wait(&question);
        assert_eq!(answer(question.serve(now)).0[3] & 15, code, "what the first said");
    }
}

#[test]
fn a_closed_port_is_no_reason_to_wait() {
    let (gone, one) = server();
    drop(gone);
    let now = Instant::now();
    let mut question = ask(&[one], datagram(), now);
    wait(&question);
    assert_eq!(answer(question.serve(now)).0, dns::failure(QUESTION).unwrap());
}

#[test]
fn what_does_not_fit_is_passed_over() {
    let (server, address) = server();
    let (stranger, _) = self::server();
    let now = Instant::now();
    let mut question = ask(&[address], datagram(), now);
    let (reply, asker) = hear(&server);
    assert!(stranger.send_to(&reply, asker).is_ok());
    let mut forged = reply.clone();
    forged[0] ^= 1;
    server.send_to(&forged, asker).unwrap();
    wait(&question);
    assert!(matches!(question.serve(now), Outcome::Waiting));
    server.send_to(&reply, asker).unwrap();
    wait(&question);
    answer(question.serve(now));
}

#[test]
fn a_server_that_does_not_keep_capitals_is_asked_without_them_once() {
    let (server, address) = server();
    let now = Instant::now();
    for name in [b"example", b"Example"] {
        let mut asked = QUESTION.to_vec();
        asked[13..20].copy_from_slice(name);
        let mut mixed = 0;
        for _ in 0..20 {
            let mut question = ask_for(&asked, &[address], datagram(), now);
            let mut outcome = respond_in_lower_case(&server, &mut question, now);
            if matches!(outcome, Outcome::Waiting) {
                mixed += 1;
                outcome = respond_in_lower_case(&server, &mut question, now);
            }
            assert_eq!(answer(outcome).0[12..], asked[12..]);
        }
        assert!(mixed > 0, "never any capitals");
    }
}

fn respond_in_lower_case(server: &UdpSocket, question: &mut Upstream, now: Instant) -> Outcome {
    let (mut reply, asker) = hear(server);
    reply[13..20].make_ascii_lowercase();
    server.send_to(&reply, asker).unwrap();
    wait(question);
    question.serve(now)
}

#[test]
fn a_datagram_that_is_too_long_is_told_to_be_cut() {
    let (server, address) = server();
    let now = Instant::now();
    // An OPT record that takes more than the resolver does.
    let asked = [QUESTION, b"\0\0\x29\xff\xd6\0\0\0\0\0\0"].concat();
    let asked = [&asked[..11], &[1], &asked[12..]].concat();
    for (length, is_whole) in [(4096, true), (5000, false)] {
        let mut question = ask_for(&asked, &[address], datagram(), now);
        let (mut reply, asker) = hear(&server);
        reply.resize(length, 0);
        server.send_to(&reply, asker).unwrap();
        wait(&question);
        let told = answer(question.serve(now)).0;
        assert_eq!((told.len() == length, !is_truncated(&told)), (is_whole, is_whole));
    }
}

#[test]
fn a_datagram_that_is_too_long_is_asked_for_again_by_stream() {
    let (server, address) = server();
    let listener = TcpListener::bind(address).unwrap();
    let now = Instant::now();
    let mut question = ask(&[address], Asker::Stream(3), now);
    let (mut reply, asker) = hear(&server);
    reply.resize(5000, 0);
    server.send_to(&reply, asker).unwrap();
    wait(&question);
    assert!(matches!(question.serve(now), Outcome::Waiting));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_ok());
}

#[test]
fn a_cut_answer_is_asked_for_again_by_stream_for_who_asked_so() {
    let (server, address) = server();
    let listener = TcpListener::bind(address).unwrap();
    let now = Instant::now();
    let mut question = ask(&[address], Asker::Stream(3), now);
    let (mut cut, asker) = hear(&server);
    cut[2] |= 0x02;
    server.send_to(&cut, asker).unwrap();
    wait(&question);
    assert!(matches!(question.serve(now), Outcome::Waiting));

    let (mut stream, _) = listener.accept().unwrap();
    wait(&question);
    assert!(matches!(question.serve(now), Outcome::Waiting));
    let mut asked = vec![0; 2 + QUESTION.len()];
    stream.read_exact(&mut asked).unwrap();
    asked[4] |= 0x80;
    let long = [&asked[2..], &[7; 3000]].concat();
    stream.write_all(&u16::try_from(long.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&long).unwrap();
    for _ in 0..long.len() {
        wait(&question);
        if let Outcome::Answer { answer: Some(answer), .. } = question.serve(now) {
            assert_eq!(answer.len(), long.len());
            assert_eq!(answer[..2], QUESTION[..2]);
            return;
        }
    }
    panic!("no answer");
}

#[test]
fn without_a_server_there_is_no_question() {
    let asked = |question: &[u8], all: Vec<SocketAddr>| {
        Upstream::new(question, datagram(), Servers { all, netns: None }, Instant::now()).is_some()
    };
    assert!(!asked(QUESTION, vec![]));
    assert!(!asked(b"short", vec!["127.0.0.1:53".parse().unwrap()]));
}
