//! What the container sees.

use std::fs;
use std::os::unix::fs::symlink;

use insta::assert_snapshot;

use super::fixture::read_terminal;
use super::{Sandbox, alone};
use crate::bundle::{BundleMount, BundleSource};
use crate::container::{Stdio, spawn};

fn bind(path: impl Into<std::path::PathBuf>, target: &str, read_only: bool) -> BundleMount {
    let source = BundleSource::Bind {
        path: path.into(),
        below: None,
        idmap: true,
        owner: None,
        recursive: true,
        writable_below: false,
        propagation: None,
        dev: false,
        judged: None,
    };
    BundleMount { target: target.into(), source, read_only }
}

fn tmpfs(target: &str, options: &[&str]) -> BundleMount {
    let options = options.iter().map(ToString::to_string).collect();
    let source = BundleSource::Tmpfs { size: Some(1 << 20), mode: 0o1777, options };
    BundleMount { target: target.into(), source, read_only: false }
}

#[test]
fn only_the_containers_own_mounts_are_there() {
    alone(|| {
        let container = Sandbox::new();
        let output = container.run("cat /proc/self/mountinfo").output;
        let host = container.dir.to_str().unwrap();
        for line in output.lines().skip(1) {
            assert!(!line.contains(host), "{line}");
        }
        let points: Vec<&str> = output.lines().filter_map(|l| l.split(' ').nth(4)).collect();
        for point in ["/", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            assert!(points.contains(&point), "{point} in {output}");
        }
        assert!(output.lines().all(|l| !l.contains("shared:") && !l.contains("master:")));
    });
}

#[test]
fn what_tells_about_the_host_is_covered() {
    alone(|| {
        let ended = Sandbox::new().run(
            "for f in /proc/kcore /proc/keys /proc/interrupts /proc/timer_list; do \
             test -e $f && cat $f; done; ls -A /sys/firmware /proc/scsi /proc/acpi 2>/dev/null \
             | grep -v :; echo 1 > /proc/sys/kernel/domainname; touch /sys/x; touch /sys/fs/cgroup/x",
        );
        let lines: Vec<&str> = ended.output.lines().filter(|l| !l.is_empty()).collect();
        assert_eq!(lines.len(), 3, "{}", ended.output);
        assert!(lines.iter().all(|l| l.contains("Read-only file system")), "{}", ended.output);
    });
}

#[test]
fn devices_are_the_few_that_every_container_has() {
    alone(|| {
        let ended = Sandbox::new().run(
            "ls /dev; echo x > /dev/null && head -c 3 /dev/zero | wc -c; readlink /dev/ptmx; \
             dd if=/dev/urandom bs=4 count=1 2>/dev/null | head -c 0; ls /dev/pts",
        );
        let words: Vec<&str> = ended.output.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
                "stdout", "tty", "urandom", "zero", "3", "pts/ptmx", "ptmx"
            ]
        );
    });
}

#[test]
fn a_read_only_root_is_not_writable_but_its_tmpfs_is() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.read_only = true;
        container.bundle.mounts = vec![tmpfs("/scratch", &["uid=70", "exec"])];
        let ended = container.run(
            "touch /x; touch /scratch/y && stat -c '%a %u' /scratch; \
             grep ' /scratch ' /proc/self/mountinfo",
        );
        assert!(ended.output.contains("/x: Read-only file system\n1777 70\n"), "{}", ended.output);
        assert!(ended.output.contains("size=1024k"), "{}", ended.output);
        assert!(!ended.output.contains("noexec"), "{}", ended.output);
    });
}

/// Says what came of each of these commands.
fn each(commands: &[&str]) -> String {
    let each = commands.iter().map(|command| format!("{command} 2>&1 && echo done\n"));
    each.collect()
}

