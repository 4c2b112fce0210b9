//! The system calls that no crate wraps safely. The only unsafe code of the runtime.
//!
//! Everything here is one call, named as in its man page, with no policy.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
#[cfg(feature = "sabotage")]
use std::sync::atomic::AtomicU32;

/// What [`clone_process`] returns, once in each of the two processes.
#[derive(Debug)]
pub enum Cloned {
    /// This is the process that called.
    Parent {
        /// The new process, as the caller's pid namespace counts.
        pid: i32,
        /// A handle to it that cannot go stale.
        pidfd: OwnedFd,
    },
    /// This is the new process.
    Child,
}

/// `struct clone_args` of `clone3(2)`, up to the member `cgroup`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `clone3(2)` without shared memory: a fork into new namespaces (`CLONE_NEW…`) and a cgroup.
///
/// Only for a process with one thread: a lock held by another thread would stay locked in the
/// child for ever.
pub fn clone_process(namespaces: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: namespaces as u32 as u64 | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP, 64 bits wide
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` has the kernel's layout and outlives the call, `pidfd` points at an i32 of
    // this frame, and neither CLONE_VM nor a stack is asked for, so the child runs on its own
    // copy of this very frame, as after fork(2).
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, std::mem::size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the call succeeded with CLONE_PIDFD, so the kernel has just put a
            // descriptor there which nothing else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid: pid as i32, pidfd })
        }
    }
}

/// `fork(2)`: 0 in the child. Only for a process with one thread.
pub fn fork() -> io::Result<i32> {
    // SAFETY: takes no memory; the caller has one thread, so the child may run any code.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// `_exit(2)`: ends at once, runs no destructor and no exit handler of a cloned program.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process; no code of ours runs after it.
    unsafe { libc::_exit(status) }
}

/// What [`mount_setattr`] changes.
#[derive(Debug, Default)]
pub struct MountAttr<'a> {
    /// `MOUNT_ATTR_…` bits to set.
    pub set: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, or 0 to leave it.
    pub propagation: u64,
    /// Map ids as this user namespace does.
    pub idmap: Option<BorrowedFd<'a>>,
    /// All mounts below as well.
    pub recursive: bool,
}

/// `mount_setattr(2)` on the mount that `fd` is the root of.
pub fn mount_setattr(fd: BorrowedFd<'_>, attr: &MountAttr<'_>) -> io::Result<()> {
    let mut args = libc::mount_attr {
        attr_set: attr.set,
        attr_clr: 0,
        propagation: attr.propagation,
        userns_fd: 0,
    };
    if let Some(idmap) = attr.idmap {
        args.attr_set |= libc::MOUNT_ATTR_IDMAP;
        args.userns_fd = idmap.as_raw_fd() as u64;
    }
    let mut flags = libc::AT_EMPTY_PATH;
    if attr.recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is a static C string, `args` has the kernel's layout and outlives the
    // call, and its size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw mut args,
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    check(result)
}

/// `close_range(2)` from `first` on: closes them all.
pub fn close_from(first: u32) -> io::Result<()> {
    close_range(first, libc::c_uint::MAX)
}

/// `close_range(2)` from `first` on: closes them all but one.
pub fn close_from_except(first: u32, kept: BorrowedFd<'_>) -> io::Result<()> {
    // A descriptor is never negative.
    let kept = kept.as_raw_fd() as u32;
    if first < kept {
        close_range(first, kept - 1)?;
    }
    close_range(first.max(kept + 1), libc::c_uint::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: only integers. An owned descriptor that is closed here is never used again: the
    // callers run just before execve or in a process that keeps no descriptor.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// Every signal back to its default action, and none blocked, for the program to come.
pub fn reset_signals() {
    // `struct sigaction` of the kernel has at most these 32 bytes; all zero is SIG_DFL.
    let default = [0_u64; 4];
    // SAFETY: sigset and action are of this frame, the kernel reads no more of the action than it
    // has, and no handler is installed. The library's sigaction(3) would leave out the two signals
    // it keeps for itself, 32 and 33.
    unsafe {
        for signal in 1..=64 {
            let (action, before) = (default.as_ptr(), std::ptr::null_mut::<u64>());
            libc::syscall(libc::SYS_rt_sigaction, signal, action, before, 8);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Blocks every signal, so that they wait for [`next_signal`].
pub fn block_signals() -> io::Result<()> {
    // SAFETY: the set is of this frame and filled before use.
    check(i64::from(unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut())
    }))
}

/// `sigwaitinfo(2)` on every signal: the number of the next one.
pub fn next_signal() -> io::Result<i32> {
    // SAFETY: the set is of this frame and filled before use; no information is asked for.
    match unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigwaitinfo(&all, std::ptr::null_mut())
    } {
        -1 => Err(io::Error::last_os_error()),
        signal => Ok(signal),
    }
}

/// `kill(2)` with any number, real-time signals included.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: only integers.
    check(i64::from(unsafe { libc::kill(pid, signal) }))
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`: a fresh session keyring without a name.
pub fn fresh_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the name is a null pointer, which asks for an anonymous keyring.
    check(unsafe {
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    })
}

