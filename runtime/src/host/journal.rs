//! What a run did, step by step, so that the next one can say where it was cut off.
//!
//! The journal decides nothing: what is half made is seen by `observe`. A run without its `end`
//! was interrupted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::HostError;

/// The open journal of a run.
pub struct Journal {
    file: Mutex<File>,
}

/// What an interrupted run left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// When it began, RFC 3339.
    pub began: String,
    /// Steps that were begun and have no result.
    pub open: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
enum Record {
    Begin { at: String, command: String, steps: usize },
    Start { step: String },
    Done { step: String },
    Failed { step: String, error: String },
    End,
}

impl Journal {
    /// Opens `dir/journal.ndjson`, telling what an interrupted run left.
    pub(super) fn open(dir: &Path) -> Result<(Journal, Option<Interrupted>), HostError> {
        let path = dir.join("journal.ndjson");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let interrupted = interrupted(&text);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| HostError::io("open journal", &path, e))?;
        Ok((Journal { file: Mutex::new(file) }, interrupted))
    }

    /// The run begins with so many steps.
    pub fn begin(&self, steps: usize) {
        let command = std::env::args().collect::<Vec<_>>().join(" ");
        self.write(&Record::Begin { at: jiff::Timestamp::now().to_string(), command, steps });
    }

    /// A step begins.
    pub fn start(&self, step: &str) {
        self.write(&Record::Start { step: step.to_owned() });
    }

    /// A step has happened.
    pub fn done(&self, step: &str) {
        self.write(&Record::Done { step: step.to_owned() });
    }

    /// A step has failed.
    pub fn failed(&self, step: &str, error: &str) {
        self.write(&Record::Failed { step: step.to_owned(), error: error.to_owned() });
    }

    /// The run has come to its end, well or badly.
    pub fn end(&self) {
        self.write(&Record::End);
    }

    /// A lost journal line loses a hint, never state, so its error is only logged.
    fn write(&self, record: &Record) {
        let write = || -> io::Result<()> {
            let mut line = serde_json::to_vec(record)?;
            line.push(b'\n');
            self.file.lock().map_err(|_| io::Error::other("poisoned"))?.write_all(&line)
        };
        if let Err(e) = write() {
            tracing::warn!("cannot write the journal: {e}");
        }
    }
}

/// When the run began that `dir/journal.ndjson` is of, if there is one.
pub(super) fn began(dir: &Path) -> Result<Option<String>, HostError> {
    let path = dir.join("journal.ndjson");
    let text = match fs::read_to_string(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|e| HostError::io("read journal", &path, e))?,
    };
    let mut records = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    Ok(records.find_map(|record| match record {
        Record::Begin { at, .. } => Some(at),
        _ => None,
    }))
}

/// What the run written down in `text` left open; `None` when it came to its end.
fn interrupted(text: &str) -> Option<Interrupted> {
    let mut began = None;
    let mut open = Vec::new();
    for record in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match record {
            Record::Begin { at, .. } => began = Some(at),
            Record::Start { step } => open.push(step),
            Record::Done { step } | Record::Failed { step, .. } => open.retain(|s| *s != step),
            Record::End => return None,
        }
    }
    began.map(|began| Interrupted { began, open })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_its_end_tells_which_steps_were_open() {
        let dir = std::env::temp_dir().join(format!("berth-journal-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (journal, before) = Journal::open(&dir).unwrap();
        assert_eq!(before, None);
        journal.begin(2);
        journal.start("a");
        journal.done("a");
        journal.start("b");
        drop(journal);

        let (journal, before) = Journal::open(&dir).unwrap();
        let before = before.unwrap();
        assert_eq!(before.open, ["b"]);
        assert_eq!(began(&dir).unwrap(), None);
        journal.begin(0);
        assert!(began(&dir).unwrap().is_some_and(|at| at > before.began));
        journal.end();
        let (_, before) = Journal::open(&dir).unwrap();
        assert_eq!(before, None);
        fs::remove_dir_all(&dir).unwrap();
    }
}
