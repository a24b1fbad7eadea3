//! Resident memory of the agent by number of workloads.

use anyhow::Result;
use inferscope_tests::agent::Setup;
use inferscope_tests::cgroup::Cgroup;
use serde::Serialize;

use crate::FLOWS_ALONE;
use crate::load::{Load, Parameters};

#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) workloads: usize,
    pub(crate) rss_mib: f64,
}

impl Row {
    pub(crate) fn cells(&self) -> Vec<String> {
        vec![self.workloads.to_string(), format!("{:.1}", self.rss_mib)]
    }
}

/// Each workload serves a few streams, so that its counters are touched.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for workloads in [1, 10, 100] {
        let cgroups = (0..workloads).map(|i| Cgroup::create(&format!("memory-{i}"))).collect::<Result<Vec<_>>>()?;
        let watched =
            cgroups.iter().fold(Setup::new()?.config(FLOWS_ALONE)?, |setup, cgroup| setup.cgroup(cgroup.path()));
        let agent = watched.start()?;
        for cgroup in &cgroups {
            Load::start(cgroup, Parameters { requests_per_s: 20, tokens: 20, seconds: 1 })?.run()?;
        }
        rows.push(Row { workloads, rss_mib: agent.rss_mib()? });
        agent.stop()?;
    }
    Ok(rows)
}
