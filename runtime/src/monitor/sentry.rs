//! One monitor of those below the same roots stands sentry: it is told when somebody changes the
//! host's packet rules, links or settings, and has what was taken from our networks put back.
//!
//! Who stands sentry holds a lock on a FIFO and its writing end, until it ends in any way. The
//! others wait for that: the kernel tells them with the last writer. Nobody asks again and again.
//!
//! What is to be done is done by a process of its own, forked for that and soon gone: it reads
//! records and waits for locks, while the monitor goes on to serve its container.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth_network::firewall;
use berth_network::notices::Notices;
use rustix::event::PollFlags;
use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, mknodat};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, pidfd_open, waitid,
    waitpid,
};

use super::poll::{PollSet, Token};
use crate::bundle::{Bundle, Network};
use crate::container::lost;
use crate::host::network::mend::{Mended, mend};
use crate::paths::Roots;
use crate::sys;

/// The FIFO, in the run folder. Each revision of the packet rules has its own: monitors live on when the
/// program is replaced, and who knows only older rules leaves newer ones alone.
fn place(run: &Path) -> PathBuf {
    run.join(format!("sentry-{}", firewall::REVISION))
}

/// From a change to the look at it: who reloads a firewall does so in several steps.
const SOON: Duration = Duration::from_millis(200);
/// The same, when somebody takes away again and again what was put back.
const LATEST: Duration = Duration::from_secs(4);
/// Then it is over.
const CALM: Duration = Duration::from_secs(60);
/// A look when the watch begins: nobody may have watched before. Others begin at once as well.
const FIRST: Duration = Duration::from_secs(1);
/// A last look after a repair, for a container that started meanwhile.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// How long a repair may take.
const REPAIR: Duration = Duration::from_secs(20);
/// Who was on its way to the post when we came is there by then, or lost.
const ONCE_MORE: Duration = Duration::from_secs(1);

/// What the process for a repair ends with.
const WHOLE: i32 = 0;
const RESTORED: i32 = 3;
const UNSETTLED: i32 = 4;

/// The part of a monitor that watches over networks.
pub(super) struct Sentry {
    roots: Roots,
    post: Post,
}

enum Post {
    /// Its container has no network of ours, or the host does not let us.
    None,
    /// Somebody else watches.
    Relieved {
        /// The reading end of the FIFO.
        fifo: File,
        /// When to try once more all the same.
        again: Option<Instant>,
    },
    Watching(Box<Watch>),
}

struct Watch {
    /// Its lock is the post.
    _fifo: File,
    /// Its end tells the others.
    _sign: File,
    notices: Notices,
    /// The next look.
    due: Option<Instant>,
    repair: Option<Repair>,
    pace: Pace,
}

/// A process that looks and repairs.
struct Repair {
    pidfd: OwnedFd,
    until: Instant,
}

/// How soon a repair follows a change.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    repairs: u32,
}

impl Sentry {
    /// One that does not watch yet.
    pub(super) fn of(bundle: &Bundle) -> Sentry {
        Sentry { roots: roots_of(bundle), post: Post::None }
    }

    /// Takes the post, if its container has a network and nobody else has it. Who has it has to be
    /// free to serve it from then on.
    pub(super) fn begin(&mut self, bundle: &Bundle, now: Instant) {
        if matches!(&bundle.network, Network::Own(links) if !links.is_empty()) {
            self.take_post(now, Some(now + ONCE_MORE));
        }
    }

