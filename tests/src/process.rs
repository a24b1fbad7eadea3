//! A child process whose output is kept, and which never outlives its owner.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cgroup::Cgroup;
use crate::wait;

/// Lines as they come.
#[derive(Clone, Default, Debug)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn collect(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        })
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running child. Killed when dropped; killed by the kernel when the thread that started it ends.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    out: Lines,
    err: Lines,
    readers: Vec<JoinHandle<()>>,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Lines of standard output.
    pub out: Vec<String>,
    /// Lines of standard error.
    pub err: Vec<String>,
}

impl Process {
    /// Starts `command`, born in `cgroup` where one is given.
    pub fn start(name: &str, mut command: Command, cgroup: Option<&Cgroup>) -> Result<Self> {
        if let Some(cgroup) = cgroup {
            cgroup.adopt(&mut command)?;
        }
        // SAFETY: one system call, nothing shared.
        unsafe { command.pre_exec(die_with_parent) };
        // Ctrl-C is for whoever started it, who stops it in good order.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().to_os_string();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let (out, err) = (Lines::default(), Lines::default());
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|from| out.collect(from)));
        readers.extend(child.stderr.take().map(|from| err.collect(from)));
        Ok(Self { name: name.to_owned(), child, out, err, readers })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lines of standard output so far.
    pub fn out(&self) -> Vec<String> {
        self.out.all()
    }

    /// Lines of standard error so far.
    pub fn err(&self) -> Vec<String> {
        self.err.all()
    }

    /// Waits for something; the process must live that long.
    pub fn until<T>(&mut self, within: Duration, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let found = wait::until_ok(within, what, || {
            if let Some(found) = look(self) {
                return Ok(Some(found));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            Ok(None)
        });
        found.with_context(|| format!("{}, which said:\n{}", self.name, self.err().join("\n")))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(self.pid().cast_signed(), signal) };
    }

    /// Waits for its end, and kills it where that takes too long.
    pub fn wait(mut self, within: Duration) -> Result<Ended> {
        let ended = wait::until_ok(within, "its end", || Ok(self.child.try_wait()?));
        if ended.is_err() {
            self.child.kill()?;
        }
        let status = self.child.wait()?;
        for reader in self.readers.drain(..) {
            if reader.join().is_err() {
                bail!("the output of {} could not be read", self.name);
            }
        }
        let (out, err) = (self.out.all(), self.err.all());
        ended.with_context(|| format!("{}, which said:\n{}", self.name, err.join("\n")))?;
        Ok(Ended { status, out, err })
    }

    /// Asks it to end, and waits.
    pub fn stop(self, within: Duration) -> Result<Ended> {
        self.signal(libc::SIGTERM);
        self.wait(within)
    }
}

impl Ended {
    /// Fails unless it ended well.
    pub fn well(self, name: &str) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        let by = self.status.signal().map_or_else(|| self.status.to_string(), |signal| format!("signal {signal}"));
        bail!("{name} ended with {by} and said:\n{}", self.err.join("\n"))
    }
}

/// Lets what `command` starts run at once whenever it can: for clients, which are measuring instruments, and whose
/// reads are to come while there is one event to read.
pub fn at_once(command: &mut Command) {
    let real_time = || {
        real_time(libc::SCHED_FIFO);
        Ok(())
    };
    // SAFETY: one system call, nothing shared.
    unsafe { command.pre_exec(real_time) };
}

/// Lets this thread run at once, but not what it starts.
pub fn run_at_once() {
    real_time(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK);
}

/// Without the capability everything is measured all the same, a little less well.
fn real_time(policy: libc::c_int) {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters live through the call.
    unsafe { libc::sched_setscheduler(0, policy, &raw const lowest) };
}

fn die_with_parent() -> std::io::Result<()> {
    // SAFETY: no pointers.
    let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After `wait` there is nothing left to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
