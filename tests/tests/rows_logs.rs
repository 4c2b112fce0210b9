//! Logging drivers that send lines on: what arrives, byte for byte, and what happens when the
//! destination is slow, goes away or was never there.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::fs::File;
use std::io::{IoSliceMut, Read, Seek};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use berth_tests::TestHost;
use berth_tests::machine::Place;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

const JOURNAL: &str = "/run/systemd/journal/socket";

/// A datagram socket on the machine, and what came in.
struct Listener {
    path: PathBuf,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    socket: Arc<UnixDatagram>,
}

impl Listener {
    /// Listens and reads.
    fn start(host: &TestHost, path: &str) -> Listener {
        let mut listener = Listener::deaf(host, path);
        listener.hear();
        listener
    }

    /// Listens, and reads nothing.
    fn deaf(host: &TestHost, path: &str) -> Listener {
        let path = host.machine().path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Listener {
            path,
            got: Arc::default(),
            stop: Arc::default(),
            reader: None,
            socket: Arc::new(socket),
        }
    }

    fn hear(&mut self) {
        let (socket, got, stop) = (self.socket.clone(), self.got.clone(), self.stop.clone());
        self.reader = Some(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                got.lock().unwrap().extend(receive(&socket));
            }
        }));
    }

    fn got(&self) -> Vec<Vec<u8>> {
        self.got.lock().unwrap().clone()
    }

    fn texts(&self) -> Vec<String> {
        self.got().iter().map(|m| String::from_utf8_lossy(m).into_owned()).collect()
    }

    /// The messages of the journal among what came in.
    fn messages(&self) -> Vec<String> {
        let message = |bytes: &Vec<u8>| String::from_utf8_lossy(&field(bytes, "MESSAGE")).into();
        self.got().iter().map(message).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let _ = std::fs::remove_file(&self.path);
        let systemd = self.path.ancestors().find(|path| path.ends_with("run/systemd"));
        if let Some(systemd) = systemd {
            let _ = std::fs::remove_dir_all(systemd);
        }
    }
}

/// A datagram, or the file that came in its place.
fn receive(socket: &UnixDatagram) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 256 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    let length = recvmsg(socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?.bytes;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            let mut file = File::from(fds.next().unwrap());
            let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
            assert!(seals.contains(rustix::fs::SealFlags::WRITE), "it can still change");
            let mut content = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut content).unwrap();
            return Some(content);
        }
    }
    bytes.truncate(length);
    Some(bytes)
}

