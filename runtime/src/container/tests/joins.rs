//! Further processes, terminals, shared networks.

use std::os::fd::AsFd;

use super::fixture::read_terminal;
use super::{Ended, Sandbox, alone, ended};
use crate::bundle::{Network, Phase, Status};
use crate::container::channel::Channel;
use crate::container::helper;
use crate::container::{ExecSpec, Init, Stdio, Target, begin, exec, exec_in, spawn};

fn sleeping(container: &Sandbox) -> Init {
    container.start(&["/bin/sleep", "60"]).unwrap().0
}

fn shell(line: &str) -> ExecSpec {
    let argv = ["/bin/sh", "-c", line].map(String::from).into();
    ExecSpec { argv, ..ExecSpec::default() }
}

#[test]
fn a_further_process_is_in_all_namespaces_and_groups_with_the_same_rights() {
    alone(|| {
        for base in [Some(300_000), None] {
            let mut container = Sandbox::new();
            container.bundle.id_base = base;
            let init = sleeping(&container);
            let line = "for ns in user pid mnt net ipc uts cgroup; do readlink /proc/1/ns/$ns; \
                        readlink /proc/self/ns/$ns; done; cat /proc/self/cgroup | grep -v ':/$'; \
                        grep -E 'CapEff|Seccomp:' /proc/self/status; id -u; echo $GREETING$MORE; \
                        touch /by-exec";
            let spec = ExecSpec { env: vec!["MORE=!".into()], ..shell(line) };
            let ended = container.exec(&init, &spec).unwrap();
            let lines: Vec<&str> = ended.output.lines().collect();
            let (spaces, rest) = lines.split_at(14);
            for pair in spaces.chunks(2) {
                assert_eq!(pair[0], pair[1], "{}", ended.output);
            }
            let expected = ["CapEff:\t00000000800405fb", "Seccomp:\t2", "0", "hello!"];
            assert_eq!((rest, ended.status), (expected.as_slice(), 0));
            assert_eq!(container.owner_on_disk("by-exec"), (0, 0));
        }
    });
}

#[test]
fn a_further_process_may_be_another_user_or_privileged() {
    alone(|| {
        let container = Sandbox::new();
        let init = sleeping(&container);
        let spec =
            ExecSpec { user: Some("app".into()), ..shell("id -u; id -g; id -G; echo $HOME") };
        let ended = container.exec(&init, &spec).unwrap();
        assert_eq!(ended.output, "70\n71\n71 72\n/tmp\n");
        let spec = ExecSpec { user: Some("nobody-here".into()), ..shell("true") };
        let error = container.exec(&init, &spec).unwrap_err();
        assert_eq!(error.reason, "no such user in `/etc/passwd` of the image");
        let spec = ExecSpec { privileged: true, ..shell("mount -t tmpfs x /tmp && echo mounted") };
        assert_eq!(container.exec(&init, &spec).unwrap().output, "mounted\n");
        let spec = ExecSpec { cwd: Some("/bin".into()), ..shell("pwd") };
        assert_eq!(container.exec(&init, &spec).unwrap().output, "/bin\n");
        let spec = ExecSpec { argv: vec!["nothing".into()], ..ExecSpec::default() };
        assert_eq!(container.exec(&init, &spec).unwrap_err().exit_code, 127);
        assert_eq!(container.exec(&init, &shell("exit 6")).unwrap().status, 6);
    });
}

#[test]
fn a_further_process_executes_nothing_before_it_is_let_go() {
    alone(|| {
        let container = Sandbox::new();
        let init = sleeping(&container);
        let target = Target::of(init.pid).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let stdio =
            Stdio::Files { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd() };
        let begun = |file| {
            let spec = shell(&format!("touch /{file}"));
            begin(&target, &container.bundle, &spec, stdio).unwrap()
        };
        let lost = begun("lost");
        let (pid, (empty, _)) = (lost.pid(), std::io::pipe().unwrap());
        // As its parent's end leaves it.
        drop(lost);
        assert_eq!(ended(pid, empty.into()).status, 125);
        let mut stopped = begun("stopped");
        let (pid, (empty, _)) = (stopped.pid(), std::io::pipe().unwrap());
        crate::sys::kill(pid, libc::SIGSTOP).unwrap();
        stopped.let_go().unwrap();
        assert!(!stopped.hear().unwrap(), "nobody waits for it");
        crate::sys::kill(pid, libc::SIGKILL).unwrap();
        assert_eq!(ended(pid, empty.into()).status, 137);
        assert!(stopped.hear().unwrap_err().reason.contains("killed before its program"));
        let mut gone = begun("gone");
        let (pid, (empty, _)) = (gone.pid(), std::io::pipe().unwrap());
        assert!(!gone.hear().unwrap());
        gone.let_go().unwrap();
        assert_eq!(ended(pid, empty.into()).status, 0);
        assert!(gone.hear().unwrap());
        let upper = container.dir.join("state/upper");
        assert!(!upper.join("lost").exists() && upper.join("gone").exists());
    });
}

#[test]
fn a_target_that_ended_or_whose_number_is_anothers_is_refused() {
    alone(|| {
        let container = Sandbox::new();
        let init = sleeping(&container);
        let right = Target::of(init.pid).unwrap();
        let wrong = Target { start: right.start + 1, ..right };
        let stdio = Stdio::Terminal;
        let error = exec(&wrong, &container.bundle, &shell("true"), stdio).unwrap_err();
        assert_eq!(error.reason, "it does not run any more");
        assert!(right.is_alive() && !wrong.is_alive());
    });
}

