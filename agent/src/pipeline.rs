//! From the kernel to batches: one owner of discovery, flows and model. Nothing in here waits.

mod gpus;
mod progress;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use gpus::GpuWatch;

use inferscope_common::block::Block;

use crate::clock::Clock;
use crate::governor::{Detail, Governing};
use crate::host::own::thread_time;
use crate::model::batch::Batch;
use crate::model::host::EventKind;
use crate::model::request::Operation;
use crate::model::workload::{Workload, WorkloadId};
use crate::model::{self, Model};
use crate::sources::flow::Flows;
use crate::sources::host::{Beneath, name_of};
use crate::sources::workloads::{Change, Discovery};

/// Records taken from the ring before anything else has its turn.
const ROUND: usize = 4096;

/// Pause between two looks at the processes of workloads: their roles show in titles that are set after they start.
const REFRESH: Duration = Duration::from_secs(10);
/// Target of log lines that are shipped as records of their workload, and not as the agent's own.
pub const EVENTS: &str = "inferscope::event";

/// Everything between the kernel and the exporter.
pub struct Pipeline {
    flows: Flows,
    beneath: Beneath,
    discovery: Discovery,
    model: Model,
    governing: Governing,
    clock: Clock,
    workloads: HashMap<WorkloadId, Arc<Workload>>,
    /// Workloads on trial that proved to serve inference since the last look.
    proven: Vec<WorkloadId>,
    /// When the host was last asked what processes came meanwhile.
    refreshed: Instant,
    gpus: Option<GpuWatch>,
    /// A block is too large for the stack.
    scratch: Box<Block>,
}

impl Pipeline {
    /// A pipeline that watches what `discovery` finds, in as much detail as the budget allows.
    pub fn new(
        flows: Flows,
        beneath: Beneath,
        discovery: Discovery,
        limits: model::Limits,
        governing: Governing,
    ) -> Self {
        Self {
            flows,
            beneath,
            discovery,
            model: Model::new(limits),
            governing,
            clock: Clock::now(),
            workloads: HashMap::new(),
            proven: Vec::new(),
            refreshed: Instant::now(),
            gpus: None,
            scratch: Box::new(Block::zeroed()),
        }
    }

    /// The same, with GPUs beside the flows.
    pub fn with_gpus(self, gpus: GpuWatch) -> Self {
        Self { gpus: Some(gpus), ..self }
    }

    /// GPUs, for their state; `None` where they are not read.
    pub fn gpus(&self) -> Option<&GpuWatch> {
        self.gpus.as_ref()
    }

    /// Lets go of the GPUs.
    pub fn take_gpus(&mut self) -> Option<GpuWatch> {
        self.gpus.take()
    }

    /// What is to be fresh at the flush to come is asked for.
    pub fn refresh(&self) {
        if let Some(gpus) = &self.gpus {
            gpus.refresh();
        }
    }