/// `seccomp(SECCOMP_SET_MODE_FILTER)`: this filter from now on, with these
/// `SECCOMP_FILTER_FLAG_…`.
pub fn seccomp_filter(program: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<()> {
    let Ok(len) = u16::try_from(program.len()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let prog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: `prog` points at `len` instructions that outlive the call; the kernel copies them
    // and writes nothing.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const prog)
    })
}

/// `setsockopt(SO_ATTACH_FILTER)`: what this gives no length is dropped before the socket sees it.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let Ok(len) = u16::try_from(program.len()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let prog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads a `sock_fprog`, of the size that is given, and its `len`
    // instructions, which outlive the call; it writes nothing.
    check(i64::from(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const prog).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    }))
}

/// `bpf(BPF_PROG_LOAD)` of a program that the kernel asks about each use of a device.
pub fn bpf_load_device_program(instructions: &[u64]) -> io::Result<OwnedFd> {
    /// The members of `union bpf_attr` that this command reads.
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log: [u64; 2],
        kernel_version: u32,
        flags: u32,
    }
    const PROG_LOAD: libc::c_int = 5;
    const KIND_CGROUP_DEVICE: u32 = 15;
    let mut load = Load {
        kind: KIND_CGROUP_DEVICE,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log: [0; 2],
        kernel_version: 0,
        flags: 0,
    };
    let size = std::mem::size_of::<Load>();
    // SAFETY: `load` has the kernel's layout for this command and its size is passed; program
    // and licence outlive the call, which copies them.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw mut load, size) };
    check(fd)?;
    // SAFETY: the call has just returned this descriptor; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// `bpf(BPF_PROG_ATTACH)` of such a program to a cgroup of the v2 tree, in place of an earlier
/// one.
pub fn bpf_attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> io::Result<()> {
    const PROG_ATTACH: libc::c_int = 8;
    const CGROUP_DEVICE: u32 = 6;
    // Target, program, place, flags.
    let mut attach =
        [cgroup.as_raw_fd().cast_unsigned(), program.as_raw_fd().cast_unsigned(), CGROUP_DEVICE, 0];
    let size = std::mem::size_of_val(&attach);
    // SAFETY: these four words are what the command reads, and their size is passed.
    check(unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, attach.as_mut_ptr(), size) })
}

/// `execve(2)`; returns only when it failed.
pub fn execve(program: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let env = pointers(env);
    // SAFETY: both arrays end with a null pointer, and their strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// A copy of the descriptor above the standard ones, closed by execve.
pub fn dup_above_stdio(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), 3)?)
}

/// Gives the program `fd` under this number.
pub fn pass_as(command: &mut Command, fd: OwnedFd, number: i32) {
    let pass = move || {
        // SAFETY: both are plain numbers; `fd` lives in this closure, and what was open under
        // `number` in the forked child is used by nobody else before it executes the program.
        check(i64::from(unsafe { libc::dup2(fd.as_raw_fd(), number) }))
    };
    // SAFETY: after the fork the closure makes one system call and takes no lock or memory.
    unsafe { command.pre_exec(pass) };
}

/// The descriptor that the parent passed under this number.
pub fn passed_as(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: only an integer.
    check(i64::from(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }))?;
    // SAFETY: it is open, as the call above has shown, and by its number it was passed for us;
    // callers ask for each number once, before they open anything themselves.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn check(result: i64) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `signal(2)` with `SIG_IGN`: the signal is dropped.
pub fn ignore_signal(signal: i32) {
    // SAFETY: no handler of ours is installed, so no code of ours can run at a bad moment.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// `pidfd_send_signal(2)` with any number, real-time signals included.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: only integers and a null pointer, which asks for the default information.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
}

/// `struct pidfd_info` of `linux/pidfd.h`, in its first version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_GET_INFO`: the wait status of a process that was reaped, by its parent or anybody.
/// `None` before, and on kernels older than 6.15.
pub fn pidfd_exit_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    const GET_INFO: libc::Ioctl = 0xc040_ff0b_u32 as libc::Ioctl; // _IOWR(0xff, 11, 64 bytes)
    const EXIT: u64 = 1 << 3;
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: the number says that the kernel writes 64 bytes, which `info` has and outlives.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO, &raw mut info) };
    (result == 0 && info.mask & EXIT != 0).then_some(info.exit_code)
}

/// `mallopt(3)`: from now on, blocks of so many bytes and more go back to the kernel when freed.
pub fn return_large_memory(bytes: i32) {
    // SAFETY: only integers; called while there is one thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) };
}