/// A field of an entry, in either form of the native protocol.
fn field(mut entry: &[u8], name: &str) -> Vec<u8> {
    while !entry.is_empty() {
        let end = entry.iter().position(|b| *b == b'\n').expect("a whole line");
        let (line, rest) = (&entry[..end], &entry[end + 1..]);
        match line.iter().position(|b| *b == b'=') {
            Some(at) if line[..at] == *name.as_bytes() => return line[at + 1..].to_vec(),
            Some(_) => entry = rest,
            None => {
                let (length, rest) = rest.split_first_chunk::<8>().expect("a length");
                let (value, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
                if line == name.as_bytes() {
                    return value.to_vec();
                }
                entry = &rest[1..];
            }
        }
    }
    Vec::new()
}

/// A stack of one service `web` that runs a shell line.
fn stack(line: &str, logging: &str) -> String {
    format!(
        "
services:
  web:
    image: busybox:1
    init: true
    environment: {{ REGION: eu }}
    labels: {{ com.example.tier: front, other: x }}
    volumes: [./flags:/flags]
    command: [sh, -c, '{line}']
    logging: {logging}
"
    )
}

#[test]
fn the_journal_gets_every_line_with_its_fields() {
    let line = r#"echo out; sleep 0.1; echo err >&2; sleep 0.1; printf "bell\\a\\n"; printf part; exec sleep 100000"#;
    let options =
        "{ tag: '{{.Name}}/{{.ID}}', labels: 'com.example.tier,absent', env-regex: ^REG }";
    let logging = format!("{{ driver: journald, options: {options} }}");
    let host = TestHost::with("compose.yaml", &stack(line, &logging));
    let journal = Listener::start(&host, JOURNAL);
    host.berth("up -d").succeeds();
    host.eventually("all has come", || journal.got().len() == 4);

    let got = journal.got();
    let text = |name| String::from_utf8(field(&got[0], name)).unwrap();
    let (id, time) = (text("CONTAINER_ID_FULL"), text("SYSLOG_TIMESTAMP"));
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let short = &id[..12];
    let fields = format!(
        "COM_EXAMPLE_TIER=front\nCONTAINER_ID={short}\nCONTAINER_ID_FULL={id}\n\
         CONTAINER_NAME=stack-web-1\nCONTAINER_TAG=stack-web-1/{short}\nIMAGE_NAME=busybox:1\n\
         REGION=eu\nSYSLOG_IDENTIFIER=stack-web-1/{short}\n"
    );
    let first = format!("{fields}PRIORITY=6\nSYSLOG_TIMESTAMP={time}\nMESSAGE=out\n");
    assert_eq!(String::from_utf8_lossy(&got[0]), first);
    let seen = |n: usize| {
        let of = |name| String::from_utf8(field(&got[n], name)).unwrap();
        (of("PRIORITY"), of("CONTAINER_PARTIAL_MESSAGE"), of("MESSAGE"))
    };
    let line = |priority: &str, partial: &str, text: &str| {
        (priority.to_owned(), partial.to_owned(), text.to_owned())
    };
    assert_eq!(seen(1), line("3", "", "err"));
    assert_eq!(seen(2), line("6", "", "bell\u{7}"));
    assert_eq!(seen(3), line("6", "true", "part"));
    host.berth("logs --no-log-prefix").succeeds().stdout_is("out\nerr\nbell\u{7}\npart");
}

#[test]
fn what_is_too_large_for_a_datagram_comes_as_a_sealed_file() {
    let logging = "{ driver: journald, options: { labels: big } }";
    let text = stack("echo hello; exec sleep 100000", logging);
    let big = "x".repeat(300_000);
    let host = TestHost::with("compose.yaml", &text.replace("other: x", &format!("big: {big}")));
    let journal = Listener::start(&host, JOURNAL);
    host.berth("up -d").succeeds();
    host.eventually("it has come", || journal.got().len() == 1);
    let got = journal.got();
    assert_eq!(field(&got[0], "BIG").len(), big.len());
    assert_eq!(field(&got[0], "MESSAGE"), b"hello");
}

#[test]
fn no_line_is_lost_when_the_journal_restarts_or_the_monitor_is_killed() {
    let line = "until [ -e /flags/one ]; do sleep 0.02; done; seq 1 100; \
                until [ -e /flags/two ]; do sleep 0.02; done; seq 101 200; exec sleep 100000";
    let host = TestHost::with("compose.yaml", &stack(line, "{ driver: journald }"));
    let journal = Listener::start(&host, JOURNAL);
    host.berth("up -d").succeeds();
    let touch = |name: &str| host.write(&format!("flags/{name}"), "");
    drop(journal);
    touch("one");
    host.eventually("the files have it", || host.berth("logs").stdout.contains("100"));
    let journal = Listener::start(&host, JOURNAL);
    let numbers =
        |from: u32, to: u32| -> Vec<String> { (from..=to).map(|n| n.to_string()).collect() };
    host.eventually("it has caught up", || journal.got().len() >= 100);
    assert_eq!(journal.messages(), numbers(1, 100));

    let monitor = host.monitor_of("web");
    host.kill("KILL", monitor);
    host.eventually("it is gone", || host.shell(&format!("kill -0 {monitor}")).code != 0);
    touch("two");
    host.berth("up -d").succeeds();
    host.eventually("the new one goes on", || journal.got().len() >= 200);
    assert_eq!(journal.messages(), numbers(1, 200));
    let kept = host.berth("logs --no-log-prefix").succeeds().stdout;
    assert_eq!(kept.lines().collect::<Vec<_>>(), numbers(1, 200));
}

#[test]
fn a_container_waits_for_a_slow_journal_and_nothing_is_lost() {
    let line = "seq 100000 199999; exec sleep 100000";
    let host = TestHost::with("compose.yaml", &stack(line, "{ driver: journald }"));
    let mut journal = Listener::deaf(&host, JOURNAL);
    host.berth("up -d").succeeds();
    let pids = || host.berth("top web").stdout;
    let seq = || {
        let find =
            "for p in /proc/[0-9]*; do grep -qs '^Name:.seq' $p/status && cat $p/wchan; done";
        host.shell(find).stdout
    };
    host.eventually("its writer stands still", || seq().contains("pipe_write"));
    let cpu = |host: &TestHost| {
        let stat = format!("cut -d' ' -f14,15 /proc/{}/stat", host.monitor_of("web"));
        host.shell(&stat).stdout
    };
    let before = cpu(&host);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(before, cpu(&host), "the monitor turns round and round: {}", pids());
    journal.hear();
    host.eventually("all has come", || journal.got().len() >= 100_000);
    let messages = journal.messages();
    let expected: Vec<String> = (100_000..=199_999).map(|n| n.to_string()).collect();
    assert!(messages == expected, "{} messages", messages.len());
}

#[test]
fn an_end_is_told_at_once_whatever_a_slow_journal_takes() {
    let line = "seq 1 5000; exit 7";
    let host = TestHost::with("compose.yaml", &stack(line, "{ driver: journald }"));
    let _deaf = Listener::deaf(&host, JOURNAL);
    host.berth("up -d").succeeds();
    let mut kept = String::new();
    host.eventually("it has ended", || {
        let ended = host.status("stack-web-1")["phase"] == "exited";
        let log = host.machine().path("/var/lib/berth/containers/stack-web-1/logs/current");
        kept = std::fs::read_to_string(log).unwrap_or_default();
        ended
    });
    // The farewell to the journal ends with this line.
    assert!(!kept.contains("did not reach the journal"), "the end was told after it: {kept}");
    assert_eq!(host.status("stack-web-1")["exit_code"], 7);
    host.berth("restart web").succeeds();
}

#[test]
fn a_container_that_does_not_wait_loses_lines_there_but_not_in_its_log() {
    let line = "seq 1 20000; echo end >&2; exec sleep 100000";
    let options = "{ mode: non-blocking, max-buffer-size: 16k }";
    let logging = format!("{{ driver: journald, options: {options} }}");
    let host = TestHost::with("compose.yaml", &stack(line, &logging));
    let mut journal = Listener::deaf(&host, JOURNAL);
    host.berth("up -d").succeeds();
    host.eventually("it has written all", || host.berth("logs").stdout.contains("end"));
    let kept = host.berth("logs --no-log-prefix").succeeds().stdout;
    let numbers: Vec<u32> = kept.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers, (1..=20000).collect::<Vec<u32>>());
    assert!(kept.contains("lines for the journal are dropped: it does not take them"), "{kept}");

    journal.hear();
    let last = || journal.messages().last().cloned().unwrap_or_default();
    host.eventually("it is told", || last().ends_with("did not reach the journal"));
    let dropped: usize = last().split(' ').next().unwrap().parse().unwrap();
    // All lines and `end` came, or were counted; the notice is one more.
    assert_eq!(journal.got().len() - 1 + dropped, 20001);
    host.berth("logs").succeeds().stdout_has(&last());
}

