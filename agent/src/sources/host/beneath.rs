//! The host beneath every workload: by probes where the kernel allows them, and by cgroup files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inferscope_common::oom::OomKill;

use super::files::{self, Files};
use super::{Host, ObserveError, Settings, devices, processes};
use crate::governor::{Detail, Part};
use crate::host::{LIST, read_text};
use crate::model::host::{Reading, Totals};
use crate::model::workload::{Workload, WorkloadId};

/// Watches the host beneath workloads.
pub struct Beneath {
    probes: Option<Host>,
    wanted: Settings,
    watched: HashMap<WorkloadId, Watched>,
    /// This machine has controllers of version 1.
    hybrid: bool,
}

struct Watched {
    cgroup: PathBuf,
    /// Its cgroup's files; `None` where other workloads share the cgroup, of which the files tell as well.
    files: Option<Files>,
}

impl Beneath {
    /// Watches nothing yet. Without probes, cgroup files are all there is. `wanted`: what is to be observed if the budget
    /// allows it.
    pub fn new(probes: Option<Host>, wanted: Settings) -> Self {
        Self { probes, wanted, watched: HashMap::new(), hybrid: files::has_v1(&mounts()) }
    }

    /// What of the probes can be shed.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let (calls, sched) = (self.wanted.syscalls, self.wanted.scheduler);
        let parts = [(Part::SyscallClocks, calls), (Part::Scheduler, sched), (Part::Syscalls, calls)];
        let any = self.probes.is_some();
        parts.into_iter().filter(move |(_, wanted)| any && *wanted).map(|(part, _)| part)
    }

    /// Brings a detail into force, as far as it is wanted.
    pub fn apply(&mut self, detail: Detail) {
        let Some(host) = &mut self.probes else { return };
        host.set_sampling_of_all(detail.syscall_clocks);
        host.probes_mut().observe_calls(self.wanted.syscalls && detail.syscalls);
        host.probes_mut().observe_sched(self.wanted.scheduler && detail.scheduler);
    }

    /// Calls of the whole machine so far that did nothing but spin; `None` where they pass no program.
    pub fn spun(&self) -> Option<u64> {
        self.probes.as_ref()?.probes().spun()
    }

    /// How long the probes have run while the kernel took times.
    pub fn run_time(&self) -> Duration {
        self.probes.as_ref().map(|host| host.probes().run_time()).unwrap_or_default()
    }

    /// The probes, for their state and to switch them.
    pub fn probes(&self) -> Option<&Host> {
        self.probes.as_ref()
    }

    /// As above.
    pub fn probes_mut(&mut self) -> Option<&mut Host> {
        self.probes.as_mut()
    }

    /// Begins to watch a workload. Its files are read even where its probes fail.
    pub fn add(&mut self, workload: &Workload) -> Result<(), ObserveError> {
        let files = workload.port.is_none().then(|| Files::of(&workload.cgroup));
        let begun = self.probes.as_mut().map_or(Ok(()), |probes| probes.add(workload));
        self.watched.insert(workload.id, Watched { cgroup: workload.cgroup.clone(), files });
        self.charge_disk(workload.id);
        begun
    }

    /// Ceases to watch a workload. Read it before.
    pub fn remove(&mut self, id: WorkloadId) {
        self.watched.remove(&id);
        if let Some(probes) = &mut self.probes {
            probes.remove(id);
        }
    }

    /// Looks for what came meanwhile: processes, which change roles and cgroups of version 1, and GPUs' drivers. `server`
    /// tells the first process of a workload that shares its cgroup.
    pub fn refresh(&mut self, server: impl Fn(WorkloadId) -> Option<u32>) {
        if let Some(probes) = &mut self.probes {
            probes.probes_mut().set_gpu_majors(&devices::gpus());
        }
        let all: Vec<WorkloadId> = self.watched.keys().copied().collect();
        let mut parents = None;
        for id in all {
            if let Some(Watched { cgroup, files: Some(files) }) = self.watched.get_mut(&id).filter(|_| self.hybrid)
                && files.is_unified_alone()
            {
                // There may be a process by now that tells where the others are.
                *files = Files::of(cgroup);
                self.charge_disk(id);
            }
            let Some(probes) = &mut self.probes else { continue };
            match server(id) {
                Some(first) => {
                    probes.claim(id, &processes::family(first, parents.get_or_insert_with(processes::parents)));
                }
                None => probes.refresh(id),
            }
        }
    }

    /// Names the first process of a workload that shares its cgroup.
    pub fn claim(&mut self, id: WorkloadId, first: u32) {
        if let Some(probes) = &mut self.probes {
            probes.claim(id, &processes::family(first, &processes::parents()));
        }
    }

    /// As [`Host::read`].
    pub fn read(&self, id: WorkloadId, into: &mut Totals) -> bool {
        self.probes.as_ref().is_some_and(|probes| probes.read(id, into))
    }

    /// Reads a workload's cgroup files; `None` where it is not watched, or has none of its own.
    pub fn files(&self, id: WorkloadId) -> Option<Reading> {
        self.watched.get(&id)?.files.as_ref().map(Files::read)
    }

    /// As [`Host::kills`].
    pub fn kills(&mut self, take: impl FnMut(WorkloadId, OomKill)) {
        if let Some(probes) = &mut self.probes {
            probes.kills(take);
        }
    }

    fn charge_disk(&mut self, id: WorkloadId) {
        let blkio = self.watched.get(&id).and_then(|watched| watched.files.as_ref()).and_then(Files::blkio);
        if let (Some(probes), Some(blkio)) = (&mut self.probes, blkio) {
            probes.charge_disk(id, blkio);
        }
    }
}

impl Files {
    /// Those of a workload, as its first process tells.
    pub fn of(cgroup: &Path) -> Self {
        Self::find(cgroup, &mounts(), &membership(cgroup))
    }
}

fn mounts() -> String {
    read_text(Path::new("/proc/mounts"), LIST).unwrap_or_default()
}

fn membership(cgroup: &Path) -> String {
    processes::of_cgroup(cgroup).first().map(|&process| processes::membership(process)).unwrap_or_default()
}
