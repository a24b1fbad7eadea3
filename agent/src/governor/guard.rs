//! Knows how earlier runs ended, from a small file: an agent that was killed for its cost again and again must not come
//! back as it was.
//!
//! A run notes that it began, and later that it ended in good order, or that it lasted. What ended without a note was
//! killed, or broke: both ask for less. The kernel's count of kills for want of memory says which, where it can be read.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::oom;
use crate::host::{Host, read_bytes};

/// Kills in a row after which the agent starts small.
pub const KILLS: u32 = 2;

const FILE: &str = "run.json";
/// Held while an agent runs: a note is that of one agent.
const LOCK: &str = "lock";
/// No note is larger.
const LARGEST: u64 = 64 << 10;
/// Longest wait for the last note. A disk that hangs must not keep the agent from ending.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// What a run notes of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Note {
    /// Since when the machine runs: what happened to it ended every run, and says nothing of the agent.
    boot: String,
    /// Runs before this one that ended without a note, in a row.
    kills: u32,
    /// It ended in good order, or was asked to.
    ended: bool,
    /// Kills for want of memory when it began, by the file that counts them.
    out_of_memory: Vec<(PathBuf, u64)>,
}

/// How the runs before this one ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Past {
    /// How many were killed in a row, but for those between that ended in good order before they had lasted.
    pub kills: u32,
    /// The last one was.
    pub killed: bool,
    /// The file that shows that the last one was killed for want of memory.
    pub out_of_memory: Option<PathBuf>,
}

/// Why nothing is noted.
#[derive(thiserror::Error, Debug)]
pub enum GuardError {
    /// The directory or a file in it cannot be used.
    #[error("cannot {does} {path}: {source}")]
    Io {
        /// What was to be done.
        does: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent uses it.
    #[error("another agent notes its runs in {0}")]
    Taken(PathBuf),
    /// Nobody can watch the run.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Notes how this run goes.
#[derive(Debug)]
pub struct Guard {
    directory: PathBuf,
    note: Note,
    _lock: File,
}

impl Guard {
    /// Reads what the last run left and notes that this one began. A note that does not read is as good as none.
    pub fn begin(host: &Host, directory: &Path) -> Result<(Self, Past), GuardError> {
        let failed = |does, path: &Path| {
            let path = path.to_owned();
            move |source| GuardError::Io { does, path, source }
        };
        fs::create_dir_all(directory).map_err(failed("create", directory))?;
        let lock = directory.join(LOCK);
        let held = OpenOptions::new().create(true).write(true).truncate(false).open(&lock);
        let held = held.map_err(failed("open", &lock))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(GuardError::Taken(directory.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(failed("lock", &lock)(error)),
        }
        let file = directory.join(FILE);
        let last = read(&file).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "how the last run ended does not read; taken for well");
            None
        });
        let boot = host.text("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let past = last.map(|last| last.past(&boot)).unwrap_or_default();
        let note = Note { boot, kills: past.kills, ended: false, out_of_memory: oom::kills(host) };
        let guard = Self { directory: directory.to_owned(), note, _lock: held };
        guard.write().map_err(failed("write", &file))?;
        Ok((guard, past))
    }

    /// This run lasted: those before it no longer count.
    pub fn lasted(&mut self) -> io::Result<()> {
        self.note.kills = 0;
        self.write()
    }

    /// This run ends in good order.
    pub fn end(&mut self) -> io::Result<()> {
        self.note.ended = true;
        self.write()
    }

    /// Whoever reads sees the old note or the new one. What the kernel has taken in outlives a killed agent, so nobody
    /// waits for the disk.
    fn write(&self) -> io::Result<()> {
        let (file, new) = (self.directory.join(FILE), self.directory.join("run.json.new"));
        fs::write(&new, serde_json::to_vec(&self.note)?)?;
        fs::rename(new, file)
    }

    /// Notes by itself that the run lasted, and at the end of the [`Watch`] that it ended.
    pub fn watch(self, healthy: Duration) -> io::Result<Watch> {
        let (over, waits) = channel();
        let (done, written) = channel();
        let watching = move || {
            self.run(healthy, &waits);
            drop(done);
        };
        let thread = thread::Builder::new().name("guard".to_owned()).spawn(watching)?;
        Ok(Watch { over: Some(over), written, _thread: thread })
    }

    fn run(mut self, healthy: Duration, over: &Receiver<()>) {
        if over.recv_timeout(healthy) == Err(RecvTimeoutError::Timeout) {
            report(self.lasted());
            // Nobody sends; it ends with the sender.
            let _over: Result<(), RecvError> = over.recv();
        }
        report(self.end());
    }
}

fn report(written: io::Result<()>) {
    if let Err(error) = written {
        tracing::warn!(%error, "cannot note how this run goes: it may be taken for a killed one");
    }
}

/// Notes the end of the run when it is dropped.
#[derive(Debug)]
pub struct Watch {
    over: Option<Sender<()>>,
    written: Receiver<()>,
    _thread: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.over.take());
        // Nobody sends: it ends with the thread, or is not waited for any longer.
        let _written: Result<(), RecvTimeoutError> = self.written.recv_timeout(WRITTEN_WITHIN);
    }
}

