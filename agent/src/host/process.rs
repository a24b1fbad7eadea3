//! What is known of a process. Its command line is its own to write: bounded, and never trusted.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::patience::Patience;
use super::{Host, read_bytes, read_text};

/// Bytes kept of a command line; a title of any server fits, the arguments of most do.
const COMMAND_LINE: u64 = 4096;
/// Arguments kept.
const ARGUMENTS: usize = 64;
/// Longest wait for a command line.
const DEADLINE: Duration = Duration::from_millis(100);
/// Bytes of `/proc/PID/stat`: a name of 64 bytes at most, and numbers.
const STAT: u64 = 4096;
/// Descriptors looked through in search of a GPU.
const DESCRIPTORS: usize = 4096;
/// Children read of one process, and its threads asked for them.
const CHILDREN: usize = 256;

/// A process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// When it began, in clock ticks since the machine did: tells it from a later one with the same id.
    pub start: u64,
    /// Its short name, 15 bytes at most.
    pub comm: String,
    /// Its arguments, or the title that it gave itself; empty for kernel threads and where it does not read in time.
    pub command_line: Vec<String>,
    /// The file it runs, where this process may know.
    pub exe: Option<PathBuf>,
}

impl Process {
    /// Reads a process; `None` when it is gone.
    pub fn read(host: &Host, pid: u32, patience: &Patience) -> Option<Self> {
        let (comm, parent, start) = stat(host, pid)?;
        let path = host.of_process(pid, "cmdline");
        let line = patience.within(DEADLINE, move || read_bytes(&path, COMMAND_LINE).ok()).unwrap_or_default();
        let exe = fs::read_link(host.of_process(pid, "exe")).ok();
        Some(Self { pid, parent, start, comm, command_line: arguments(&line), exe })
    }
}

/// When a process began ([`Process::start`]); `None` when it is gone.
pub fn start(host: &Host, pid: u32) -> Option<u64> {
    stat(host, pid).map(|(_, _, start)| start)
}

/// A process's parent; `None` when it is gone.
pub fn parent(host: &Host, pid: u32) -> Option<u32> {
    stat(host, pid).map(|(_, parent, _)| parent)
}

/// Name, parent and start.
fn stat(host: &Host, pid: u32) -> Option<(String, u32, u64)> {
    parse_stat(&read_text(&host.of_process(pid, "stat"), STAT)?)
}

fn parse_stat(text: &str) -> Option<(String, u32, u64)> {
    // The name may hold anything, closing brackets too.
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let comm = text.get(open + 1..close)?.to_owned();
    let mut fields = text.get(close + 1..)?.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    Some((comm, parent, fields.nth(17)?.parse().ok()?))
}

fn arguments(line: &[u8]) -> Vec<String> {
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    if line.is_empty() {
        return Vec::new();
    }
    let mut arguments: Vec<String> =
        line.split(|&byte| byte == 0).take(ARGUMENTS).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    // A title that replaced longer arguments may leave a tail of zeroes.
    while arguments.last().is_some_and(String::is_empty) {
        arguments.pop();
    }
    arguments
}

/// Children of a process, a few hundred at most. Empty where the kernel does not tell (CONFIG_PROC_CHILDREN).
pub fn children(host: &Host, pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(host.of_process(pid, "task")).into_iter().flatten().flatten();
    let lists = threads.take(CHILDREN).filter_map(|thread| read_text(&thread.path().join("children"), STAT));
    let children =
        lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>());
    children.take(CHILDREN).collect()
}

/// True where a process computes on a GPU: it holds the device through which CUDA or ROCm contexts are made.
/// One that merely reads sensors does not.
pub fn computes_on_gpu(host: &Host, pid: u32) -> bool {
    has_open(host, pid, |target| target.starts_with(b"/dev/nvidia-uvm") || target == b"/dev/kfd")
}

/// Processes that keep NVIDIA's driver in use, with their names; of other users, only root sees them.
pub fn holders_of_nvidia(host: &Host) -> Vec<(u32, String)> {
    let holds = |pid: &u32| has_open(host, *pid, |target| target.starts_with(b"/dev/nvidia"));
    host.pids().into_iter().filter(holds).filter_map(|pid| Some((pid, stat(host, pid)?.0))).collect()
}

fn has_open(host: &Host, pid: u32, is: impl Fn(&[u8]) -> bool) -> bool {
    let descriptors = fs::read_dir(host.of_process(pid, "fd")).into_iter().flatten().flatten().take(DESCRIPTORS);
    descriptors.into_iter().any(|descriptor| {
        fs::read_link(descriptor.path()).is_ok_and(|target| is(target.as_os_str().as_encoded_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;

    #[test]
    fn names_may_hold_anything() {
        let stat = "12 (a) S 1 (b) S) S 34 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2\n";
        assert_eq!(parse_stat(stat), Some(("a) S 1 (b) S".to_owned(), 34, 987_654)));
        for broken in ["", "12", "12 )(", "12 (a) S", "12 (a) S x 1", "12 (a) S 34 12 12 0"] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn titles_and_arguments() {
        assert_eq!(arguments(b"vllm\0serve\0m\0"), ["vllm", "serve", "m"]);
        assert_eq!(arguments(b"VLLM::APIServer_0\0\0\0\0"), ["VLLM::APIServer_0"]);
        assert_eq!(arguments(b"a\0\0b\0"), ["a", "", "b"]);
        assert_eq!(arguments(b"\xff\0"), ["\u{fffd}"]);
        assert!(arguments(b"").is_empty() && arguments(b"\0\0").is_empty());
        assert_eq!(arguments(&b"x\0".repeat(1000)).len(), ARGUMENTS);
    }

    #[test]
    fn a_command_line_that_hangs_leaves_the_name() {
        let machine = Machine::new();
        machine.process(7, "stuck", &[]);
        machine.fifo("proc/7/cmdline");
        let patience = Patience::default();
        let process = Process::read(machine.host(), 7, &patience).unwrap();
        assert_eq!((process.comm.as_str(), process.command_line.len()), ("stuck", 0));
        assert_eq!(patience.stuck(), 1);
        machine.release_fifo("proc/7/cmdline");
    }

    #[test]
    fn computing_is_told_from_reading_sensors() {
        let machine = Machine::new();
        for (pid, device) in [(7, "/dev/nvidia0"), (8, "/dev/nvidia-uvm"), (9, "/dev/kfd"), (10, "/dev/null")] {
            machine.process(pid, "x", &["x"]);
            machine.link(&format!("proc/{pid}/fd/5"), device);
        }
        let computing: Vec<u32> = (6..=11).filter(|&pid| computes_on_gpu(machine.host(), pid)).collect();
        assert_eq!(computing, [8, 9]);
        assert_eq!(holders_of_nvidia(machine.host()), [(7, "x".to_owned()), (8, "x".to_owned())]);
    }

    #[test]
    fn children_of_all_threads() {
        let machine = Machine::new();
        machine.file("proc/7/task/7/children", "8 9 ");
        machine.file("proc/7/task/70/children", "10");
        let mut found = children(machine.host(), 7);
        found.sort_unstable();
        assert_eq!(found, [8, 9, 10]);
        assert!(children(machine.host(), 8).is_empty());
    }
}
