//! The resolver's address inside a container, on a real kernel.

mod common;

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use berth_network::dns::{self, SERVER};
use berth_network::endpoint;
use common::{Container, on_a_host, output};

#[test]
fn port_53_leads_to_the_high_ports_and_answers_come_back_from_it() {
    on_a_host(|_| {
        let container = Container::new();
        endpoint::loopback_up(container.netns.as_fd()).unwrap();
        let (udp, tcp) = container.within(|| {
            (UdpSocket::bind((SERVER, 0)).unwrap(), TcpListener::bind((SERVER, 0)).unwrap())
        });
        let ports = (udp.local_addr().unwrap().port(), tcp.local_addr().unwrap().port());
        dns::redirect(container.netns.as_fd(), ports.0, ports.1).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
                udp.send_to(b"by udp", peer).unwrap();
            }
        });
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                stream.write_all(b"by tcp").unwrap();
            }
        });

        assert_eq!(container.ask_udp("127.0.0.11:53").as_deref(), Some("by udp"));
        assert_eq!(container.ask_tcp("127.0.0.11:53").as_deref(), Some("by tcp"));
        // Port 53 is still free for the container's own server.
        container.serve_tcp(53, "own");
        container.serve_udp(53, "own");
        assert_eq!(container.ask_tcp("127.0.0.1:53").as_deref(), Some("own 127.0.0.1"));
        assert_eq!(container.ask_udp("127.0.0.11:53").as_deref(), Some("by udp"));
        let flows = "/proc/sys/net/netfilter/nf_conntrack_count";
        let flows = container.within(|| std::fs::read_to_string(flows).unwrap());
        assert_eq!(flows.trim(), "0", "the kernel tracks the flows of a container for its names");

        let listed = container.within(|| output("nft", "list ruleset"));
        assert!(listed.contains("udp dport 53 udp dport set"), "{listed}");

        // A container that tracks its flows itself sees one with two directions.
        container.within(|| {
            output("nft", "add table ip own");
            output("nft", "add chain ip own in { type filter hook input priority 0 ; }");
            output("nft", "add rule ip own in ip saddr 127.0.0.11 ct direction original drop");
        });
        assert_eq!(container.ask_tcp("127.0.0.11:53").as_deref(), Some("by tcp"));
        assert_eq!(container.ask_udp("127.0.0.11:53").as_deref(), Some("by udp"));

        // One that catches all questions, and answers them itself.
        container.within(|| {
            output("nft", "delete table ip own");
            output("nft", "add table ip own");
            output("nft", "add chain ip own out { type nat hook output priority -100 ; }");
            output("nft", "add rule ip own out udp dport 53 redirect to :5353");
        });
        container.serve_udp(5353, "caught");
        assert_eq!(container.ask_udp("127.0.0.11:53").as_deref(), Some("caught 127.0.0.1"));
        // One that lets in the answers of port 53 alone.
        container.within(|| {
            output("nft", "delete table ip own");
            output("nft", "add table ip own");
            output(
                "nft",
                "add chain ip own in { type filter hook input priority 0 ; policy drop ; }",
            );
            output("nft", "add rule ip own in ip saddr != 127.0.0.11 accept");
            output("nft", "add rule ip own in udp sport 53 accept");
            output("nft", "add rule ip own in tcp sport 53 accept");
        });
        assert_eq!(container.ask_udp("127.0.0.11:53").as_deref(), Some("by udp"));
        assert_eq!(container.ask_tcp("127.0.0.11:53").as_deref(), Some("by tcp"));
        container.within(|| output("nft", "delete table ip own"));

        // Another resolver has other ports.
        let other = container.within(|| TcpListener::bind((SERVER, 0)).unwrap());
        let port = other.local_addr().unwrap().port();
        dns::redirect(container.netns.as_fd(), ports.0, port).unwrap();
        std::thread::spawn(move || {
            for mut stream in other.incoming().flatten() {
                stream.write_all(b"by another").unwrap();
            }
        });
        assert_eq!(container.ask_tcp("127.0.0.11:53").as_deref(), Some("by another"));
        assert_eq!(container.ask_udp("127.0.0.11:53").as_deref(), Some("by udp"));

        // Nobody listens where questions are led to: who asks is told at once.
        let free = container.within(|| UdpSocket::bind((SERVER, 0)).unwrap().local_addr().unwrap());
        dns::redirect(container.netns.as_fd(), free.port(), port).unwrap();
        let asking = container.within(|| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket.connect((SERVER, 53)).unwrap();
            socket.send(b"a question").unwrap();
            socket.recv(&mut [0; 16])
        });
        assert_eq!(asking.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}
