//! Who the program is and what it may.

use super::{Sandbox, alone};
use crate::bundle::Network;
use crate::container::ALL_CAPABILITIES;

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
}

fn rights(status: &str) -> [&str; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| field(status, name))
}

const NONE: &str = "0000000000000000";
const ELEVEN: &str = "00000000800405fb";

#[test]
fn a_container_runs_its_program_as_root_of_its_own_ids() {
    alone(|| {
        let container = Sandbox::new();
        let line = "id -u; id -g; id -G; hostname; echo $GREETING; cat /proc/self/uid_map; \
                    touch /made; exit 7";
        let ended = container.run(line);
        let base = container.bundle.id_base.unwrap().to_string();
        assert_eq!(ended.status, 7, "{}", ended.output);
        let words: Vec<&str> = ended.output.split_whitespace().collect();
        assert_eq!(words, ["0", "0", "0", "boxed", "hello", "0", base.as_str(), "65536"]);
        assert_eq!(container.owner_on_disk("made"), (0, 0));
    });
}

#[test]
fn root_has_the_eleven_capabilities_and_a_filter() {
    alone(|| {
        let status = Sandbox::new().run("cat /proc/self/status").output;
        assert_eq!(rights(&status), [NONE, ELEVEN, ELEVEN, ELEVEN, NONE]);
        assert_eq!(field(&status, "Seccomp"), "2");
        assert_eq!(field(&status, "NoNewPrivs"), "0");
        assert_eq!(field(&status, "NSpid"), "1");
    });
}

#[test]
fn another_user_has_no_capabilities_and_exactly_its_groups() {
    alone(|| {
        let mut container = Sandbox::new();
        let process = &mut container.bundle.process;
        (process.uid, process.gid, process.groups) = (70, 71, vec![72, 80]);
        process.no_new_privs = true;
        let ended = container.run("cat /proc/self/status; touch /tmp/x; touch /x");
        let status = &ended.output;
        assert_eq!(rights(status), [NONE, NONE, NONE, ELEVEN, NONE]);
        assert_eq!(field(status, "Uid"), "70\t70\t70\t70");
        assert_eq!(field(status, "Groups"), "72 80");
        assert_eq!(field(status, "NoNewPrivs"), "1");
        assert_ne!(ended.status, 0, "it may not write to /");
    });
}

#[test]
fn without_a_user_namespace_the_ids_are_the_hosts() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.id_base = None;
        let ended = container.run("cat /proc/self/uid_map /proc/self/status; touch /made");
        let map: Vec<&str> = ended.output.split_whitespace().take(3).collect();
        assert_eq!((map, ended.status), (vec!["0", "0", "4294967295"], 0));
        assert_eq!(rights(&ended.output), [NONE, ELEVEN, ELEVEN, ELEVEN, NONE]);
        assert_eq!(field(&ended.output, "Seccomp"), "2");
        assert_eq!(container.owner_on_disk("made"), (0, 0));
    });
}

#[test]
fn a_privileged_container_has_all_rights_of_the_host_and_no_filter() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.id_base = None;
        container.bundle.privileged = true;
        container.bundle.process.capabilities = ALL_CAPABILITIES.map(String::from).into();
        let ended = container.run(
            "cat /proc/self/status; ls /dev/kmsg /dev/pts/ptmx; \
             mount -t tmpfs x /tmp && echo mounted",
        );
        let host = std::fs::read_to_string("/proc/self/status").unwrap();
        assert_eq!(field(&ended.output, "CapEff"), field(&host, "CapEff"));
        assert_eq!(field(&ended.output, "Seccomp"), "0");
        assert!(ended.output.ends_with("/dev/kmsg\n/dev/pts/ptmx\nmounted\n"), "{}", ended.output);
    });
}

#[test]
fn namespaces_and_mounts_are_closed_to_a_container() {
    alone(|| {
        let ended = Sandbox::new().run(
            "mount -t tmpfs x /tmp; unshare -U true; mount -o remount,rw /proc/sys; \
             umount /proc/kcore; mknod /tmp/sda b 8 0; echo end",
        );
        let refused = ended.output.matches("Operation not permitted").count();
        let denied = ended.output.matches("permission denied").count();
        assert_eq!(refused + denied, 5, "{}", ended.output);
    });
}

#[test]
fn a_program_that_is_missing_or_not_executable_has_its_exit_code() {
    alone(|| {
        let container = Sandbox::new();
        let missing = container.try_run(&["nothing-here"]).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "execute `nothing-here`: no such program, or its interpreter is missing (ENOENT)"
        );
        assert_eq!((missing.exit_code, missing.errno), (127, Some(libc::ENOENT)));
        let closed = container.try_run(&["/etc/passwd"]).unwrap_err();
        assert_eq!((closed.exit_code, closed.errno), (126, Some(libc::EACCES)));
        let folder = container.try_run(&["/etc"]).unwrap_err();
        assert_eq!(folder.exit_code, 126);
        assert_eq!(container.run("exit 3").status, 3);
    });
}

