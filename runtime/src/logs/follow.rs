//! Goes on with what is written, over rotations, until the caller says that no more comes.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::inotify;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::format::{LogLine, Stream};
use super::reader::{Join, Lines, LogFile, LogQuery, numbers, read};
use super::{CURRENT, file_name};

/// The lines that are there and those to come.
pub struct Follow {
    dir: PathBuf,
    query: LogQuery,
    /// The inotify descriptor, which is waited for and read as a pipe is.
    watch: pipe::Receiver,
    /// The container has ended: nothing is written any more.
    ended: watch::Receiver<bool>,
    place: Place,
    ready: Vec<LogLine>,
}

enum Place {
    /// In what was there when following began.
    History(Lines),
    /// In the file that was the newest when it was opened, if there was one.
    File(Option<LogFile>, Join),
}

impl Follow {
    /// Follows the log in `dir`, which is there, until `ended` becomes true (or its sender goes).
    ///
    /// # Errors
    /// What the host answers when the folder is watched or its files are opened.
    pub fn open(dir: &Path, query: &LogQuery, ended: watch::Receiver<bool>) -> io::Result<Follow> {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&watch, dir, events)?;
        Ok(Follow {
            dir: dir.to_owned(),
            query: query.clone(),
            watch: pipe::Receiver::from_owned_fd_unchecked(watch)?,
            ended,
            place: Place::History(read(dir, query)?),
            ready: Vec::new(),
        })
    }

    /// The next line; waits for it. `None` when the container has ended and all was given.
    ///
    /// # Errors
    /// What the host answers when a file is read.
    pub async fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            // Asked before reading: what was written before the end is read after it was seen.
            let ended = *self.ended.borrow() || self.ended.has_changed().is_err();
            if let Some(line) = self.take()? {
                return Ok(Some(line));
            }
            if ended {
                return Ok(self.rest());
            }
            self.changed().await?;
        }
    }

    /// A line that is there already.
    fn take(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            while !self.ready.is_empty() {
                let line = self.ready.remove(0);
                if self.query.wants(&line) {
                    return Ok(Some(line));
                }
            }
            match &mut self.place {
                Place::History(lines) => match lines.next_kept()? {
                    Some(line) => return Ok(Some(line)),
                    None => self.end_history(),
                },
                Place::File(..) => {
                    if !self.read_on()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn end_history(&mut self) {
        let place = std::mem::replace(&mut self.place, Place::File(None, Join::default()));
        if let Place::History(lines) = place {
            let (file, join) = lines.into_current();
            self.place = Place::File(file, join);
        }
    }

    /// Reads one line, or moves to the next file. `false` when there is nothing more for now.
    fn read_on(&mut self) -> io::Result<bool> {
        let Place::File(file, join) = &mut self.place else { return Ok(true) };
        let Some(open) = file else {
            *file = LogFile::open(&self.dir.join(CURRENT))?;
            return Ok(file.is_some());
        };
        // The name is looked at before the end is: a file without the name is no longer written,
        // so what is read from it after that is all of it.
        let newest = LogFile::open(&self.dir.join(CURRENT))?;
        let inode = open.inode()?;
        let written = match &newest {
            Some(newest) => newest.inode()? == inode,
            None => true,
        };
        if let Some(line) = open.next_line()? {
            self.ready.extend(join.add(line));
            return Ok(true);
        }
        if written {
            return Ok(false);
        }
        let (next, gap) = successor(&self.dir, inode)?;
        *file = next.or(newest);
        if gap {
            self.ready.push(lost());
        }
        Ok(true)
    }

    fn rest(&mut self) -> Option<LogLine> {
        match &mut self.place {
            Place::File(_, join) => join.rest().filter(|line| self.query.wants(line)),
            Place::History(_) => None,
        }
    }

    /// Waits until something in the folder changed or the container ended.
    async fn changed(&mut self) -> io::Result<()> {
        tokio::select! {
            ready = self.watch.readable() => {
                ready?;
                let mut buffer = [0; 4096];
                loop {
                    match self.watch.try_read(&mut buffer) {
                        Ok(_) => {}
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                        Err(e) => return Err(e),
                    }
                }
            }
            // An error is the sender's end, which `next` sees as the container's.
            _ = self.ended.changed() => {}
        }
        Ok(())
    }
}

/// The file that came after the one with this inode, and whether some in between are gone.
fn successor(dir: &Path, inode: u64) -> io::Result<(Option<LogFile>, bool)> {
    let mut younger = None;
    for n in numbers(dir)? {
        let Some(file) = LogFile::open(&dir.join(file_name(n)))? else { continue };
        if file.inode()? == inode {
            return Ok((younger, false));
        }
        younger = Some(file);
    }
    Ok((younger, true))
}

fn lost() -> LogLine {
    LogLine {
        time: jiff::Timestamp::now(),
        stream: Stream::Notice,
        text: b"lines are missing here: the log was rotated faster than it was read".to_vec(),
        partial: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Log;
    use crate::logs::Writer;
    use crate::logs::testing::{Folder, at};

    async fn texts(follow: &mut Follow, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            let line = follow.next().await.unwrap().unwrap();
            texts.push(String::from_utf8(line.text).unwrap());
        }
        texts
    }

    #[tokio::test]
    async fn it_goes_over_rotations_and_ends_when_told() {
        let dir = Folder::new();
        let limits = Log { none: false, max_size: 60, max_files: 10 };
        let mut writer = Writer::open(dir.path(), &limits).unwrap();
        let (ended, ending) = watch::channel(false);
        let query = LogQuery { follow: true, tail: Some(1), ..LogQuery::default() };
        writer.write(Stream::Stdout, b"0\n1\n", at(0));
        let mut follow = Follow::open(dir.path(), &query, ending).unwrap();
        assert_eq!(texts(&mut follow, 1).await, ["1"]);

        for n in 2..7 {
            writer.write(Stream::Stdout, format!("{n}\n").as_bytes(), at(n));
        }
        assert_eq!(texts(&mut follow, 5).await, ["2", "3", "4", "5", "6"]);

        writer.write(Stream::Stdout, b"last words", at(8));
        writer.release(at(8));
        ended.send(true).unwrap();
        assert_eq!(texts(&mut follow, 1).await, ["last words"]);
        assert_eq!(follow.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_written_while_waiting_wakes_it() {
        let dir = Folder::new();
        let limits = Log { none: false, max_size: 0, max_files: 1 };
        let mut writer = Writer::open(dir.path(), &limits).unwrap();
        let (_ended, ending) = watch::channel(false);
        let mut follow = Follow::open(dir.path(), &LogQuery::default(), ending).unwrap();
        let waiting = tokio::spawn(async move { texts(&mut follow, 1).await });
        tokio::task::yield_now().await;
        writer.write(Stream::Stdout, b"hello\n", at(0));
        assert_eq!(waiting.await.unwrap(), ["hello"]);
    }

    #[tokio::test]
    async fn a_reader_that_was_too_slow_is_told_so() {
        let dir = Folder::new();
        let limits = Log { none: false, max_size: 42, max_files: 2 };
        let mut writer = Writer::open(dir.path(), &limits).unwrap();
        let (ended, ending) = watch::channel(false);
        writer.write(Stream::Stdout, b"0\n", at(0));
        let mut follow = Follow::open(dir.path(), &LogQuery::default(), ending).unwrap();
        assert_eq!(texts(&mut follow, 1).await, ["0"]);
        for n in 1..6 {
            writer.write(Stream::Stdout, format!("{n}\n").as_bytes(), at(n));
        }
        drop(ended);
        let texts = texts(&mut follow, 3).await;
        assert!(texts[0].starts_with("lines are missing"), "{texts:?}");
        assert_eq!(texts[1..], ["4", "5"]);
    }
}
