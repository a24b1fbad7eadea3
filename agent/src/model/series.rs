//! The bounded set of series that requests of one workload make.

use std::collections::HashMap;

use crate::model::attr::{Attributes, OVERFLOW, Value};
use crate::model::batch::{Data, Point};
use crate::model::histogram::Histogram;
use crate::model::metrics::{Instrument, MetricId};

/// Place of a series in its set.
pub(super) type SeriesId = usize;

/// What one series has counted.
#[derive(Debug)]
struct Series {
    metric: MetricId,
    attributes: Attributes,
    /// Counted since the last flush.
    touched: bool,
    overflow: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Sum(u64),
    Histogram(Histogram),
}

/// Series by metric and attributes, no more than a limit plus one overflow series per metric. Every
/// measurement is counted in exactly one of them.
#[derive(Debug)]
pub(super) struct SeriesSet {
    limit: usize,
    by_key: HashMap<(MetricId, Attributes), SeriesId>,
    overflow: HashMap<MetricId, SeriesId>,
    all: Vec<Series>,
    /// Measurements that went into overflow series.
    pub(super) overflowed: u64,
}

impl SeriesSet {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, by_key: HashMap::new(), overflow: HashMap::new(), all: Vec::new(), overflowed: 0 }
    }

    /// The series of these attributes, made if there is room, else the metric's overflow series.
    pub(super) fn resolve(&mut self, metric: MetricId, attributes: Attributes) -> SeriesId {
        let key = (metric, attributes);
        if let Some(&id) = self.by_key.get(&key) {
            return id;
        }
        if self.by_key.len() >= self.limit {
            if let Some(&id) = self.overflow.get(&metric) {
                return id;
            }
            let id = self.push(metric, vec![(OVERFLOW, Value::Bool(true))], true);
            self.overflow.insert(metric, id);
            return id;
        }
        let id = self.push(metric, key.1.clone(), false);
        self.by_key.insert(key, id);
        id
    }

    fn push(&mut self, metric: MetricId, attributes: Attributes, overflow: bool) -> SeriesId {
        let state = match metric.row().instrument {
            Instrument::Histogram => State::Histogram(Histogram::default()),
            Instrument::Counter | Instrument::UpDownCounter | Instrument::Gauge => State::Sum(0),
        };
        self.all.push(Series { metric, attributes, touched: false, overflow, state });
        self.all.len() - 1
    }

    /// Counts a duration in nanoseconds.
    pub(super) fn record(&mut self, id: SeriesId, nanos: u64) {
        if let Some(Series { touched, overflow, state: State::Histogram(histogram), .. }) = self.all.get_mut(id) {
            histogram.record(nanos);
            *touched = true;
            self.overflowed += u64::from(*overflow);
        }
    }

    /// Adds to a sum.
    pub(super) fn add(&mut self, id: SeriesId, amount: u64) {
        if let Some(Series { touched, overflow, state: State::Sum(sum), .. }) = self.all.get_mut(id) {
            *sum += amount;
            *touched = true;
            self.overflowed += u64::from(*overflow);
        }
    }

    /// Appends what was counted: since the last call where `delta`, else since ever.
    pub(super) fn collect(&mut self, delta: bool, points: &mut Vec<Point>) {
        for series in &mut self.all {
            if delta && !series.touched {
                continue;
            }
            series.touched = false;
            let data = match &mut series.state {
                State::Sum(sum) => Data::Sum(if delta { std::mem::take(sum) } else { *sum }),
                State::Histogram(histogram) => {
                    let data = Data::Histogram(histogram.clone());
                    if delta {
                        histogram.clear();
                    }
                    data
                }
            };
            points.push(Point { metric: series.metric, attributes: series.attributes.clone(), data });
        }
    }
}
