//! Receivers that are away, hang or reset, and what becomes of what is queued.

use std::time::{Duration, Instant};

use inferscope::export::LossCause::{Oversize, QueueFull, Shutdown};
use inferscope::export::{Compression, Exporter, Identity, Pace, Signal};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use std::io::Read;
use tokio::net::TcpListener;

use crate::common::{
    account, away, destination, lost, of_traces, offer, point, spans, start, start_traces, traces, until,
};
use crate::receiver::{Received, Receiver, Reply, reset_once};

/// Marks of the spans in a request.
fn marks(received: &Received, grpc: bool) -> Vec<u64> {
    let body = if grpc { &received.body[5..] } else { &received.body[..] };
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    let request = ExportTraceServiceRequest::decode(&plain[..]).unwrap();
    let spans = request.resource_spans.iter().flat_map(|group| &group.scope_spans[0].spans);
    let mark = |attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]| {
        let value = attributes.iter().find(|attribute| attribute.key == "inferscope.request.bytes").unwrap();
        match value.value.as_ref().unwrap().value {
            Some(opentelemetry_proto::tonic::common::v1::any_value::Value::IntValue(mark)) => mark as u64,
            ref other => panic!("{other:?}"),
        }
    };
    spans.map(|span| mark(&span.attributes)).collect()
}

async fn delivered(exporter: &Exporter, items: u64) {
    until(|| of_traces(exporter).delivered_items() == items).await;
}

#[tokio::test]
async fn a_receiver_that_is_away_gets_everything_in_order_when_it_comes() {
    for grpc in [false, true] {
        let address = away(1).await;
        let exporter = start_traces(grpc, address);
        (1..=5).for_each(|mark| offer(&exporter, &spans(2, mark)));
        until(|| of_traces(&exporter).retries() >= 3).await;
        let receiver = Receiver::listen(TcpListener::bind(address).await.unwrap(), grpc, vec![], None);
        delivered(&exporter, 10).await;
        let order: Vec<u64> = receiver.received().iter().flat_map(|received| marks(received, grpc)).collect();
        assert_eq!(order, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5], "in order, none twice");
        assert_eq!(of_traces(&exporter).lost_in_all(), 0);
        assert_eq!(of_traces(&exporter).queue_bytes(), 0);
    }
}

