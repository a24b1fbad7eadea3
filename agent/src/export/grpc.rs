//! gRPC's framing of a unary call, read without trust.
//!
//! tonic's own client compresses at level 6 on every try, and panics on a status whose details are no base64.

use bytes::{BufMut, Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use prost::Message;
use std::time::Duration;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic_types::RpcStatusExt;

use crate::export::answer::{Answer, code_of_http};
use crate::export::body::{self, Unread};
use crate::export::partial;
use crate::export::payload::Payload;
use crate::export::stats::Signal;

/// A frame's flag and length.
const FRAME_HEAD: usize = 5;

/// The method that takes a signal.
pub(super) fn method(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
}

/// Headers of every call.
pub(super) fn headers(timeout: Duration, headers: &mut HeaderMap) {
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    // At most eight digits, says the protocol: a day in milliseconds.
    let millis = timeout.as_millis().min(99_999_999);
    if let Ok(value) = HeaderValue::from_str(&format!("{millis}m")) {
        headers.insert("grpc-timeout", value);
    }
}

/// What stands before the payload on the wire.
pub(super) fn frame_head(payload: &Payload) -> Bytes {
    let mut head = BytesMut::with_capacity(FRAME_HEAD);
    head.put_u8(payload.gzip.into());
    // A request is limited far below 4 GiB.
    head.put_u32(payload.body.len() as u32);
    head.freeze()
}

/// What a response says.
pub(super) fn answer(head: &Parts, bytes: &Bytes, trailers: Option<&HeaderMap>, items: u64) -> Answer {
    // A response that is a failure from the start has its status among the headers.
    let headers = trailers.filter(|trailers| trailers.contains_key(STATUS)).unwrap_or(&head.headers);
    let code = match headers.get(STATUS) {
        Some(status) => Code::from_bytes(status.as_bytes()),
        None if head.status != StatusCode::OK => code_of_http(head.status),
        None => Code::Unknown,
    };
    if code != Code::Ok {
        return Answer::of_grpc(code, retry_info(headers));
    }
    match message(&head.headers, bytes) {
        Ok(message) => partial::read(&message, items),
        Err(_) => Answer::TooLarge,
    }
}

const STATUS: &str = "grpc-status";

/// The response's one message; empty where there is none.
fn message(headers: &HeaderMap, bytes: &Bytes) -> Result<Bytes, Unread> {
    let Some((head, rest)) = bytes.split_at_checked(FRAME_HEAD) else { return Ok(Bytes::new()) };
    let len = head[1..].iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
    let message = &rest[..len.min(rest.len())];
    let gzip = headers.get("grpc-encoding").is_some_and(|encoding| encoding == "gzip");
    match (head[0], gzip) {
        (0, _) => Ok(bytes.slice_ref(message)),
        (_, true) => body::gunzip(message),
        (_, false) => Ok(Bytes::new()),
    }
}

/// The delay in the status's `RetryInfo`, where it has one. Details that make no sense are none.
fn retry_info(headers: &HeaderMap) -> Option<Option<Duration>> {
    let metadata = MetadataMap::from_headers(headers.clone());
    let details = metadata.get_bin("grpc-status-details-bin")?.to_bytes().ok()?;
    let status = tonic_types::Status::decode(details).ok()?;
    status.get_details_retry_info().map(|info| info.retry_delay)
}
