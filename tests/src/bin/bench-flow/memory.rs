//! Resident memory of the agent by number of workloads.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use inferscope_tests::agent::Setup;
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::receiver::Receiver;
use serde::Serialize;

use crate::FLOWS_ALONE;
use crate::load::{Load, Parameters};

/// The most that so many workloads may need.
const GOAL_MIB: f64 = 30.0;
const GOAL_WORKLOADS: usize = 100;

/// Loads that run side by side.
const AT_ONCE: usize = 10;
const SHIPPED_WITHIN: Duration = Duration::from_secs(60);

/// What the agent is asked to do.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// Flows, which are not shipped.
    Flows,
    /// What it does by itself, host probes included, within its own budget, shipped to an OTLP endpoint.
    Default,
}

#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) configuration: Asked,
    pub(crate) workloads: usize,
    /// At the end.
    pub(crate) rss_mib: f64,
    /// At most.
    pub(crate) peak_mib: f64,
}

pub(crate) const HEAD: [&str; 4] = ["configuration", "workloads", "resident MiB", "peak MiB"];

impl Row {
    pub(crate) fn cells(&self) -> Vec<String> {
        let figures = [self.rss_mib, self.peak_mib].map(|mib| format!("{mib:.1}"));
        [self.configuration.name().to_owned(), self.workloads.to_string()].into_iter().chain(figures).collect()
    }
}

impl Asked {
    fn name(self) -> &'static str {
        match self {
            Self::Flows => "flows alone, nothing shipped",
            Self::Default => "default, shipped by OTLP",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Flows => FLOWS_ALONE,
            // Named, so that nothing is put in its place.
            Self::Default => "[budget]\n",
        }
    }
}

pub(crate) fn measure() -> Result<Vec<Row>> {
    let rows = [Asked::Flows, Asked::Default].into_iter();
    rows.flat_map(|asked| [1, 10, GOAL_WORKLOADS].map(|workloads| measure_one(asked, workloads))).collect()
}

/// Each workload serves a few streams, so that its counters are touched.
fn measure_one(configuration: Asked, workloads: usize) -> Result<Row> {
    let cgroups = (0..workloads).map(|i| Cgroup::create(&format!("memory-{i}"))).collect::<Result<Vec<_>>>()?;
    let setup = Setup::new()?.config(configuration.config())?;
    let mut setup = cgroups.iter().fold(setup, |setup, cgroup| setup.cgroup(cgroup.path()));
    let receiver = (configuration == Asked::Default).then(Receiver::start).transpose()?;
    if let Some(receiver) = &receiver {
        setup = setup.grpc(&receiver.endpoint());
    }
    let agent = setup.start()?;
    let mut requests = 0;
    for some in cgroups.chunks(AT_ONCE) {
        requests += serve(some)?;
    }
    if let Some(receiver) = &receiver {
        let all = |metered: u64| (metered >= requests).then_some(());
        receiver.until(SHIPPED_WITHIN, "metrics of every request", |received| {
            all(received.total("gen_ai.server.request.duration", &[]).count)
        })?;
    }
    let row = Row { configuration, workloads, rss_mib: agent.rss_mib()?, peak_mib: agent.peak_mib()? };
    agent.stop()?;
    Ok(row)
}

/// Lets a server in each cgroup serve; returns how many requests.
fn serve(cgroups: &[Cgroup]) -> Result<u64> {
    let parameters = Parameters { requests_per_s: 20, tokens: 20, seconds: 1 };
    let one = |cgroup| anyhow::Ok(Load::start(cgroup, parameters)?.run()?.requests);
    thread::scope(|scope| {
        let loads: Vec<_> = cgroups.iter().map(|cgroup| scope.spawn(move || one(cgroup))).collect();
        loads.into_iter().map(|load| load.join().unwrap_or_else(|_| Err(anyhow!("a load panicked")))).sum()
    })
}

/// What was measured beside what it may be.
pub(crate) fn compared(rows: &[Row]) -> String {
    let goal = format!("Goal: {GOAL_MIB:.0} MiB resident with {GOAL_WORKLOADS} workloads.");
    let with_all = rows.iter().filter(|row| row.workloads == GOAL_WORKLOADS);
    let lines = with_all.map(|row| {
        let kept = if row.rss_mib <= GOAL_MIB { "kept" } else { "MISSED" };
        format!(" {}: {kept}, {:.1} MiB, {:.1} at most.", row.configuration.name(), row.rss_mib, row.peak_mib)
    });
    std::iter::once(goal).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_goal_is_said_to_be() {
        let row =
            |configuration, workloads, rss_mib| Row { configuration, workloads, rss_mib, peak_mib: rss_mib + 1.0 };
        let rows = [row(Asked::Flows, 100, 21.04), row(Asked::Default, 10, 99.0), row(Asked::Default, 100, 30.1)];
        let said = compared(&rows);
        assert!(said.contains("flows alone, nothing shipped: kept, 21.0 MiB, 22.0 at most."), "{said}");
        assert!(said.contains("default, shipped by OTLP: MISSED, 30.1 MiB"), "{said}");
        assert!(!said.contains("99"), "{said}");
    }
}
