//! What a flush hands on: points and requests by workload.

use std::sync::Arc;

use crate::model::attr::Attributes;
use crate::model::event::Event;
use crate::model::gpu::GpuBatch;
use crate::model::histogram::Histogram;
use crate::model::metrics::MetricId;
use crate::model::request::Request;
use crate::model::workload::Workload;

/// What counters and histograms say of: the time since the last flush, or since they began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Temporality {
    /// Since the flush before.
    Delta,
    /// Since the workload was first seen.
    #[default]
    Cumulative,
}

/// One flush. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// End of the interval.
    pub time: u64,
    /// What counters and histograms say of.
    pub temporality: Temporality,
    /// By workload; those with nothing to say are left out.
    pub workloads: Vec<WorkloadBatch>,
    /// By GPU and instance of one.
    pub gpus: Vec<GpuBatch>,
    /// What happened, in the order in which it was noticed.
    pub events: Vec<Event>,
}

/// What is new of one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadBatch {
    /// Whose.
    pub workload: Arc<Workload>,
    /// Start of its counters and histograms.
    pub start: u64,
    /// When the workload was first seen: the start of what is always cumulative.
    pub since: u64,
    /// Points of metrics.
    pub points: Vec<Point>,
    /// Finished requests, each to become a span.
    pub requests: Vec<Request>,
}

impl Batch {
    /// Number of points and of requests in it.
    pub fn len(&self) -> (usize, usize) {
        let sum = |each: fn(&WorkloadBatch) -> usize| self.workloads.iter().map(each).sum();
        let of_gpus: usize = self.gpus.iter().map(|gpu| gpu.points.len()).sum();
        (sum(|workload| workload.points.len()) + of_gpus, sum(|workload| workload.requests.len()))
    }

    /// True when there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0) && self.events.is_empty()
    }
}

/// The value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Of which metric.
    pub metric: MetricId,
    /// Of which series.
    pub attributes: Attributes,
    /// The value.
    pub data: Data,
}

/// The value of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Of a counter.
    Sum(u64),
    /// Of a counter of time, in nanoseconds; exported as seconds.
    Seconds(u64),
    /// Of a counter that also shrinks, or a gauge.
    Current(i64),
    /// Of a counter or a gauge of real numbers.
    Real(f64),
    /// Of a histogram.
    Histogram(Histogram),
}