#[test]
fn a_local_syslog_server_gets_lines_in_the_old_form() {
    let host = TestHost::with(
        "compose.yaml",
        &stack("echo out; sleep 0.1; echo err >&2; exec sleep 100000", "{ driver: syslog }"),
    );
    if host.shell("test -e /dev/log").code == 0 {
        return berth_tests::skipped(
            "this host has a syslog server, and the test would talk to it",
        );
    }
    host.berth("up -d").fails_with(65).stderr_has("this host has no syslog server");
    let server = Listener::start(&host, "/run/syslog");
    host.berth("up -d").succeeds();
    host.eventually("both have come", || server.got().len() == 2);
    let monitor = host.monitor_of("web");
    let texts = server.texts();
    // `<30>Nov 21 10:00:00 0123456789ab[77]: out`: facility 3, severities 6 and 3.
    let part = |n: usize, from, to| texts[n].get(from..to).unwrap_or_default().to_owned();
    assert_eq!((part(0, 0, 4), part(1, 0, 4)), ("<30>".into(), "<27>".into()), "{texts:?}");
    let id = part(0, 20, 32);
    assert!(id.bytes().all(|b| b.is_ascii_hexdigit()), "{texts:?}");
    assert_eq!(texts[0][20..], format!("{id}[{monitor}]: out\n"));
    assert_eq!(texts[1][20..], format!("{id}[{monitor}]: err\n"));
    assert_eq!(part(0, 19, 20), " ");
}

/// Prints what comes, line by line, and takes one connection only.
const TCP: &str = "import socket,sys\n\
    s=socket.socket(); s.setsockopt(1,2,1); s.bind((\"127.0.0.1\",6601)); s.listen(1)\n\
    print(\"ready\",flush=True); c=s.accept()[0].makefile()\n\
    for line in c:\n  print(line,end=\"\",flush=True)\n  if sys.argv[1] in line: break\n";
const UDP: &str = "import socket\n\
    s=socket.socket(2,2); s.bind((\"127.0.0.1\",6601)); print(\"ready\",flush=True)\n\
    while True: print(s.recv(70000).decode(),end=\"\",flush=True)\n";

