//! What tests use: a machine with a stack's files on it, and berth.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::{Finished, Running};
use crate::images;
use crate::ledger::{Difference, Ledger};
use crate::machine::{Machine, Place, target_dir};

/// A private machine with a project folder `stack` and berth on it.
#[derive(Debug)]
pub struct TestHost {
    machine: Machine,
    project: PathBuf,
    before: Ledger,
    abandoned: bool,
    /// The policy asks for consents.
    gated: bool,
    /// How long what is left may take to go.
    patience: Duration,
}

/// The longest that the kernel keeps a connection without an owner, and its network namespace with it.
const PATIENCE: Duration = Duration::from_secs(100);

/// A process that cannot be taken for another: its id and when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    /// Process id as the machine counts.
    pub pid: i64,
    /// Start in clock ticks.
    pub started: u64,
}

impl TestHost {
    /// A machine with one file in the project folder. If the file speaks of `busybox`, that
    /// image is loaded.
    pub fn with(file: &str, text: &str) -> TestHost {
        let host = TestHost::bare();
        host.write(file, text);
        if text.contains("busybox") {
            host.load(&images::busybox());
        }
        host
    }

    /// A machine with `compose.yaml` and other files in the project folder, where the stack is up
    /// and `service` has said that it listens.
    pub fn serving(stack: &str, service: &str, files: &[(&str, &str)]) -> TestHost {
        let host = TestHost::with("compose.yaml", stack);
        for (file, text) in files {
            host.write(file, text);
        }
        host.berth("up -d").succeeds();
        host.listens(service);
        host
    }

    /// A machine with an empty project folder.
    ///
    /// # Panics
    /// When this host cannot make one: not root, or a program is missing.
    pub fn bare() -> TestHost {
        assert!(nix::unistd::geteuid().is_root(), "end-to-end tests make namespaces: run as root");
        for program in ["unshare", "nsenter", "setpriv", "ip", "nft", "curl", "bash"] {
            assert!(images::on_path(program), "`{program}` is missing: `tests/run` installs it");
        }
        let machine = Machine::start();
        let project = machine.dir().join("stack");
        fs::create_dir(&project).unwrap();
        let before = Ledger::of(&machine);
        TestHost { machine, project, before, abandoned: false, gated: false, patience: PATIENCE }
    }

    /// The same, but nobody has consented to what its stacks are given: without this the
    /// environment consents to everything, so that tests of attributes can use them.
    pub fn gated(mut self) -> TestHost {
        self.gated = true;
        self
    }

    /// The machine below.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// A path in the project folder.
    pub fn project(&self, file: &str) -> PathBuf {
        self.project.join(file)
    }

