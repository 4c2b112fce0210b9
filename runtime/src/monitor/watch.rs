//! Reads what happened to the containers of a project, and what happens, without asking again and
//! again: the kernel tells when something is written (inotify(7)).

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use rustix::fs::inotify;
use tokio::net::unix::pipe;

use super::events::{Event, FOLDER, aside};
use crate::paths::Roots;

/// Bytes of a line that has no end; more of it is passed over.
const LONGEST: usize = 1 << 20;

/// The events of a project, in the order in which they were written.
pub struct Watch {
    path: PathBuf,
    /// The inotify descriptor, which is waited for and read as a pipe is.
    changes: pipe::Receiver,
    /// The file before, to which somebody who had it open may have added one more line.
    before: Option<Reading>,
    current: Option<Reading>,
}

/// A file and the beginning of a line that is not all there.
struct Reading {
    file: File,
    rest: Vec<u8>,
}

impl Watch {
    /// The events of `project`: all that are kept, or those from now on.
    ///
    /// # Errors
    /// What the host answers.
    pub fn open(roots: &Roots, project: &str, kept: bool) -> io::Result<Watch> {
        let dir = roots.run.join(FOLDER);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let changes =
            inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let of_interest = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&changes, &dir, of_interest)?;
        let path = dir.join(project);
        let mut current = Reading::open(&path)?;
        if let Some(current) = current.as_mut().filter(|_| !kept) {
            current.file.seek(SeekFrom::End(0))?;
        }
        let before = if kept { Reading::open(&aside(&path))? } else { None };
        let changes = pipe::Receiver::from_owned_fd_unchecked(changes)?;
        Ok(Watch { path, changes, before, current })
    }

    /// What is there and was not read.
    ///
    /// # Errors
    /// What the host answers.
    pub fn read(&mut self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        if let Some(before) = &mut self.before {
            before.read(&mut events)?;
        }
        loop {
            if let Some(current) = &mut self.current {
                current.read(&mut events)?;
            }
            let Some(next) = Reading::open(&self.path)? else { return Ok(events) };
            if let Some(current) = &self.current
                && current.inode()? == next.inode()?
            {
                return Ok(events);
            }
            self.before = self.current.replace(next);
        }
    }

    /// Waits until there may be more to read.
    ///
    /// # Errors
    /// What the host answers.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.changes.readable().await?;
        let mut told = [0; 4096];
        loop {
            match self.changes.try_read(&mut told) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}

impl Reading {
    fn open(path: &std::path::Path) -> io::Result<Option<Reading>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Reading { file, rest: Vec::new() })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn inode(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    /// Reads whole lines to the end of the file. What is no event is passed over.
    fn read(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = self.file.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            self.rest.extend_from_slice(&buffer[..length]);
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                events.extend(serde_json::from_slice::<Event>(&line));
            }
            if self.rest.len() > LONGEST {
                self.rest.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::{Events, Happening};
    use super::*;
    use crate::bundle::Bundle;
    use crate::logs::testing::Folder;

    fn events(run: &Folder) -> Events {
        Events::of(&Bundle {
            run_dir: run.path().join("run/containers/shop-web-1"),
            project: "shop".into(),
            ..Bundle::default()
        })
    }

    fn dies(watch: &mut Watch) -> Vec<i32> {
        let code = |event: Event| match event.what {
            Happening::Die { exit_code } => Some(exit_code),
            _ => None,
        };
        watch.read().unwrap().into_iter().filter_map(code).collect()
    }

    #[tokio::test]
    async fn events_come_in_order_over_a_full_file_and_none_is_missed() {
        let run = Folder::new();
        let roots = Roots::below(run.path());
        let events = events(&run);
        events.add(Happening::Die { exit_code: 0 });
        let mut all = Watch::open(&roots, "shop", true).unwrap();
        let mut new = Watch::open(&roots, "shop", false).unwrap();
        assert_eq!(dies(&mut all), [0]);
        assert_eq!(dies(&mut new), [0; 0]);
        for code in 1..4 {
            events.add(Happening::Die { exit_code: code });
            new.changed().await.unwrap();
            if code == 2 {
                // As a full file: it is put aside with the next event.
                let file = File::options().write(true).open(run.path().join("run/events/shop"));
                file.unwrap().set_len(2 << 20).unwrap();
                events.add(Happening::Stop);
                std::fs::remove_file(run.path().join("run/events/shop.1")).unwrap();
            }
        }
        assert_eq!(dies(&mut new), [1, 2, 3]);
        assert_eq!(dies(&mut all), [1, 2, 3]);
    }

    #[tokio::test]
    async fn who_comes_before_the_first_event_waits_for_it() {
        let run = Folder::new();
        let mut watch = Watch::open(&Roots::below(run.path()), "shop", false).unwrap();
        assert_eq!(dies(&mut watch), [0; 0]);
        let waiting = tokio::spawn(async move {
            watch.changed().await.unwrap();
            dies(&mut watch)
        });
        tokio::task::yield_now().await;
        events(&run).add(Happening::Die { exit_code: 7 });
        assert_eq!(waiting.await.unwrap(), [7]);
    }
}
