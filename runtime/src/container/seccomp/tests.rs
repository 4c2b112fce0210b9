use super::*;
use crate::container::DEFAULT_CAPABILITIES;

/// What the kernel would answer: an errno, or 0 for a call that passes.
fn asked(program: &[sock_filter], machine: u32, number: i64, arguments: [u64; 6]) -> i32 {
    match returned(program, machine, number, arguments) {
        libc::SECCOMP_RET_ALLOW => 0,
        other => (other & 0xffff) as i32,
    }
}

/// What the program returns to the kernel.
pub(super) fn returned(
    program: &[sock_filter],
    machine: u32,
    number: i64,
    arguments: [u64; 6],
) -> u32 {
    let mut data = Vec::new();
    data.extend((number as u32).to_le_bytes());
    data.extend(machine.to_le_bytes());
    data.extend(0u64.to_le_bytes());
    arguments.iter().for_each(|argument| data.extend(argument.to_le_bytes()));
    let (mut at, mut value) = (0, 0u32);
    loop {
        let op = program[at];
        let k = op.k as usize;
        let jump = |met: bool| usize::from(if met { op.jt } else { op.jf });
        at += 1 + match u32::from(op.code) {
            0x20 => {
                value = u32::from_le_bytes(data[k..k + 4].try_into().unwrap());
                0
            }
            0x05 => k,
            0x54 => {
                value &= op.k;
                0
            }
            0x15 => jump(value == op.k),
            0x25 => jump(value > op.k),
            0x35 => jump(value >= op.k),
            0x45 => jump(value & op.k != 0),
            0x06 => return op.k,
            other => panic!("instruction {other:#x}"),
        };
    }
}

fn default_filter() -> Vec<sock_filter> {
    filter(caps::parse(&DEFAULT_CAPABILITIES.map(String::from)).unwrap(), Ioctl::Usual).unwrap()
}

fn plain(program: &[sock_filter], number: i64) -> i32 {
    asked(program, MACHINE, number, [0; 6])
}

#[test]
fn every_number_has_the_answer_of_its_rule() {
    let capabilities = caps::parse(&DEFAULT_CAPABILITIES.map(String::from)).unwrap();
    let (rules, program) = (rules(capabilities, Ioctl::Usual).unwrap(), default_filter());
    for number in (0..1000).chain([0x4000_0000, 0x4000_0001, 0xffff_ffff]) {
        let expected = match rules.get(&number).unwrap_or(&Rule::Unknown) {
            Rule::Closed => libc::EPERM,
            Rule::Unknown => libc::ENOSYS,
            Rule::NoProtocol => libc::EPROTONOSUPPORT,
            Rule::Open
            | Rule::Clone
            | Rule::Personality
            | Rule::Socket
            | Rule::Internet
            | Rule::Ioctl
            | Rule::IoctlKeepingProject => 0,
        };
        assert_eq!(plain(&program, i64::from(number)), expected, "number {number}");
    }
}

#[test]
fn who_needs_few_calls_has_no_others() {
    let program = Filter::of_calls(&[libc::SYS_read, libc::SYS_close]).program;
    for number in 0..1000 {
        let open = [libc::SYS_read, libc::SYS_close].contains(&number);
        let expected = if open { 0 } else { libc::ENOSYS };
        if number != libc::SYS_socket {
            assert_eq!(plain(&program, number), expected, "number {number}");
        }
    }
    for family in 0..50 {
        let answer = asked(&program, MACHINE, libc::SYS_socket, [family, 0, 0, 0, 0, 0]);
        let open = [libc::AF_INET as u64, libc::AF_INET6 as u64].contains(&family);
        assert_eq!(answer, if open { 0 } else { libc::EPERM }, "family {family}");
    }
}

#[test]
fn the_program_is_short() {
    let len = default_filter().len();
    assert!(len < 300, "{len} instructions");
}

