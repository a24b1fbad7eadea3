//! Metrics, as their names, units and sums.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint};

use crate::received::{Attributes, Received, attributes};

/// What a metric is, whatever its values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MetricShape {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// `sum`, `sum monotonic`, `gauge`, `exponential histogram` and so on.
    pub kind: &'static str,
    /// `delta`, `cumulative`, or none for a gauge.
    pub temporality: &'static str,
    /// Keys of its points' attributes.
    pub attributes: BTreeSet<String>,
}

/// What a metric came to, over all points that were looked for.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Totals {
    /// Of a sum: its value. Of a histogram: measurements.
    pub count: u64,
    /// Of a histogram: their sum.
    pub sum: f64,
}

/// One point, whatever its kind.
struct Point {
    resource: Attributes,
    attributes: Attributes,
    delta: bool,
    start: u64,
    time: u64,
    totals: Totals,
}

impl Received {
    /// Every metric that arrived, each once.
    pub fn shapes(&self) -> Vec<MetricShape> {
        let mut shapes: BTreeMap<String, MetricShape> = BTreeMap::new();
        for (_, metric) in self.each_metric() {
            let (kind, temporality, keys) = describe(metric);
            let shape = shapes.entry(metric.name.clone()).or_insert_with(|| MetricShape {
                name: metric.name.clone(),
                unit: metric.unit.clone(),
                kind,
                temporality,
                attributes: BTreeSet::new(),
            });
            shape.attributes.extend(keys);
        }
        shapes.into_values().collect()
    }

    /// Keys of the attributes of every resource that has `key`.
    pub fn resource_keys(&self, key: &str) -> BTreeSet<String> {
        let resources = self.each_metric().map(|(resource, _)| resource);
        resources.filter(|resource| resource.contains_key(key)).flat_map(Attributes::into_keys).collect()
    }

    /// What a metric came to over all points whose attributes, or resource's, hold each of `wanted`. Deltas add up;
    /// of what is cumulative the last of each series counts.
    pub fn total(&self, name: &str, wanted: &[(&str, &str)]) -> Totals {
        let mut last: BTreeMap<(Attributes, Attributes, u64), Totals> = BTreeMap::new();
        let mut all = Totals::default();
        for point in self.each_point(name, wanted) {
            if point.delta {
                all.add(point.totals);
            } else {
                last.insert((point.resource, point.attributes, point.start), point.totals);
            }
        }
        last.into_values().for_each(|totals| all.add(totals));
        all
    }

    /// The points that [`Self::total`] is made of, in the order in which they came: when each was made, in nanoseconds since the
    /// Unix epoch, and what it tells, as it stands.
    pub fn points(&self, name: &str, wanted: &[(&str, &str)]) -> Vec<(u64, Totals)> {
        self.each_point(name, wanted).map(|point| (point.time, point.totals)).collect()
    }

    fn each_point(&self, name: &str, wanted: &[(&str, &str)]) -> impl Iterator<Item = Point> {
        let metrics = self.each_metric().filter(move |(_, metric)| metric.name == name);
        metrics.flat_map(|(resource, metric)| points(&resource, metric)).filter(move |point| point.has(wanted))
    }

    fn each_metric(&self) -> impl Iterator<Item = (Attributes, &Metric)> {
        self.metrics.iter().flat_map(|part| {
            let resource = part.resource.as_ref().map(|resource| attributes(&resource.attributes)).unwrap_or_default();
            let metrics = part.scope_metrics.iter().flat_map(|scope| &scope.metrics);
            metrics.map(move |metric| (resource.clone(), metric))
        })
    }
}

impl Point {
    fn has(&self, wanted: &[(&str, &str)]) -> bool {
        let found = |key: &str| self.attributes.get(key).or_else(|| self.resource.get(key));
        wanted.iter().all(|(key, value)| found(key).is_some_and(|found| found == value))
    }
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
    }
}

fn describe(metric: &Metric) -> (&'static str, &'static str, BTreeSet<String>) {
    let temporality = |number: i32| match AggregationTemporality::try_from(number) {
        Ok(AggregationTemporality::Delta) => "delta",
        Ok(AggregationTemporality::Cumulative) => "cumulative",
        _ => "unspecified",
    };
    let (kind, temporality) = match &metric.data {
        Some(Data::Sum(sum)) if sum.is_monotonic => ("sum monotonic", temporality(sum.aggregation_temporality)),
        Some(Data::Sum(sum)) => ("sum", temporality(sum.aggregation_temporality)),
        Some(Data::Gauge(_)) => ("gauge", "–"),
        Some(Data::Histogram(histogram)) => ("histogram", temporality(histogram.aggregation_temporality)),
        Some(Data::ExponentialHistogram(histogram)) => {
            ("exponential histogram", temporality(histogram.aggregation_temporality))
        }
        Some(Data::Summary(_)) => ("summary", "–"),
        None => ("nothing", "–"),
    };
    let keys = points(&Attributes::new(), metric).into_iter().flat_map(|point| point.attributes.into_keys());
    (kind, temporality, keys.collect())
}

fn points(resource: &Attributes, metric: &Metric) -> Vec<Point> {
    let delta = |temporality: i32| temporality == AggregationTemporality::Delta as i32;
    let point = |keys, delta, (start, time), totals| Point {
        resource: resource.clone(),
        attributes: attributes(keys),
        delta,
        start,
        time,
        totals,
    };
    let totals = |count, sum: Option<f64>| Totals { count, sum: sum.unwrap_or_default() };
    match &metric.data {
        Some(Data::Sum(sum)) => {
            let delta = delta(sum.aggregation_temporality);
            sum.data_points
                .iter()
                .map(|at| point(&at.attributes, delta, (at.start_time_unix_nano, at.time_unix_nano), value(at)))
                .collect()
        }
        // Of a gauge the last value counts, whenever it began.
        Some(Data::Gauge(gauge)) => {
            let points = gauge.data_points.iter();
            points.map(|at| point(&at.attributes, false, (0, at.time_unix_nano), value(at))).collect()
        }
        Some(Data::Histogram(histogram)) => {
            let delta = delta(histogram.aggregation_temporality);
            let points = histogram.data_points.iter();
            points
                .map(|at| {
                    point(&at.attributes, delta, (at.start_time_unix_nano, at.time_unix_nano), totals(at.count, at.sum))
                })
                .collect()
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            let delta = delta(histogram.aggregation_temporality);
            let points = histogram.data_points.iter();
            points
                .map(|at| {
                    point(&at.attributes, delta, (at.start_time_unix_nano, at.time_unix_nano), totals(at.count, at.sum))
                })
                .collect()
        }
        Some(Data::Summary(_)) | None => Vec::new(),
    }
}

fn value(point: &NumberDataPoint) -> Totals {
    match point.value {
        Some(Value::AsInt(value)) => Totals { count: u64::try_from(value).unwrap_or_default(), sum: 0.0 },
        Some(Value::AsDouble(value)) => Totals { count: value as u64, sum: value },
        None => Totals::default(),
    }
}
