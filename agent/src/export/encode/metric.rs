//! Points of one workload as metrics.

use inferscope_common::hist;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data as Points;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric, NumberDataPoint, Sum,
};
use prost::Message;

use crate::export::encode::pack::{Message as Request, Packer};
use crate::export::encode::sink::Sink;
use crate::model::Histogram;
use crate::model::batch::{Batch, Data, Point, Temporality, WorkloadBatch};
use crate::model::gpu::GpuBatch;
use crate::model::metrics::{self, Instrument};

/// When the points of a workload begin and end, and what they say of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    start: u64,
    since: u64,
    end: u64,
    temporality: AggregationTemporality,
}

impl Interval {
    pub(super) fn of(batch: &Batch, workload: &WorkloadBatch) -> Self {
        Self { start: workload.start, since: workload.since, end: batch.time, temporality: temporality(batch) }
    }

    pub(super) fn of_gpu(batch: &Batch, gpu: &GpuBatch) -> Self {
        Self { start: gpu.start, since: gpu.since, end: batch.time, temporality: temporality(batch) }
    }
}

fn temporality(batch: &Batch) -> AggregationTemporality {
    match batch.temporality {
        Temporality::Delta => AggregationTemporality::Delta,
        Temporality::Cumulative => AggregationTemporality::Cumulative,
    }
}

/// Packs points, those of one metric together, in the order of the table.
pub(super) fn pack(points: &[Point], interval: Interval, packer: &mut Packer<impl FnMut(&Request)>) {
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by_key(|point| point.metric);
    for of_one in sorted.chunk_by(|a, b| a.metric == b.metric) {
        pack_metric(of_one, interval, packer);
    }
}

/// Packs points of one metric; in halves where they are too many for one request.
fn pack_metric(points: &[&Point], interval: Interval, packer: &mut Packer<impl FnMut(&Request)>) {
    let Some(first) = points.first() else { return };
    let metric = metric(first.metric.row(), points, interval);
    if points.len() > 1 && !packer.fits(metric.encoded_len()) {
        let (left, right) = points.split_at(points.len() / 2);
        pack_metric(left, interval, packer);
        pack_metric(right, interval, packer);
    } else {
        packer.item(&metric.encode_to_vec(), points.len() as u64);
    }
}

