//! Runs the flow programs on packets of our own, by the kernel's test run. For benchmarks.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use aya::maps::{Array, MapError, SkStorage};
use aya::programs::{self, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, ProgramError, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use inferscope_common::flow::{FLOW_BYTES, SlotKey};

use super::{Kernel, Key, load};

/// What the kernel half keeps for a connection.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct FlowBytes(pub [u8; FLOW_BYTES]);

// SAFETY: bytes.
unsafe impl Pod for FlowBytes {}

/// A program to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Does nothing: the floor.
    Empty,
    /// What runs on segments that arrive.
    Ingress,
    /// What runs on segments that leave.
    Egress,
}

/// Why a test run failed.
#[derive(thiserror::Error, Debug)]
pub enum BenchError {
    /// The object was refused.
    #[error("the kernel refused to load: {0}")]
    Load(#[from] EbpfError),
    /// A program was refused, or failed.
    #[error("the kernel refused the program: {0}")]
    Program(#[from] ProgramError),
    /// The cgroup cannot be opened.
    #[error("cannot open the cgroup: {0}")]
    Cgroup(#[from] io::Error),
    /// A map is missing or of another shape.
    #[error("a map is not as expected: {0}")]
    Map(#[from] MapError),
    /// A map is missing.
    #[error("the object has no map {0}")]
    NoMap(&'static str),
}

/// The programs, loaded for test runs.
pub struct TestRuns {
    ebpf: Ebpf,
}

/// `tstamp` stands in `struct __sk_buff` after `gso_segs` and the pointer to the socket, at this byte.
const TSTAMP_AT: usize = 152;
/// Bytes of `struct __sk_buff`.
const CONTEXT: usize = 192;

impl TestRuns {
    /// Loads the programs so that they take a packet again and again.
    pub fn load(object: &[u8]) -> Result<Self, BenchError> {
        let mut ebpf =
            EbpfLoader::new().allow_unsupported_maps().override_global("REPLAY", &1u32, true).load(object)?;
        for name in [Program::Empty, Program::Ingress, Program::Egress].map(name) {
            flow_program(&mut ebpf, name)?.load()?;
        }
        Ok(Self { ebpf })
    }

    /// Counts under `slot` what belongs to `key`.
    pub fn observe(&mut self, key: SlotKey, slot: u32) -> Result<(), BenchError> {
        let map = self.ebpf.map_mut("SLOTS").ok_or(BenchError::NoMap("SLOTS"))?;
        let mut slots = aya::maps::HashMap::<_, Key, u32>::try_from(map)?;
        Ok(slots.insert(Key(key), slot, 0)?)
    }

    /// Lets every test run begin with this flow; `None`: with a socket that nobody has seen.
    pub fn seed(&mut self, flow: Option<&FlowBytes>) -> Result<(), BenchError> {
        let map = self.ebpf.map_mut("SEED").ok_or(BenchError::NoMap("SEED"))?;
        let mut seed = Array::<_, FlowBytes>::try_from(map)?;
        Ok(seed.set(0, flow.copied().unwrap_or(FlowBytes([0; FLOW_BYTES])), 0)?)
    }

    /// Runs a program on an Ethernet frame `repeat` times; the mean time of one run.
    /// `sent`: TCP's stamp on a packet that leaves, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn run(&mut self, program: Program, frame: &[u8], sent: u64, repeat: u32) -> Result<Duration, BenchError> {
        let mut context = [0; CONTEXT];
        context[TSTAMP_AT..TSTAMP_AT + 8].copy_from_slice(&sent.to_ne_bytes());
        let options = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), repeat, ..TestRunOptions::new() };
        Ok(flow_program(&mut self.ebpf, name(program))?.test_run(options)?.duration)
    }

    /// Lets the empty program see what leaves a cgroup too, for as long as this lives: the floor among real connections.
    pub fn attach_empty(&mut self, cgroup: &Path) -> Result<(), BenchError> {
        let directory = File::open(cgroup)?;
        let program = flow_program(&mut self.ebpf, name(Program::Empty))?;
        program.attach(directory, CgroupSkbAttachType::Egress, CgroupAttachMode::Single)?;
        Ok(())
    }

    /// As [`Kernel::run_stats`], for one program.
    pub fn run_stats(&self, program: Program) -> Result<(u64, Duration), BenchError> {
        Ok(run_stats(&self.ebpf, name(program))?)
    }
}

fn name(program: Program) -> &'static str {
    match program {
        Program::Empty => "empty",
        Program::Ingress => load::INGRESS,
        Program::Egress => load::EGRESS,
    }
}

fn flow_program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut CgroupSkb, ProgramError> {
    ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
}

impl Kernel {
    /// What is kept for a socket of this process, if anything: the state that a test run can go on from.
    pub fn flow_of(&self, socket: &impl AsRawFd) -> Option<FlowBytes> {
        let map = self.ebpf.map("FLOWS")?;
        SkStorage::<_, FlowBytes>::try_from(map).ok()?.get(socket, 0).ok()
    }

    /// Instructions that the kernel's verifier went through for each loaded program, of a million that it
    /// allows; where it tells (Linux 5.16 or later).
    pub fn verified_instructions(&self) -> Vec<(String, u32)> {
        let count =
            |program: &programs::Program| program.info().ok().and_then(|info| info.verified_instruction_count());
        let programs = self.ebpf.programs();
        programs.filter_map(|(name, program)| Some((name.to_owned(), count(program)?))).collect()
    }

    /// How often each flow program ran, and for how long altogether, since the kernel's statistics
    /// were switched on (`kernel.bpf_stats_enabled`): egress, ingress.
    pub fn run_stats(&self) -> Result<[(u64, Duration); 2], ProgramError> {
        let mut stats = [(0, Duration::ZERO); 2];
        for (stat, name) in stats.iter_mut().zip([load::EGRESS, load::INGRESS]) {
            *stat = run_stats(&self.ebpf, name)?;
        }
        Ok(stats)
    }
}

fn run_stats(ebpf: &Ebpf, name: &str) -> Result<(u64, Duration), ProgramError> {
    let info = ebpf.program(name).ok_or(ProgramError::NotLoaded)?.info()?;
    Ok((info.run_count(), info.run_time()))
}