    /// Writes a file of the project, with the folders it is in.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.project(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Copies a folder of `examples/` into the project.
    pub fn copy_example(&self, name: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name).join(".");
        let copied =
            std::process::Command::new("cp").arg("-a").arg(from).arg(&self.project).status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy the example {name}");
    }

    /// Replaces `from`, which must be there, by `to` in a file of the project.
    #[track_caller]
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.project(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        self.write(file, &text.replace(from, to));
    }

    /// Puts an image archive into berth's store.
    #[track_caller]
    pub fn load(&self, archive: &Path) -> Finished {
        self.berth(&format!("image load {}", archive.display())).succeeds()
    }

    /// Runs berth in the project folder to its end. Words are split at spaces outside quotes.
    pub fn berth(&self, words: &str) -> Finished {
        self.start_berth(words).ends()
    }

    /// Starts berth in the project folder.
    pub fn start_berth(&self, words: &str) -> Running {
        let mut argv = vec![berth_program().to_string_lossy().into_owned()];
        argv.extend(split(words));
        self.start(Place::Inside, &format!("berth {words}"), &argv)
    }

    /// Runs a shell line on the machine, in the project folder.
    pub fn shell(&self, line: &str) -> Finished {
        self.start_shell(Place::Inside, line).ends()
    }

    /// Runs a shell line on the neighbour.
    pub fn neighbour(&self, line: &str) -> Finished {
        self.start_shell(Place::Neighbour, line).ends()
    }

    /// Starts a shell line; `$berth` in it is the program.
    pub fn start_shell(&self, place: Place, line: &str) -> Running {
        if !line.contains("$berth") {
            return self.start(place, line, &["sh", "-c", line]);
        }
        let with_berth = format!("berth={}; {line}", berth_program().display());
        self.start(place, line, &["sh", "-c", &with_berth])
    }

    fn start(&self, place: Place, what: &str, argv: &[impl AsRef<OsStr>]) -> Running {
        // The environment of the machine is empty: what is added stands before the program.
        let consents = if self.gated { &[][..] } else { &["env", "BERTH_ALLOW=all"] };
        let words = consents.iter().map(OsStr::new).chain(argv.iter().map(AsRef::as_ref));
        let command = self.machine.command(place, &self.project, &words.collect::<Vec<_>>());
        Running::start(what, command)
    }

    /// Fetches a page from the machine itself: `127.0.0.1:8080/path`. Empty when there is none.
    pub fn get(&self, url: &str) -> String {
        self.shell(&format!("curl -gsS --fail --max-time 5 http://{url}")).stdout
    }

    /// Fetches a page from the neighbour.
    pub fn get_from_outside(&self, url: &str) -> String {
        self.neighbour(&format!("curl -gsS --fail --max-time 5 http://{url}")).stdout
    }

    /// What the monitor of container `name` wrote last. `Null` when there is nothing.
    pub fn status(&self, name: &str) -> Value {
        let path = format!("/run/berth/containers/{name}/status.json");
        let text = fs::read(self.machine.path(path)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or(Value::Null)
    }

    /// First process of the first container of `service`.
    #[track_caller]
    pub fn pid_of(&self, service: &str) -> Process {
        self.pid_of_container(&format!("stack-{service}-1"))
    }

    /// First process of container `name`.
    #[track_caller]
    pub fn pid_of_container(&self, name: &str) -> Process {
        let status = self.status(name);
        let pid = status["pid"].as_i64().unwrap_or(0);
        assert!(pid > 0, "`{name}` does not run: {status}");
        Process { pid, started: status["pid_start"].as_u64().unwrap_or(0) }
    }

    /// Monitor of the first container of `service`.
    #[track_caller]
    pub fn monitor_of(&self, service: &str) -> i64 {
        let status = self.status(&format!("stack-{service}-1"));
        status["monitor"].as_i64().unwrap_or_else(|| panic!("`{service}` has no monitor: {status}"))
    }

    /// Kills a process of the machine by its id there.
    #[track_caller]
    pub fn kill(&self, signal: &str, pid: i64) {
        self.shell(&format!("kill -{signal} {pid}")).succeeds();
    }

    /// Folders in `/proc` of all processes of berth on the machine itself; the inits inside
    /// containers, which are the same program, are not counted.
    pub fn berth_processes(&self) -> Vec<PathBuf> {
        let processes = fs::read_dir(self.machine.path("/proc")).into_iter().flatten().flatten();
        let is_ours = |process: &PathBuf| {
            let words = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            let program = words.split('\0').next().unwrap_or_default();
            let status = fs::read_to_string(process.join("status")).unwrap_or_default();
            let spaces = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            Path::new(program).file_name().is_some_and(|name| name == "berth")
                && spaces.is_some_and(|pids| pids.split_whitespace().count() == 1)
        };
        processes.map(|entry| entry.path()).filter(is_ours).collect()
    }

    /// Command lines of those processes.
    pub fn berth_commands(&self) -> Vec<String> {
        let words = |process: PathBuf| fs::read_to_string(process.join("cmdline")).ok();
        self.berth_processes().into_iter().filter_map(words).map(|w| w.replace('\0', " ")).collect()
    }

    /// Waits until `holds`, at most 30 s.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < end, "it never came true that {what}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits until `service` says that it listens.
    pub fn listens(&self, service: &str) {
        self.eventually("the server listens", || {
            self.berth(&format!("logs --no-log-prefix {service}")).stdout.contains("listens")
        });
    }

    /// For a test that leaves what never goes by itself.
    pub fn waits_for_leaks(mut self, patience: Duration) -> TestHost {
        self.patience = patience;
        self
    }

    /// All that is on the machine now.
    pub fn ledger(&self) -> Ledger {
        Ledger::of(&self.machine)
    }

    /// What is on the machine and was not before the test, once that has settled.
    ///
    /// The kernel removes a network namespace and its links a moment after the last process is
    /// gone, or when the last connection in it has given up, so a difference counts when it is still
    /// there after that.
    pub fn leaks(&self, allowed: &[&str]) -> Difference {
        let end = Instant::now() + self.patience;
        loop {
            let difference = self.ledger().since(&self.before, allowed);
            if difference.is_empty() || Instant::now() > end {
                return difference;
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Nothing is left on the machine but what has one of `allowed` in its ledger line.
    #[track_caller]
    pub fn leaves_nothing_but(&self, allowed: &[&str]) {
        let leaks = self.leaks(allowed);
        assert!(leaks.is_empty(), "left on the machine:\n{leaks}");
    }

    /// Switches the machine off as it is, for a test that has found its fault.
    pub fn abandon(mut self) {
        self.abandoned = true;
    }

    /// Takes the stack down, and tells what that left.
    fn close(&self) -> Result<(), String> {
        if self.machine.path("/var/lib/berth").exists() {
            let down = self.berth("--profile * -p stack down -v -y --remove-orphans -t 2");
            if down.code != 0 {
                return Err(format!("the last down failed: {down}"));
            }
        }
        let leaks = self.leaks(&[]);
        if leaks.is_empty() { Ok(()) } else { Err(format!("left on the machine:\n{leaks}")) }
    }

    /// What helps to understand a failed test.
    fn report(&self) {
        let look = "for f in /run/berth/containers/*/status.json; do echo \"== $f\"; cat $f; done; \
             for d in /var/lib/berth/containers/*; do echo \"== $d\"; ls $d; \
             tail -n 20 $d/logs/* 2>/dev/null; done; nft list ruleset; ps -ef --forest 2>/dev/null";
        let seen = self.shell(&format!("({look}) 2>&1 | tail -c 20000")).stdout;
        eprintln!("the machine at the end of the failed test:\n{seen}");
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if self.abandoned {
            self.machine.stop();
            return;
        }
        if std::thread::panicking() {
            let report = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.report()));
            drop(report);
            self.machine.stop();
            return;
        }
        let closed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.close()));
        let left = self.machine.stop();
        match closed {
            Ok(Ok(())) => assert!(left.is_empty(), "left on the real host: {left:?}"),
            Ok(Err(why)) => panic!("{why}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The program under test: `BERTH_BIN`, else the one built last.
///
/// # Panics
/// When there is none.
pub fn berth_program() -> PathBuf {
    if let Some(path) = std::env::var_os("BERTH_BIN") {
        return path.into();
    }
    let target = target_dir();
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let built =
        ["release", "debug"].map(|profile| target.join(&triple).join(profile).join("berth"));
    let newest = built.into_iter().filter_map(|p| Some((p.metadata().ok()?.modified().ok()?, p)));
    let (_, path) = newest.max().expect("a built berth: `cargo build --release -p berth`");
    path
}

/// Splits at spaces; single and double quotes hold words together.
fn split(words: &str) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in words.chars() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => all.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    all
}
