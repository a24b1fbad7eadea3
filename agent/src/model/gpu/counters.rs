//! Counters of one device or workload.

use std::collections::BTreeMap;

use crate::model::attr::Attributes;
use crate::model::batch::{Data, Point};
use crate::model::histogram::grown;
use crate::model::metrics::MetricId;

/// What has been counted, in whole numbers of the smallest unit in use: millijoules, nanoseconds, bytes.
#[derive(Debug, Default)]
pub(super) struct Counters {
    all: BTreeMap<(MetricId, Attributes), Counter>,
}

#[derive(Debug, Default)]
struct Counter {
    total: u64,
    told: u64,
    /// The device's own counter as it was last read.
    read: Option<u64>,
}

impl Counters {
    /// Counts.
    pub(super) fn add(&mut self, metric: MetricId, attributes: Attributes, amount: u64) {
        let counter = self.all.entry((metric, attributes)).or_default();
        counter.total = counter.total.wrapping_add(amount);
    }

    /// Counts what the device's own counter has grown by. The first reading is where counting begins.
    pub(super) fn read(&mut self, metric: MetricId, attributes: Attributes, now: u64) {
        let counter = self.all.entry((metric, attributes)).or_default();
        let growth = counter.read.map_or(0, |before| grown(now, before));
        counter.read = Some(now);
        counter.total = counter.total.wrapping_add(growth);
    }

    /// Appends what was counted: since the last call where `delta`, else since ever.
    pub(super) fn collect(&mut self, delta: bool, points: &mut Vec<Point>) {
        for ((metric, attributes), counter) in &mut self.all {
            let value = if delta { counter.total.wrapping_sub(counter.told) } else { counter.total };
            counter.told = counter.total;
            if value > 0 || !delta {
                points.push(Point { metric: *metric, attributes: attributes.clone(), data: data(*metric, value) });
            }
        }
    }
}

/// A whole number of the smallest unit, in the metric's own.
fn data(metric: MetricId, value: u64) -> Data {
    match metric {
        MetricId::HwEnergy | MetricId::GpuEnergyUnattributed | MetricId::Energy => Data::Real(value as f64 / 1e3),
        MetricId::GpuThrottleTime | MetricId::GpuIdleHeld => Data::Real(value as f64 / 1e9),
        _ => Data::Sum(value),
    }
}
