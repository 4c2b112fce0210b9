//! What happened to containers of a project, as JSON lines in `events/PROJECT` of the run folder.
//!
//! The monitors of a project append to one file; at a limit it becomes `PROJECT.1`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use berth_planner::observed::{ContainerRecord, Health, NetworkRecord};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::paths::Roots;

/// Bytes at which the file is put aside.
const LIMIT: u64 = 1024 * 1024;
/// The folder of all projects' files, in the run folder.
pub(super) const FOLDER: &str = "events";

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// Container by name; empty where a network is meant.
    pub container: String,
    /// Its service.
    pub service: String,
    /// Its id, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Its image as the file has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// `run` made it, not `up`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oneoff: bool,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Happening {
    /// It was made.
    Create,
    /// It was removed.
    Destroy,
    /// Somebody has attached to it.
    Attach,
    /// A further process is about to be started in it.
    ExecCreate {
        /// What tells this process from others.
        exec: String,
        /// Program and arguments.
        command: String,
    },
    /// That process runs.
    ExecStart {
        /// The same.
        exec: String,
        /// Program and arguments.
        command: String,
    },
    /// That process ended.
    ExecDie {
        /// The same.
        exec: String,
        /// Exit status, 128 + n for signal n.
        exit_code: i32,
    },
    /// Its process started.
    Start,
    /// It has a new monitor.
    Adopt,
    /// Its process ended.
    Die {
        /// Exit status, 128 + n for signal n, −1 when it is not known.
        exit_code: i32,
    },
    /// The kernel killed a process of it for memory.
    Oom,
    /// Its health changed.
    HealthStatus {
        /// To this.
        health: Health,
    },
    /// It is about to be started again.
    Restart {
        /// The how manieth time.
        restarts: u32,
        /// Why, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A hook has ended.
    Hook {
        /// Which: `post_start[0]`.
        hook: String,
        /// Exit status, 128 + n for signal n, 124 when there was no time left, −1 when it is not
        /// known.
        exit_code: i32,
    },
    /// A process that was to be run in it was hindered from its program, or from its end when it
    /// was killed.
    Hang {
        /// Which: `post_start[0]`, or `healthcheck`.
        process: String,
    },
    /// A signal was sent to it.
    Kill {
        /// Its number.
        signal: i32,
    },
    /// It was stopped on request.
    Stop,
    /// Its processes stand still.
    Pause,
    /// They run on.
    Unpause,
    /// It got other limits or another restart policy.
    Update,
    /// Somebody took away what a network of the project needs, and it was put back. There is no
    /// container in this one.
    NetworkRepair {
        /// The network by name.
        network: String,
        /// What was put back, in words.
        restored: Vec<String>,
    },
}

/// Where what happens to one container is written.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    container: String,
    service: String,
    id: String,
    image: String,
    oneoff: bool,
}

impl Events {
    /// Of a container that was prepared; its run folder is `RUN/containers/NAME`.
    pub fn of(bundle: &Bundle) -> Events {
        let run = bundle.run_dir.parent().and_then(Path::parent).unwrap_or(&bundle.run_dir);
        Events {
            path: run.join(FOLDER).join(&bundle.project),
            container: bundle.name.clone(),
            service: bundle.service.clone(),
            id: bundle.id.clone(),
            image: bundle.image.clone(),
            oneoff: bundle.oneoff,
        }
    }

    /// Of a container with this id, as it is written down.
    pub(crate) fn recorded(roots: &Roots, id: &str, record: &ContainerRecord) -> Events {
        Events {
            path: roots.run.join(FOLDER).join(&record.project),
            container: record.name.clone(),
            service: record.service.clone(),
            id: id.to_owned(),
            image: record.spec.image.clone(),
            oneoff: record.oneoff,
        }
    }

    /// Appends one. An event that cannot be written is lost: nothing waits for it.
    pub fn add(&self, what: Happening) {
        let event = Event {
            time: Timestamp::now(),
            container: self.container.clone(),
            service: self.service.clone(),
            id: self.id.clone(),
            image: self.image.clone(),
            oneoff: self.oneoff,
            what,
        };
        let _lost = append(&self.path, &super::protocol::line(&event));
    }
}

/// Appends what was put back of a network, to the events of its project.
pub(crate) fn add_network_repair(roots: &Roots, network: &NetworkRecord, restored: Vec<String>) {
    let event = Event {
        time: Timestamp::now(),
        container: String::new(),
        service: String::new(),
        id: String::new(),
        image: String::new(),
        oneoff: false,
        what: Happening::NetworkRepair { network: network.name.clone(), restored },
    };
    let path = roots.run.join(FOLDER).join(&network.project);
    let _lost = append(&path, &super::protocol::line(&event));
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = match open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            open(path)?
        }
        other => other?,
    };
    // One write of a short line to a file opened for appending is not torn by another's.
    file.write_all(line)?;
    if file.metadata()?.len() >= LIMIT {
        put_aside(path, &file)?;
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Renames the file, unless another monitor has just done so.
fn put_aside(path: &Path, file: &File) -> io::Result<()> {
    flock(file, FlockOperation::LockExclusive)?;
    if fs::metadata(path)?.ino() == file.metadata()?.ino() {
        fs::rename(path, aside(path))?;
    }
    Ok(())
}

/// Where a full file goes.
pub(super) fn aside(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".1");
    aside.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::testing::Folder;

    #[test]
    fn events_are_lines_of_the_project_and_bounded() {
        let run = Folder::new();
        let events = Events::of(&Bundle {
            run_dir: run.path().join("containers/shop-web-1"),
            name: "shop-web-1".into(),
            project: "shop".into(),
            service: "web".into(),
            ..Bundle::default()
        });
        events.add(Happening::Die { exit_code: 42 });

        let text = run.text("events/shop");
        let event: Event = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(event.what, Happening::Die { exit_code: 42 });
        assert!(
            text.contains(
                r#""container":"shop-web-1","service":"web","event":"die","exit_code":42}"#
            )
        );

        fs::write(run.path().join("events/shop"), "\n".repeat(1024 * 1024)).unwrap();
        events.add(Happening::Stop);
        events.add(Happening::Start);
        assert_eq!(run.text("events/shop").lines().count(), 1);
        assert!(run.text("events/shop.1").ends_with("\"event\":\"stop\"}\n"));
    }
}
