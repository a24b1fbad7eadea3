//! GPUs beside the flows: what their source observed, joined with workloads. Nothing in here waits.

use std::collections::HashMap;
use std::sync::Arc;

use inferscope_common::flow::Role;
use tokio::sync::watch;

use super::progress::Progress;
use crate::bpf::Steps;
use crate::clock::{Clock, monotonic_nanos};
use crate::host::cgroup::Hierarchy;
use crate::host::{Host, process};
use crate::model::batch::{Batch, Point, WorkloadBatch};
use crate::model::gpu::{CgroupOwners, DriverState, Gpus, Limits, Observation};
use crate::model::request::Request;
use crate::model::workload::{Workload, WorkloadId};
use crate::sources::gpu::GpuSource;

/// Shortest time between two looks at how far workloads are, in nanoseconds: a little less than between two looks into the
/// ring, so that one that comes early counts.
const TICK: u64 = 900_000_000;
/// How long it is believed whose a process is, in nanoseconds.
const OWNERS: u64 = 10_000_000_000;

/// GPUs, and what workloads use of them.
pub struct GpuWatch {
    source: GpuSource,
    gpus: Gpus,
    host: Host,
    hierarchy: Hierarchy,
    owners: CgroupOwners,
    owners_until: u64,
    progress: HashMap<WorkloadId, Progress>,
    ticked: u64,
    /// Workloads that ended: forgotten after their last points.
    gone: Vec<WorkloadId>,
    driver: watch::Sender<Option<DriverState>>,
}

impl GpuWatch {
    /// Takes what `source` observes. `driver` is told each state of the driver.
    pub fn new(
        source: GpuSource,
        limits: Limits,
        host: Host,
        hierarchy: Hierarchy,
        driver: watch::Sender<Option<DriverState>>,
    ) -> Self {
        Self {
            source,
            gpus: Gpus::new(limits),
            owners: CgroupOwners::new(&hierarchy.mount, [], &|_| None),
            host,
            hierarchy,
            owners_until: 0,
            progress: HashMap::new(),
            ticked: 0,
            gone: Vec::new(),
            driver,
        }
    }

    /// Devices and driver as they are known.
    pub fn gpus(&self) -> &Gpus {
        &self.gpus
    }

    /// Observations that were lost so far.
    pub fn lost(&self) -> u64 {
        self.source.lost()
    }

    /// Lets go of every device, within two seconds; false where a call that is stuck keeps one.
    pub fn stop(self) -> bool {
        self.source.stop()
    }

    /// Asks for readings that are fresh at the flush to come.
    pub(super) fn refresh(&self) {
        self.source.refresh();
    }

    /// Whose processes are is to be found out anew: workloads came or went.
    pub(super) fn workloads_changed(&mut self) {
        self.owners_until = 0;
    }

    /// Takes the observations that wait. `served` tells the workloads there are, with the topmost process of each one's server.
    pub(super) fn poll<'a, S>(&mut self, clock: Clock, served: impl FnOnce() -> S)
    where
        S: IntoIterator<Item = (&'a Arc<Workload>, Option<u32>)>,
    {
        let now = monotonic_nanos();
        let Self { source, gpus, owners, host, driver, hierarchy, .. } = self;
        let parent = |pid: u32| process::parent(host, pid);
        if self.owners_until <= now {
            self.owners_until = now + OWNERS;
            let served = served().into_iter().map(|(workload, pid)| (&**workload, pid));
            *owners = CgroupOwners::new(&hierarchy.mount, served, &parent);
        }
        let unix = clock.unix(now);
        source.poll(|observation| {
            if let Observation::Driver(state) = &observation {
                driver.send_replace(Some(state.clone()));
            }
            gpus.observe(observation, unix, &mut |pid, cgroup| {
                // As this process's own cgroup namespace names it.
                let place = hierarchy.place(&hierarchy.directory(cgroup.to_str()?)?)?;
                owners.find(pid, place.as_ref(), &parent)
            });
        });
    }

    /// Takes a finished request.
    pub(super) fn request(&mut self, request: &Request) {
        if request.role == Role::Server && self.gpus.has(request.workload) {
            self.progress.entry(request.workload).or_default().request(request, self.ticked);
        }
    }

    /// Once a second: how far each workload with a GPU is. `steps` tells it; `None` where that cannot be read.
    pub(super) fn tick(
        &mut self,
        workloads: impl Iterator<Item = WorkloadId>,
        steps: impl Fn(WorkloadId) -> Option<Steps>,
    ) {
        let now = monotonic_nanos();
        if now < self.ticked + TICK {
            return;
        }
        self.gpus.settle();
        for id in workloads {
            if self.gpus.has(id)
                && let Some(steps) = steps(id)
            {
                let progress = self.progress.entry(id).or_default();
                progress.advance(steps, now.saturating_sub(self.ticked));
                self.gpus.progress(id, now, progress.tokens(), progress.busy());
            }
        }
        self.ticked = now;
    }

    /// A workload is not there any more; its last points are still to be told.
    pub(super) fn remove(&mut self, id: WorkloadId) {
        self.progress.remove(&id);
        self.gone.push(id);
        self.workloads_changed();
    }

    /// Adds what is new of devices to a batch, and what happened to them. Points of workloads are to be taken after this.
    pub(super) fn flush(&mut self, clock: Clock) -> Batch {
        let now = monotonic_nanos();
        let mut batch = Batch { gpus: self.gpus.flush(clock.unix(now), now), ..Batch::default() };
        for gpu in &mut batch.gpus {
            let events = std::mem::take(&mut gpu.events);
            batch.events.extend(events.iter().map(|event| event.record(&gpu.gpu, clock.unix(event.at))));
        }
        batch
    }

    /// Appends what is new of a workload.
    pub(super) fn points(&mut self, id: WorkloadId, points: &mut Vec<Point>) {
        self.gpus.workload_points(id, points);
    }

    /// Everything of this flush was taken.
    pub(super) fn flushed(&mut self) {
        for id in self.gone.drain(..) {
            self.gpus.forget(id);
        }
    }

    /// Estimates what the requests of a batch used. `steps` as for [`Self::tick`].
    pub(super) fn estimate(&mut self, batch: &mut Batch, steps: impl Fn(WorkloadId) -> Option<Steps>) {
        let now = monotonic_nanos();
        self.gpus.settle();
        for WorkloadBatch { workload, requests, .. } in &mut batch.workloads {
            if requests.is_empty() || !self.gpus.has(workload.id) {
                continue;
            }
            if let Some(progress) = self.progress.get(&workload.id)
                && let Some(steps) = steps(workload.id)
            {
                let mut so_far = progress.clone();
                so_far.advance(steps, now.saturating_sub(self.ticked));
                self.gpus.so_far(workload.id, now, so_far.tokens(), so_far.busy());
            }
            for request in requests.iter_mut().filter(|request| request.role == Role::Server) {
                request.energy = self.gpus.request(request);
            }
        }
    }
}
