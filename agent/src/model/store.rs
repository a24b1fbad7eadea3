//! The model: requests and kernel blocks in, batches out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use inferscope_common::block::Block;

use crate::model::attr::LOSS_CAUSE;
use crate::model::batch::{Batch, Data, Point, Temporality, WorkloadBatch};
use crate::model::event::Event;
use crate::model::host::{EventKind, HostCounts, Reading, Totals};
use crate::model::kernel::KernelCounts;
use crate::model::metrics::MetricId;
use crate::model::request::{Outcome, Request};
use crate::model::routes::{Profile, Routes};
use crate::model::series::SeriesSet;
use crate::model::workload::{Workload, WorkloadId};

/// Bounds of the model.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What counters and histograms say of.
    pub temporality: Temporality,
    /// Series of requests per workload, without the overflow series.
    pub series: usize,
    /// Finished requests that wait for a flush, over all workloads.
    pub requests: usize,
}

/// What the model has taken in since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// Workloads observed now.
    pub workloads: u64,
    /// Finished requests.
    pub requests: u64,
    /// Finished requests of workloads that were gone.
    pub orphans: u64,
}

/// Aggregates by workload. Not shared: one task owns it.
#[derive(Debug)]
pub struct Model {
    limits: Limits,
    workloads: BTreeMap<WorkloadId, State>,
    waiting: usize,
    taken: Taken,
    /// Requests that went well leave no spans.
    failures_only: bool,
}

#[derive(Debug)]
struct State {
    workload: Arc<Workload>,
    since: u64,
    flushed: u64,
    ended: bool,
    /// Counted, but not told of, and without spans.
    held: bool,
    kernel: KernelCounts,
    series: SeriesSet,
    routes: HashMap<Profile, Routes>,
    requests: Vec<Request>,
    /// Nothing where nobody watches the host beneath it.
    host: Option<Box<HostCounts>>,
    events: Vec<Event>,
    /// Since the last flush where delta, else since ever.
    spans_lost: u64,
    /// The same.
    events_lost: u64,
    /// The same of those that were shed.
    spans_shed: u64,
}

impl Model {
    /// An empty model.
    pub fn new(limits: Limits) -> Self {
        Self { limits, workloads: BTreeMap::new(), waiting: 0, taken: Taken::default(), failures_only: false }
    }

    /// Begins to aggregate a workload. `baseline` is its block as the kernel holds it now, before the
    /// first packet is counted for it; `now` is Unix time in nanoseconds.
    pub fn add(&mut self, workload: Arc<Workload>, baseline: &Block, now: u64) {
        let state = State {
            since: now,
            flushed: now,
            ended: false,
            held: false,
            kernel: KernelCounts::new(baseline),
            series: SeriesSet::new(self.limits.series),
            routes: HashMap::new(),
            requests: Vec::new(),
            host: None,
            events: Vec::new(),
            spans_lost: 0,
            events_lost: 0,
            spans_shed: 0,
            workload,
        };
        self.workloads.insert(state.workload.id, state);
    }

    /// Ends a workload: its last interval goes out with the next flush.
    pub fn remove(&mut self, id: WorkloadId) {
        if let Some(state) = self.workloads.get_mut(&id) {
            state.ended = true;
        }
    }

    /// Keeps a workload back: it is counted, but no batch tells of it until [`Self::release`]. Its
    /// requests leave no spans meanwhile.
    pub fn hold(&mut self, id: WorkloadId) {
        if let Some(state) = self.workloads.get_mut(&id) {
            state.held = true;
        }
    }

    /// Tells of a workload that was held, and of what it did since it was added.
    pub fn release(&mut self, id: WorkloadId) {
        if let Some(state) = self.workloads.get_mut(&id) {
            state.held = false;
        }
    }

    /// True while a workload is held.
    pub fn is_held(&self, id: WorkloadId) -> bool {
        self.workloads.get(&id).is_some_and(|state| state.held)
    }

