//! Figures of a summary, against what goes into the model.

use std::path::PathBuf;
use std::sync::Arc;

use inferscope_common::block::{Block, Counter, Hist};
use inferscope_common::flow::Role;
use proptest::prelude::*;

use super::*;
use crate::model::batch::{Batch, Temporality};
use crate::model::request::{Operation, Outcome, Request, TokenSource};
use crate::model::workload::{Engine, Workload, WorkloadId};
use crate::model::{Limits, Model};
use crate::view::figures::Ends;

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;

fn workload(id: u64, name: &str, port: Option<u16>) -> Arc<Workload> {
    let (cgroup, cgroup_id) = (PathBuf::from("/sys/fs/cgroup/x"), 100 + id);
    let container = (id > 1).then(|| "0123456789abcdef".into());
    Arc::new(Workload {
        id: WorkloadId(id),
        name: name.into(),
        engine: Engine::Vllm,
        cgroup,
        cgroup_id,
        port,
        container,
    })
}

/// A streamed chat that went well; times in milliseconds.
fn chat(id: u64, first_token: u64, duration: u64, tokens: u64) -> Request {
    Request {
        provider: Some("openai"),
        method: "POST",
        status: 200,
        streamed: true,
        request_model: Some("org/model-a".into()),
        finish: Some("stop"),
        started: Some(0),
        duration: Some(duration * MILLI),
        time_to_first_token: Some(first_token * MILLI),
        time_per_output_token: (tokens > 1).then(|| (duration - first_token) * MILLI / (tokens - 1)),
        input_tokens: Some(10),
        output_tokens: Some(tokens),
        token_source: TokenSource::Usage,
        ..Request::bare(WorkloadId(id), Role::Server, Operation::Chat, duration * MILLI)
    }
}

fn model(temporality: Temporality) -> Model {
    Model::new(Limits { temporality, series: 100, requests: 100 })
}

/// The figure is within what a histogram's slot leaves open.
fn near(got: Option<f64>, expected: f64) {
    let got = got.unwrap();
    assert!((got - expected).abs() <= expected * 0.011, "{got} {expected}");
}

/// Two intervals of a second: requests and the words of the kernel's block.
fn two_intervals(temporality: Temporality) -> [Batch; 2] {
    let mut model = model(temporality);
    let mut block = Box::new(Block::zeroed());
    model.add(workload(1, "vllm", None), &block, 5 * SECOND);
    let count = |block: &mut Block, counter: Counter, by: u64| block.counters[counter as usize] += by;
    let time = |block: &mut Block, hist: Hist, millis: u64| {
        block.hists[hist as usize].record(millis * MILLI);
    };

    model.request(chat(1, 100, 1100, 101));
    model.request(Request { outcome: Outcome::Aborted, ..chat(1, 150, 500, 20) });
    count(&mut block, Counter::RequestsBegun, 5);
    count(&mut block, Counter::RequestsEnded, 2);
    count(&mut block, Counter::Retransmits, 3);
    count(&mut block, Counter::LostRing, 7);
    time(&mut block, Hist::Rtt, 1);
    time(&mut block, Hist::ReadDelay, 30);
    model.block(WorkloadId(1), &block);
    let first = model.flush(6 * SECOND);

    model.request(chat(1, 300, 2300, 101));
    model.request(Request {
        request_model: Some("b".into()),
        token_source: TokenSource::Events,
        ..chat(1, 200, 1200, 51)
    });
    model.request(Request { outcome: Outcome::Status(500), streamed: false, ..chat(1, 1, 5, 0) });
    count(&mut block, Counter::RequestsEnded, 2);
    count(&mut block, Counter::Retransmits, 1);
    time(&mut block, Hist::Rtt, 1);
    time(&mut block, Hist::EventGap, 12);
    model.block(WorkloadId(1), &block);
    [first, model.flush(7 * SECOND)]
}

#[test]
fn rates_are_those_of_all_intervals_and_times_those_of_all_requests() {
    for temporality in [Temporality::Delta, Temporality::Cumulative] {
        let mut summary = Summary::default();
        two_intervals(temporality).iter().for_each(|batch| summary.add(batch));
        let rows = summary.rows();
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.name.as_str(), row.asks, row.requests), ("vllm", false, 4));
        assert_eq!((row.requests_per_second, row.in_flight), (Some(2.0), Some(1)), "four in two seconds; five began");
        assert_eq!((row.failed, row.aborted), (Some(0.2), 1), "one in five, and one that the client gave up");
        near(row.first_token.map(|spread| spread.p50), 0.2);
        near(row.first_token.map(|spread| spread.p99), 0.3);
        near(row.per_token.map(|spread| spread.p50), 0.02);
        near(row.duration.map(|spread| spread.p50), 1.1);
        near(row.duration.map(|spread| spread.p99), 2.3);
        near(row.event_gap, 0.012);
        near(row.read_delay, 0.03);
        near(row.round_trip, 0.001);
        // Input tokens are the server's own count even where its output is counted by events.
        assert_eq!((row.tokens_in, row.tokens_out), (Some(5.0 * 10.0 / 2.0), Some((101 + 20 + 101 + 51) as f64 / 2.0)));
        assert!(row.counted_by_events);
        assert_eq!((row.retransmits, row.models.as_slice()), (4, &["org/model-a".to_owned(), "b".to_owned()][..]));
        assert_eq!(row.losses, [Loss { cause: "ring_full".to_owned(), count: 7 }]);
    }
}

