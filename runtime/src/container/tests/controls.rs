//! Cgroups of a running container.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::{Pid, WaitOptions, waitpid};

use super::{Sandbox, alone};
use crate::bundle::Cgroup;
use crate::container::ExecSpec;
use crate::container::cgroup::{Devices, Hierarchies};
use crate::sys::{self, Cloned};

#[test]
fn a_container_is_in_its_group_of_every_hierarchy_and_sees_it_as_the_root() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.cgroup.memory = Some(64 << 20);
        container.bundle.cgroup.cpu_micros = Some(500_000);
        let (init, output) = container
            .start(&["/bin/sh", "-c", "cat /proc/self/cgroup; echo end; exec sleep 60"])
            .unwrap();
        let mut text = String::new();
        while !text.contains("end") {
            let mut part = [0; 4096];
            let len = rustix::io::read(&output, &mut part).unwrap();
            assert_ne!(len, 0, "{text}");
            text.push_str(std::str::from_utf8(&part[..len]).unwrap());
        }
        assert!(text.lines().filter(|l| *l != "end").all(|l| l.ends_with(":/")), "{text}");
        let outside = std::fs::read_to_string(format!("/proc/{}/cgroup", init.pid)).unwrap();
        let path = format!("/{}", container.bundle.cgroup.path);
        assert!(outside.lines().all(|l| l.ends_with(&path)), "{outside}");

        let group = container.group();
        let usage = group.usage();
        assert_eq!((usage.memory_limit, usage.pids), (Some(64 << 20), Some(1)));
        assert!(usage.memory.unwrap() > 0 && usage.cpu_nanos.unwrap() > 0, "{usage:?}");
        assert_eq!(group.processes().unwrap(), [init.pid]);

        group.freeze().unwrap();
        let refused = container.exec(&init, &ExecSpec::default()).unwrap_err();
        assert_eq!(refused.reason, "it is paused");
        group.kill_all().unwrap();
        assert_eq!(super::ended(init.pid, output).status, 128 + 9);
        group.remove().unwrap();
        assert!(!group.exists());
    });
}

#[test]
fn more_processes_than_allowed_are_refused() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.cgroup.pids = 3;
        let ended = container.run("sleep 9 & sleep 9 & sleep 9 & sleep 9 & echo never");
        assert!(ended.output.contains("can't fork"), "{}", ended.output);
    });
}

#[test]
fn too_much_memory_is_counted_as_such() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.cgroup.memory = Some(8 << 20);
        container.bundle.cgroup.memory_swap = Some(8 << 20);
        let ended = container.run("dd if=/dev/zero of=/dev/null bs=64M count=1; echo $?");
        assert!(container.group().oom_kills() > 0, "{}", ended.output);
    });
}

#[test]
fn a_second_start_in_a_group_that_runs_is_refused() {
    alone(|| {
        let container = Sandbox::new();
        let (init, output) = container.start(&["/bin/sleep", "60"]).unwrap();
        let error = container.try_run(&["/bin/true"]).unwrap_err();
        assert_eq!(error.reason, "it has processes; the container still runs");
        crate::sys::kill(init.pid, libc::SIGKILL).unwrap();
        super::ended(init.pid, output);
        // What a killed monitor leaves is taken over.
        assert_eq!(container.run("exit 5").status, 5);
    });
}

#[test]
fn every_layout_of_hierarchies_is_understood() {
    let hybrid = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    let root = std::path::Path::new("/test");
    let group = Hierarchies::parse(hybrid, root).group("berth/web");
    let views: Vec<String> =
        group.views(false).map(|(name, path)| format!("{name} {}", path.display())).collect();
    assert_eq!(
        views,
        [
            "cpu,cpuacct /test/sys/fs/cgroup/cpu,cpuacct/berth/web",
            "memory /test/sys/fs/cgroup/memory/berth/web",
            "systemd /test/sys/fs/cgroup/systemd/berth/web",
            "unified /test/sys/fs/cgroup/unified/berth/web",
        ]
    );
    assert_eq!(group.unified_view(false), None);
    let pure = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    let group = Hierarchies::parse(pure, root).group("berth/web");
    let folder = std::path::Path::new("/test/sys/fs/cgroup/berth/web");
    assert_eq!(group.unified_view(false), Some(folder));
}

#[test]
fn the_v2_tree_keeps_to_the_device_rules_too() {
    alone(|| {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let v2: String = mountinfo
            .lines()
            .filter(|l| l.contains(" - cgroup2 "))
            .map(|l| format!("{l}\n"))
            .collect();
        if v2.is_empty() {
            eprintln!("skipped: no v2 tree is mounted");
            return;
        }
        let path = format!("berth/devices-{}", std::process::id());
        let group = Hierarchies::parse(&v2, Path::new("/")).group(&path);
        let limits = Cgroup { devices: vec!["c 1:11 r".into()], ..Cgroup::default() };
        group.create(&limits, Devices::Listed).unwrap();
        let birth = group.birth_folder().unwrap().unwrap();
        let Cloned::Parent { pid, .. } = sys::clone_process(0, Some(birth.as_fd())).unwrap() else {
            let opens = |path: &str, write: bool| {
                let open = std::fs::File::options().read(!write).write(write).open(path);
                open.map_or_else(|error| error.raw_os_error().unwrap(), |_| 0)
            };
            // kmsg may be read as the further rule says, but not written.
            let found = [
                opens("/dev/null", true),
                opens("/dev/ptmx", false),
                opens("/dev/kmsg", false),
                opens("/dev/kmsg", true),
                opens("/dev/mem", false),
            ];
            let denied = libc::EPERM;
            let missing = found[4] == libc::ENOENT;
            let right = found[..4] == [0, 0, 0, denied] && (missing || found[4] == denied);
            sys::exit_now(i32::from(!right));
        };
        let (_, status) = waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap().unwrap();
        group.remove().unwrap();
        assert_eq!(status.exit_status(), Some(0));
    });
}

#[test]
fn without_a_user_namespace_the_group_keeps_other_devices_away() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.id_base = None;
        container.bundle.process.capabilities.push("MKNOD".into());
        let ended = container.run("mknod /tmp/disk b 8 0; mknod /tmp/null c 1 3 && echo made");
        assert!(ended.output.contains("/tmp/disk: Operation not permitted"), "{}", ended.output);
        assert!(ended.output.ends_with("made\n"), "{}", ended.output);
    });
}

#[test]
fn groups_come_and_go_beside_each_other() {
    alone(|| {
        let mut children = Vec::new();
        for number in 0..4 {
            let pid = sys::fork().unwrap();
            if pid == 0 {
                let path = format!("berth-race/{}-{number}", std::process::id());
                let group = Hierarchies::discover().unwrap().group(&path);
                for _ in 0..25 {
                    // The last to leave removes the folder above, while others make theirs.
                    let tried = group
                        .create(&Cgroup::default(), Devices::All)
                        .and_then(|_| group.attach_files())
                        .and_then(|_| group.remove());
                    if let Err(error) = tried {
                        eprintln!("{error}");
                        sys::exit_now(1);
                    }
                }
                sys::exit_now(0);
            }
            children.push(pid);
        }
        for pid in children {
            let (_, status) = waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0));
        }
        assert!(!Hierarchies::discover().unwrap().group("berth-race").exists());
    });
}