/// `mmap(2)`: so many numbers of a file as memory that is shared with everybody who has it, until
/// this process ends.
#[cfg(feature = "sabotage")]
pub fn shared_words(file: &std::fs::File, count: usize) -> io::Result<&'static [AtomicU32]> {
    let size = count * std::mem::size_of::<AtomicU32>();
    if file.metadata()?.len() < size as u64 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let (null, fd) = (std::ptr::null_mut(), file.as_raw_fd());
    // SAFETY: a new mapping at an address that the kernel chooses; nothing of ours lies there.
    let memory = unsafe { libc::mmap(null, size, access, libc::MAP_SHARED, fd, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is `size` bytes of the file, which is as long, begins at a page and is
    // never unmapped; others change it, which atomic numbers allow.
    Ok(unsafe { std::slice::from_raw_parts(memory.cast(), count) })
}

/// Commands of quotactl(2) as XFS made them, which all file systems with quotas understand
/// (`linux/dqblk_xfs.h`). Each reads or writes no more than a [`QuotaData`].
#[derive(Debug, Clone, Copy)]
pub enum QuotaCommand {
    /// `Q_XGETQUOTA`: `struct fs_disk_quota` of an id.
    Get = 0x5803,
    /// `Q_XSETQLIM`: limits of an id, from a `struct fs_disk_quota`.
    SetLimits = 0x5804,
    /// `Q_XGETQSTAT`: what is switched on, a `struct fs_quota_stat`.
    State = 0x5805,
    /// `Q_XGETNEXTQUOTA`: that of the next id from this one on that has any.
    GetNext = 0x5809,
}

/// Room for the larger of the structures of [`QuotaCommand`], which has 112 bytes.
pub type QuotaData = [u64; 16];

/// `quotactl_fd(2)` about project quotas of the file system that `file` is on.
pub fn quotactl_project(
    file: BorrowedFd<'_>,
    command: QuotaCommand,
    id: u32,
    data: &mut QuotaData,
) -> io::Result<()> {
    const PRJQUOTA: u32 = 2;
    let command = (command as u32) << 8 | PRJQUOTA;
    let (fd, data) = (file.as_raw_fd(), data.as_mut_ptr());
    // SAFETY: these commands read or write a structure of at most 112 bytes without pointers, and
    // `data` is 128 bytes of this call's caller, aligned to 8 like the structures.
    check(unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, command, id, data) })
}

/// `struct fsxattr` of `linux/fs.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct FileAttributes {
    /// `FS_XFLAG_…`
    pub flags: u32,
    extent_size: u32,
    extents: u32,
    /// Quota project.
    pub project: u32,
    cow_extent_size: u32,
    rest: [u8; 8],
}

/// `FS_IOC_FSGETXATTR`.
pub fn file_attributes(file: BorrowedFd<'_>) -> io::Result<FileAttributes> {
    let mut found = FileAttributes::default();
    // SAFETY: the request writes one `struct fsxattr`, whose layout `found` has.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), 0x801c_581f, &raw mut found) };
    check(result.into()).map(|()| found)
}

/// `FS_IOC_FSSETXATTR`.
pub fn set_file_attributes(file: BorrowedFd<'_>, attributes: &FileAttributes) -> io::Result<()> {
    // SAFETY: the request reads one `struct fsxattr`, whose layout `attributes` has.
    check(unsafe { libc::ioctl(file.as_raw_fd(), 0x401c_5820, attributes) }.into())
}

/// Gets this many bytes of the heap ready at once, for a program that is going to use them soon: a page
/// that is touched for the first time costs the kernel many times what it costs among others.
///
/// What malloc(3) has had back once as one mapping of its own it takes from the heap from then on, and
/// what is given back to the heap stays there. A kernel before 5.14 does nothing.
pub fn warm_heap(bytes: usize) {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(bytes)));
    let mut heap = std::hint::black_box(Vec::<u8>::with_capacity(bytes));
    let page = rustix::param::page_size();
    let begin = heap.as_mut_ptr().cast::<libc::c_void>();
    let to_page = begin.align_offset(page);
    if to_page < bytes {
        // SAFETY: the range is one allocation of ours, and populating changes no content (madvise(2)).
        unsafe {
            let whole = (bytes - to_page) / page * page;
            libc::madvise(begin.byte_add(to_page), whole, libc::MADV_POPULATE_WRITE);
        }
    }
}

/// Where the words of this process's command line lie, which `/proc/PID/cmdline` shows.
#[derive(Debug, Clone, Copy)]
pub struct CommandLine {
    start: usize,
    length: usize,
}

impl CommandLine {
    /// That of this process, and of those it forks.
    pub fn find() -> io::Result<CommandLine> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // Members 48 and 49 of proc_pid_stat(5); the name, which is member 2, may contain blanks.
        let members = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let mut ends = members.split_whitespace().skip(45).map(str::parse::<usize>);
        let (Some(Ok(start)), Some(Ok(end))) = (ends.next(), ends.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        // Nobody without the right to see them is told.
        match end.checked_sub(start) {
            Some(length) if start != 0 => Ok(CommandLine { start, length }),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Shows these words instead, as many bytes of them as there is room for.
    ///
    /// Only for a process with one thread.
    pub fn show(self, words: &[&str]) {
        let mut text = words.join("\0").into_bytes();
        text.resize(self.length.saturating_sub(1), 0);
        // The last byte stays 0, so the library's pointers to words still lead to strings.
        // SAFETY: the kernel has put the words of the command line here, on the stack above all
        // frames, writable, for as long as the process lives; `text` is shorter than that. The
        // standard library only ever copies them, and no other thread does so meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), self.start as *mut u8, text.len()) };
    }
}
