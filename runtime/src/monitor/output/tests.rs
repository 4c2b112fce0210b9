use std::io::Write;

use super::*;
use crate::bundle::Log;
use crate::logs::testing::Folder;
use crate::logs::{LogQuery, read};

fn bundle(dir: &Folder) -> Bundle {
    fs::create_dir(dir.path().join("run")).unwrap();
    Bundle {
        run_dir: dir.path().join("run"),
        state_dir: dir.path().to_owned(),
        log: Log { none: false, max_size: 0, max_files: 1 },
        stdin_open: true,
        ..Bundle::default()
    }
}

fn written(dir: &Folder) -> Vec<String> {
    read(&dir.path().join("logs"), &LogQuery::default())
        .unwrap()
        .map(|line| line.unwrap())
        .map(|line| format!("{} {}", line.stream, String::from_utf8_lossy(&line.text)))
        .collect()
}

#[test]
fn what_is_written_without_a_monitor_is_read_by_the_next() {
    let dir = Folder::new();
    let bundle = bundle(&dir);
    let mut output = Output::open(&bundle).unwrap();
    let streams = output.streams().unwrap();
    drop(output);
    let Streams::Files { mut stdout, mut stderr, .. } = streams else { panic!("files") };
    stdout.write_all(b"one\ntwo\n").unwrap();
    stderr.write_all(b"half a line").unwrap();

    let mut next = Output::open(&bundle).unwrap();
    let mut server = Server::listen(&bundle.run_dir).unwrap();
    next.drain(&mut server);
    let mut lines = written(&dir);
    lines.sort();
    assert_eq!(lines, ["stderr half a line", "stdout one", "stdout two"]);
}

#[test]
fn many_small_writes_are_read_together_after_a_pause() {
    let dir = Folder::new();
    let bundle = bundle(&dir);
    let mut output = Output::open(&bundle).unwrap();
    let mut server = Server::listen(&bundle.run_dir).unwrap();
    let now = Instant::now();
    output.read(0, &mut server, now);
    assert_eq!(output.pause, None);
    output.read(0, &mut server, now + Duration::from_millis(1));
    assert_eq!(output.pause, Some(now + Duration::from_millis(1) + PAUSE));
    output.read(0, &mut server, now + Duration::from_millis(50));
    assert_eq!(output.pause, None);
}

#[test]
fn the_beginning_of_a_line_is_written_when_its_end_does_not_come() {
    let dir = Folder::new();
    let bundle = bundle(&dir);
    let mut output = Output::open(&bundle).unwrap();
    let mut server = Server::listen(&bundle.run_dir).unwrap();
    let Streams::Files { mut stdout, .. } = output.streams().unwrap() else { panic!("files") };
    let now = Instant::now();
    stdout.write_all(b"password: ").unwrap();
    output.read(0, &mut server, now);
    output.tick(now + HOLD / 2);
    assert!(written(&dir).is_empty());
    output.tick(now + HOLD);
    assert_eq!(written(&dir), ["stdout password: "]);
}

#[test]
fn input_arrives_and_ends_when_it_is_ended() {
    let dir = Folder::new();
    let bundle = bundle(&dir);
    let mut output = Output::open(&bundle).unwrap();
    let Streams::Files { mut stdin, .. } = output.streams().unwrap() else { panic!("files") };
    output.type_in(b"hello");
    output.type_in(b"");
    let mut text = String::new();
    stdin.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn input_that_nobody_reads_waits_and_is_bounded() {
    let dir = Folder::new();
    let bundle = bundle(&dir);
    let mut output = Output::open(&bundle).unwrap();
    let Streams::Files { mut stdin, .. } = output.streams().unwrap() else { panic!("files") };
    let bytes = vec![b'x'; 64 * 1024];
    while !output.input_full() {
        output.type_in(&bytes);
    }
    output.type_in(b"");
    let mut total = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = stdin.read(&mut buffer).unwrap();
        total += n;
        output.write_input();
        if n == 0 {
            break;
        }
    }
    assert!(total > INPUT_WAITING && total % bytes.len() == 0, "{total}");
}

#[test]
fn something_else_in_a_fifos_place_is_refused() {
    let dir = Folder::new();
    let bundle = bundle(&dir);
    fs::write(bundle.run_dir.join("out"), "").unwrap();
    assert!(Output::open(&bundle).is_err());
}
