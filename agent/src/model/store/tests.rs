//! Requests and blocks in, batches out.

use inferscope_common::block::Counter;
use inferscope_common::flow::Role;
use proptest::prelude::*;

use super::*;
use crate::model::attr::OVERFLOW;
use crate::model::request::{Operation, Outcome, TokenSource};
use Temporality::{Cumulative, Delta};

const ONE: WorkloadId = WorkloadId(1);
const MILLI: u64 = 1_000_000;

/// A model that watches [`ONE`] since the time 100.
fn model(temporality: Temporality, series: usize, requests: usize) -> Model {
    let mut model = Model::new(Limits { temporality, series, requests });
    model.add(Workload::sample(ONE), &Block::zeroed(), 100);
    model
}

/// A chat of 10 tokens that took so many milliseconds.
fn chat(model: &'static str, millis: u64) -> Request {
    Request {
        status: 200,
        request_model: Some(model.into()),
        duration: Some(millis * MILLI),
        output_tokens: Some(10),
        token_source: TokenSource::Usage,
        ..Request::bare(ONE, Role::Server, Operation::Chat, millis * MILLI)
    }
}

fn block(ended: u64) -> Box<Block> {
    let mut block = Box::new(Block::zeroed());
    block.counters[Counter::RequestsEnded as usize] = ended;
    block
}

/// Of one metric, over all series: the sum, or the number of durations.
fn told(batch: &Batch, metric: MetricId) -> u64 {
    let points = batch.workloads.iter().flat_map(|workload| &workload.points);
    points.filter(|point| point.metric == metric).map(value).sum()
}

fn value(point: &Point) -> u64 {
    match &point.data {
        Data::Sum(sum) | Data::Seconds(sum) => *sum,
        Data::Histogram(histogram) => histogram.count(),
        Data::Current(_) | Data::Real(_) => 0,
    }
}

fn spans(batch: &Batch) -> usize {
    batch.len().1
}

#[test]
fn delta_tells_what_is_new() {
    let mut model = model(Delta, 100, 100);
    model.request(chat("a", 5));
    model.block(ONE, &block(3));
    let first = model.flush(200);
    assert_eq!((told(&first, MetricId::ServerDuration), told(&first, MetricId::Tokens)), (1, 10));
    assert_eq!((told(&first, MetricId::Requests), spans(&first)), (3, 1));
    assert_eq!((first.workloads[0].start, first.time), (100, 200));

    model.block(ONE, &block(5));
    let second = model.flush(300);
    assert_eq!((told(&second, MetricId::ServerDuration), told(&second, MetricId::Requests)), (0, 2));
    assert_eq!(second.workloads[0].start, 200);
    assert!(model.flush(400).is_empty());
}

#[test]
fn cumulative_tells_everything_each_time() {
    let mut model = model(Cumulative, 100, 100);
    model.request(chat("a", 5));
    model.block(ONE, &block(3));
    model.flush(200);
    model.request(chat("a", 5));
    model.block(ONE, &block(4));
    let second = model.flush(300);
    assert_eq!((told(&second, MetricId::ServerDuration), told(&second, MetricId::Tokens)), (2, 20));
    assert_eq!((told(&second, MetricId::Requests), spans(&second)), (4, 1));
    assert_eq!(second.workloads[0].start, 100);
}

#[test]
fn what_the_block_held_before_is_of_somebody_else() {
    let mut model = Model::new(Limits { temporality: Delta, series: 10, requests: 10 });
    model.add(Workload::sample(ONE), &block(1000), 100);
    model.block(ONE, &block(1002));
    assert_eq!(told(&model.flush(200), MetricId::Requests), 2);
}

#[test]
fn a_clock_that_was_set_back_makes_no_negative_interval() {
    let mut model = model(Delta, 10, 10);
    model.block(ONE, &block(1));
    model.flush(500);
    model.block(ONE, &block(2));
    let back = model.flush(300);
    assert_eq!(back.workloads[0].start, 500);
    model.block(ONE, &block(3));
    assert_eq!(model.flush(600).workloads[0].start, 500);
}

#[test]
fn series_are_bounded_and_nothing_is_lost_by_it() {
    let mut model = model(Delta, 3, 100);
    for name in ["a", "b", "c", "d", "e", "f"] {
        model.request(chat(name, 5));
    }
    let batch = model.flush(200);
    assert_eq!((told(&batch, MetricId::ServerDuration), told(&batch, MetricId::Tokens)), (6, 60));
    let points = &batch.workloads[0].points;
    let in_overflow = |point: &&Point| point.attributes.iter().any(|(key, _)| *key == OVERFLOW);
    let of_requests = |point: &&Point| {
        !in_overflow(point) && !matches!(point.metric, MetricId::SeriesOverflow | MetricId::HttpActiveRequests)
    };
    let own: Vec<&Point> = points.iter().filter(of_requests).collect();
    assert_eq!(own.len(), 3, "{own:#?}");
    // Each request counts in a duration of its kind, one of HTTP, and in tokens: what found no room is told.
    let overflow: u64 =
        points.iter().filter(in_overflow).filter(|point| point.metric != MetricId::Tokens).map(value).sum();
    let tokens =
        points.iter().filter(in_overflow).filter(|point| point.metric == MetricId::Tokens).map(value).sum::<u64>();
    assert_eq!(told(&batch, MetricId::SeriesOverflow), overflow + tokens / 10);
}