    /// Adds what to wait for.
    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        match &self.post {
            Post::None => {}
            Post::Relieved { fifo, again } => {
                // Nobody ever writes: what there is to be told is the end of the last writer.
                set.add(Token::Sentry, fifo, PollFlags::empty());
                set.until(*again);
            }
            Post::Watching(watch) => watch.poll(set),
        }
    }

    /// Somebody has ended, or changed something.
    pub(super) fn serve(&mut self, now: Instant) {
        match &mut self.post {
            Post::None => {}
            Post::Relieved { .. } => self.take_post(now, Some(now + ONCE_MORE)),
            Post::Watching(watch) => {
                if watch.listen(now).is_err() {
                    // Without its ears it is of no use there; another one may be.
                    if let Some(repair) = watch.repair.take() {
                        repair.end();
                    }
                    self.post = Post::None;
                }
            }
        }
    }

    /// Gives up the post, as the monitor ends; when this is done no repair runs any more, which
    /// would keep the monitors' cgroup busy.
    pub(super) fn end(&mut self) {
        let Post::Watching(mut watch) = std::mem::replace(&mut self.post, Post::None) else {
            return;
        };
        if let Some(repair) = watch.repair.take() {
            repair.kill();
            // What was killed ends at once; its steps are transactions of the kernel.
            let _ = waitid(WaitId::PidFd(repair.pidfd.as_fd()), WaitIdOptions::EXITED);
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant) {
        match &mut self.post {
            Post::Relieved { again: Some(at), .. } if *at <= now => self.take_post(now, None),
            Post::None | Post::Relieved { .. } => {}
            Post::Watching(watch) => watch.tick(&self.roots, now),
        }
    }

    fn take_post(&mut self, now: Instant, again: Option<Instant>) {
        // Without the post its own container is served as well.
        self.post = post(&place(&self.roots.run), now, again).unwrap_or(Post::None);
    }
}

fn post(path: &Path, now: Instant, again: Option<Instant>) -> io::Result<Post> {
    match mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    let mut options = OpenOptions::new();
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    // A reading end that is opened anew is told of writers that end from now on.
    let fifo = options.clone().read(true).open(path)?;
    if flock(&fifo, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(Post::Relieved { fifo, again });
    }
    let sign = options.write(true).open(path)?;
    let notices = Notices::open().map_err(io::Error::other)?;
    Ok(Post::Watching(Box::new(Watch {
        _fifo: fifo,
        _sign: sign,
        notices,
        due: Some(now + FIRST),
        repair: None,
        pace: Pace::default(),
    })))
}

impl Watch {
    fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        for socket in self.notices.sockets() {
            set.add_borrowed(Token::Sentry, socket, PollFlags::IN);
        }
        match &self.repair {
            Some(repair) => {
                set.read(Token::Sentry, &repair.pidfd);
                set.until(Some(repair.until));
            }
            None => set.until(self.due),
        }
    }

    fn listen(&mut self, now: Instant) -> io::Result<()> {
        if self.notices.read()? {
            self.look_by(now + self.pace.delay(now));
        }
        Ok(())
    }

    /// A look that is due earlier stays so: with more and more changes it would never come.
    fn look_by(&mut self, when: Instant) {
        self.due = Some(self.due.map_or(when, |due| due.min(when)));
    }

    fn tick(&mut self, roots: &Roots, now: Instant) {
        if let Some(repair) = self.repair.take() {
            let Some(result) = repair.result(now) else {
                self.repair = Some(repair);
                return;
            };
            repair.end();
            self.note(result, now);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            // If there is no room for a process, the next change is another chance.
            self.repair = Repair::begin(roots, now).ok();
        }
    }

    fn note(&mut self, result: i32, now: Instant) {
        match result {
            WHOLE => {}
            RESTORED => {
                self.pace.note(now);
                self.look_by(now + AFTERWARDS);
            }
            UNSETTLED => {
                self.pace.note(now);
                self.look_by(now + self.pace.delay(now));
            }
            // The host refused. It may not the next time; the pauses get longer.
            _ if self.pace.in_a_row(now) < Pace::MOST => {
                self.pace.note(now);
                self.look_by(now + self.pace.delay(now));
            }
            _ => {}
        }
    }
}

impl Pace {
    /// Pauses do not get longer than after so many repairs in a row.
    const MOST: u32 = 5;

    fn note(&mut self, now: Instant) {
        self.repairs = self.in_a_row(now) + 1;
        self.last = Some(now);
    }

    fn in_a_row(&self, now: Instant) -> u32 {
        let calm = |last| now.saturating_duration_since(last) > CALM;
        if self.last.is_none_or(calm) { 0 } else { self.repairs }
    }