#[test]
fn a_summary_of_one_interval_tells_of_that_one() {
    let [_, second] = two_intervals(Temporality::Delta);
    let mut summary = Summary::new([workload(1, "vllm", None), workload(2, "idle", None)]);
    summary.add(&second);
    let rows = summary.rows();
    assert_eq!(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["vllm", "idle"], "the busiest first");
    assert_eq!((rows[0].requests, rows[0].requests_per_second, rows[0].retransmits), (2, Some(2.0), 1));
    assert_eq!((rows[0].aborted, rows[0].failed), (0, Some(1.0 / 3.0)));
    assert!(rows[0].losses.is_empty());
    assert_eq!(rows[1], Row { name: "idle".to_owned(), requests_per_second: Some(0.0), ..Row::default() });
}

#[test]
fn requests_that_a_workload_makes_have_a_row_of_their_own() {
    let mut model = model(Temporality::Delta);
    let mut block = Box::new(Block::zeroed());
    model.add(workload(1, "gateway", None), &block, 0);
    model.request(chat(1, 100, 1000, 10));
    model.request(Request { role: Role::Client, outcome: Outcome::Broken, ..chat(1, 90, 900, 10) });
    block.counters[Counter::RequestsEnded as usize] = 1;
    block.counters[Counter::ClientRequestsEnded as usize] = 1;
    model.block(WorkloadId(1), &block);
    let mut summary = Summary::default();
    summary.add(&model.flush(SECOND));
    let rows = summary.rows();
    let [serves, asks] = rows.as_slice() else { panic!("{rows:?}") };
    assert!(!serves.asks && asks.asks);
    near(serves.duration.map(|spread| spread.p50), 1.0);
    near(asks.duration.map(|spread| spread.p50), 0.9);
    assert_eq!((serves.failed, asks.failed, asks.in_flight, asks.tokens_out), (Some(0.0), Some(1.0), None, None));
}

#[test]
fn plain_http_has_durations_too() {
    let mut model = model(Temporality::Delta);
    model.add(workload(1, "web", None), &Block::zeroed(), 0);
    model.request(Request { operation: Operation::Http, streamed: false, request_model: None, ..chat(1, 1, 40, 0) });
    let mut summary = Summary::default();
    summary.add(&model.flush(SECOND));
    let rows = summary.rows();
    near(rows[0].duration.map(|spread| spread.p99), 0.04);
    assert_eq!((&rows[0].first_token, rows[0].tokens_out, rows[0].models.len()), (&None, None, 0));
}

/// What is an error in the spans is one in the table.
#[test]
fn a_plain_4xx_is_no_error_of_who_answers() {
    let http = |role, status| Request {
        operation: Operation::Http,
        role,
        outcome: Outcome::Status(status),
        ..chat(1, 1, 40, 0)
    };
    let cases = [
        (http(Role::Server, 404), 0),
        (http(Role::Server, 499), 0),
        (http(Role::Server, 500), 1),
        (http(Role::Client, 404), 1),
        (Request { outcome: Outcome::Status(404), ..chat(1, 1, 40, 0) }, 1),
        (Request { outcome: Outcome::Broken, ..http(Role::Server, 200) }, 1),
    ];
    for (request, failed) in cases {
        let mut ends = Ends::default();
        ends.add(&request);
        assert_eq!((ends.all, ends.failed), (1, failed), "{request:?}");
    }
}

#[test]
fn spans_that_come_between_metrics_count_once() {
    let mut model = model(Temporality::Delta);
    model.add(workload(1, "vllm", None), &Block::zeroed(), 0);
    let mut summary = Summary::default();
    model.request(Request { outcome: Outcome::Status(404), ..chat(1, 1, 2, 3) });
    summary.add(&model.flush_requests(SECOND));
    model.request(chat(1, 1, 2, 3));
    summary.add(&model.flush(2 * SECOND));
    let rows = summary.rows();
    assert_eq!((rows[0].failed, rows[0].tokens_out), (Some(0.5), Some(3.0)));
}

#[test]
fn equal_names_are_told_apart() {
    let same = [workload(1, "vllm", None), workload(2, "vllm", Some(8001)), workload(3, "vllm", None)];
    let names: Vec<_> = Summary::new(same).rows().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["vllm#101", "vllm:8001", "vllm@01234567"]);
}

#[test]
fn an_interval_without_length_has_no_rates() {
    let mut model = model(Temporality::Delta);
    model.add(workload(1, "vllm", None), &Block::zeroed(), SECOND);
    model.request(chat(1, 1, 2, 3));
    let mut summary = Summary::default();
    summary.add(&model.flush(SECOND));
    let rows = summary.rows();
    assert_eq!((rows[0].requests_per_second, rows[0].tokens_out), (None, None));
}

proptest! {
    #[test]
    fn many_batches_add_up_to_one(
        requests in proptest::collection::vec((1u64..1000, 1u64..5000, 0u64..300), 1..40),
        cuts in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let (mut often, mut once) = (model(Temporality::Delta), model(Temporality::Delta));
        let (mut sum, mut whole, mut now) = (Summary::default(), Summary::default(), 0);
        often.add(workload(1, "vllm", None), &Block::zeroed(), 0);
        once.add(workload(1, "vllm", None), &Block::zeroed(), 0);
        for ((first, rest, tokens), cut) in requests.into_iter().zip(cuts) {
            let request = chat(1, first, first + rest, tokens);
            often.request(request.clone());
            once.request(request);
            now += MILLI;
            if cut {
                sum.add(&often.flush(now));
            }
        }
        now += MILLI;
        sum.add(&often.flush(now));
        whole.add(&once.flush(now));
        prop_assert_eq!(sum.rows(), whole.rows());
    }
}
