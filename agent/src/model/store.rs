//! The model: requests and kernel blocks in, batches out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use inferscope_common::block::Block;

use crate::model::attr::LOSS_CAUSE;
use crate::model::batch::{Batch, Data, Point, Temporality, WorkloadBatch};
use crate::model::kernel::KernelCounts;
use crate::model::metrics::MetricId;
use crate::model::request::Request;
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
}

#[derive(Debug)]
struct State {
    workload: Arc<Workload>,
    since: u64,
    flushed: u64,
    ended: bool,
    kernel: KernelCounts,
    series: SeriesSet,
    routes: HashMap<Profile, Routes>,
    requests: Vec<Request>,
    /// Since the last flush where delta, else since ever.
    spans_lost: u64,
}

impl Model {
    /// An empty model.
    pub fn new(limits: Limits) -> Self {
        Self { limits, workloads: BTreeMap::new(), waiting: 0, taken: Taken::default() }
    }

    /// Begins to aggregate a workload. `baseline` is its block as the kernel holds it now, before the
    /// first packet is counted for it; `now` is Unix time in nanoseconds.
    pub fn add(&mut self, workload: Arc<Workload>, baseline: &Block, now: u64) {
        let state = State {
            since: now,
            flushed: now,
            ended: false,
            kernel: KernelCounts::new(baseline),
            series: SeriesSet::new(self.limits.series),
            routes: HashMap::new(),
            requests: Vec::new(),
            spans_lost: 0,
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

    /// Takes the workload's block as the kernel holds it now.
    pub fn block(&mut self, id: WorkloadId, block: &Block) {
        if let Some(state) = self.workloads.get_mut(&id) {
            state.kernel.update(block);
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
        if self.waiting < self.limits.requests {
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
        let temporality = self.limits.temporality;
        let workloads = self.workloads.values_mut().map(|state| state.flush(temporality, now)).collect();
        self.workloads.retain(|_, state| !state.ended);
        self.waiting = 0;
        batch(now, temporality, workloads)
    }

    /// The finished requests that wait, and nothing else: spans need not wait as long as metrics.
    pub fn flush_requests(&mut self, now: u64) -> Batch {
        let workloads = self.workloads.values_mut().map(|state| state.take_requests(state.flushed)).collect();
        self.waiting = 0;
        batch(now, self.limits.temporality, workloads)
    }
}

fn batch(time: u64, temporality: Temporality, mut workloads: Vec<WorkloadBatch>) -> Batch {
    workloads.retain(|workload| !workload.points.is_empty() || !workload.requests.is_empty());
    Batch { time, temporality, workloads }
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
        batch
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

/// Name and meaning of the loss of a span.
pub const SPAN_QUEUE: (&str, &str) = ("span_queue_full", "requests counted in every metric, but without a span");
