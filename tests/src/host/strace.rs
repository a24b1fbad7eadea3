//! What strace counts of a load that the probes watch.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use inferscope::model::workload::WorkloadId;
use inferscope::sources::host::calls::class_of;
use inferscope_common::syscall::CLASSES;

use super::load::{Load, binary};
use super::watch::{Watch, workload};
use crate::cgroup::Cgroup;
use crate::wait;

const LONG: Duration = Duration::from_secs(60);

/// Calls and errors by class.
pub type Counts = [(u64, u64); CLASSES];

/// What `strace -c` wrote, by class as far as names tell.
fn counts(text: &str) -> Counts {
    let mut sums = [(0, 0); CLASSES];
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        // % time, seconds, usecs/call, calls, errors where there are any, name.
        let (calls, errors, name) = match words[..] {
            [_, _, _, calls, name] => (calls, "0", name),
            [_, _, _, calls, errors, name] => (calls, errors, name),
            _ => continue,
        };
        if let (Ok(calls), Ok(errors), true) = (calls.parse::<u64>(), errors.parse::<u64>(), name != "total") {
            let entry = &mut sums[class_of(name) as usize];
            *entry = (entry.0 + calls, entry.1 + errors);
        }
    }
    sums
}

/// Runs `calls` in a cgroup that is watched under `id` from now on, to its end, and answers what strace counted: strace is
/// attached before the probes begin to watch, and everything that it does ends while both still look.
pub fn closed(host: &mut Watch, id: WorkloadId, cgroup: &Cgroup, threads: u64, rounds: u64) -> Result<Counts> {
    let arguments = ["calls", &threads.to_string(), &rounds.to_string()];
    let mut load = Load::start(&binary("syscall-load"), &arguments, &[cgroup])?;
    let report = tempfile::NamedTempFile::new()?;
    let process = load.process();
    let mut strace = Command::new("strace")
        .args(["-c", "-f", "-q", "-p", &process.to_string(), "-o"])
        .arg(report.path())
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run strace")?;
    let reads = format!("{} ", libc::SYS_read);
    let status = format!("/proc/{process}/status");
    wait::until(LONG, "strace to be attached and the load to be back in its read", || {
        let traced = fs::read_to_string(&status).is_ok_and(|text| !text.contains("TracerPid:\t0\n"));
        let reads =
            || fs::read_to_string(format!("/proc/{process}/syscall")).is_ok_and(|text| text.starts_with(&reads));
        (traced && reads()).then_some(())
    })?;
    host.add(&workload(id.0, cgroup)?)?;
    load.run()?;
    load.end()?;
    strace.wait()?;
    Ok(counts(&fs::read_to_string(report.path())?))
}
