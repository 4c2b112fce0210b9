//! A virtual machine: a host of its own kernel, whose cgroups are v2 alone with every controller.
//!
//! The real host may have controllers in v1 only, and no namespace changes that. QEMU emulates the
//! processor, so it needs no rights and no KVM; a start takes some seconds. The machine boots into
//! a shell script, tells the outcome of its steps over the serial line, and switches itself off.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::berth_program;
use crate::images;
use crate::machine::target_dir;

/// How long a machine may take from its start to its end.
const DEADLINE: &str = "200s";
/// What a machine starts with whose first process is the script.
const BARE: &str = include_str!("vm.sh");
/// What one starts with whose first process is systemd, which runs the script.
const SYSTEMD: &str = include_str!("systemd.sh");
/// What every script starts with.
const STEPS: &str = include_str!("steps.sh");
/// Its file system can limit projects; it does when it is mounted with `prjquota`.
const MKFS: [&str; 6] = ["-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"];
/// Bytes of its disk.
const DISK: u64 = 1 << 30;

/// What a virtual machine told.
#[derive(Debug)]
pub struct Vm {
    steps: BTreeMap<String, Step>,
    console: String,
}

/// One step of its script.
#[derive(Debug, Clone)]
pub struct Step {
    /// Exit status.
    pub code: i32,
    /// Both outputs, without the last newline.
    pub text: String,
}

impl Vm {
    /// Boots a machine that has berth, the image `busybox:1` as `/given/busybox.tar` and the
    /// files of `stack` in its project folder, and runs a script there: lines of
    /// `step NAME COMMAND…`.
    ///
    /// # Errors
    /// Why this host cannot run one.
    ///
    /// # Panics
    /// When the machine does not come to the end of its script, with all it wrote.
    pub fn run(stack: &[(&str, &str)], script: &str) -> Result<Vm, String> {
        check_host()?;
        Vm::boot(None, stack, script)
    }

    /// The same on a machine whose first process is systemd; the script is that of a service.
    ///
    /// # Errors
    /// Why this host cannot run one.
    ///
    /// # Panics
    /// When the machine does not come to the end of its script, with all it wrote.
    pub fn run_with_systemd(stack: &[(&str, &str)], script: &str) -> Result<Vm, String> {
        check_host()?;
        Vm::boot(Some(&images::systemd()?), stack, script)
    }

    fn boot(disk: Option<&Path>, stack: &[(&str, &str)], script: &str) -> Result<Vm, String> {
        let base = images::vm()?;
        let folder = Folder::new();
        unpack(&base, &folder.0);
        given(&folder.0, stack, script, disk.is_some());
        make_disk(&folder.0.join("disk"), disk);
        let console = boot(&folder.0);
        let vm = Vm { steps: steps(&console), console };
        assert!(vm.console.contains("[[end of script]]"), "the machine broke off:\n{}", vm.console);
        Ok(vm)
    }

    /// A step that must have ended well: what it said.
    #[track_caller]
    pub fn ok(&self, name: &str) -> &str {
        let step = self.step(name);
        assert_eq!(step.code, 0, "`{name}`: {}\n\n{}", step.text, self.console);
        &step.text
    }

    /// A step, however it ended.
    ///
    /// # Panics
    /// When the script has no such step.
    #[track_caller]
    pub fn step(&self, name: &str) -> &Step {
        let step = self.steps.get(name);
        step.unwrap_or_else(|| panic!("there was no step `{name}`:\n{}", self.console))
    }
}

/// Whether this host can run a machine at all.
fn check_host() -> Result<(), String> {
    for program in ["qemu-system-x86_64", "mkfs.ext4", "cpio"] {
        if !images::on_path(program) {
            return Err(format!("`{program}` is not installed"));
        }
    }
    match cfg!(target_arch = "x86_64") {
        true => Ok(()),
        false => Err("the virtual machine is for x86_64".into()),
    }
}

/// A folder that goes away with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            target_dir().join("machines").join(format!("vm-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unpack(archive: &Path, into: &Path) {
    let unpacked = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(into).status();
    assert!(unpacked.is_ok_and(|status| status.success()), "cannot unpack {}", archive.display());
}

/// Appends what this machine is given to its initramfs (the kernel reads several, each from an even
/// place, one behind the other).
fn given(folder: &Path, stack: &[(&str, &str)], script: &str, systemd: bool) {
    let tree = folder.join("tree");
    let given = tree.join("given");
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::create_dir_all(given.join("stack")).unwrap();
    fs::copy(berth_program(), tree.join("bin/berth")).unwrap();
    fs::copy(images::busybox(), given.join("busybox.tar")).unwrap();
    for (name, text) in stack {
        fs::write(given.join("stack").join(name), text).unwrap();
    }
    let script = format!("{STEPS}\n{script}\necho '[[end of script]]'\npoweroff -f\n");
    if systemd {
        fs::write(given.join("start"), SYSTEMD).unwrap();
        fs::write(given.join("script"), script).unwrap();
    } else {
        fs::write(given.join("start"), format!("{BARE}\n{script}")).unwrap();
    }
    let pack = "cd tree && find . | cpio --quiet -o -H newc -R 0:0 >../more && cd .. && truncate -s %4 initrd && cat more >>initrd && rm -r tree more";
    let packed = Command::new("sh").arg("-ec").arg(pack).current_dir(folder).status();
    assert!(packed.is_ok_and(|status| status.success()), "cannot pack {}", tree.display());
}

/// Its disk: a copy of one, or an empty one.
fn make_disk(disk: &Path, of: Option<&Path>) {
    let made = match of {
        Some(of) => Command::new("cp").arg("--sparse=always").args([of, disk]).status(),
        None => {
            fs::File::create(disk).unwrap().set_len(DISK).unwrap();
            Command::new("mkfs.ext4").args(MKFS).arg(disk).stdout(Stdio::null()).status()
        }
    };
    assert!(made.is_ok_and(|status| status.success()), "cannot make {}", disk.display());
}

/// Runs the machine to its end: what it wrote to its serial line.
fn boot(folder: &Path) -> String {
    let output = Command::new("timeout")
        .args(["--signal=KILL", DEADLINE, "qemu-system-x86_64"])
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"])
        .args(["-M", "q35", "-nic", "none", "-display", "none", "-serial", "stdio", "-no-reboot"])
        .args(["-kernel", "kernel", "-initrd", "initrd"])
        .args(["-append", "console=ttyS0 quiet loglevel=3 panic=-1 systemd.show_status=0"])
        .args(["-drive", "file=disk,format=raw,if=virtio,cache=unsafe"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("`timeout` is there");
    let console = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&console).replace('\r', "")
}

fn steps(console: &str) -> BTreeMap<String, Step> {
    let marker = |line: &str| Some(line.strip_prefix("[[")?.strip_suffix("]]")?.to_owned());
    let mut steps = BTreeMap::new();
    let mut text = String::new();
    for line in console.lines() {
        match marker(line) {
            Some(marker) => {
                let mut words = marker.split(' ');
                if let (Some("end"), Some(name), Some(code)) =
                    (words.next(), words.next(), words.next().and_then(|code| code.parse().ok()))
                {
                    let text = text.trim_end().to_owned();
                    steps.insert(name.to_owned(), Step { code, text });
                }
                text.clear();
            }
            None => text = text + line + "\n",
        }
    }
    steps
}