    /// What is watched, and reported.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.values().filter(|workload| !self.discovery.is_on_trial(workload.id))
    }

    /// The flows, for their state.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// The host beneath the workloads, for its state.
    pub fn beneath(&self) -> &Beneath {
        &self.beneath
    }

    /// The model, for its state.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What holds the agent to its budget.
    pub fn governing(&self) -> &Governing {
        &self.governing
    }

    /// Wall time of the last batch's instants.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Looks for workloads that came and went.
    pub fn discover(&mut self) {
        for change in self.discovery.scan() {
            match change {
                Change::Appeared(workload) => self.add(workload),
                Change::Vanished(id) => self.remove(id),
            }
        }
    }

    /// Takes the records that wait; true when sockets began or ceased to listen.
    pub fn poll(&mut self) -> bool {
        let mut listens = false;
        loop {
            let Self { flows, model, discovery, proven, gpus, .. } = self;
            let taken = flows.poll(
                ROUND,
                |request| {
                    if request.operation != Operation::Http && model.is_held(request.workload) {
                        model.release(request.workload);
                        proven.push(request.workload);
                    }
                    if let Some(gpus) = gpus {
                        gpus.request(&request);
                    }
                    model.request(request);
                },
                |listen| {
                    listens = true;
                    discovery.notice(&listen);
                },
            );
            if taken < ROUND {
                break;
            }
        }
        for id in std::mem::take(&mut self.proven) {
            self.discovery.confirm(id);
            if let Some(workload) = self.workloads.get(&id).map(Arc::clone) {
                tracing::info!(workload = %workload.name, "serves inference");
                self.watch_host(&workload);
            }
            if let Some(gpus) = &mut self.gpus {
                gpus.workloads_changed();
            }
        }
        self.take_kills();
        self.poll_gpus();
        listens
    }

    /// Reads every counter and hands on what is new.
    pub fn flush(&mut self) -> Batch {
        self.poll();
        // The wall clock is set from time to time: a new offset holds from the next batch on.
        self.clock = Clock::now();
        self.refresh_host();
        let all: Vec<WorkloadId> = self.workloads.keys().copied().collect();
        all.into_iter().for_each(|id| self.read(id));
        let Self { gpus: Some(gpus), model, clock, flows, .. } = self else {
            return self.model.flush(self.clock.unix_now());
        };
        let Batch { gpus: devices, events, .. } = gpus.flush(*clock);
        let batch = model.flush_with(clock.unix_now(), |id, points| gpus.points(id, points));
        let mut batch = Batch { gpus: devices, ..batch };
        batch.events.extend(events);
        gpus.estimate(&mut batch, |id| flows.steps(id));
        gpus.flushed();
        batch
    }

    /// Hands on finished requests alone.
    pub fn flush_requests(&mut self) -> Batch {
        self.poll();
        let mut batch = self.model.flush_requests(self.clock.unix_now());
        if let Self { gpus: Some(gpus), flows, .. } = self {
            gpus.estimate(&mut batch, |id| flows.steps(id));
        }
        batch
    }

    /// Those on trial are told of by nobody yet: what they use is no workload's.
    fn poll_gpus(&mut self) {
        let Self { gpus: Some(gpus), workloads, discovery, flows, clock, .. } = self else { return };
        gpus.poll(*clock, || {
            let servers: HashMap<_, _> = discovery.servers().collect();
            let told = workloads.values().filter(|workload| !discovery.is_on_trial(workload.id));
            told.map(|workload| (workload, servers.get(&workload.id).copied())).collect::<Vec<_>>()
        });
        gpus.tick(workloads.keys().copied(), |id| flows.steps(id));
    }

    /// Begins with everything shed that can be: the agent was killed again and again.
    pub fn start_small(&mut self) {
        self.governing.start_small();
        self.apply(self.governing.detail());
    }

    /// Measures the agent itself, and sheds or takes back what the budget asks for. Says how long the next call can wait.
    pub fn govern(&mut self) -> Duration {
        let (flows, beneath) = (&self.flows, &self.beneath);
        let turn = self.governing.turn(|| beneath.spun(), || flows.kernel().run_time() + beneath.run_time());
        if turn.changed {
            let before = thread_time();
            self.apply(self.governing.detail());
            self.governing.switched(thread_time().since(before));
        }
        turn.wait
    }

    /// Brings a detail into force. Each part of it may be in force already.
    fn apply(&mut self, detail: Detail) {
        self.model.keep_spans(detail.spans);
        self.beneath.apply(detail);
    }

    fn add(&mut self, workload: Workload) {
        let (name, cgroup) = (Arc::clone(&workload.name), workload.cgroup.clone());
        match self.flows.add(&workload, &mut self.scratch) {
            Ok(()) => {
                let on_trial = self.discovery.is_on_trial(workload.id);
                let workload = Arc::new(workload);
                self.model.add(Arc::clone(&workload), &self.scratch, self.clock.unix_now());
                if on_trial {
                    self.model.hold(workload.id);
                }
                self.workloads.insert(workload.id, Arc::clone(&workload));
                if let Some(gpus) = &mut self.gpus {
                    gpus.workloads_changed();
                }
                // A server on trial is not to pay for what may turn out to be nobody's concern.
                if !on_trial {
                    self.watch_host(&workload);
                }
                // Said when it is true of everything that is watched.
                tracing::info!(workload = %name, cgroup = %cgroup.display(), engine = ?workload.engine, on_trial, "watching");
            }
            Err(error) => tracing::warn!(workload = %name, cgroup = %cgroup.display(), %error, "cannot watch"),
        }
    }

    /// The last interval is in the ring and in the block: both are read before the slot goes to somebody else.
    fn remove(&mut self, id: WorkloadId) {
        self.poll();
        self.read(id);
        self.flows.remove(id);
        self.beneath.remove(id);
        self.model.remove(id);
        if let Some(gpus) = &mut self.gpus {
            gpus.remove(id);
        }
        if let Some(workload) = self.workloads.remove(&id) {
            tracing::info!(workload = %workload.name, "gone");
        }
    }

    fn refresh_host(&mut self) {
        if self.refreshed.elapsed() >= REFRESH {
            self.refreshed = Instant::now();
            self.beneath.refresh(|id| self.discovery.process(id));
        }
    }

    fn watch_host(&mut self, workload: &Workload) {
        if let Err(error) = self.beneath.add(workload) {
            tracing::warn!(workload = %workload.name, %error, "cannot watch the host beneath it");
        }
        self.model.add_host(workload.id);
        if let Some(process) = self.discovery.process(workload.id) {
            self.beneath.claim(workload.id, process);
        }
        // Where counting begins.
        self.read_host(workload.id);
    }

    /// Takes every counter of a workload as it stands.
    fn read(&mut self, id: WorkloadId) {
        if self.flows.read(id, &mut self.scratch) {
            self.model.block(id, &self.scratch);
        }
        self.read_host(id);
    }

    fn read_host(&mut self, id: WorkloadId) {
        if let Some(totals) = self.model.host_totals(id) {
            self.beneath.read(id, totals);
        }
        if let Some(reading) = self.beneath.files(id) {
            for kind in self.model.host_files(id, &reading, self.clock.unix_now()) {
                self.tell(id, &kind);
            }
        }
    }

    fn take_kills(&mut self) {
        let mut kills = Vec::new();
        self.beneath.kills(|id, kill| kills.push((id, kill)));
        for (id, kill) in kills {
            let kind = EventKind::OomKill { process: kill.process, name: name_of(&kill) };
            self.tell(id, &kind);
            self.model.oom_kill(id, &kind, self.clock.unix(kill.time));
        }
    }

    /// For people; collectors get a log record of the workload's.
    fn tell(&self, id: WorkloadId, kind: &EventKind) {
        let name = self.workloads.get(&id).map_or("", |workload| &workload.name);
        tracing::warn!(target: EVENTS, workload = name, "{}", kind.text());
    }
}
