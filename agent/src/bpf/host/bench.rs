//! Programs of other shapes than ours, to be measured beside them. For benchmarks.

use aya::programs::trace_point::TracePointLink;
use aya::programs::{ProgramError, TracePoint};
use aya::{Btf, BtfError, Ebpf, EbpfError, EbpfLoader};

use super::calls::{Point, point_of};
use crate::host::btf as host_btf;

/// A way to observe system calls or the scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A pair of programs that do nothing, on the entry and exit of system calls.
    EmptyPair,
    /// bcc's `syscount -L`.
    Hashes,
    /// Rezolus's.
    Pids,
    /// A program that does nothing, on switches.
    EmptySwitch,
    /// bcc's `runqlat`.
    RunQueue,
}

/// Why a shape does not run.
#[derive(thiserror::Error, Debug)]
pub enum BenchError {
    /// The kernel's types are not there.
    #[error("cannot read the kernel's types: {0}")]
    Types(#[from] host_btf::BtfError),
    /// The loader cannot read them.
    #[error("cannot read the kernel's types: {0}")]
    Btf(#[from] BtfError),
    /// The object was refused.
    #[error("the kernel refused to load: {0}")]
    Load(#[from] EbpfError),
    /// A program was refused.
    #[error("the kernel refused the program: {0}")]
    Program(#[from] ProgramError),
}

/// The programs.
pub struct Shapes {
    ebpf: Ebpf,
    btf: Btf,
}

/// Keeps a shape in place.
#[derive(Default)]
pub struct Attached {
    points: Vec<Point>,
    classic: Vec<TracePointLink>,
}

impl Attached {
    /// Number of programs in place.
    pub fn programs(&self) -> usize {
        self.points.len() + self.classic.len()
    }
}

impl Shapes {
    /// Loads the object.
    pub fn load(object: &[u8], types: &host_btf::Btf) -> Result<Self, BenchError> {
        let pid = types.offset("task_struct", &["pid"])?;
        let btf = Btf::from_sys_fs()?;
        let ebpf = EbpfLoader::new().btf(Some(&btf)).override_global("PID", &pid, true).load(object)?;
        Ok(Self { ebpf, btf })
    }

    /// Puts a shape in place.
    pub fn attach(&mut self, shape: Shape) -> Result<Attached, BenchError> {
        let mut attached = Attached::default();
        let points: &[(&'static str, &str)] = match shape {
            Shape::EmptyPair => &[("empty_exit", "sys_exit"), ("empty_enter", "sys_enter")],
            Shape::EmptySwitch => &[("empty_switch", "sched_switch")],
            Shape::RunQueue => &[("runqueue_switch", "sched_switch"), ("runqueue_wakeup", "sched_wakeup")],
            Shape::Hashes | Shape::Pids => &[],
        };
        for &(program, point) in points {
            attached.points.push(point_of(&mut self.ebpf, &self.btf, program, point)?);
        }
        let classic: &[(&str, &str)] = match shape {
            Shape::Hashes => &[("hashes_exit", "sys_exit"), ("hashes_enter", "sys_enter")],
            Shape::Pids => &[("pids_exit", "sys_exit"), ("pids_enter", "sys_enter")],
            Shape::EmptyPair | Shape::EmptySwitch | Shape::RunQueue => &[],
        };
        for &(program, point) in classic {
            attached.classic.push(self.classic(program, point)?);
        }
        Ok(attached)
    }

    fn classic(&mut self, program: &str, point: &str) -> Result<TracePointLink, ProgramError> {
        let program: &mut TracePoint = self.ebpf.program_mut(program).ok_or(ProgramError::NotLoaded)?.try_into()?;
        program.load()?;
        let attached = program.attach("raw_syscalls", point).and_then(|id| program.take_link(id));
        program.unload()?;
        attached
    }
}
