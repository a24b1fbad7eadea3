//! GPUs: what is observed of them, and what becomes of it. Knows no driver.
//!
//! [`Observation`]s go into a [`Gpus`], which keeps the latest readings, adds up counters, and splits energy over workloads;
//! flushes take [`GpuBatch`]es and points of workloads out of it.

mod batch;
mod call;
mod charge;
mod counters;
mod device;
mod event;
mod facts;
mod gauges;
mod observation;
mod owners;
mod reading;
mod shares;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod workload;
mod xid;

pub use batch::GpuBatch;
pub use call::{Call, Cost};
pub use event::{EVENTS, Event, EventKind, ThrottleCause, XidSource};
pub use facts::{Gpu, GpuId, Instance, TemperatureLimits};
pub use observation::{Groups, InstanceSample, Observation, Process, ProcessKind, Sample, SmUse};
pub use owners::{CgroupOwners, Served};
pub use reading::{Activity, Fan, Memory, NvlinkErrors, Reading, Remapped, Throttle};
pub use state::{DeviceState, DriverState};
pub use store::{Gpus, Limits};