impl Note {
    /// What it says to the next run.
    fn past(&self, boot: &str) -> Past {
        if self.boot != boot {
            return Past::default();
        }
        if self.ended {
            // A streak is broken by a run that lasted, not by one that was asked to end.
            return Past { kills: self.kills, killed: false, out_of_memory: None };
        }
        Past { kills: self.kills.saturating_add(1), killed: true, out_of_memory: oom::grown(&self.out_of_memory) }
    }
}

fn read(file: &Path) -> io::Result<Option<Note>> {
    match read_bytes(file, LARGEST) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;
    use std::time::Instant;

    const BOOT: &str = "proc/sys/kernel/random/boot_id";

    fn machine() -> Machine {
        let machine = Machine::new();
        machine.file(BOOT, "a\n");
        machine
    }

    /// A run that is killed: nothing of it happens but its beginning.
    fn killed(machine: &Machine, directory: &Path) -> u32 {
        Guard::begin(machine.host(), directory).unwrap().1.kills
    }

    #[test]
    fn kills_in_a_row_are_counted_until_a_run_lasts() {
        let (machine, directory) = (machine(), tempfile::tempdir().unwrap());
        let directory = directory.path().join("made/when/missing");
        assert_eq!([(); 3].map(|()| killed(&machine, &directory)), [0, 1, 2]);
        let (mut guard, past) = Guard::begin(machine.host(), &directory).unwrap();
        assert_eq!(past, Past { kills: 3, killed: true, out_of_memory: None });
        guard.end().unwrap();
        drop(guard);
        let (mut guard, past) = Guard::begin(machine.host(), &directory).unwrap();
        assert_eq!((past.kills, past.killed), (3, false), "ended in good order, but it did not last");
        guard.lasted().unwrap();
        drop(guard);
        assert_eq!(killed(&machine, &directory), 1, "it lasted, and then was killed");
    }

    #[test]
    fn what_ends_with_the_machine_was_not_killed() {
        let (machine, directory) = (machine(), tempfile::tempdir().unwrap());
        assert_eq!(killed(&machine, directory.path()), 0);
        machine.file(BOOT, "b\n");
        assert_eq!(killed(&machine, directory.path()), 0);
    }

    #[test]
    fn a_kill_for_want_of_memory_is_told_by_the_file_that_counts_it() {
        let (machine, directory) = (machine(), tempfile::tempdir().unwrap());
        machine.file("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        machine.file("proc/self/cgroup", "0::/agent\n");
        machine.file("sys/fs/cgroup/agent/memory.events", "oom_kill 0\n");
        killed(&machine, directory.path());
        machine.file("sys/fs/cgroup/agent/memory.events", "oom_kill 1\n");
        let (_, past) = Guard::begin(machine.host(), directory.path()).unwrap();
        let file = machine.host().path("/sys/fs/cgroup/agent/memory.events");
        assert_eq!(past, Past { kills: 1, killed: true, out_of_memory: Some(file) });
    }

    #[test]
    fn notes_that_do_not_read_are_as_good_as_none_and_are_replaced() {
        let (machine, directory) = (machine(), tempfile::tempdir().unwrap());
        let file = directory.path().join(FILE);
        for bytes in [&b""[..], b"{", b"[]", b"{\"kills\": -1}", b"\xff\xfe", &vec![b' '; 1 << 17], b"null"] {
            fs::write(&file, bytes).unwrap();
            assert_eq!(killed(&machine, directory.path()), 0, "{bytes:?}");
            assert_eq!(killed(&machine, directory.path()), 1);
        }
        fs::write(&file, r#"{"boot": "a", "kills": 4294967295, "later": 1}"#).unwrap();
        assert_eq!(killed(&machine, directory.path()), u32::MAX, "of a later version, and as many as can be");
    }

    #[test]
    fn directories_that_cannot_be_used_are_named() {
        let (machine, directory) = (machine(), tempfile::tempdir().unwrap());
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Guard::begin(machine.host(), &file).unwrap_err();
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
        fs::create_dir_all(directory.path().join("d").join(FILE)).unwrap();
        let error = Guard::begin(machine.host(), &directory.path().join("d")).unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
    }

    #[test]
    fn two_agents_do_not_take_each_other_for_dead() {
        let (machine, directory) = (machine(), tempfile::tempdir().unwrap());
        let first = Guard::begin(machine.host(), directory.path()).unwrap();
        assert!(matches!(Guard::begin(machine.host(), directory.path()), Err(GuardError::Taken(_))));
        drop(first);
        assert_eq!(killed(&machine, directory.path()), 1);
    }

    #[test]
    fn a_watch_notes_the_end_and_that_it_lasted() {
        let (machine, directory) = (machine(), tempfile::tempdir().unwrap());
        let begin = || Guard::begin(machine.host(), directory.path());
        let wait = Duration::from_secs(3600);
        assert_eq!([(); 2].map(|()| killed(&machine, directory.path())), [0, 1]);
        let (guard, past) = begin().unwrap();
        assert_eq!(past.kills, 2);
        drop(guard.watch(wait).unwrap());
        let note = || read(&directory.path().join(FILE)).unwrap().unwrap();
        assert_eq!((note().ended, note().kills), (true, 2));
        let (guard, _) = begin().unwrap();
        let watch = guard.watch(Duration::from_millis(1)).unwrap();
        let deadline = Instant::now() + wait;
        while note().kills > 0 && Instant::now() < deadline {
            thread::yield_now();
        }
        assert!(!note().ended);
        drop(watch);
        assert_eq!((note().ended, note().kills), (true, 0));
    }
}