#[tokio::test]
async fn a_reset_connection_is_tried_again() {
    for grpc in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let exporter = start_traces(grpc, listener.local_addr().unwrap());
        offer(&exporter, &spans(3, 1));
        reset_once(&listener).await;
        let receiver = Receiver::listen(listener, grpc, vec![], None);
        delivered(&exporter, 3).await;
        assert_eq!(account(of_traces(&exporter)), (3, [0; 6], 1));
        assert_eq!(marks(&receiver.received()[0], grpc), [1, 1, 1]);
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_is_given_up_and_tried_again() {
    for grpc in [false, true] {
        let receiver = Receiver::start(grpc, vec![Reply::Hang, Reply::Hang]).await;
        let mut hurried = destination(grpc, &format!("http://{}/v1/traces", receiver.address));
        hurried.timeout = Duration::from_millis(500);
        let exporter = start(traces(hurried));
        let offered = Instant::now();
        offer(&exporter, &spans(3, 1));
        assert!(offered.elapsed() < Duration::from_millis(500), "nobody waits for it");
        delivered(&exporter, 3).await;
        assert_eq!(account(of_traces(&exporter)), (3, [0; 6], 2));
        assert!(offered.elapsed() >= Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_counts_every_item() {
    let address = away(2).await;
    let mut settings = traces(destination(false, &format!("http://{address}/v1/traces")));
    settings.queue_bytes = 4_000;
    settings.traces.as_mut().unwrap().compression = Compression::None;
    let exporter = start(settings);
    for mark in 1..=60 {
        offer(&exporter, &spans(1, mark));
        assert!(of_traces(&exporter).queue_bytes() <= 4_000);
    }
    until(|| of_traces(&exporter).retries() >= 2).await;
    let dropped = of_traces(&exporter).lost(QueueFull);
    assert!((40..60).contains(&dropped), "{dropped}");
    let receiver = Receiver::listen(TcpListener::bind(address).await.unwrap(), false, vec![], None);
    delivered(&exporter, 60 - dropped).await;
    assert_eq!(account(of_traces(&exporter)).1, lost(QueueFull, dropped));
    assert_eq!(receiver.received().len() as u64, 60 - dropped);
    let newest = ExportTraceServiceRequest::decode(&receiver.received().last().unwrap().body[..]).unwrap();
    assert!(format!("{newest:?}").contains("IntValue(60)"), "the newest are there");
}

#[tokio::test]
async fn requests_are_split_and_what_fits_none_is_counted() {
    let receiver = Receiver::start(false, vec![]).await;
    let mut settings = traces(destination(false, &format!("http://{}/v1/traces", receiver.address)));
    settings.request_bytes = 2_000;
    let exporter = start(settings.clone());
    offer(&exporter, &spans(20, 1));
    delivered(&exporter, 20).await;
    let received = receiver.received();
    assert!(received.len() > 4, "{}", received.len());
    assert_eq!(received.iter().map(|received| marks(received, false).len()).sum::<usize>(), 20);
    settings.request_bytes = 100;
    let exporter = start(settings);
    offer(&exporter, &spans(20, 1));
    assert_eq!(account(of_traces(&exporter)), (0, lost(Oversize, 20), 0));
}

#[tokio::test]
async fn shutdown_delivers_what_is_queued() {
    for grpc in [false, true] {
        let receiver = Receiver::start(grpc, vec![Reply::code(14, None), Reply::status(503)]).await;
        let exporter = start_traces(grpc, receiver.address);
        (1..=50).for_each(|mark| offer(&exporter, &spans(2, mark)));
        let stats = std::sync::Arc::clone(exporter.stats());
        let rest = exporter.shutdown().await;
        assert!(rest.is_empty(), "{rest}");
        let stats = stats.of(Signal::Traces);
        assert_eq!((stats.delivered_items() + stats.lost_in_all(), stats.queue_bytes()), (100, 0));
    }
}

#[tokio::test]
async fn shutdown_ends_in_time_and_tells_what_is_left() {
    let hanging = Receiver::start(false, vec![Reply::Hang; 100]).await;
    let refused = away(3).await;
    for address in [hanging.address, refused] {
        let mut settings = traces(destination(false, &format!("http://{address}/v1/traces")));
        settings.metrics = settings.traces.clone();
        settings.shutdown = Duration::from_millis(300);
        let exporter = start(settings);
        (1..=7).for_each(|mark| offer(&exporter, &spans(2, mark)));
        offer(&exporter, &point());
        let (stats, begun) = (std::sync::Arc::clone(exporter.stats()), Instant::now());
        let rest = exporter.shutdown().await;
        assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&begun.elapsed()));
        assert_eq!((rest.traces.requests, rest.traces.items), (7, 14), "the one on the wire included");
        assert_eq!((rest.metrics.requests, rest.metrics.items, rest.logs.items), (1, 1, 0));
        assert_eq!(account(stats.of(Signal::Traces)).1, lost(Shutdown, 14));
        assert_eq!(rest.to_string(), "1 points in 1 requests, 14 spans in 7, 0 log records in 0");
    }
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_pause_of_its_own() {
    let receiver = Receiver::start(false, vec![Reply::status(503)]).await;
    let settings = traces(destination(false, &format!("http://{}/v1/traces", receiver.address)));
    let identity = Identity { host: "h".into(), version: "1".into(), instance: "i".into() };
    let patient = Pace { first: Duration::from_secs(600), longest: Duration::from_secs(600) };
    let exporter = Exporter::with_pace(settings, identity, patient).unwrap();
    offer(&exporter, &spans(1, 1));
    until(|| of_traces(&exporter).retries() == 1).await;
    assert!(exporter.shutdown().await.is_empty(), "it was given ten seconds");
}
