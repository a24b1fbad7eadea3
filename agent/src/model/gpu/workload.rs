//! What one workload uses of GPUs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counters::Counters;
use super::facts::GpuId;
use super::gauges::with_id;
use crate::model::attr::{self, Value};
use crate::model::batch::{Data, Point};
use crate::model::energy::{Estimate, Method, Part, Stretch, Timeline, joules_per_token};
use crate::model::metrics::MetricId;

/// Energy, memory and use of one workload, over all GPUs.
#[derive(Debug)]
pub(super) struct WorkloadUse {
    counters: Counters,
    memory: BTreeMap<GpuId, u64>,
    utilization: BTreeMap<GpuId, Share>,
    timeline: Timeline,
    /// As of the last [`Self::progress`]: when, tokens and time under way so far.
    last: Option<(u64, u64, u64)>,
    /// Millijoules since then. They are those between two readings, which come some time before: the one that was last then, and
    /// the one that is last now.
    unsettled: u64,
    given_before: u64,
    given: u64,
    /// The same by method; and those between the last flush and the last step, with the tokens of that time.
    pending: BTreeMap<Method, u64>,
    stepped: BTreeMap<Method, u64>,
    tokens: u64,
}

/// Shortest time in nanoseconds whose energy tells power: counters move in steps of some 100 ms.
const TELLING: u64 = 200_000_000;

/// Share of a GPU's utilisation since the last flush: hundredths of a percent, times nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    sum: u128,
    nanos: u64,
}

impl WorkloadUse {
    pub(super) fn new(stretches: usize) -> Self {
        Self {
            counters: Counters::default(),
            memory: BTreeMap::new(),
            utilization: BTreeMap::new(),
            timeline: Timeline::new(stretches),
            last: None,
            unsettled: 0,
            given_before: 0,
            given: 0,
            pending: BTreeMap::new(),
            stepped: BTreeMap::new(),
            tokens: 0,
        }
    }

    /// Its processes hold no memory of a GPU, as far as is known.
    pub(super) fn left(&mut self, gpu: &GpuId) {
        self.memory.remove(gpu);
    }

    /// A process of it holds memory of a GPU.
    pub(super) fn hold(&mut self, gpu: &GpuId, bytes: u64) {
        *self.memory.entry(Arc::clone(gpu)).or_default() += bytes;
    }

    /// It is given a share of a GPU's energy.
    pub(super) fn give(&mut self, gpu: &GpuId, part: &Part, source: &'static str, at: u64) {
        self.given = self.given.max(at);
        let mut attributes = with_id(gpu);
        attributes.push((attr::ENERGY_PART, part.kind.name().into()));
        attributes.push((attr::ENERGY_METHOD, part.method.name().into()));
        attributes.push((attr::ENERGY_SOURCE, source.into()));
        self.counters.add(MetricId::Energy, attributes, part.millijoules);
        self.unsettled = self.unsettled.saturating_add(part.millijoules);
        *self.pending.entry(part.method).or_default() += part.millijoules;
    }

    /// Its use of a GPU's multiprocessors out of all use, while the GPU was busy for so many percent of the time.
    pub(super) fn use_of(&mut self, gpu: &GpuId, utilization: Option<u32>, own: u64, all: u64, nanos: u64) {
        let Some(utilization) = utilization.filter(|_| own > 0 || self.utilization.contains_key(gpu)) else { return };
        let hundredths = if all == 0 { 0 } else { u128::from(utilization) * 100 * u128::from(own) / u128::from(all) };
        let share = self.utilization.entry(Arc::clone(gpu)).or_default();
        share.sum += hundredths * u128::from(nanos);
        share.nanos += nanos;
    }

    pub(super) fn progress(&mut self, at: u64, tokens: u64, busy: u64) {
        self.given_before = self.given;
        if let Some((from, tokens_before, busy_before)) = self.last.replace((at, tokens, busy)) {
            let tokens = tokens.saturating_sub(tokens_before);
            self.tokens += tokens;
            for (method, millijoules) in std::mem::take(&mut self.pending) {
                *self.stepped.entry(method).or_default() += millijoules;
            }
            let millijoules = std::mem::take(&mut self.unsettled);
            let busy = busy.saturating_sub(busy_before);
            self.timeline.push(Stretch { from, to: at, millijoules, tokens, busy });
        } else {
            self.unsettled = 0;
            self.pending.clear();
        }
    }

    /// How far it is before the next step, at the power that was read since the last one, or in it.
    pub(super) fn so_far(&mut self, at: u64, tokens: u64, busy: u64) {
        let Some((from, tokens_before, busy_before)) = self.last else { return };
        let (told, length) = (self.given.saturating_sub(self.given_before), at.saturating_sub(from));
        let millijoules = if told >= TELLING {
            let rate = u128::from(self.unsettled) * u128::from(length) / u128::from(told);
            u64::try_from(rate).unwrap_or(u64::MAX)
        } else {
            self.timeline.at_last_rate(length)
        };
        let tokens = tokens.saturating_sub(tokens_before);
        let busy = busy.saturating_sub(busy_before);
        self.timeline.set_open(Stretch { from, to: at, millijoules, tokens, busy });
    }

    pub(super) fn request(&self, first: u64, ended: u64, tokens: u64) -> Option<Estimate> {
        self.timeline.request(first, ended, tokens)
    }

    pub(super) fn collect(&mut self, delta: bool, points: &mut Vec<Point>) {
        self.counters.collect(delta, points);
        for (gpu, bytes) in &self.memory {
            let data = Data::Current(*bytes as i64);
            points.push(Point { metric: MetricId::WorkloadGpuMemory, attributes: with_id(gpu), data });
        }
        for (gpu, share) in &mut self.utilization {
            let Share { sum, nanos } = std::mem::take(share);
            if nanos > 0 {
                let data = Data::Real(sum as f64 / nanos as f64 / 1e4);
                points.push(Point { metric: MetricId::WorkloadGpuUtilization, attributes: with_id(gpu), data });
            }
        }
        // The memory of a GPU that nothing of it is left on says nothing any more.
        self.utilization.retain(|gpu, _| self.memory.contains_key(gpu));
        let by_method = std::mem::take(&mut self.stepped);
        let method = by_method.iter().max_by_key(|(_, millijoules)| **millijoules).map(|(method, _)| *method);
        let tokens = std::mem::take(&mut self.tokens);
        if let (Some(method), Some(joules)) = (method, joules_per_token(by_method.values().sum(), tokens)) {
            let attributes = vec![(attr::ENERGY_METHOD, Value::Word(method.name()))];
            points.push(Point { metric: MetricId::EnergyPerOutputToken, attributes, data: Data::Real(joules) });
        }
    }
}
