//! The relay: carries what reaches a published port where the kernel cannot translate, from
//! clients of one family to a container that only has the other, and from `::1`, which the kernel
//! lets reach no link but the loopback.
//!
//! It is a process of its own, started by a monitor at the first client and gone when there is
//! none. It owns nothing and opens no file, no program and no socket but of TCP and UDP: those that
//! clients come to are handed out by the monitor, through the channel that is its only tie to it,
//! and end with it. What it could reach is what any user of the host can: what listens there, also
//! on the loopback. Whoever is behind it sees the host as the client.
//!
//! Everything in it has a bound: connections, of which it keeps no byte, flows, and how long a
//! silent flow of UDP is remembered.
//!
//! Reading order: [`Way`], `serve` (the loop), `guests` (who goes when it is full), `tcp`, `udp`.

mod guests;
mod serve;
mod tcp;
mod udp;

use std::net::SocketAddr;

use berth_schema::stack::Protocol;
use serde::{Deserialize, Serialize};

use crate::container::{Channel, confine};
use crate::sabotage::{self, without};
use crate::starter::NAME;
use crate::sys;

/// Hidden word on the command line that makes the program a relay.
pub const WORD: &str = "relay";
/// Number under which it finds its end of the channel.
pub(crate) const NUMBER: i32 = 3;
/// Descriptors it would have: the most connections, and some thousand ports.
const FILES: u64 = 65_536;

/// The system calls it gets by with, beside sockets of IP, and those of a C library that ends.
/// None signals another process: `nobody` has more than this one. fcntl(2) would, in its way (SIGIO).
const CALLS: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_write,
];

/// A socket of the host, and where that what comes in is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Way {
    /// Transport: TCP or UDP.
    pub(crate) protocol: Protocol,
    /// Where the socket is bound.
    pub(crate) host: SocketAddr,
    /// The container's address and port.
    pub(crate) target: SocketAddr,
}

/// The life of a relay. Entered at the very beginning of `main` when the first argument is
/// [`WORD`].
pub fn main() -> ! {
    sabotage::read();
    // Cosmetic: in a list of processes it is not called by the number of a descriptor.
    let _ = rustix::thread::set_name(NAME);
    let Ok(channel) = sys::passed_as(NUMBER) else {
        // Not started by us: nobody to tell.
        sys::exit_now(64)
    };
    let room = raise_limit();
    without!("relay.confined", serve_and_end(channel, room));
    match confine(CALLS) {
        Ok(()) => serve_and_end(channel, room),
        Err(_) => sys::exit_now(1),
    }
}

fn serve_and_end(channel: std::os::fd::OwnedFd, room: usize) -> ! {
    sys::exit_now(i32::from(serve::serve(&Channel::from_fd(channel), room).is_err()))
}

/// As many descriptors as it would have, or else may have; how many that are.
fn raise_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: Some(FILES), maximum: Some(FILES) };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(now).unwrap_or(usize::MAX)
}