    /// Whether requests that went well leave spans; those that failed always do. What leaves none for it is counted.
    pub fn keep_spans(&mut self, of_all: bool) {
        self.failures_only = !of_all;
    }

    /// Takes the workload's block as the kernel holds it now.
    pub fn block(&mut self, id: WorkloadId, block: &Block) {
        if let Some(state) = self.workloads.get_mut(&id) {
            state.kernel.update(block);
        }
    }

    /// Begins to count what the host does beneath a workload.
    pub fn add_host(&mut self, id: WorkloadId) {
        if let Some(state) = self.workloads.get_mut(&id) {
            state.host.get_or_insert_default();
        }
    }

    /// The totals that the host's probes are to bring up to date.
    pub fn host_totals(&mut self, id: WorkloadId) -> Option<&mut Totals> {
        Some(self.workloads.get_mut(&id)?.host.as_mut()?.totals())
    }

    /// Takes the workload's cgroup files as they are `now`, in Unix nanoseconds, and answers what that tells of.
    pub fn host_files(&mut self, id: WorkloadId, reading: &Reading, now: u64) -> Vec<EventKind> {
        let Some(state) = self.workloads.get_mut(&id) else { return Vec::new() };
        let kinds = state.host.as_mut().map(|host| host.files(reading)).unwrap_or_default();
        kinds.iter().for_each(|kind| state.happened(kind, now));
        kinds
    }

    /// Takes note of a kill for want of memory, at `time` in Unix nanoseconds.
    pub fn oom_kill(&mut self, id: WorkloadId, kill: &EventKind, time: u64) {
        if let Some(state) = self.workloads.get_mut(&id) {
            state.host.iter_mut().for_each(|host| host.killed());
            state.happened(kill, time);
        }
    }

    /// Takes a finished request.
    pub fn request(&mut self, request: Request) {
        let Some(state) = self.workloads.get_mut(&request.workload) else {
            self.taken.orphans += 1;
            return;
        };
        self.taken.requests += 1;
        state.count(&request, self.limits.series);
        if state.held {
            return;
        }
        if self.failures_only && request.outcome == Outcome::Ok {
            state.spans_shed += 1;
        } else if self.waiting < self.limits.requests {
            self.waiting += 1;
            state.requests.push(request);
        } else {
            state.spans_lost += 1;
        }
    }

    /// Finished requests that wait for a flush.
    pub fn requests_waiting(&self) -> usize {
        self.waiting
    }

    /// What has been taken in.
    pub fn taken(&self) -> Taken {
        Taken { workloads: self.workloads.values().filter(|state| !state.ended).count() as u64, ..self.taken }
    }

    /// Everything since the last flush, and every finished request that waits. `now` is Unix time in
    /// nanoseconds. Workloads that ended are forgotten afterwards.
    pub fn flush(&mut self, now: u64) -> Batch {
        self.flush_with(now, |_, _| ())
    }

    /// The same; `more` appends the points that others have of a workload.
    pub fn flush_with(&mut self, now: u64, mut more: impl FnMut(WorkloadId, &mut Vec<Point>)) -> Batch {
        let temporality = self.limits.temporality;
        let (mut workloads, mut events) = (Vec::new(), Vec::new());
        for (id, state) in self.workloads.iter_mut().filter(|(_, state)| !state.held) {
            let mut batch = state.flush(temporality, now);
            more(*id, &mut batch.points);
            workloads.push(batch);
            events.append(&mut state.events);
        }
        self.workloads.retain(|_, state| !state.ended);
        self.waiting = 0;
        batch(now, temporality, workloads, events)
    }

    /// The finished requests and events that wait, and nothing else: they need not wait as long as metrics.
    pub fn flush_requests(&mut self, now: u64) -> Batch {
        let (mut workloads, mut events) = (Vec::new(), Vec::new());
        for state in self.workloads.values_mut() {
            workloads.push(state.take_requests(state.flushed));
            events.append(&mut state.events);
        }
        self.waiting = 0;
        batch(now, self.limits.temporality, workloads, events)
    }
}

