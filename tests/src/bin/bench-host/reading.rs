//! What it costs to read what the probes have counted, and the memory that it takes.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use inferscope::bpf::host::Options;
use inferscope::model::workload::WorkloadId;
use inferscope_tests::agent::{OFTEN, Setup};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::host::watch::{probes_of, workload};
use inferscope_tests::wait;
use serde::Serialize;

#[derive(Serialize, Clone)]
pub(crate) struct FlushRow {
    pub(crate) workloads: u32,
    pub(crate) us: f64,
    /// Where nothing happened since the flush before.
    pub(crate) us_idle: f64,
}

#[derive(Serialize, Clone)]
pub(crate) struct MemoryRow {
    pub(crate) workloads: u32,
    pub(crate) cpus: u32,
    /// Of the host's probes, by the formula.
    pub(crate) kernel_mib: f64,
    /// Of the whole agent; where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_mib: Option<f64>,
}

/// What it costs to read everything of many workloads, each of which did a little of everything since the last time.
pub(crate) fn flush() -> Result<Vec<FlushRow>> {
    let outer = Cgroup::create("bench-flush")?;
    let mut rows = Vec::new();
    for workloads in [1u32, 100, 1000] {
        let mut host = probes_of(workloads + 1, 2 * workloads + 2)?;
        let cgroups = (0..workloads).map(|n| outer.child(&n.to_string())).collect::<Result<Vec<_>>>()?;
        for (number, cgroup) in cgroups.iter().enumerate() {
            host.add(&workload(number as u64, cgroup)?)?;
        }
        let mut best = [f64::MAX; 2];
        for _ in 0..5 {
            for cgroup in &cgroups {
                busy(cgroup)?;
            }
            for us in &mut best {
                let begun = Instant::now();
                for number in 0..workloads {
                    host.read(WorkloadId(number.into())).context("watched")?;
                }
                *us = us.min(begun.elapsed().as_nanos() as f64 / 1000.0);
            }
        }
        rows.push(FlushRow { workloads, us: best[0], us_idle: best[1] });
    }
    Ok(rows)
}

/// Calls of several classes from within a cgroup.
fn busy(cgroup: &Cgroup) -> Result<()> {
    let home = fs::read_to_string("/proc/self/cgroup")?;
    let home = home.lines().find_map(|line| line.strip_prefix("0::/")).context("no cgroup of version 2")?;
    let home = inferscope_tests::cgroup::mount()?.join(home);
    cgroup.take(std::process::id())?;
    for _ in 0..20 {
        drop(fs::read("/proc/self/stat")?);
        drop(std::os::unix::net::UnixStream::pair()?);
        std::thread::sleep(Duration::from_micros(1));
        // SAFETY: takes nothing.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    Ok(fs::write(home.join("cgroup.procs"), std::process::id().to_string())?)
}

/// The agent's memory by workloads, and what the kernel keeps by the formula, of larger machines too.
pub(crate) fn memory() -> Result<Vec<MemoryRow>> {
    // Of the machine, not of this pinned process.
    // SAFETY: takes a number.
    let here = u32::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }).unwrap_or(1);
    let mut rows = Vec::new();
    for workloads in [1u32, 10, 100] {
        let rss = rss(workloads)?;
        rows.push(MemoryRow { rss_mib: Some(rss), ..kept(workloads, here) });
    }
    rows.extend([(100, 64), (200, 192), (255, 192)].map(|(workloads, cpus)| kept(workloads, cpus)));
    Ok(rows)
}

/// As the agent sizes it for so many workloads.
fn kept(workloads: u32, cpus: u32) -> MemoryRow {
    let slots = workloads + 1;
    let bytes = Options { workloads: slots, rows: 2 * slots }.kernel_bytes(cpus);
    MemoryRow { workloads, cpus, kernel_mib: bytes as f64 / f64::from(1 << 20), rss_mib: None }
}

/// Resident memory of the agent, after a few flushes, on workloads that did something.
fn rss(workloads: u32) -> Result<f64> {
    let cgroups = (0..workloads).map(|n| Cgroup::create(&format!("memory-{n}"))).collect::<Result<Vec<_>>>()?;
    let config = format!("{OFTEN}[watch]\nmax_workloads = {workloads}\n");
    let setup = Setup::new()?.config(&config)?;
    let agent = cgroups.iter().fold(setup, |setup, cgroup| setup.cgroup(cgroup.path())).start()?;
    cgroups.iter().try_for_each(busy)?;
    // What a flush needs for a moment it needs again and again: the peak of some is what counts.
    let begun = Instant::now();
    let mut peak = 0.0f64;
    wait::until_ok(Duration::from_secs(10), "some flushes", || {
        peak = peak.max(agent.rss_mib()?);
        Ok((begun.elapsed() > Duration::from_secs(2)).then_some(()))
    })?;
    agent.stop()?;
    Ok(peak)
}
