//! What sources tell of GPUs.

use std::path::Path;
use std::sync::Arc;

use super::call::Cost;
use super::event::Event;
use super::facts::{Gpu, GpuId};
use super::reading::{Activity, Memory, Reading};
use super::state::{DeviceState, DriverState};

/// One observation.
#[derive(Clone, PartialEq, Debug)]
pub enum Observation {
    /// The driver's library as a whole is in another state.
    Driver(DriverState),
    /// A device or an instance is there, or its facts changed.
    Appeared(Arc<Gpu>),
    /// A device or an instance is not there any more.
    Gone(GpuId),
    /// A device is in another state.
    State(GpuId, DeviceState),
    /// A device was read.
    Sample(Box<Sample>),
    /// Something happened to a device.
    Event(Event),
    /// What calls cost that concern no single device.
    Costs(Vec<Cost>),
}

/// What one turn brought from a device.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Which.
    pub gpu: GpuId,
    /// When its counters were read, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// What was asked for besides what is quick; `None` of a turn that failed.
    pub asked: Option<Groups>,
    /// Its values.
    pub reading: Reading,
    /// Its processes, where it was their turn and the device tells them.
    pub processes: Option<Vec<Process>>,
    /// What processes used of the multiprocessors since they were last asked for, where it was their turn; empty where nobody
    /// used any, or where that cannot be measured.
    pub uses: Option<Vec<SmUse>>,
    /// What its instances said, where it was their turn.
    pub instances: Vec<InstanceSample>,
    /// What it cost.
    pub costs: Vec<Cost>,
}

impl Sample {
    /// The same, of a turn that failed: nothing is known but what it cost.
    pub fn costs_alone(self) -> Self {
        let reading = Reading::default();
        Self { asked: None, reading, processes: None, uses: None, instances: Vec::new(), ..self }
    }
}

/// What is read in one turn besides what is quick: energy, power, utilisation, memory and throttling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Groups {
    /// The processes' use of the multiprocessors.
    pub uses: bool,
    /// Temperatures, clocks, errors, links, fans, activity, modes, and what instances say.
    pub health: bool,
    /// The list of processes.
    pub processes: bool,
}

/// What a MIG instance said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InstanceSample {
    /// Which.
    pub gpu: GpuId,
    /// Its memory.
    pub memory: Option<Memory>,
    /// Its activity.
    pub activity: Option<Activity>,
}

/// What a process is to a device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProcessKind {
    /// It computes.
    Compute,
    /// It draws.
    Graphics,
    /// It computes by way of the MPS server.
    MpsClient,
    /// It is the MPS server: what it uses, its clients use.
    MpsServer,
}

/// A process that holds a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Process id in the initial namespace.
    pub pid: u32,
    /// What it is.
    pub kind: ProcessKind,
    /// Bytes of the device's memory; `None` where the driver does not tell.
    pub memory: Option<u64>,
    /// The MIG instance that it runs in.
    pub instance: Option<u32>,
    /// Its cgroup: a path below the cgroup2 mount. `None` where it was gone before it could be looked at.
    pub cgroup: Option<Arc<Path>>,
}

/// Use of the multiprocessors by a process, in one of the driver's periods.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SmUse {
    /// Process id in the initial namespace.
    pub pid: u32,
    /// Percent of the period.
    pub sm_pct: u32,
    /// Its cgroup, as in [`Process`].
    pub cgroup: Option<Arc<Path>>,
}