#[test]
fn spans_beyond_the_queue_are_counted_in_metrics_and_as_loss() {
    let mut model = model(Delta, 100, 2);
    (0..5).for_each(|_| model.request(chat("a", 5)));
    assert_eq!(model.requests_waiting(), 2);
    let batch = model.flush(200);
    assert_eq!((told(&batch, MetricId::ServerDuration), spans(&batch), told(&batch, MetricId::Loss)), (5, 2, 3));
    model.request(chat("a", 5));
    let next = model.flush(300);
    assert_eq!((spans(&next), told(&next, MetricId::Loss)), (1, 0));
}

#[test]
fn spans_may_go_before_metrics() {
    let mut model = model(Delta, 100, 1);
    model.request(chat("a", 5));
    let early = model.flush_requests(150);
    assert_eq!(early.len(), (0, 1));
    model.request(chat("a", 5));
    let batch = model.flush(200);
    assert_eq!((told(&batch, MetricId::ServerDuration), spans(&batch), told(&batch, MetricId::Loss)), (2, 1, 0));
    assert_eq!(batch.workloads[0].start, 100);
}

#[test]
fn a_workload_that_ended_is_told_of_once_more() {
    let mut model = model(Cumulative, 100, 100);
    model.request(chat("a", 5));
    model.remove(ONE);
    // Requests that were under way when it ended.
    model.request(chat("a", 5));
    assert_eq!(told(&model.flush(200), MetricId::ServerDuration), 2);
    assert!(model.flush(300).is_empty());
    model.request(chat("a", 5));
    assert_eq!(model.taken(), Taken { workloads: 0, requests: 2, orphans: 1 });
}

#[test]
fn what_is_held_is_counted_and_told_when_released() {
    for temporality in [Delta, Cumulative] {
        let mut model = model(temporality, 100, 100);
        model.hold(ONE);
        model.request(chat("a", 5));
        assert!(model.is_held(ONE) && model.flush(200).is_empty());
        model.release(ONE);
        model.request(chat("a", 5));
        let batch = model.flush(300);
        assert_eq!((told(&batch, MetricId::ServerDuration), spans(&batch)), (2, 1), "{temporality:?}");
        assert_eq!(batch.workloads[0].start, 100);
    }
}

#[test]
fn what_was_held_to_its_end_is_never_told() {
    let mut model = model(Delta, 100, 100);
    model.hold(ONE);
    model.request(chat("a", 5));
    model.remove(ONE);
    assert!(model.flush(200).is_empty());
    assert_eq!(model.taken().workloads, 0);
}

fn requests() -> impl Strategy<Value = Vec<(Request, bool)>> {
    let outcome = prop_oneof![Just(Outcome::Ok), (400u16..405).prop_map(Outcome::Status), Just(Outcome::Aborted)];
    let request = (prop::sample::select(vec!["a", "b", "c", "d", "e"]), 1u64..1000, outcome, any::<bool>());
    let request = request.prop_map(|(name, millis, outcome, flush)| (Request { outcome, ..chat(name, millis) }, flush));
    prop::collection::vec(request, 0..60)
}

proptest! {
    /// Whatever the bounds and whenever it is flushed: each request is told once, and each span is told or lost.
    #[test]
    fn every_request_counts_once(requests in requests(), series in 1usize..30, room in 0usize..20) {
        let (mut delta, mut cumulative) = (model(Delta, series, room), model(Cumulative, series, room));
        let (mut durations, mut told_spans, mut lost) = (0, 0, 0);
        for (request, flush) in &requests {
            delta.request(request.clone());
            cumulative.request(request.clone());
            if *flush {
                let batch = delta.flush(200);
                durations += told(&batch, MetricId::ServerDuration);
                told_spans += spans(&batch) as u64;
                lost += told(&batch, MetricId::Loss);
            }
        }
        let batch = delta.flush(300);
        durations += told(&batch, MetricId::ServerDuration);
        told_spans += spans(&batch) as u64;
        lost += told(&batch, MetricId::Loss);
        let all = requests.len() as u64;
        prop_assert_eq!((durations, told_spans + lost), (all, all));
        prop_assert_eq!(told(&cumulative.flush(300), MetricId::ServerDuration), all);
    }
}