    fn delay(&self, now: Instant) -> Duration {
        (SOON * (1 << self.in_a_row(now).min(Self::MOST))).min(LATEST)
    }
}

impl Repair {
    fn begin(roots: &Roots, now: Instant) -> io::Result<Repair> {
        let pid = match sys::fork()? {
            0 => sys::exit_now(repair(roots)),
            pid => Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?,
        };
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
            // Without a handle it could not be waited for later.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        })?;
        Ok(Repair { pidfd, until: now + REPAIR })
    }

    /// What it ended with, or that it takes too long.
    fn result(&self, now: Instant) -> Option<i32> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) if now < self.until => None,
            Ok(None) | Err(_) => Some(-1),
            Ok(Some(status)) => Some(status.exit_status().unwrap_or(-1)),
        }
    }

    /// Kills it, if it has not ended; it is waited for later then.
    fn end(self) {
        self.kill();
        lost::remember(self.pidfd);
    }

    fn kill(&self) {
        let _ = sys::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
    }
}

/// The life of the process for a repair.
fn repair(roots: &Roots) -> i32 {
    // What the monitor holds is for it alone to hold.
    if sys::close_from(3).is_err() {
        return 1;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(mend(roots))) {
        Ok(Ok(Mended::Whole)) => WHOLE,
        Ok(Ok(Mended::Restored)) => RESTORED,
        Ok(Ok(Mended::Unsettled)) => UNSETTLED,
        Ok(Err(_)) | Err(_) => 1,
    }
}

/// Where a bundle's folders are: `RUN/containers/NAME` and `STATE/containers/NAME`.
fn roots_of(bundle: &Bundle) -> Roots {
    let root =
        |dir: &Path| dir.parent().and_then(Path::parent).map_or_else(PathBuf::new, Path::to_owned);
    Roots { state: root(&bundle.state_dir), run: root(&bundle.run_dir) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::testing::Folder;

    #[test]
    fn repairs_in_a_row_follow_ever_later_and_within_five_seconds() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut delays = Vec::new();
        for second in 0..7 {
            let now = start + Duration::from_secs(second);
            delays.push(pace.delay(now).as_millis());
            pace.note(now);
        }
        assert_eq!(delays, [200, 400, 800, 1600, 3200, 4000, 4000]);
        assert_eq!(pace.delay(start + Duration::from_secs(6) + 2 * CALM), SOON);
    }

    #[test]
    fn a_bad_stretch_is_forgotten_when_all_is_calm() {
        let dir = Folder::new();
        let start = Instant::now();
        let Post::Watching(mut watch) = post(&place(dir.path()), start, None).unwrap() else {
            panic!("the post was free");
        };
        let looks_again = |watch: &mut Watch, result, now| {
            watch.due = None;
            watch.note(result, now);
            watch.due.is_some()
        };
        let failed = 1;
        for _ in 0..Pace::MOST {
            assert!(looks_again(&mut watch, failed, start));
        }
        assert!(!looks_again(&mut watch, failed, start), "the host refuses it");
        assert!(looks_again(&mut watch, UNSETTLED, start), "that comes to an end");
        assert!(looks_again(&mut watch, failed, start + 2 * CALM));
    }

    #[test]
    fn one_has_the_post_and_the_others_are_told_when_it_is_free() {
        let dir = Folder::new();
        let (path, now) = (place(dir.path()), Instant::now());
        let Post::Watching(watch) = post(&path, now, None).unwrap() else {
            panic!("the post was free");
        };
        let second = post(&path, now, None).unwrap();
        let Post::Relieved { fifo, .. } = &second else { panic!("the post was taken") };
        let is_told = |fifo: &File| {
            let mut set = PollSet::default();
            set.add(Token::Sentry, fifo, PollFlags::empty());
            set.until(Some(Instant::now()));
            !set.wait().unwrap().is_empty()
        };
        assert!(!is_told(fifo));
        drop(watch);
        assert!(is_told(fifo));
        assert!(matches!(post(&path, now, None).unwrap(), Post::Watching(_)));
    }
}
