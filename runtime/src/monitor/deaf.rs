//! Whether a signal would be lost on the first process of a container.
//!
//! The kernel drops every signal that the first process of a pid namespace has no handler for
//! (pid_namespaces(7)), where any other process would be ended by it. Waiting for such a process
//! to heed its stop signal is waiting for nothing.

use std::fs;

use libc::{SIGCHLD, SIGCONT, SIGURG, SIGWINCH};

/// Whether process `pid` has left `signal` to the kernel, which would end any other process.
pub(super) fn is_deaf(pid: i32, signal: i32) -> bool {
    // A process may call itself what is no text.
    let status = fs::read(format!("/proc/{pid}/status"));
    status.is_ok_and(|text| is_left(&String::from_utf8_lossy(&text), signal))
}

/// Reads `/proc/PID/status` (proc_pid_status(5)): neither blocked, nor ignored, nor caught.
fn is_left(status: &str, signal: i32) -> bool {
    let harmless = [SIGCHLD, SIGCONT, SIGURG, SIGWINCH].contains(&signal);
    let Some(bit) = u32::try_from(signal - 1).ok().and_then(|n| 1u64.checked_shl(n)) else {
        return false;
    };
    let has = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        // What cannot be read counts as heard.
        line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).is_none_or(|b| b & bit != 0)
    };
    !harmless && !has("SigBlk:") && !has("SigIgn:") && !has("SigCgt:")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn status(blocked: u64, ignored: u64, caught: u64) -> String {
        format!(
            "Name:\tx\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
        )
    }

    #[test]
    fn a_signal_is_lost_that_is_neither_blocked_nor_ignored_nor_caught() {
        let term = 1 << (libc::SIGTERM - 1);
        assert!(is_left(&status(0, 0, 0), libc::SIGTERM));
        assert!(is_left(&status(!term, !term, !term), libc::SIGTERM));
        for heard in [status(term, 0, 0), status(0, term, 0), status(0, 0, term), String::new()] {
            assert!(!is_left(&heard, libc::SIGTERM), "{heard}");
        }
    }

    #[test]
    fn a_signal_that_would_end_nobody_is_not_lost() {
        assert!(!is_left(&status(0, 0, 0), SIGWINCH));
        assert!(!is_left(&status(0, 0, 0), 0));
    }

    #[test]
    fn a_process_whose_name_is_no_text_is_deaf_too() {
        let name = r"printf '\377abc' >/proc/$$/comm; echo; read line";
        let mut shell = Command::new("sh")
            .args(["-c", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answer = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut answer).unwrap();
        let pid = shell.id();
        assert!(fs::read_to_string(format!("/proc/{pid}/status")).is_err());
        assert!(is_deaf(i32::try_from(pid).unwrap(), libc::SIGUSR1));
        shell.kill().unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn a_shell_is_deaf_until_it_sets_a_trap() {
        let mut shell = Command::new("sh")
            .args(["-c", "read line; trap : USR1; echo; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        assert!(is_deaf(pid, libc::SIGUSR1));
        std::io::Write::write_all(shell.stdin.as_mut().unwrap(), b"\n").unwrap();
        let mut answer = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut answer).unwrap();
        assert!(!is_deaf(pid, libc::SIGUSR1));
        shell.kill().unwrap();
        shell.wait().unwrap();
    }
}
