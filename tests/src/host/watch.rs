//! The probes on a test's cgroups.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use anyhow::{Context, Result};
use inferscope::bpf::host::{Begin, Calls, Host as Probes, Options};
use inferscope::bpf::object;
use inferscope::host::btf::{Btf, VMLINUX};
use inferscope::model::host::{Reading, Totals};
use inferscope::model::workload::{Engine, Workload, WorkloadId};
use inferscope::sources::host::files::Files;
use inferscope::sources::host::{self, Host, ObserveError};

use crate::cgroup::Cgroup;

const SMALL: Options = Options { workloads: 16, rows: 64 };

/// The probes, and what the agent's model keeps of them.
pub struct Watch {
    host: Host,
    totals: HashMap<WorkloadId, Totals>,
    files: HashMap<WorkloadId, Files>,
}

impl Watch {
    /// Begins to watch a workload.
    pub fn add(&mut self, workload: &Workload) -> Result<(), ObserveError> {
        self.host.add(workload)?;
        let files = Files::of(&workload.cgroup);
        if let Some(blkio) = files.blkio() {
            self.host.charge_disk(workload.id, blkio);
        }
        self.files.insert(workload.id, files);
        Ok(())
    }

    /// What a workload has done since it is watched.
    pub fn read(&mut self, id: WorkloadId) -> Option<&Totals> {
        let totals = self.totals.entry(id).or_default();
        self.host.read(id, totals).then_some(totals)
    }

    /// What its cgroup files say.
    pub fn files(&self, id: WorkloadId) -> Option<Reading> {
        self.files.get(&id).map(Files::read)
    }
}

impl Deref for Watch {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for Watch {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

/// Loads the probes, with system calls seen by the tracepoints, which see every one of them. Programs of their own are
/// given to what a test names in [`probes_with`]: all of them take minutes on an emulated processor.
pub fn probes() -> Result<Watch> {
    probes_with(|_| {})
}

/// Loads the probes and tells them something else of system calls.
pub fn probes_with(change: impl FnOnce(&mut Calls)) -> Result<Watch> {
    load(SMALL, |calls| {
        calls.functions.clear();
        change(calls);
    })
}

/// Loads the probes as the agent does.
pub fn probes_of_the_agent() -> Result<Watch> {
    load(SMALL, |_| {})
}

/// Loads the probes for so many workloads and roles.
pub fn probes_of(workloads: u32, rows: u32) -> Result<Watch> {
    load(Options { workloads, rows }, |calls| calls.functions.clear())
}

fn load(options: Options, change: impl FnOnce(&mut Calls)) -> Result<Watch> {
    let types = Btf::load(VMLINUX.as_ref())?;
    let mut calls = host::calls().context("nobody put in this architecture's system calls")?;
    change(&mut calls);
    let host = Host::new(Probes::load(object::OBJECT, &types, options, &calls, Begin::ALL)?);
    Ok(Watch { host, totals: HashMap::new(), files: HashMap::new() })
}

/// A workload that is a whole cgroup.
pub fn workload(number: u64, cgroup: &Cgroup) -> Result<Workload> {
    Ok(Workload {
        id: WorkloadId(number),
        name: Arc::from("test"),
        engine: Engine::Unknown,
        cgroup: cgroup.path().to_owned(),
        cgroup_id: cgroup.id()?,
        port: None,
        container: None,
    })
}
