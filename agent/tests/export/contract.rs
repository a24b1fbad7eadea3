//! Every row of OTLP's contract, against real connections.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use inferscope::export::LossCause::{Answer, Refused, Rejected};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use std::io::Write;
use tonic_types::{ErrorDetails, StatusExt};

use crate::common::{account, lost, of_traces, offer, spans, start_traces, until};
use crate::receiver::{Receiver, Reply, frame};

/// What one reply to a request with 3 spans leads to, followed by one that takes everything.
struct Outcome {
    account: (u64, [u64; 6], u64),
    /// Between the first request and the second, where the same came again.
    again_after: Option<Duration>,
}

async fn play(grpc: bool, reply: Reply) -> Outcome {
    let receiver = Receiver::start(grpc, vec![reply]).await;
    let exporter = start_traces(grpc, receiver.address);
    offer(&exporter, &spans(3, 1));
    let stats = of_traces(&exporter);
    until(|| stats.delivered_items() + stats.lost_in_all() == 3).await;
    // Another one shows that what was refused does not come after all, and that the way is free.
    offer(&exporter, &spans(4, 2));
    until(|| stats.delivered_items() + stats.lost_in_all() == 7).await;
    let received = receiver.received();
    let (first, last) = (&received[0], received.last().unwrap());
    assert_ne!(first.body, last.body);
    let again = &received[1..received.len() - 1];
    assert!(again.iter().all(|again| again.body == first.body), "a retry sends the same bytes");
    assert_eq!(again.len() as u64, stats.retries());
    let mut account = account(stats);
    account.0 -= 4;
    assert!(exporter.shutdown().await.is_empty());
    Outcome { account, again_after: again.first().map(|again| again.at - first.at) }
}