fn batch(time: u64, temporality: Temporality, mut workloads: Vec<WorkloadBatch>, events: Vec<Event>) -> Batch {
    workloads.retain(|workload| !workload.points.is_empty() || !workload.requests.is_empty());
    Batch { time, temporality, workloads, gpus: Vec::new(), events }
}

impl State {
    fn count(&mut self, request: &Request, limit: usize) {
        let profile = Profile::of(request);
        let (series, engine) = (&mut self.series, self.workload.engine);
        let resolved;
        let routes = if let Some(known) = self.routes.get(&profile) {
            known
        } else {
            resolved = Routes::resolve(&profile, engine, series);
            // Profiles beyond the limit are worked out again each time: slower, but bounded.
            if self.routes.len() < limit { self.routes.entry(profile).or_insert(resolved) } else { &resolved }
        };
        let durations = [
            (routes.duration, request.duration),
            (routes.http, request.duration),
            (routes.first_token, request.time_to_first_token),
            (routes.per_token, request.time_per_output_token),
        ];
        for (id, nanos) in durations {
            if let (Some(id), Some(nanos)) = (id, nanos) {
                series.record(id, nanos);
            }
        }
        let sums = [(routes.input_tokens, request.input_tokens), (routes.output_tokens, request.output_tokens)];
        for (id, amount) in sums {
            if let (Some(id), Some(amount)) = (id, amount.filter(|&amount| amount > 0)) {
                series.add(id, amount);
            }
        }
    }

    fn flush(&mut self, temporality: Temporality, now: u64) -> WorkloadBatch {
        let delta = temporality == Temporality::Delta;
        let mut batch = self.take_requests(if delta { self.flushed } else { self.since });
        // The wall clock may have been set back; an interval must not end before it starts.
        self.flushed = now.max(batch.start);
        self.series.collect(delta, &mut batch.points);
        self.kernel.collect(delta, &mut batch.points);
        if let Some(host) = &mut self.host {
            host.collect(delta, &mut batch.points);
        }
        let mut sum = |metric, attributes, count: &mut u64| {
            if *count != 0 {
                batch.points.push(Point { metric, attributes, data: Data::Sum(*count) });
            }
            if delta {
                *count = 0;
            }
        };
        sum(MetricId::SeriesOverflow, Vec::new(), &mut self.series.overflowed);
        sum(MetricId::Loss, vec![(LOSS_CAUSE, SPAN_QUEUE.0.into())], &mut self.spans_lost);
        sum(MetricId::Loss, vec![(LOSS_CAUSE, EVENT_QUEUE.0.into())], &mut self.events_lost);
        sum(MetricId::Loss, vec![(LOSS_CAUSE, SPAN_SHED.0.into())], &mut self.spans_shed);
        batch
    }

    fn happened(&mut self, kind: &EventKind, time: u64) {
        if self.events.len() < EVENTS {
            self.events.push(kind.record(&self.workload, time));
        } else {
            self.events_lost += 1;
        }
    }

    fn take_requests(&mut self, start: u64) -> WorkloadBatch {
        WorkloadBatch {
            workload: Arc::clone(&self.workload),
            start,
            since: self.since,
            points: Vec::new(),
            requests: std::mem::take(&mut self.requests),
        }
    }
}

/// Log records of one workload that wait for a flush.
const EVENTS: usize = 256;

/// Name and meaning of the loss of a log record.
pub const EVENT_QUEUE: (&str, &str) = ("event_queue_full", "log records of a workload beyond what may wait");
/// Name and meaning of the loss of a span.
pub const SPAN_QUEUE: (&str, &str) = ("span_queue_full", "requests counted in every metric, but without a span");

/// Name and meaning of a span that the governor's order left out.
pub const SPAN_SHED: (&str, &str) =
    ("span_shed", "requests that went well, counted in every metric, but without a span: the agent held its budget");

#[cfg(test)]
mod tests;