#[test]
fn namespaces_and_kernel_surface_are_closed() {
    let program = default_filter();
    for number in [
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_keyctl,
        libc::SYS_open_by_handle_at,
        libc::SYS_kexec_load,
        libc::SYS_perf_event_open,
    ] {
        assert_eq!(plain(&program, number), libc::EPERM, "number {number}");
    }
    assert_eq!(plain(&program, libc::SYS_clone3), libc::ENOSYS);
    let clone = |flags| asked(&program, MACHINE, libc::SYS_clone, [flags, 0, 0, 0, 0, 0]);
    assert_eq!(clone(libc::SIGCHLD as u64), 0);
    for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWNET, libc::CLONE_NEWPID] {
        assert_eq!(clone(flag as u64), libc::EPERM);
    }
}

#[test]
fn arguments_are_looked_at() {
    let program = default_filter();
    let ask = |number, a: u64, b: u64, c: u64| asked(&program, MACHINE, number, [a, b, c, 0, 0, 0]);
    let socket = |family: i32, protocol: i32| {
        ask(libc::SYS_socket, family as u64, libc::SOCK_RAW as u64, protocol as u64)
    };
    assert_eq!([socket(libc::AF_INET, 6), socket(libc::AF_UNIX, 9)], [0, 0]);
    assert_eq!(socket(libc::AF_NETLINK, libc::NETLINK_ROUTE), 0);
    assert_eq!(socket(libc::AF_NETLINK, libc::NETLINK_AUDIT), libc::EPROTONOSUPPORT);
    assert_eq!([socket(libc::AF_ALG, 0), socket(libc::AF_VSOCK, 0)], [libc::EPERM; 2]);
    let ioctl = |request: u64| ask(libc::SYS_ioctl, 0, request, 0);
    assert_eq!([ioctl(libc::TIOCSTI), ioctl(libc::TIOCLINUX)], [libc::EPERM; 2]);
    // The kernel reads 32 bits of the request: an upper half must not hide it.
    assert_eq!(ioctl(libc::TIOCSTI | 1 << 32), libc::EPERM);
    assert_eq!(ioctl(libc::TIOCGWINSZ), 0);
    let personality = |value: u64| ask(libc::SYS_personality, value, 0, 0);
    assert_eq!([personality(0), personality(0xffff_ffff)], [0, 0]);
    assert_eq!(personality(0x40_0000), libc::EPERM);
}

#[test]
fn what_a_file_counts_to_is_kept_where_that_is_asked_for() {
    let keeping = filter(CapabilitySet::empty(), Ioctl::KeepingProject).unwrap();
    let ioctl = |program: &[sock_filter], request: u64| {
        asked(program, MACHINE, libc::SYS_ioctl, [0, request, 0, 0, 0, 0])
    };
    for request in PROJECT_REQUESTS.map(u64::from) {
        assert_eq!(ioctl(&keeping, request), libc::EPERM);
        assert_eq!(ioctl(&default_filter(), request), 0);
    }
    assert_eq!([ioctl(&keeping, libc::TIOCSTI), ioctl(&keeping, libc::TIOCGWINSZ)], [1, 0]);
}

#[test]
fn a_capability_opens_its_calls() {
    let program =
        filter(CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE, Ioctl::Usual).unwrap();
    for number in [libc::SYS_mount, libc::SYS_unshare, libc::SYS_clone3, libc::SYS_kcmp] {
        assert_eq!(plain(&program, number), 0, "number {number}");
    }
    let flags = [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0];
    assert_eq!(asked(&program, MACHINE, libc::SYS_clone, flags), 0);
    assert_eq!(plain(&program, libc::SYS_chroot), libc::EPERM);
}

#[test]
fn calls_of_another_machine_do_not_pass() {
    const I386: u32 = 0x4000_0003;
    let program = default_filter();
    for number in 0..500 {
        assert_eq!(asked(&program, I386, number, [0; 6]), libc::ENOSYS);
        assert_eq!(plain(&program, number | 0x4000_0000), libc::ENOSYS); // x32
    }
}