#[test]
fn a_terminal_is_the_containers_own() {
    alone(|| {
        let mut container = Sandbox::new();
        let line = "tty; test -t 0 && test -t 1 && echo terminal; echo to-console > /dev/console; \
                    echo from-tty > /dev/tty";
        container.bundle.process.argv = ["/bin/sh", "-c", line].map(String::from).into();
        container.bundle.process.uid = 70;
        let init =
            spawn(&container.bundle, &container.group(), Stdio::Terminal, &mut |_| Ok(())).unwrap();
        let Ended { status, output } = read_terminal(init.pid, init.terminal.unwrap());
        assert!(output.starts_with("/dev/pts/0\r\nterminal\r\n"), "{output}");
        assert!(output.ends_with("from-tty\r\n"), "{output}");
        assert_eq!(status, 0);

        container.bundle.init = true;
        let init =
            spawn(&container.bundle, &container.group(), Stdio::Terminal, &mut |_| Ok(())).unwrap();
        let Ended { status, output } = read_terminal(init.pid, init.terminal.unwrap());
        assert!(output.ends_with("from-tty\r\n"), "{output}");
        assert_eq!(status, 0);

        let container = Sandbox::new();
        let init = sleeping(&container);
        let target = Target::of(init.pid).unwrap();
        let spec = ExecSpec { tty: true, ..shell("tty; echo $TERM") };
        let child = exec(&target, &container.bundle, &spec, Stdio::Terminal).unwrap();
        let Ended { output, .. } = read_terminal(child.pid, child.terminal.unwrap());
        assert_eq!(output, "/dev/pts/0\r\nxterm\r\n");
    });
}

#[test]
fn a_container_may_live_in_the_network_of_another() {
    alone(|| {
        let first = Sandbox::new();
        let init = sleeping(&first);
        let target = Target::of(init.pid).unwrap();
        let status = Status {
            pid: target.pid,
            pid_start: target.start,
            phase: Phase::Running,
            ..Status::default()
        };
        let text = serde_json::to_vec(&status).unwrap();
        // Run folders lie side by side, each with the status its monitor writes.
        let beside = first.dir.join("run/first");
        std::fs::create_dir(&beside).unwrap();
        std::fs::write(beside.join("status.json"), text).unwrap();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let mut second = Sandbox::new();
        second.bundle.run_dir = first.dir.join("run/second");
        second.bundle.network = Network::Container("first".into());
        let ended = second.run("readlink /proc/self/ns/net; ls /sys/class/net");
        let theirs = std::fs::read_link(format!("/proc/{}/ns/net", init.pid)).unwrap();
        assert_eq!(ended.output, format!("{}\nlo\n", theirs.display()));
        assert_eq!(std::fs::read_link("/proc/self/ns/net").unwrap(), own);
        second.bundle.network = Network::Container("nobody".into());
        assert_eq!(second.try_run(&["/bin/true"]).unwrap_err().errno, Some(libc::ENOENT));
    });
}

/// What a monitor keeps beside the container.
fn write_run_folder(container: &Sandbox, init: &Init) {
    let target = Target::of(init.pid).unwrap();
    let status = Status { pid: target.pid, pid_start: target.start, ..Status::default() };
    let run = &container.bundle.run_dir;
    let bundle = serde_json::to_vec(&container.bundle).unwrap();
    std::fs::write(run.join("bundle.json"), bundle).unwrap();
    std::fs::write(run.join("status.json"), serde_json::to_vec(&status).unwrap()).unwrap();
}

#[test]
fn a_run_folder_is_enough_to_start_a_further_process() {
    alone(|| {
        let container = Sandbox::new();
        write_run_folder(&container, &sleeping(&container));
        let (read, write) = std::io::pipe().unwrap();
        let fd = write.as_fd();
        let stdio = Stdio::Files { stdin: fd, stdout: fd, stderr: fd };
        let child = exec_in(&container.bundle.run_dir, &shell("echo inside"), stdio).unwrap();
        drop(write);
        assert_eq!(ended(child.pid, read.into()).output, "inside\n");
    });
}

#[test]
fn a_helper_hands_the_terminal_over_and_ends_with_the_status() {
    alone(|| {
        let container = Sandbox::new();
        write_run_folder(&container, &sleeping(&container));
        let help = |spec: &ExecSpec| {
            let (ours, theirs) = Channel::pair().unwrap();
            let pid = crate::sys::fork().unwrap();
            if pid == 0 {
                drop(ours);
                helper::serve(&theirs);
            }
            drop(theirs);
            let run_dir = &container.bundle.run_dir;
            (pid, helper::testing::ask_and_wait(&ours, run_dir, spec))
        };
        // An environment larger than a packet passes as well.
        let env = vec![format!("LARGE={}", "x".repeat(60_000))];
        let line = "trap 'echo caught; exit 5' TERM; echo ${#LARGE}; sleep 9 & wait";
        let (pid, started) = help(&ExecSpec { env, tty: true, ..shell(line) });
        let master = started.unwrap().unwrap();
        let mut text = [0; 7];
        rustix::io::read(&master, &mut text).unwrap();
        crate::sys::kill(pid, libc::SIGTERM).unwrap();
        let Ended { status, output } = read_terminal(pid, master);
        assert_eq!((&text, output.as_str(), status), (b"60000\r\n", "caught\r\n", 5));

        let (pid, failed) = help(&ExecSpec { argv: vec!["nothing".into()], ..shell("") });
        assert_eq!(failed.unwrap_err().exit_code, 127);
        let (empty, _) = std::io::pipe().unwrap();
        assert_eq!(ended(pid, empty.into()).status, 127);
    });
}
