//! Attaches the programs on system calls, in one of two ways.

use aya::programs::fentry::FEntryLink;
use aya::programs::fexit::FExitLink;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::{BtfTracePoint, FEntry, FExit, ProgramError, ProgramFd};
use aya::{Btf, Ebpf};

use super::super::hooks::reason;
use super::placed::Placed;
use crate::host::own;

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
    entries: Vec<Placed<FEntryLink>>,
    exits: Vec<Placed<FExitLink>>,
}

impl Links {
    pub(super) fn mode(&self) -> Mode {
        match (self.entries.is_empty(), self.points.is_empty()) {
            (false, _) => Mode::PerCall,
            (true, false) => Mode::Tracepoints,
            (true, true) => Mode::Off,
        }
    }

    /// All programs in place.
    pub(super) fn programs(&self) -> impl Iterator<Item = &ProgramFd> {
        let entries = self.entries.iter().map(|placed| &placed.program);
        let exits = self.exits.iter().map(|placed| &placed.program);
        self.points.iter().map(|point| &point.program).chain(entries).chain(exits)
    }
}

/// Puts a pair of programs on each of `functions`, or on none: the reason is the first refusal's.
pub(super) fn per_call(ebpf: &mut Ebpf, btf: &Btf, functions: &[String]) -> Result<Links, String> {
    let mut links = Links::default();
    // A program and its link each, of an entry and an exit: more than many a service may open until it asks for it.
    own::allow_files();
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

/// Loads a program, attaches it, and lets go of it, so that it can be loaded for the next function: a descriptor stays,
/// by which the kernel tells what it costs.
macro_rules! place {
    ($kind:ty, $ebpf:expr, $program:expr, $at:expr, $btf:expr) => {{
        let program: &mut $kind = $ebpf.program_mut($program).ok_or(ProgramError::NotLoaded)?.try_into()?;
        program.load($at, $btf)?;
        let attached = program.attach().and_then(|id| program.take_link(id));
        let fd = program.fd().and_then(|fd| Ok(fd.try_clone()?));
        program.unload()?;
        Ok(Placed { _link: attached?, program: fd? })
    }};
}

fn entry_of(ebpf: &mut Ebpf, btf: &Btf, function: &str) -> Result<Placed<FEntryLink>, ProgramError> {
    place!(FEntry, ebpf, CALL_ENTER, function, btf)
}

fn exit_of(ebpf: &mut Ebpf, btf: &Btf, function: &str) -> Result<Placed<FExitLink>, ProgramError> {
    place!(FExit, ebpf, CALL_EXIT, function, btf)
}

/// A program on a tracepoint.
pub(super) type Point = Placed<BtfTracePointLink>;

/// As above, for a tracepoint.
pub(super) fn point_of(ebpf: &mut Ebpf, btf: &Btf, program: &str, point: &str) -> Result<Point, ProgramError> {
    place!(BtfTracePoint, ebpf, program, point, btf)
}
