//! What the probes of the host cost: nanoseconds added to a system call and to a switch, beside the ways of others; what a
//! reading costs; what they keep in memory. Needs root; `cargo xtask bench host` runs it.

mod headers;
mod measure;
mod reading;
mod report;
mod rig;
mod rows;
mod tools;

use anyhow::Result;

use crate::report::Report;
use crate::rig::Rig;

fn main() -> Result<()> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let wants = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let mut report = Report::begin()?;
    let mut rig = Rig::new()?;
    if wants("syscalls") {
        report.syscalls = rows::syscalls(&mut rig, measure::getppid, rows::CALLS)?;
        report.spinning = rows::syscalls(&mut rig, measure::give_way, rows::CALLS)?;
    }
    if wants("tools") {
        let shape = report.syscalls.iter().find(|row| row.design == "bcc_shape").map(|row| row.ns_added_per_call);
        report.syscalls.extend(tools::measure(&mut rig, shape)?);
    }
    if wants("scheduler") {
        report.scheduler = rows::scheduler(&mut rig)?;
    }
    drop(rig);
    if wants("flush") {
        report.flush = reading::flush()?;
    }
    if wants("memory") {
        report.memory = reading::memory()?;
    }
    report.finish()
}
