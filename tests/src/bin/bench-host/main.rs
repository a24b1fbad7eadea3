//! What the probes of the host cost: nanoseconds added to a system call and to a switch, beside the ways of others; what a
//! reading costs; what they keep in memory. Needs root; `cargo xtask bench host` runs it.

mod guest;
mod headers;
mod measure;
mod reading;
mod report;
mod rig;
mod rows;
mod tools;

use anyhow::Result;
use inferscope_tests::host::watch::probes_of_the_agent;

use crate::measure::SLICES;
use crate::report::Report;
use crate::rig::{Pace, Rig};

const PACE: Pace = Pace { rounds: 21, keeps_ours: false, slices: SLICES };

fn main() -> Result<()> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    match only.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["in-guest"] => return guest::measure(),
        ["of-guest", figures] => return guest::report(figures.as_ref()),
        _ => {}
    }
    let wants = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let mut report = Report::begin()?;
    let mut rig = Rig::new(probes_of_the_agent()?, PACE)?;
    if wants("syscalls") {
        [report.syscalls] = rows::syscalls(&mut rig, [measure::getppid], &rows::CALLS)?;
        [report.spinning] = rows::syscalls(&mut rig, [measure::give_way], &rows::CALLS)?;
    }
    if wants("tools") {
        let tools = tools::measure(&mut rig, &report.syscalls)?;
        report.syscalls.extend(tools);
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
