use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

use berth_schema::stack::SyslogFormat;

use super::*;
use crate::logs::testing::Folder;

fn spec(path: PathBuf, drop_over: Option<u64>) -> crate::bundle::Forward {
    let to = Destination::Syslog {
        peers: vec![Peer::Unixgram(path)],
        facility: 3,
        format: SyslogFormat::Unix,
        hostname: "box".to_owned(),
        tag: "web".to_owned(),
    };
    crate::bundle::Forward { to, drop_over }
}

fn line(text: &str) -> Vec<u8> {
    format!("2026-11-21T10:00:00.123456789Z stdout F {text}\n").into_bytes()
}

/// A listener that gives up at once when nothing has come.
fn listen(dir: &Folder) -> UnixDatagram {
    let path = dir.path().join("log");
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn texts(socket: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    let mut texts = Vec::new();
    while let Ok(n) = socket.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
        texts.push(text.split_once("]: ").unwrap().1.trim_end().to_owned());
    }
    texts
}

#[test]
fn a_destination_that_went_away_gets_every_line_when_it_is_back() {
    let dir = Folder::new();
    let now = Instant::now();
    let mut forward = Forward::new(&spec(dir.path().join("log"), None));
    let server = listen(&dir);
    forward.take(&line("one"), now);
    assert_eq!(texts(&server), ["one"]);
    drop(server);
    forward.take(&line("two"), now);
    forward.take(&line("three"), now);
    assert!(forward.until().is_some_and(|at| at > now));

    let server = listen(&dir);
    forward.tick(now + PAUSE.0);
    assert_eq!(texts(&server), ["two", "three"]);
    assert_eq!((forward.until(), forward.notice()), (None, None));
}

#[test]
fn attempts_come_less_and_less_often() {
    let dir = Folder::new();
    let mut now = Instant::now();
    let mut forward = Forward::new(&spec(dir.path().join("log"), None));
    forward.take(&line("one"), now);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let at = forward.until().unwrap();
        pauses.push((at - now).as_millis());
        now = at;
        forward.tick(now);
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
}

#[test]
fn a_container_is_held_back_but_not_for_ever() {
    let dir = Folder::new();
    let now = Instant::now();
    let mut forward = Forward::new(&spec(dir.path().join("log"), None));
    let long = line(&"x".repeat(1000));
    while !forward.holds_back(now) {
        forward.take(&long, now);
    }
    let backlog = forward.backlog();
    assert!((WAITING..WAITING + long.len()).contains(&backlog));
    let late = now + PATIENCE + Duration::from_secs(1);
    assert!(!forward.holds_back(late));
    forward.take(&long, late);
    assert_eq!((forward.backlog(), forward.dropped), (backlog, 1));
    let told = forward.notice().unwrap();
    assert!(told.starts_with("lines for the syslog server are dropped: No such file"), "{told}");
    assert_eq!(forward.notice(), None);
}

#[test]
fn what_waits_is_bounded_however_often_a_container_ends() {
    let dir = Folder::new();
    let now = Instant::now();
    let _deaf = UnixListener::bind(dir.path().join("log")).unwrap();
    let mut spec = spec(dir.path().join("log"), None);
    let Destination::Syslog { peers, .. } = &mut spec.to else { unreachable!() };
    *peers = vec![Peer::Unix(dir.path().join("log"))];
    let mut forward = Forward::new(&spec);
    let life = line(&"x".repeat(1000)).repeat(512);
    for _ in 0..100 {
        forward.take(&life, now);
        assert!(forward.waiting.capacity() <= 4 * MOST, "{}", forward.waiting.capacity());
    }
    assert!((MOST - life.len()..=MOST).contains(&forward.backlog()), "{}", forward.backlog());
    assert!(forward.holds_back(now) && forward.dropped > 0);
    assert!(forward.notice().unwrap().contains("are dropped: it does not take them"));
}

#[test]
fn what_is_dropped_is_counted_and_told() {
    let dir = Folder::new();
    let now = Instant::now();
    let mut forward = Forward::new(&spec(dir.path().join("log"), Some(100)));
    for n in 0..5 {
        forward.take(&line(&n.to_string()), now);
    }
    assert!(!forward.holds_back(now));
    assert!(forward.notice().unwrap().contains("are dropped"));
    let server = listen(&dir);
    forward.tick(now + PAUSE.0);
    assert_eq!(texts(&server), ["0", "1"]);
    assert_eq!(forward.notice().as_deref(), Some("3 lines did not reach the syslog server"));
}

#[test]
fn a_destination_that_is_slow_gets_all_of_it_in_the_end() {
    let dir = Folder::new();
    let now = Instant::now();
    let server = listen(&dir);
    let mut forward = Forward::new(&spec(dir.path().join("log"), None));
    for n in 0..2000 {
        forward.take(&line(&n.to_string()), now);
    }
    let (_, flags) = forward.poll().expect("room is waited for");
    assert!(flags.contains(PollFlags::OUT));
    let mut all = Vec::new();
    while all.len() < 2000 {
        let some = texts(&server);
        assert!(!some.is_empty(), "it stopped after {}", all.len());
        all.extend(some);
        forward.news(now);
    }
    let sent: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    assert_eq!(all, sent);
    assert!(forward.poll().is_none());
}
