//! Runs the checks, each as a process of its own, and prints the table.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use berth_tests::berth_program;
use berth_tests::machine::{SABOTAGE, target_dir};

use crate::bench::{Build, Check};
use crate::{FELL, checks};

/// How long one run of one check may take.
const LONGEST: Duration = Duration::from_secs(240);
/// Checks at once. They wait more than they work.
const AT_ONCE: usize = 3;

/// What came of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The defence held.
    Green,
    /// It did not, and why.
    Red(String),
    /// The check itself went wrong.
    Broken(String),
    /// Nothing was tried.
    Vacuous,
    /// This machine cannot run it, and why.
    Skipped(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Green => f.write_str("green"),
            Verdict::Red(why) => write!(f, "red: {why}"),
            Verdict::Broken(why) => write!(f, "broken: {why}"),
            Verdict::Vacuous => f.write_str("nothing was tried"),
            Verdict::Skipped(why) => write!(f, "not run: {why}"),
        }
    }
}

/// A row of the table.
#[derive(Default)]
struct Row {
    cells: [String; 3],
    fired: Vec<String>,
    failures: Vec<String>,
    skipped: Option<String>,
}

/// Runs all checks whose ids are among `words`, or all there are.
pub(crate) fn all(words: &[String]) -> ExitCode {
    let wanted = |check: &&Check| words.is_empty() || words.iter().any(|word| word == check.id);
    let checks: Vec<&Check> = checks().into_iter().filter(wanted).collect();
    let rows: Vec<Mutex<Option<Row>>> = checks.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    println!(
        "{:<5} {:<54} {:<7} {:<7} {:<10} fired",
        "id", "what is tried", "plain", "held", "sabotaged"
    );
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(check) = checks.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let row = row(check);
                    let [plain, held, sabotaged] = &row.cells;
                    println!(
                        "{:<5} {:<54} {plain:<7} {held:<7} {sabotaged:<10} {}",
                        check.id,
                        check.what,
                        row.fired.join(" ")
                    );
                    let index = checks.iter().position(|c| c.id == check.id).expect("its place");
                    *rows[index].lock().expect("no panic with the lock") = Some(row);
                }
            });
        }
    });
    let rows = rows.into_iter().filter_map(|row| row.into_inner().expect("no panic")).collect();
    end(&checks, rows)
}

/// The failures, what was not run, and the last line.
fn end(checks: &[&Check], rows: Vec<Row>) -> ExitCode {
    let failed = rows.iter().filter(|row| !row.failures.is_empty()).count();
    let is_skipped = |row: &&Row| row.failures.is_empty() && row.skipped.is_some();
    let skipped = rows.iter().filter(is_skipped).count();
    for (check, row) in checks.iter().zip(&rows) {
        for failure in &row.failures {
            println!("\n{} failed: {failure}", check.id);
        }
    }
    if skipped > 0 {
        println!("\nNOT RUN on this machine:");
    }
    for (check, row) in checks.iter().zip(&rows).filter(|(_, row)| is_skipped(row)) {
        println!("{}: {}", check.id, row.skipped.as_deref().unwrap_or_default());
    }
    let passed = rows.len() - failed - skipped;
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn row(check: &Check) -> Row {
    let mut row = Row::default();
    for (build, cell) in Build::ALL.into_iter().zip(0..) {
        if build == Build::Held && check.places.is_empty() {
            row.cells[cell] = "-".to_owned();
            continue;
        }
        let (verdict, fired) = run_whole(check, build);
        row.fired.push(fired.to_string());
        row.cells[cell] = match &verdict {
            Verdict::Green => "green".to_owned(),
            Verdict::Red(_) => "RED".to_owned(),
            Verdict::Broken(_) => "error".to_owned(),
            Verdict::Vacuous => "vacuous".to_owned(),
            Verdict::Skipped(_) => "not run".to_owned(),
        };
        let expected = match &verdict {
            Verdict::Green => build != Build::Sabotaged,
            Verdict::Red(_) => build == Build::Sabotaged,
            Verdict::Broken(_) | Verdict::Vacuous => false,
            Verdict::Skipped(why) => {
                row.skipped = Some(why.clone());
                true
            }
        };
        row.failures.extend((!expected).then(|| format!("{build}: {verdict}")));
        if expected && std::env::var_os("BERTH_CHECKS_SAY").is_some() {
            println!("      {build}: {verdict}");
        }
    }
    row
}

/// As [`run`]. A check that itself went wrong says nothing of the defence, so it is run once more,
/// which is told.
fn run_whole(check: &Check, build: Build) -> (Verdict, u32) {
    match run(check, build) {
        (Verdict::Broken(why), _) => {
            println!("{} {build}: FLAKY, it is run once more: {why}", check.id);
            run(check, build)
        }
        told => told,
    }
}

/// One run of one check: its verdict, and how often its attack fired.
fn run(check: &Check, build: Build) -> (Verdict, u32) {
    let folder = target_dir().join("checks");
    let said = folder.join(format!("{}-{build}.txt", check.id));
    let status = match start(check, build, &folder, &said).map(ended) {
        Ok(Ok(status)) => status,
        Ok(Err(why)) => return (Verdict::Broken(why), 0),
        Err(error) => return (Verdict::Broken(error.to_string()), 0),
    };
    let text = String::from_utf8_lossy(&std::fs::read(&said).unwrap_or_default()).into_owned();
    let (_, last) = text.rsplit_once("fired ").unwrap_or_default();
    let (fired, why) = last.split_once('\n').unwrap_or((last, ""));
    let fired = fired.trim().parse().unwrap_or(0);
    let skipped = text.lines().find_map(|line| line.strip_prefix("skipped: "));
    let verdict = match status {
        Some(0) if skipped.is_some() => Verdict::Skipped(skipped.unwrap_or_default().to_owned()),
        Some(0 | 10) if fired == 0 => Verdict::Vacuous,
        Some(0) => Verdict::Green,
        Some(code) if code == i32::from(FELL) => Verdict::Red(why.trim().to_owned()),
        _ => Verdict::Broken(format!("it ended with {status:?}\n{}", end_of(&text))),
    };
    (verdict, fired)
}

/// Why a check ended: its panic with what follows, or else the end of what it said.
fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let panic = lines.iter().position(|line| line.contains("panicked at"));
    let first = panic.unwrap_or(lines.len().saturating_sub(40));
    lines[first..].iter().take(40).copied().collect::<Vec<_>>().join("\n")
}

fn start(
    check: &Check,
    build: Build,
    folder: &Path,
    said: &Path,
) -> std::io::Result<std::process::Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["run", check.id, &build.to_string()]);
    command.env("BERTH_BIN", program(build)).env_remove(SABOTAGE);
    if build != Build::Plain {
        command.env(SABOTAGE, folder.join(format!("{}-{build}.orders", check.id)));
    }
    let out = File::create(said)?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    command.spawn()
}

fn program(build: Build) -> OsString {
    let sabotaged = || std::env::var_os("BERTH_SABOTAGED_BIN").map(PathBuf::from);
    match build {
        Build::Plain => berth_program().into_os_string(),
        Build::Held | Build::Sabotaged => {
            sabotaged().unwrap_or_else(|| target_dir().join("checks/berth")).into_os_string()
        }
    }
}

/// Waits for its end; its exit status.
fn ended(mut child: std::process::Child) -> Result<Option<i32>, String> {
    let end = Instant::now() + LONGEST;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code()),
            Ok(None) if Instant::now() < end => sleep(Duration::from_millis(20)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it did not end within {LONGEST:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
