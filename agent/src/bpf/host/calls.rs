//! Attaches the programs on system calls, in one of two ways.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use aya::programs::fentry::FEntryLink;
use aya::programs::fexit::FExitLink;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::{BtfTracePoint, FEntry, FExit, ProgramError, ProgramFd};
use aya::{Btf, Ebpf};

use super::super::hooks::reason;

const ENTER: &str = "syscall_enter";
const EXIT: &str = "syscall_exit";
const CALL_ENTER: &str = "call_enter";
const CALL_EXIT: &str = "call_exit";

/// How system calls are seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// By a pair of programs on each call of interest: all other calls cost nothing.
    PerCall,
    /// By the two tracepoints that every call of the machine passes.
    Tracepoints,
    /// Not at all.
    Off,
}

impl Mode {
    /// Its name in metrics and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::PerCall => "per_call",
            Self::Tracepoints => "tracepoints",
            Self::Off => "off",
        }
    }
}

/// The links that hold the programs in place; they go when this is dropped.
#[derive(Default)]
pub(super) struct Links {
    pub(super) points: Vec<Point>,
    entries: Vec<FEntryLink>,
    exits: Vec<FExitLink>,
}

impl Links {
    pub(super) fn mode(&self) -> Mode {
        match (self.entries.is_empty(), self.points.is_empty()) {
            (false, _) => Mode::PerCall,
            (true, false) => Mode::Tracepoints,
            (true, true) => Mode::Off,
        }
    }
}

/// Puts a pair of programs on each of `functions`, or on none: the reason is the first refusal's.
pub(super) fn per_call(ebpf: &mut Ebpf, btf: &Btf, functions: &[String]) -> Result<Links, String> {
    let mut links = Links::default();
    for function in functions {
        // The exit first: an entry without its exit would leave beginnings behind.
        let exit = exit_of(ebpf, btf, function).map_err(|error| format!("{function}: {}", reason(&error)))?;
        let entry = entry_of(ebpf, btf, function).map_err(|error| format!("{function}: {}", reason(&error)))?;
        links.exits.push(exit);
        links.entries.push(entry);
    }
    if functions.is_empty() { Err("the kernel's types name no system call".to_owned()) } else { Ok(links) }
}

/// Puts the programs on the tracepoints.
pub(super) fn tracepoints(ebpf: &mut Ebpf, btf: &Btf) -> Result<Links, String> {
    let mut links = Links::default();
    for (program, point) in [(EXIT, "sys_exit"), (ENTER, "sys_enter")] {
        links.points.push(point_of(ebpf, btf, program, point).map_err(|error| reason(&error))?);
    }
    Ok(links)
}

/// Loads a program, attaches it, and lets go of it: the link keeps what it needs, and the program can be loaded for
/// the next function.
fn entry_of(ebpf: &mut Ebpf, btf: &Btf, function: &str) -> Result<FEntryLink, ProgramError> {
    let program: &mut FEntry = ebpf.program_mut(CALL_ENTER).ok_or(ProgramError::NotLoaded)?.try_into()?;
    program.load(function, btf)?;
    let attached = program.attach().and_then(|id| program.take_link(id));
    program.unload()?;
    attached
}

fn exit_of(ebpf: &mut Ebpf, btf: &Btf, function: &str) -> Result<FExitLink, ProgramError> {
    let program: &mut FExit = ebpf.program_mut(CALL_EXIT).ok_or(ProgramError::NotLoaded)?.try_into()?;
    program.load(function, btf)?;
    let attached = program.attach().and_then(|id| program.take_link(id));
    program.unload()?;
    attached
}

/// A program on a tracepoint, in place as long as this lives.
pub(super) struct Point {
    _link: BtfTracePointLink,
    program: ProgramFd,
}

impl Point {
    /// How often the program did not run since it was running on that CPU already; `None` on kernels before 5.12.
    pub(super) fn missed(&self) -> Option<u64> {
        self.info("recursion_misses:")
    }

    /// How long the program has run while the kernel took times.
    pub(super) fn run_time(&self) -> Option<Duration> {
        self.info("run_time_ns:").map(Duration::from_nanos)
    }

    fn info(&self, name: &str) -> Option<u64> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.program.as_fd().as_raw_fd())).ok()?;
        info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    }
}

/// As above, for a tracepoint.
pub(super) fn point_of(ebpf: &mut Ebpf, btf: &Btf, program: &'static str, point: &str) -> Result<Point, ProgramError> {
    let loaded: &mut BtfTracePoint = ebpf.program_mut(program).ok_or(ProgramError::NotLoaded)?.try_into()?;
    loaded.load(point, btf)?;
    let attached = loaded.attach().and_then(|id| loaded.take_link(id));
    let program = loaded.fd().and_then(|fd| Ok(fd.try_clone()?));
    loaded.unload()?;
    Ok(Point { _link: attached?, program: program? })
}