#[test]
fn what_covers_and_what_is_read_only_stays_so_for_who_may_mount() {
    alone(|| {
        let mut container = Sandbox::new();
        let data = container.dir.join("data");
        fs::create_dir(&data).unwrap();
        container.bundle.process.capabilities.push("SYS_ADMIN".into());
        container.bundle.read_only = true;
        container.bundle.process.cwd = "/made/here".into();
        container.bundle.mounts =
            vec![bind(&data, "/data", false), bind(&data, "/fixed", true), tmpfs("/tmp", &[])];
        let ended = container.run(&each(&[
            "umount /proc/interrupts",
            "umount -l /proc/interrupts",
            "umount /proc/sys",
            "mount -o remount,bind,rw,nosuid,nodev,noexec /proc/sys",
            "mount -o remount,bind,rw,nosuid,nodev /fixed",
            "mount -o remount,bind,rw,nodev /",
            "mount -o remount,bind,suid /data",
            "mkdir /tmp/p && mount -t proc p /tmp/p",
            "pwd",
            "mkdir /tmp/a /tmp/b && mount -t tmpfs a /tmp/a && mount -o bind /data /tmp/b",
            "umount /tmp/a && umount /tmp/b",
            "mount -o remount,bind,ro,nosuid,nodev /data",
        ]));
        assert_snapshot!(ended.output, @r"
        umount: can't unmount /proc/interrupts: Invalid argument
        umount: can't unmount /proc/interrupts: Invalid argument
        umount: can't unmount /proc/sys: Invalid argument
        mount: permission denied (are you root?)
        mount: permission denied (are you root?)
        mount: permission denied (are you root?)
        mount: permission denied (are you root?)
        mount: permission denied (are you root?)
        /made/here
        done
        done
        done
        done
        ");
    });
}

#[test]
fn who_may_mount_starts_where_it_should_on_a_terminal_of_its_own() {
    alone(|| {
        let mut container = Sandbox::new();
        container.bundle.process.capabilities.push("SYS_ADMIN".into());
        let data = container.dir.join("data");
        fs::create_dir_all(data.join("below")).unwrap();
        container.bundle.mounts = vec![bind(&data, "/data", false)];
        container.bundle.process.cwd = "/data/below".into();
        let line = "pwd; touch x; ls ..; ls -A /proc/self/fd | wc -l; tty; echo told >/dev/console";
        container.bundle.process.argv = ["/bin/sh", "-c", line].map(String::from).into();
        let group = container.group();
        let init = spawn(&container.bundle, &group, Stdio::Terminal, &mut |_| Ok(())).unwrap();
        let ended = read_terminal(init.pid, init.terminal.unwrap());
        let lines: Vec<&str> = ended.output.split("\r\n").collect();
        assert_eq!(lines, ["/data/below", "below", "4", "/dev/pts/0", "told", ""]);
        assert!(data.join("below/x").exists());
    });
}

#[test]
fn a_bind_shows_the_owners_on_disk_and_is_read_only_when_asked() {
    alone(|| {
        let mut container = Sandbox::new();
        let data = container.dir.join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("old"), "old\n").unwrap();
        std::os::unix::fs::chown(data.join("old"), Some(70), Some(71)).unwrap();
        container.bundle.mounts = vec![
            bind(&data, "/data", false),
            bind(&data, "/fixed", true),
            bind(data.join("old"), "/etc/one-file", false),
        ];
        let ended = container.run(
            "stat -c '%u:%g' /data/old; touch /data/new; chown 5:6 /data/new; cat /etc/one-file; \
             touch /fixed/x; grep ' /data ' /proc/self/mountinfo",
        );
        assert!(ended.output.starts_with("70:71\nold\n"), "{}", ended.output);
        assert!(ended.output.contains("/fixed/x: Read-only file system"), "{}", ended.output);
        assert!(ended.output.contains("rw,nosuid,nodev"), "{}", ended.output);
        let new = rustix::fs::stat(data.join("new")).unwrap();
        assert_eq!((new.st_uid, new.st_gid), (5, 6));
    });
}

#[test]
fn links_of_the_image_do_not_lead_a_mount_out() {
    alone(|| {
        let mut container = Sandbox::new();
        let (lower, data) = (container.dir.join("lower"), container.dir.join("data"));
        let canary = container.dir.join("canary");
        fs::create_dir_all(&canary).unwrap();
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("here"), "").unwrap();
        let up = "../".repeat(20);
        symlink(format!("{up}{}", canary.display()), lower.join("relative")).unwrap();
        fs::create_dir_all(lower.join("real")).unwrap();
        symlink("/real", lower.join("absolute")).unwrap();
        container.bundle.mounts = vec![bind(&data, "/absolute", false)];
        assert_eq!(container.run("ls /real").output, "here\n");
        // Below the container's own root that path does not exist.
        container.bundle.mounts = vec![bind(&data, "/relative/x", false)];
        let error = container.try_run(&["/bin/true"]).unwrap_err();
        assert_eq!((error.step.as_str(), error.errno), ("open mount target", Some(libc::EEXIST)));
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 0);
    });
}

#[test]
fn the_root_and_the_kernels_file_systems_cannot_be_covered() {
    alone(|| {
        let mut container = Sandbox::new();
        let data = container.dir.join("data");
        fs::create_dir(&data).unwrap();
        symlink("/proc/sys", container.dir.join("lower/innocent")).unwrap();
        for target in ["/", "/proc", "/proc/sys", "/sys/fs", "/innocent", "/tmp/../proc", "tmp"] {
            container.bundle.mounts = vec![bind(&data, target, false)];
            let error = container.try_run(&["/bin/true"]).unwrap_err();
            assert_eq!(error.errno, None, "{error}");
        }
    });
}

