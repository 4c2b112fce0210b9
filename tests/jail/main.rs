//! `berth-jail PROGRAM ARGUMENT…`: runs a program that can change nothing.
//!
//! Landlock takes away every right to write to files, to make, remove or rename them, to bind and
//! connect sockets of TCP, and to signal others, whatever the program holds as root. What Landlock
//! does not know (modes, owners, times, attributes, mounts, namespaces, an exclusive flock, a unix
//! socket) a filter of system calls ends the program at, and so at the mere try to open a file for
//! writing: it is killed by SIGSYS. What goes through netlink is for the test to watch.
#![allow(clippy::print_stderr, reason = "a program for tests alone")]

use std::collections::BTreeMap;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use landlock::{
    ABI, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// What it ends with when there is no Landlock here.
const NO_JAIL: u8 = 77;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let Some((program, arguments)) = words.split_first() else {
        eprintln!("berth-jail PROGRAM ARGUMENT…");
        return ExitCode::from(64);
    };
    match locked_in() {
        Ok(true) => {}
        Ok(false) => return ExitCode::from(NO_JAIL),
        Err(error) => {
            eprintln!("cannot make the jail: {error}");
            return ExitCode::from(1);
        }
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("cannot run {}: {error}", program.display());
    ExitCode::from(127)
}

/// Gives up all rights to write, for good. `false` when the kernel cannot take them.
fn locked_in() -> Result<bool, Box<dyn Error>> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(ABI::V6))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(Scope::Signal | Scope::AbstractUnixSocket)?
        .create()?
        .no_new_privs(true)
        .restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Ok(false);
    }
    let filter: BpfProgram = SeccompFilter::new(
        rules()?,
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()?;
    seccompiler::apply_filter(&filter)?;
    Ok(true)
}

/// The calls that end the program; those with conditions only where one of them holds.
fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, Box<dyn Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CHANGES.iter().chain(OLD_CHANGES).map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_openat, for_writing(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, for_writing(1)?);
    let exclusive = u64::from(libc::LOCK_EX.unsigned_abs());
    // Who connects to netlink has an address of twelve bytes, everybody else a longer one.
    let (length, other) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Ne);
    let not_netlink = SeccompCondition::new(2, length, other, 12)?;
    rules.insert(libc::SYS_connect, vec![SeccompRule::new(vec![not_netlink])?]);
    rules.insert(libc::SYS_flock, vec![with_bits(1, exclusive, exclusive)?]);
    Ok(rules)
}

/// Flags of open(2) that ask for more than to read.
fn for_writing(argument: u8) -> Result<Vec<SeccompRule>, Box<dyn Error>> {
    let of = |flag: libc::c_int| u64::from(flag.unsigned_abs());
    let mode = of(libc::O_ACCMODE);
    let asked = [
        (mode, of(libc::O_WRONLY)),
        (mode, of(libc::O_RDWR)),
        (of(libc::O_CREAT), of(libc::O_CREAT)),
        (of(libc::O_TRUNC), of(libc::O_TRUNC)),
    ];
    asked.into_iter().map(|(mask, bits)| with_bits(argument, mask, bits)).collect()
}

fn with_bits(argument: u8, mask: u64, bits: u64) -> Result<SeccompRule, Box<dyn Error>> {
    let (length, masked) = (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask));
    Ok(SeccompRule::new(vec![SeccompCondition::new(argument, length, masked, bits)?])?)
}

/// Calls that change something, on every machine.
const CHANGES: &[i64] = &[
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_kill,
    libc::SYS_pidfd_send_signal,
    libc::SYS_ptrace,
    libc::SYS_process_vm_writev,
    libc::SYS_bpf,
];

#[cfg(target_arch = "x86_64")]
const OLD_CHANGES: &[i64] = &[
    libc::SYS_creat,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_mknod,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CHANGES: &[i64] = &[];
