//! The two ends of a connection that is measured: `serve PORT`, and `ask HOST PORT` which prints
//! gigabits per second, questions per second on one connection, connections per second, and how
//! often in a second the name of the host can be looked up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

/// How long each figure is taken.
const LASTS: Duration = Duration::from_millis(300);
/// Bytes of a question and of its answer.
const QUESTION: usize = 64;
/// Connections of the last figure, at most: each keeps a port for a minute.
const CONNECTIONS: u32 = 1000;

/// Answers on a port until it is killed: the first byte of a connection says what to.
pub fn serve(port: u16) -> ! {
    let listener = TcpListener::bind(("::", port)).expect("a free port");
    println!("listens");
    loop {
        let Ok((mut stream, _)) = listener.accept() else { continue };
        thread::spawn(move || {
            let mut kind = [0; 1];
            let _ = stream.set_nodelay(true);
            if stream.read_exact(&mut kind).is_err() {
                return;
            }
            if kind == *b"b" {
                swallow(&mut stream);
            } else {
                echo(&mut stream);
            }
        });
    }
}

/// Takes everything and says at the end how much it was.
fn swallow(stream: &mut TcpStream) {
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0_u64;
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        total += length as u64;
    }
    let _ = stream.write_all(&total.to_be_bytes());
}

fn echo(stream: &mut TcpStream) {
    let mut question = [0; QUESTION];
    while stream.read_exact(&mut question).is_ok() && stream.write_all(&question).is_ok() {}
}

/// Takes the four figures and prints them in a line.
pub fn ask(host: &str, port: u16) {
    let at = look_up(host, port);
    println!("{} {} {} {}", bulk(at), questions(at), connections(at), lookups(host, port));
}

fn look_up(host: &str, port: u16) -> SocketAddr {
    (host, port).to_socket_addrs().expect("a name").next().expect("an address")
}

fn connect(at: SocketAddr, kind: u8) -> TcpStream {
    let mut stream = TcpStream::connect(at).expect("somebody who listens");
    stream.set_nodelay(true).expect("an option");
    stream.write_all(&[kind]).expect("a first byte");
    stream
}

fn bulk(at: SocketAddr) -> f64 {
    let mut stream = connect(at, b'b');
    let (start, buffer) = (Instant::now(), vec![7; 256 * 1024]);
    while start.elapsed() < LASTS {
        stream.write_all(&buffer).expect("a connection that lasts");
    }
    stream.shutdown(std::net::Shutdown::Write).expect("an end");
    let mut total = [0; 8];
    stream.read_exact(&mut total).expect("a number of bytes");
    u64::from_be_bytes(total) as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9
}

fn questions(at: SocketAddr) -> f64 {
    let mut stream = connect(at, b'e');
    let (start, mut asked) = (Instant::now(), 0.0);
    while start.elapsed() < LASTS {
        stream.write_all(&[1; QUESTION]).expect("a connection that lasts");
        stream.read_exact(&mut [0; QUESTION]).expect("an answer");
        asked += 1.0;
    }
    asked / start.elapsed().as_secs_f64()
}

fn connections(at: SocketAddr) -> f64 {
    let (start, mut made) = (Instant::now(), 0);
    while start.elapsed() < LASTS && made < CONNECTIONS {
        let mut stream = connect(at, b'e');
        stream.write_all(&[1; QUESTION]).expect("a connection that lasts");
        stream.read_exact(&mut [0; QUESTION]).expect("an answer");
        made += 1;
    }
    f64::from(made) / start.elapsed().as_secs_f64()
}

fn lookups(host: &str, port: u16) -> f64 {
    let (start, mut made) = (Instant::now(), 0.0);
    while start.elapsed() < LASTS / 4 {
        look_up(host, port);
        made += 1.0;
    }
    made / start.elapsed().as_secs_f64()
}