#[test]
fn the_small_init_reaps_and_passes_signals_and_status_on() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.init = true;
        let ended = container.run("echo $$; (sleep 0.01 &) ; exit 9");
        assert_eq!((ended.status, ended.output.as_str()), (9, "2\n"));
        let (init, output) = container
            .start(&["/bin/sh", "-c", "trap 'echo caught; exit 4' TERM; echo up; sleep 9 & wait"])
            .unwrap();
        let mut up = [0; 3];
        rustix::io::read(&output, &mut up).unwrap();
        crate::sys::kill(init.pid, libc::SIGTERM).unwrap();
        let ended = super::ended(init.pid, output);
        assert_eq!((ended.status, ended.output.as_str()), (4, "caught\n"));
        assert_eq!(container.try_run(&["nothing"]).unwrap_err().exit_code, 127);
    });
}

#[test]
fn a_failing_network_ends_the_start_and_names_the_reason() {
    alone(|| {
        let container = Sandbox::new();
        let (_, write) = std::io::pipe().unwrap();
        let fd = std::os::fd::AsFd::as_fd(&write);
        let stdio = crate::container::Stdio::Files { stdin: fd, stdout: fd, stderr: fd };
        let mut bundle = container.bundle.clone();
        bundle.process.argv = vec!["/bin/true".into()];
        let refused = &mut |_: std::os::fd::BorrowedFd<'_>| Err("no bridge".to_owned());
        let error =
            crate::container::spawn(&bundle, &container.group(), stdio, refused).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("configure network `{}`: no bridge", container.bundle.name)
        );
        assert_eq!(container.group().processes().unwrap(), Vec::<i32>::new());
    });
}

#[test]
fn settings_of_its_own_network_are_set_and_those_of_the_host_refused() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.sysctls = [("net.core.somaxconn".into(), "77".into())].into();
        let ended = container.run(
            "cd /proc/sys/net; cat core/somaxconn ipv4/ip_unprivileged_port_start; \
             cat ipv4/ping_group_range; echo 1 > core/somaxconn",
        );
        let words: Vec<&str> = ended.output.split_whitespace().take(4).collect();
        assert_eq!(words, ["77", "0", "0", "65535"], "{}", ended.output);
        assert_ne!(ended.status, 0, "/proc/sys is read-only: {}", ended.output);
        container.bundle.network = Network::Host;
        container.bundle.id_base = None;
        let error = container.try_run(&["/bin/true"]).unwrap_err();
        assert_eq!(error.reason, "the container has no network of its own");
    });
}

#[test]
fn limits_of_the_process_are_set() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.process.rlimits = [("nofile".to_owned(), (100, 200))].into();
        container.bundle.process.oom_score_adj = Some(500);
        let ended = container
            .run("ulimit -Sn; ulimit -Hn; ulimit -Sc; cat /proc/self/oom_score_adj; umask");
        assert_eq!(ended.output, "100\n200\n0\n500\n0022\n");
    });
}

#[test]
fn the_working_directory_is_made_and_never_outside() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.process.cwd = "/srv/new/deep".into();
        assert_eq!(container.run("pwd").output, "/srv/new/deep\n");
        for fd in 0..20 {
            container.bundle.process.cwd = format!("/proc/self/fd/{fd}");
            if let Ok(ended) = container.try_run(&["/bin/pwd"]) {
                assert!(ended.output.starts_with('/'), "fd {fd}: {}", ended.output);
                panic!("fd {fd} as working directory: {}", ended.output);
            }
        }
    });
}

#[test]
fn no_descriptor_but_the_streams_reaches_the_program() {
    alone(|| {
        let _leak = std::fs::File::open("/").unwrap();
        let line = "for fd in /proc/self/fd/*; do echo -n \"${fd##*/} \"; done";
        // The shell itself opens the folder while it expands the pattern.
        assert_eq!(Sandbox::new().run(line).output, "0 1 2 3 ");
    });
}

#[test]
fn the_program_may_open_its_output_by_name() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.process.uid = 70;
        assert_eq!(container.run("echo again > /dev/stdout").output, "again\n");
    });
}

#[test]
fn a_start_takes_a_few_milliseconds() {
    alone(|| {
        let mut container = Sandbox::new();
        let mut times = Vec::new();
        for round in 0..20 {
            container.bundle.cgroup.path = format!("berth/{}-{round}", container.bundle.name);
            let before = std::time::Instant::now();
            let (init, output) = container.start(&["/bin/echo", "up"]).unwrap();
            times.push(before.elapsed());
            assert_eq!(super::ended(init.pid, output).output, "up\n");
            container.group().remove().unwrap();
        }
        times.sort();
        println!("start: min {:?}, median {:?}, max {:?}", times[0], times[10], times[19]);
    });
}