#[tokio::test]
async fn grpc_codes() {
    const DELAY: Duration = Duration::from_millis(300);
    let details = |delay| {
        let status =
            tonic::Status::with_error_details(tonic::Code::Unavailable, "", ErrorDetails::with_retry_info(delay));
        STANDARD_NO_PAD.encode(status.details())
    };
    for code in 1..=16 {
        let retryable = [1, 4, 10, 11, 14, 15].contains(&code);
        for (delay, info) in [(None, None), (None, Some(details(None))), (Some(DELAY), Some(details(Some(DELAY))))] {
            let case = format!("code {code}, {info:?}");
            let outcome = play(true, Reply::code(code, info.clone())).await;
            if retryable || code == 8 && info.is_some() {
                assert_eq!(outcome.account, (3, [0; 6], 1), "{case}");
                assert!(outcome.again_after.unwrap() >= delay.unwrap_or_default(), "{case}");
            } else {
                assert_eq!(outcome.account, (0, lost(Refused, 3), 0), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn grpc_details_that_make_no_sense_are_none() {
    for nonsense in ["%%%", "AAAA", ""] {
        let outcome = play(true, Reply::code(8, Some(nonsense.to_owned()))).await;
        assert_eq!(outcome.account, (0, lost(Refused, 3), 0), "{nonsense:?}");
    }
    // Padded or not, both are base64 to gRPC: three lengths make every padding.
    for message in ["", "a", "ab"] {
        let info = ErrorDetails::with_retry_info(Some(Duration::ZERO));
        let status = tonic::Status::with_error_details(tonic::Code::Ok, message, info);
        for text in [STANDARD.encode(status.details()), STANDARD_NO_PAD.encode(status.details())] {
            assert_eq!(play(true, Reply::code(8, Some(text))).await.account, (3, [0; 6], 1), "{message:?}");
        }
    }
}

#[tokio::test]
async fn grpc_through_a_proxy_that_answers_itself() {
    for (status, retried) in [(503, true), (429, true), (502, true), (504, true), (404, false), (401, false)] {
        let outcome = play(true, Reply::status(status)).await;
        let expected = if retried { (3, [0; 6], 1) } else { (0, lost(Refused, 3), 0) };
        assert_eq!(outcome.account, expected, "{status}");
    }
}

#[tokio::test]
async fn grpc_status_among_the_headers() {
    let only = |code: &str| Reply::Http {
        status: 200,
        headers: vec![("content-type", "application/grpc".into()), ("grpc-status", code.into())],
        body: Bytes::new(),
    };
    assert_eq!(play(true, only("14")).await.account, (3, [0; 6], 1));
    assert_eq!(play(true, only("3")).await.account, (0, lost(Refused, 3), 0));
    // No status at all is an unknown one.
    assert_eq!(play(true, Reply::status(200)).await.account, (0, lost(Refused, 3), 0));
}

#[tokio::test]
async fn http_statuses() {
    for status in (300..=308).chain(400..=451).chain(500..=511) {
        let outcome = play(false, Reply::status(status)).await;
        let expected = if [429, 502, 503, 504].contains(&status) { (3, [0; 6], 1) } else { (0, lost(Refused, 3), 0) };
        assert_eq!(outcome.account, expected, "{status}");
    }
    for status in [200, 202, 204] {
        assert_eq!(play(false, Reply::status(status)).await.account, (3, [0; 6], 0), "{status}");
    }
}

#[tokio::test]
async fn http_retry_after_in_both_forms() {
    let after = |value: String| Reply::Http { status: 503, headers: vec![("retry-after", value)], body: Bytes::new() };
    let seconds = play(false, after("1".into())).await;
    assert_eq!(seconds.account, (3, [0; 6], 1));
    assert!(seconds.again_after.unwrap() >= Duration::from_secs(1), "{:?}", seconds.again_after);
    // A date has whole seconds: two from now is one at least.
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    let date = play(false, after(date)).await;
    assert_eq!(date.account, (3, [0; 6], 1));
    assert!(date.again_after.unwrap() >= Duration::from_millis(900), "{:?}", date.again_after);
    let nonsense = play(false, after("soon".into())).await;
    assert_eq!(nonsense.account, (3, [0; 6], 1));
    assert!(nonsense.again_after.unwrap() < Duration::from_secs(1));
}

/// A reply of either protocol with this message.
fn reply(grpc: bool, message: Bytes) -> Reply {
    if grpc { Reply::message(message) } else { Reply::Http { status: 200, headers: vec![], body: message } }
}

#[tokio::test]
async fn partial_success_is_never_retried() {
    let partial = |rejected_spans, message: &str| {
        let partial = ExportTracePartialSuccess { rejected_spans, error_message: message.to_owned() };
        Bytes::from(ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec())
    };
    for grpc in [false, true] {
        for (rejected, message) in [(2, "too old"), (3, ""), (0, "slow down"), (0, "")] {
            let outcome = play(grpc, reply(grpc, partial(rejected, message))).await;
            let rejected = rejected as u64;
            assert_eq!(outcome.account, (3 - rejected, lost(Rejected, rejected), 0), "{grpc} {rejected} {message}");
        }
        let nonsense = play(grpc, reply(grpc, Bytes::from_static(b"\xff\xff"))).await;
        assert_eq!(nonsense.account, (3, [0; 6], 0), "a response that cannot be read rejects nothing");
    }
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

#[tokio::test]
async fn answers_beyond_4_mib_are_not_read() {
    let large = vec![0; (4 << 20) + 1];
    let bomb = gzip(&large);
    assert!(bomb.len() < 10_000);
    let http = |status, encoding: Option<&str>, body: Bytes| Reply::Http {
        status,
        headers: encoding.map(|encoding| ("content-encoding", encoding.to_owned())).into_iter().collect(),
        body,
    };
    let grpc = |flag, message: &[u8]| Reply::Grpc {
        headers: vec![("grpc-encoding", "gzip".into())],
        frame: frame(flag, message),
        trailers: vec![("grpc-status", "0".into())],
    };
    let cases = [
        (false, http(200, None, large.clone().into())),
        (false, http(503, None, large.clone().into())),
        (false, http(200, Some("gzip"), bomb.clone())),
        (false, http(503, Some("gzip"), bomb.clone())),
        (true, grpc(0, &large)),
        (true, grpc(1, &bomb)),
    ];
    for (protocol, reply) in cases {
        let status = format!("{reply:.30?}");
        assert_eq!(play(protocol, reply).await.account, (0, lost(Answer, 3), 0), "{status}");
    }
    let compressed = gzip(
        &ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: String::new() }),
        }
        .encode_to_vec(),
    );
    for (protocol, reply) in [(false, http(200, Some("gzip"), compressed.clone())), (true, grpc(1, &compressed))] {
        assert_eq!(play(protocol, reply).await.account, (2, lost(Rejected, 1), 0), "a small one is read");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    for grpc in [false, true] {
        assert_eq!(play(grpc, Reply::Break).await.account, (3, [0; 6], 1), "{grpc}");
    }
}