/// Points of one metric as OpenTelemetry has them.
pub(super) fn metric(row: &metrics::Metric, points: &[&Point], interval: Interval) -> Metric {
    let temporality = interval.temporality.into();
    let numbers = |start| points.iter().filter_map(|point| number(point, start, interval.end)).collect();
    let data = match row.instrument {
        Instrument::Counter => Points::Sum(Sum {
            data_points: numbers(interval.start),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        Instrument::UpDownCounter => Points::Sum(Sum {
            data_points: numbers(interval.since),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: false,
        }),
        // A last value began at no time.
        Instrument::Gauge => Points::Gauge(Gauge { data_points: numbers(0) }),
        Instrument::Histogram => Points::ExponentialHistogram(ExponentialHistogram {
            data_points: points.iter().filter_map(|point| histogram(point, interval)).collect(),
            aggregation_temporality: temporality,
        }),
    };
    Metric {
        name: row.name.to_owned(),
        description: row.description.to_owned(),
        unit: row.unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn attributes(point: &Point) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(point.attributes.len());
    point.attributes.iter().for_each(|(name, value)| attributes.value(name, value));
    attributes
}

fn number(point: &Point, start: u64, end: u64) -> Option<NumberDataPoint> {
    let value = match point.data {
        Data::Sum(sum) => Number::AsInt(i64::try_from(sum).unwrap_or(i64::MAX)),
        Data::Seconds(nanos) => Number::AsDouble(nanos as f64 / 1e9),
        Data::Current(value) => Number::AsInt(value),
        Data::Real(value) => Number::AsDouble(value),
        Data::Histogram(_) => return None,
    };
    Some(NumberDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: start,
        time_unix_nano: end,
        value: Some(value),
        ..NumberDataPoint::default()
    })
}

fn histogram(point: &Point, interval: Interval) -> Option<ExponentialHistogramDataPoint> {
    let Data::Histogram(histogram) = &point.data else { return None };
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let range = histogram.range();
    Some(ExponentialHistogramDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: interval.start,
        time_unix_nano: interval.end,
        count: histogram.count(),
        sum: Some(seconds(histogram.sum())),
        scale: hist::SCALE as i32,
        positive: Some(buckets(histogram)),
        min: range.map(|(min, _)| seconds(min)),
        max: range.map(|(_, max)| seconds(max)),
        ..ExponentialHistogramDataPoint::default()
    })
}

/// The model's slots are OTLP's buckets: nothing is converted.
fn buckets(histogram: &Histogram) -> Buckets {
    let (first, counts) = histogram.slots();
    if counts.is_empty() {
        return Buckets::default();
    }
    // Slots are far fewer than an i32 holds.
    Buckets { offset: hist::MIN_INDEX + first as i32, bucket_counts: counts.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use crate::model::attr;
    use crate::model::metrics::MetricId;

    const INTERVAL: Interval = Interval { start: 20, since: 10, end: 30, temporality: AggregationTemporality::Delta };

    fn point(metric: MetricId, attributes: attr::Attributes, data: Data) -> Point {
        Point { metric, attributes, data }
    }

    fn histogram_of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&nanos| histogram.record(nanos));
        histogram
    }

    fn encoded(data: Data, temporality: AggregationTemporality) -> Points {
        let id = match data {
            Data::Sum(_) => MetricId::Requests,
            Data::Seconds(_) => MetricId::CpuTime,
            Data::Current(_) => MetricId::HttpActiveRequests,
            Data::Real(_) => MetricId::HwEnergy,
            Data::Histogram(_) => MetricId::ServerDuration,
        };
        let point = point(id, vec![(attr::ROLE, "server".into())], data);
        let metric = metric(id.row(), &[&point], Interval { temporality, ..INTERVAL });
        assert_eq!((&*metric.name, &*metric.unit), (id.row().name, id.row().unit));
        metric.data.unwrap()
    }

    #[test]
    fn counters_begin_with_their_interval() {
        for temporality in [AggregationTemporality::Delta, AggregationTemporality::Cumulative] {
            let Points::Sum(sum) = encoded(Data::Sum(7), temporality) else { panic!("no sum") };
            assert_eq!((sum.is_monotonic, sum.aggregation_temporality()), (true, temporality));
            let point = &sum.data_points[0];
            assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (20, 30));
            assert_eq!(point.value, Some(Number::AsInt(7)));
        }
    }

    #[test]
    fn times_are_seconds() {
        let Points::Sum(sum) = encoded(Data::Seconds(1_500_000_000), AggregationTemporality::Delta) else {
            panic!("no sum")
        };
        assert_eq!((sum.is_monotonic, sum.data_points[0].value), (true, Some(Number::AsDouble(1.5))));
    }

    #[test]
    fn what_shrinks_is_always_cumulative() {
        let Points::Sum(sum) = encoded(Data::Current(-3), AggregationTemporality::Delta) else { panic!("no sum") };
        assert_eq!((sum.is_monotonic, sum.aggregation_temporality()), (false, AggregationTemporality::Cumulative));
        let point = &sum.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (10, 30));
        assert_eq!(point.value, Some(Number::AsInt(-3)));
    }

    #[test]
    fn real_numbers_stay_what_they_are() {
        let Points::Sum(sum) = encoded(Data::Real(1.5), AggregationTemporality::Delta) else { panic!("no sum") };
        assert_eq!(sum.data_points[0].value, Some(Number::AsDouble(1.5)));
    }

    #[test]
    fn a_gauge_has_no_beginning() {
        let point = point(MetricId::AgentWorkloads, vec![], Data::Current(4));
        let metric = metric(MetricId::AgentWorkloads.row(), &[&point], INTERVAL);
        let Some(Points::Gauge(gauge)) = metric.data else { panic!("no gauge") };
        assert_eq!((gauge.data_points[0].start_time_unix_nano, gauge.data_points[0].time_unix_nano), (0, 30));
    }

    proptest! {
        #[test]
        fn a_histogram_keeps_every_count_and_the_sum(values in vec(1_000u64..200_000_000_000, 1..300)) {
            let data = Data::Histogram(histogram_of(&values));
            let Points::ExponentialHistogram(encoded) = encoded(data, AggregationTemporality::Delta) else {
                panic!("no histogram")
            };
            let point = &encoded.data_points[0];
            let buckets = point.positive.as_ref().unwrap();
            prop_assert_eq!(point.count, values.len() as u64);
            prop_assert_eq!(buckets.bucket_counts.iter().sum::<u64>() + point.zero_count, point.count);
            let seconds = |nanos: u64| nanos as f64 / 1e9;
            let sum: u64 = values.iter().sum();
            prop_assert!((point.sum.unwrap() - seconds(sum)).abs() <= 1e-12 * seconds(sum));
            prop_assert_eq!(point.min, values.iter().min().map(|&min| seconds(min)));
            prop_assert_eq!(point.max, values.iter().max().map(|&max| seconds(max)));
            // OTLP's own definition of a bucket: (base^index, base^(index + 1)], base = 2^(2^-scale).
            let bound = |index: i32| f64::from(index) * 2f64.powi(-point.scale);
            for (place, &count) in buckets.bucket_counts.iter().enumerate() {
                let index = buckets.offset + place as i32;
                let (low, high) = (bound(index).exp2(), bound(index + 1).exp2());
                let inside = |slack: f64| {
                    let (low, high) = (low * (1.0 - slack), high * (1.0 + slack));
                    values.iter().filter(|&&nanos| seconds(nanos) > low && seconds(nanos) <= high).count() as u64
                };
                prop_assert!((inside(-1e-12)..=inside(1e-12)).contains(&count), "bucket {}", index);
            }
        }

        #[test]
        fn splitting_loses_and_repeats_no_point(limit in 150usize..2_000, counts in vec(1i64..40, 1..5)) {
            let metrics = [MetricId::Requests, MetricId::Loss, MetricId::Tokens, MetricId::TcpResets];
            let points: Vec<Point> = metrics.into_iter().zip(&counts).flat_map(|(id, &count)| {
                (0..count).map(move |number| point(id, vec![(attr::STATUS, number.into())], Data::Sum(number as u64)))
            }).rev().collect();
            let mut messages = Vec::new();
            let mut packer = Packer::new(limit, |message: &Request| messages.push(message.clone()));
            packer.group(b"", b"");
            pack(&points, INTERVAL, &mut packer);
            let oversize = packer.finish();
            let mut got = Vec::new();
            for message in &messages {
                prop_assert!(message.bytes.len() <= limit);
                let before = got.len();
                let request = ExportMetricsServiceRequest::decode(&message.bytes[..]).unwrap();
                for metric in &request.resource_metrics[0].scope_metrics[0].metrics {
                    let Some(Points::Sum(sum)) = &metric.data else { panic!("no sum") };
                    got.extend(sum.data_points.iter().map(|point| (metric.name.clone(), point.value)));
                }
                prop_assert_eq!((got.len() - before) as u64, message.items);
            }
            let mut all: Vec<_> = points.iter().map(|point| {
                let Data::Sum(sum) = point.data else { panic!("no sum") };
                (point.metric.row().name.to_owned(), Some(Number::AsInt(sum as i64)))
            }).collect();
            prop_assert_eq!(got.len() as u64 + oversize, all.len() as u64);
            // Where a single point fits, all do: the points of one metric are alike.
            if oversize == 0 {
                let order = |point: &(String, Option<Number>)| format!("{point:?}");
                all.sort_by_key(order);
                got.sort_by_key(order);
                prop_assert_eq!(got, all);
            }
        }
    }
}