#[test]
fn an_image_whose_proc_sys_or_dev_is_no_folder_is_refused() {
    alone(|| {
        for name in ["proc", "sys", "dev"] {
            let container = Sandbox::new();
            symlink("/tmp", container.dir.join("lower").join(name)).unwrap();
            let error = container.try_run(&["/bin/true"]).unwrap_err();
            assert_eq!(error.to_string(), format!("open folder `/{name}`: it is a link or a file"));
        }
    });
}

#[test]
fn many_layers_lie_over_each_other_on_ext4_and_in_memory() {
    alone(|| {
        for folder in [std::env::temp_dir(), "/dev/shm".into()] {
            let mut container = Sandbox::below(&folder);
            for number in 0..60 {
                let layer = container.dir.join(format!("layer-{number}"));
                fs::create_dir(&layer).unwrap();
                fs::write(layer.join("top"), number.to_string()).unwrap();
                fs::write(layer.join(format!("only-{number}")), "").unwrap();
                container.bundle.rootfs.lowers.insert(0, layer);
            }
            let ended = container.run("cat /top; echo; ls / | grep -c only; rm /top; echo > /new");
            assert_eq!((ended.status, ended.output.as_str()), (0, "59\n60\n"));
            assert_eq!(container.owner_on_disk("new"), (0, 0));
            // What it wrote is there at the next start, and what it removed is not.
            assert_eq!(container.run("ls /top /new 2>/dev/null").output, "/new\n");
        }
    });
}

#[test]
fn attributes_that_came_with_an_image_do_not_redirect() {
    alone(|| {
        let container = Sandbox::new();
        let lower = container.dir.join("lower");
        fs::create_dir_all(lower.join("hidden")).unwrap();
        fs::write(lower.join("hidden/secret"), "").unwrap();
        fs::create_dir_all(lower.join("door")).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        let name = "trusted.overlay.redirect";
        rustix::fs::setxattr(lower.join("door"), name, b"/hidden", flags).unwrap();
        assert_eq!(container.run("ls /door").output, "");
    });
}

#[test]
fn a_start_from_inside_a_chroot_is_refused() {
    alone(|| {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        for base in [Some(200_000), None] {
            let mut container = Sandbox::new();
            container.bundle.id_base = base;
            let outer = container.dir.join("outer");
            fs::create_dir(&outer).unwrap();
            // Below, the folders can be cleaned up, as nothing is mounted there for us.
            alone(|| {
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                let none = None::<&str>;
                mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
                mount(Some("/"), &outer, none, MsFlags::MS_REC | MsFlags::MS_BIND, none).unwrap();
                // The root is a mount point and all is there, but it is not the namespace's.
                rustix::process::chroot(&outer).unwrap();
                let error = container.try_run(&["/bin/true"]).unwrap_err();
                let start = "pivot root `/`: berth runs in a chroot";
                assert!(error.to_string().starts_with(start), "{error}");
            });
        }
    });
}

#[test]
fn mounts_travel_only_where_the_host_shares_and_the_file_asks() {
    alone(|| {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        let mut container = Sandbox::new();
        let data = container.dir.join("data");
        fs::create_dir_all(data.join("later")).unwrap();
        let asked = |propagation: Option<&str>, container: &mut Sandbox| {
            let mut mount = bind(&data, "/data", false);
            if let BundleSource::Bind { propagation: p, .. } = &mut mount.source {
                *p = propagation.map(String::from);
            }
            container.bundle.mounts = vec![mount];
        };
        alone(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some(&data), &data, none, MsFlags::MS_BIND, none).unwrap();
            asked(Some("rslave"), &mut container);
            let error = container.try_run(&["/bin/true"]).unwrap_err();
            assert_eq!(error.step, "set propagation of bind");
            mount(none, &data, none, MsFlags::MS_SHARED, none).unwrap();
            for (propagation, expected) in [(None, 1), (Some("rslave"), 2)] {
                asked(propagation, &mut container);
                let line = "echo up; read x < /dev/stdin; grep -c /data /proc/self/mountinfo";
                let (to, from) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
                let mut bundle = container.bundle.clone();
                bundle.process.argv = ["/bin/sh", "-c", line].map(String::from).into();
                use std::io::Write;
                use std::os::fd::AsFd;
                let (stdin, stdout) = (to.0.as_fd(), from.1.as_fd());
                let stdio = crate::container::Stdio::Files { stdin, stdout, stderr: stdout };
                let group = container.group();
                let init =
                    crate::container::spawn(&bundle, &group, stdio, &mut |_| Ok(())).unwrap();
                let mut up = [0; 3];
                rustix::io::read(&from.0, &mut up).unwrap();
                mount(Some("x"), &data.join("later"), Some("tmpfs"), MsFlags::empty(), none)
                    .unwrap();
                (&to.1).write_all(b"go\n").unwrap();
                drop(from.1);
                let ended = super::ended(init.pid, from.0.into());
                nix::mount::umount(&data.join("later")).unwrap();
                assert_eq!(ended.output, format!("{expected}\n"), "{propagation:?}");
            }
        });
    });
}