#[test]
fn a_syslog_server_that_comes_back_goes_on_where_the_last_ended() {
    let options = "{ syslog-address: 'tcp://localhost:6601', syslog-format: rfc5424micro, \
                   syslog-facility: local3, tag: 'shop/{{.Name}}' }";
    let logging = format!("{{ driver: syslog, options: {options} }}");
    let line = "echo one; until [ -e /flags/go ]; do sleep 0.02; done; echo two; exec sleep 100000";
    let host = TestHost::with("compose.yaml", &stack(line, &logging));
    host.write("tcp.py", TCP);
    // Nobody is there when the container starts.
    host.berth("up -d").succeeds();
    let server = host.start_shell(Place::Inside, "exec python3 tcp.py one");
    server.prints("one");
    let first = server.ends().succeeds().stdout;
    let monitor = host.monitor_of("web");
    let line = first.lines().last().unwrap().to_owned();
    // <158>1 2026-11-21T10:00:00.123456+00:00 machine shop/stack-web-1 77 shop/stack-web-1 - one
    let words: Vec<&str> = line.split(' ').collect();
    let (process, tag) = (monitor.to_string(), "shop/stack-web-1");
    assert_eq!(words[0], "<158>1", "{line}");
    assert_eq!(words[2..], ["machine", tag, process.as_str(), tag, "-", "one"], "{line}");
    assert!(words[1].as_bytes()[19] == b'.' && words[1].len() == 32, "{line}");

    host.write("flags/go", "");
    host.eventually("the log has it", || host.berth("logs").stdout.contains("two"));
    let server = host.start_shell(Place::Inside, "exec python3 tcp.py two");
    server.prints("- two");
    let second = server.ends().succeeds().stdout;
    assert_eq!(second.lines().count(), 2, "`ready` and the one line: {second}");
}

#[test]
fn datagrams_go_to_a_syslog_server_on_the_network() {
    let options = "{ syslog-address: 'udp://127.0.0.1:6601', syslog-format: rfc3164, tag: web }";
    let logging = format!("{{ driver: syslog, options: {options} }}");
    let host = TestHost::with("compose.yaml", &stack("echo hello; exec sleep 100000", &logging));
    host.write("udp.py", UDP);
    let server = host.start_shell(Place::Inside, "exec python3 udp.py");
    server.prints("ready");
    host.berth("up -d").succeeds();
    server.prints(&format!(" machine web[{}]: hello\n", host.monitor_of("web")));
    server.signal(nix::sys::signal::Signal::SIGKILL);
    server.ends();
}

#[test]
fn without_a_journal_nothing_is_touched_and_every_command_says_why_and_where() {
    let text = stack("exec sleep 100000", "{ driver: journald }");
    let host = TestHost::with("compose.yaml", &text);
    let why = "this host has no journal";
    for command in ["plan", "up -d", "create"] {
        host.berth(command).fails_with(65).stderr_has(why).stderr_has("compose.yaml:10:24:");
    }
    host.berth("run --rm -T web true").stderr_has(why);
    let checked = host.berth("check").fails_with(65);
    assert!(checked.stdout.contains(why), "{checked}");
    host.leaves_nothing_but(&[]);
}

#[test]
fn nothing_goes_anywhere_unless_the_file_says_so_and_files_only_if_it_wants_them() {
    let text = stack(
        "echo here; exec sleep 100000",
        "{ driver: journald, options: { cache-disabled: true } }",
    );
    let quiet = "
  quiet:
    image: busybox:1
    command: [sh, -c, 'echo here; exec sleep 100000']
";
    let host = TestHost::with("compose.yaml", &format!("{}{quiet}", text.trim_end()));
    let journal = Listener::start(&host, JOURNAL);
    host.berth("up -d").succeeds();
    host.eventually("both have written", || {
        host.berth("logs").stdout.contains("here") && !journal.got().is_empty()
    });
    host.berth("logs --no-log-prefix web").succeeds().stdout_is("");
    host.berth("logs --no-log-prefix quiet").succeeds().stdout_is("here");
    assert_eq!(journal.got().len(), 1);
    assert_eq!(field(&journal.got()[0], "CONTAINER_NAME"), b"stack-web-1");
    // Its control socket, and one to the journal; other kinds are its resolver's and the sentry's.
    let sockets = |service: &str| -> u32 {
        let pid = host.monitor_of(service);
        let line = format!(
            "for s in $(ls -l /proc/{pid}/fd | sed -n 's/.*socket:.\\([0-9]*\\).*/\\1/p'); do \
             grep -c \" $s\\( \\|$\\)\" /proc/net/unix; done | grep -c 1"
        );
        host.shell(&line).stdout.trim().parse().unwrap()
    };
    assert_eq!(sockets("web"), sockets("quiet") + 1);
}
