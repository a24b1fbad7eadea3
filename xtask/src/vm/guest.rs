//! A virtual machine that runs tests and goes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::clock;
use super::kernel::Kernel;
use super::results::{Outcome, Reader};
use crate::run;

/// Longest silence of a guest that gives a sign of life every few seconds.
const SILENCE: Duration = Duration::from_secs(5 * 60);
/// Longest time of one test: several loads of all programs, each verified by an emulated processor.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// Most times that a guest is booted again which came to no test: kernels patch their own code while they boot, and an
/// emulated processor runs into it half done now and then.
const AGAIN: u32 = 2;
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(60);
/// Bytes of the guest's own disk.
const DISK: u64 = 1 << 30;
const INIT: &str = include_str!("init.sh");

/// What a run tells of itself.
pub(super) enum News<'a> {
    /// A test ended.
    Ended(&'a Outcome),
    /// What runs still does.
    Running(&'a str),
    /// The guest is booted again, since it came to no test, for this reason.
    Again(&'a str),
}

/// A run in a guest.
pub(super) struct Run<'a> {
    /// What its logs are called.
    pub(super) name: &'a str,
    pub(super) script: &'a str,
    /// How many tests the script has.
    pub(super) count: usize,
}

/// Boots a kernel, lets it run a script, and tells of each test how it ended and how long it took. Answers what the guest
/// said, and how often it had to be booted again.
pub(super) fn run(kernel: &Kernel, run: &Run<'_>, tell: &mut dyn FnMut(News<'_>, Duration)) -> Result<(Reader, u32)> {
    let memory = pack(kernel, run.script)?;
    let mut again = 0;
    loop {
        let (mut reader, why, silent) = boot(kernel, &memory, &format!("{}-{}", run.name, again + 1), tell)?;
        if again < AGAIN && reader.died_early() {
            again += 1;
            tell(News::Again(why), silent);
            continue;
        }
        for outcome in reader.close(why, run.count) {
            tell(News::Ended(&outcome), silent);
        }
        return Ok((reader, again));
    }
}

/// Boots once; answers what the guest said, why it says no more, and how long ago its last test ended. The logs are called
/// `name`.
fn boot(
    kernel: &Kernel,
    memory: &Path,
    name: &str,
    tell: &mut dyn FnMut(News<'_>, Duration),
) -> Result<(Reader, &'static str, Duration)> {
    let log = kernel.place.join(format!("{name}.log"));
    let mut kept = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut machine = Machine::start(kernel, memory, &kernel.place.join(format!("{name}.console.log")))?;
    let lines = lines(machine.0.stdout.take().context("the machine has no output")?);
    let mut reader = Reader::default();
    let (mut since, mut told) = (Instant::now(), Instant::now());
    let why = loop {
        let line = match lines.recv_timeout(SILENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break "the guest ended",
            Err(RecvTimeoutError::Timeout) => break "the guest fell silent",
        };
        kept.write_all(&line)?;
        kept.write_all(b"\n")?;
        if let Some(outcome) = reader.take(String::from_utf8_lossy(&line).trim_end()) {
            tell(News::Ended(&outcome), since.elapsed());
            (since, told) = (Instant::now(), Instant::now());
        } else if told.elapsed() >= PROGRESS {
            let running = reader.running();
            tell(News::Running(running.as_deref().unwrap_or("the guest's start")), since.elapsed());
            told = Instant::now();
        }
        if since.elapsed() >= LONGEST {
            break "it took too long";
        }
    };
    Ok((reader, why, since.elapsed()))
}

/// The machine's output, line by line, from a thread of its own.
fn lines(output: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            // Nobody listens any more once the guest has been given up.
            drop(sender.send(line));
        }
    });
    lines
}

/// Everything the guest begins with, as the kernel wants it.
fn pack(kernel: &Kernel, script: &str) -> Result<PathBuf> {
    let root = kernel.root();
    for directory in ["bin", "dev", "proc"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let busybox = crate::checkout::on_path("busybox").context("there is no busybox on PATH")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    fs::write(root.join("tests.sh"), script)?;
    let packed = "find . | busybox cpio -o -H newc >../initrd 2>/dev/null";
    run::run(Command::new("busybox").args(["sh", "-c", packed]).current_dir(&root))?;
    Ok(kernel.place.join("initrd"))
}

/// An empty disk, of which only what is written takes room; the guest makes its file system.
fn disk(kernel: &Kernel) -> Result<PathBuf> {
    let disk = kernel.place.join("disk");
    File::create(&disk)?.set_len(DISK)?;
    Ok(disk)
}

/// A command that the kernel kills with the thread that starts it: nobody else does where that dies by a signal.
fn tied(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// A running machine, killed when dropped.
struct Machine(Child);

impl Machine {
    /// Boots a kernel with what its memory holds at first; its console goes to a file.
    fn start(kernel: &Kernel, memory: &Path, log: &Path) -> Result<Self> {
        let mut console = std::ffi::OsString::from("file:");
        console.push(log);
        let mut command = tied("qemu-system-x86_64");
        // The same everywhere: a machine's own hardware would help where there is one, but inside of a virtual machine
        // that lends it on, guests were seen to hang while they booted.
        command.args(["-machine", "q35,accel=tcg", "-cpu", "max,la57=off", "-smp", "2", "-m", "2048"]);
        command.args(["-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot"]);
        command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(memory);
        // Left to itself the kernel finds that its clock does not run as an emulated processor does, and reads another
        // one, which is slow to read and coarse.
        let clock = clock::khz().map(|khz| format!(" tsc=reliable tsc_early_khz={khz}")).unwrap_or_default();
        command.args(["-append", &format!("console=ttyS0 panic=-1 mitigations=off{clock}")]);
        command.arg("-serial").arg(console).args(["-serial", "stdio"]);
        command.args(["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"]);
        command.args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]);
        let mut drive = std::ffi::OsString::from("if=virtio,format=raw,cache=unsafe,file=");
        drive.push(disk(kernel)?);
        command.arg("-drive").arg(drive);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(Self(command.spawn().context("cannot start setpriv, which starts qemu-system-x86_64")?))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // After its own end there is nothing left to kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn what_is_tied_dies_with_the_thread_that_started_it() {
        let start = || {
            let child = tied("sleep").arg("600").spawn().unwrap();
            let comm = format!("/proc/{}/comm", child.id());
            let deadline = Instant::now() + Duration::from_secs(60);
            while fs::read_to_string(&comm).unwrap() != "sleep\n" {
                assert!(Instant::now() < deadline, "setpriv started nothing");
                thread::yield_now();
            }
            child
        };
        let mut child = thread::spawn(start).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
