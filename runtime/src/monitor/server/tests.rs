use std::io::{Read, Write};

use super::*;
use crate::bundle::Phase;
use crate::logs::testing::Folder;
use crate::monitor::protocol::{LONGEST, Request, line};

/// A server and a client's end of a connection to it.
fn connected() -> (Folder, Server, UnixStream, u64) {
    let dir = Folder::new();
    let mut server = Server::listen(dir.path()).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let id = server.add(ours);
    (dir, server, theirs, id)
}

fn ask(stream: &mut UnixStream, request: &Request) {
    stream.write_all(&line(request)).unwrap();
}

fn heard(stream: &mut UnixStream) -> String {
    let mut bytes = vec![0; 4096];
    let n = stream.read(&mut bytes).unwrap();
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

fn running() -> Status {
    Status { phase: Phase::Running, pid: 7, ..Status::default() }
}

#[test]
fn a_subscriber_hears_each_status_and_the_last() {
    let (_dir, mut server, mut client, id) = connected();
    ask(&mut client, &Request::Subscribe);
    assert_eq!(server.serve(id, &Status::default(), false), []);
    assert!(heard(&mut client).contains(r#""phase":"starting""#));
    server.announce(&running());
    assert!(heard(&mut client).contains(r#""phase":"running""#));
    server.finish(&Status { phase: Phase::Exited, ..Status::default() });
    assert!(heard(&mut client).contains(r#""phase":"exited""#));
}

#[test]
fn a_stop_is_answered_when_the_container_has_ended() {
    let (_dir, mut server, mut client, id) = connected();
    ask(&mut client, &Request::Stop { grace_ms: Some(5), hold: true });
    let grace = Some(Duration::from_millis(5));
    assert_eq!(server.serve(id, &running(), false), [Wish::Stop { grace, hold: true }]);
    server.announce(&running());
    server.finish(&Status { exit_code: 143, ..Status::default() });
    assert!(heard(&mut client).contains(r#""exit_code":143"#));
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let (_dir, mut server, mut client, id) = connected();
    ask(&mut client, &Request::Signal { number: 1 });
    ask(&mut client, &Request::Status);
    let status = running();
    assert_eq!(server.serve(id, &status, false), [Wish::Signal { client: id, number: 1 }]);
    server.answer(id, Err("no".into()));
    assert_eq!(heard(&mut client), "{\"reply\":\"refused\",\"reason\":\"no\"}\n");
    server.serve(id, &status, false);
    assert!(heard(&mut client).contains(r#""pid":7"#));
}

#[test]
fn attached_clients_give_input_and_get_output_apart() {
    let (_dir, mut server, mut client, id) = connected();
    ask(&mut client, &Request::Attach);
    let mut frames = Vec::new();
    Frame::Input(b"in".to_vec()).append(&mut frames);
    client.write_all(&frames).unwrap();
    assert_eq!(server.serve(id, &running(), false), [Wish::Attached, Wish::Input(b"in".to_vec())]);
    server.output(Stream::Stdout, b"out");
    server.output(Stream::Stderr, b"err");
    server.finish(&Status { exit_code: 3, ..Status::default() });
    assert_eq!(
        heard(&mut client),
        "{\"reply\":\"attached\",\"tty\":false}\n\
         \u{1}\0\0\0\u{3}out\u{2}\0\0\0\u{3}err\u{3}\0\0\0\u{4}\0\0\0\u{3}"
    );
}

#[test]
fn an_attached_client_that_does_not_read_is_dropped_after_a_while() {
    let (_dir, mut server, mut client, id) = connected();
    ask(&mut client, &Request::Attach);
    server.serve(id, &running(), false);
    assert!(!server.is_behind());
    for _ in 0..64 {
        server.output(Stream::Stdout, &[b'x'; LONGEST]);
    }
    assert!(server.is_behind());
    server.tick(Instant::now() + STALLED / 2);
    assert_eq!(server.clients.len(), 1);
    server.tick(Instant::now() + STALLED);
    assert!(server.clients.is_empty() && !server.is_behind());
}

#[test]
fn a_subscriber_that_does_not_read_is_dropped() {
    let (_dir, mut server, mut client, id) = connected();
    ask(&mut client, &Request::Subscribe);
    let status = Status { health_output: "x".repeat(4096), ..running() };
    server.serve(id, &status, false);
    for _ in 0..1000 {
        server.announce(&status);
    }
    assert!(server.clients.is_empty());
}

#[test]
fn nonsense_is_refused_and_endless_nonsense_dropped() {
    let (_dir, mut server, mut client, id) = connected();
    client.write_all(b"hello\n").unwrap();
    server.serve(id, &running(), false);
    assert!(heard(&mut client).contains("refused"));
    client.set_nonblocking(true).unwrap();
    for _ in 0..40 {
        client.write_all(&[b'x'; 4096]).unwrap_or_default();
        server.serve(id, &running(), false);
    }
    assert!(server.clients.is_empty());
}

#[test]
fn the_socket_is_for_its_owner_only_and_replaces_a_dead_one() {
    let dir = Folder::new();
    drop(Server::listen(dir.path()).unwrap());
    let _server = Server::listen(dir.path()).unwrap();
    let mode = fs::metadata(dir.path().join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
