//! What the machine does beneath a workload: counts of the probes, and of cgroup files.

mod counts;
mod event;
mod names;
mod reading;
mod series;
#[cfg(test)]
mod tests;
mod totals;

pub(super) use counts::HostCounts;
pub use event::{EVENTS, EventKind};
pub use names::{class_name, lost_cause, role_name};
pub use reading::{Pressure, Reading, Throttle};
pub use totals::{DiskTotals, RoleTotals, Totals};
