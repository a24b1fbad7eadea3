use super::*;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::SpanKind};
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;

use crate::export::encode::samples::{self, bare, stream};
use crate::model::request::Traceparent;
use crate::model::spans::{Kind, SPAN_ATTRIBUTES};

const IDS: Ids = Ids { trace: [7; 16], span: [9; 8] };
const CLOCK: i64 = 1_700_000_000_000_000_000;

fn clock() -> Clock {
    Clock::with_offset(CLOCK)
}

/// The span as a tree of messages, by prost alone.
fn tree(request: &Request, engine: Engine, head: &Head<'_>) -> Span {
    let mut all: Vec<KeyValue> = Vec::new();
    attributes(request, engine, &mut all);
    let (verb, object) = head.name;
    Span {
        trace_id: head.trace.to_vec(),
        span_id: head.span.to_vec(),
        parent_span_id: head.parent.map(Vec::from).unwrap_or_default(),
        flags: head.flags,
        name: object.map_or_else(|| verb.to_owned(), |object| format!("{verb} {object}")),
        kind: if head.serves { SpanKind::Server } else { SpanKind::Client }.into(),
        start_time_unix_nano: head.start,
        end_time_unix_nano: head.end,
        attributes: all,
        status: head.failed.then(|| Status { code: StatusCode::Error.into(), ..Status::default() }),
        ..Span::default()
    }
}

fn encoded(request: &Request, engine: Engine) -> Span {
    let mut bytes = Vec::new();
    write(request, engine, &Head::of(request, IDS, clock()), &mut bytes);
    Span::decode(&bytes[..]).unwrap()
}

/// Attributes of the encoded span by name, none of them twice.
fn named(span: &Span) -> BTreeMap<&str, &Any> {
    let mut named = BTreeMap::new();
    for KeyValue { key, value, .. } in &span.attributes {
        let Some(AnyValue { value: Some(value) }) = value else { panic!("{key} has no value") };
        assert!(named.insert(key.as_str(), value).is_none(), "{key} stands twice");
    }
    named
}

fn text(value: &str) -> Any {
    Any::StringValue(value.to_owned())
}

proptest! {
    #[test]
    fn bytes_are_those_of_the_tree(request in samples::request(), offset: i64) {
        let head = Head::of(&request, IDS, Clock::with_offset(offset));
        let mut bytes = Vec::new();
        write(&request, Engine::Vllm, &head, &mut bytes);
        let tree = tree(&request, Engine::Vllm, &head);
        prop_assert_eq!(&Span::decode(&bytes[..]).unwrap(), &tree);
        prop_assert_eq!(bytes, tree.encode_to_vec());
    }

    #[test]
    fn attributes_are_those_of_the_table(request in samples::request()) {
        let span = encoded(&request, Engine::Unknown);
        for (name, value) in named(&span) {
            let row = SPAN_ATTRIBUTES.iter().find(|row| row.key == name);
            let kind = match value {
                Any::StringValue(_) => Kind::Text,
                Any::ArrayValue(_) => Kind::Texts,
                Any::IntValue(_) => Kind::Int,
                Any::DoubleValue(_) => Kind::Double,
                Any::BoolValue(_) => Kind::Bool,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(row.map(|row| row.kind), Some(kind), "{}", name);
        }
    }

    #[test]
    fn a_span_does_not_end_before_it_starts(request in samples::request()) {
        let span = encoded(&request, Engine::Unknown);
        prop_assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
}

#[test]
fn every_row_of_the_table_occurs() {
    let joined = Request { started: None, outcome: Outcome::Aborted, token_source: TokenSource::Events, ..stream() };
    let spans = [encoded(&stream(), Engine::Vllm), encoded(&joined, Engine::Vllm)];
    for row in SPAN_ATTRIBUTES {
        assert!(spans.iter().any(|span| named(span).contains_key(row.key)), "{} never occurs", row.key);
    }
}

#[test]
fn what_is_not_known_is_absent() {
    let span = encoded(&bare(Role::Server, Operation::Http), Engine::Unknown);
    let names: Vec<_> = named(&span).into_keys().collect();
    let known =
        [attr::METHOD, attr::PEER_ADDRESS, attr::PEER_PORT, attr::SERVER_ADDRESS, attr::SERVER_PORT, attr::URL_SCHEME];
    assert_eq!(names, known);
}

#[test]
fn tokens_of_events_are_never_called_usage() {
    let usage = encoded(&stream(), Engine::Vllm);
    let usage = named(&usage);
    assert_eq!((usage[attr::INPUT_TOKENS], usage[attr::OUTPUT_TOKENS]), (&Any::IntValue(21), &Any::IntValue(11)));
    assert!(!usage.contains_key(attr::COUNTED_TOKENS) && !usage.contains_key(attr::TOKEN_SOURCE));
    let request = Request { token_source: TokenSource::Events, input_tokens: None, ..stream() };
    let events = encoded(&request, Engine::Vllm);
    let events = named(&events);
    assert_eq!((events[attr::COUNTED_TOKENS], events[attr::TOKEN_SOURCE]), (&Any::IntValue(11), &text("events")));
    assert!(!events.contains_key(attr::INPUT_TOKENS) && !events.contains_key(attr::OUTPUT_TOKENS));
}

#[test]
fn a_compressed_stream_has_no_count_of_events() {
    let mut request = stream();
    request.figures.flags |= ENCODED_BODY;
    assert!(!named(&encoded(&request, Engine::Vllm)).contains_key(attr::EVENTS));
}

#[test]
fn a_measured_zero_is_told() {
    let mut request = stream();
    (request.figures.retransmits, request.figures.stalled) = (0, 0);
    let span = encoded(&request, Engine::Vllm);
    assert_eq!(named(&span)[attr::RETRANSMITS], &Any::IntValue(0));
    assert_eq!(named(&span)[attr::WRITE_STALL], &Any::DoubleValue(0.0));
}

#[test]
fn names_follow_the_conventions() {
    let name = |request: &Request| encoded(request, Engine::Unknown).name;
    assert_eq!(name(&stream()), "chat llama-3");
    assert_eq!(name(&bare(Role::Client, Operation::Embeddings)), "embeddings");
    let http = bare(Role::Server, Operation::Http);
    assert_eq!(name(&http), "POST");
    assert_eq!(name(&Request { route: Some("/health".into()), method: "GET", ..http.clone() }), "GET /health");
    assert_eq!(name(&Request { method: "_OTHER", ..http }), "HTTP");
}

#[test]
fn failures_are_judged_by_the_conventions() {
    let (server, client) = (Role::Server, Role::Client);
    let (http, chat) = (Operation::Http, Operation::Chat);
    let cases = [
        (server, http, Outcome::Ok, false, None),
        (client, http, Outcome::Ok, false, None),
        (server, http, Outcome::Status(404), false, None),
        (server, chat, Outcome::Status(429), false, Some("429")),
        (client, http, Outcome::Status(404), true, Some("404")),
        (server, http, Outcome::Status(500), true, Some("500")),
        (server, chat, Outcome::Stream("overloaded".into()), true, Some("overloaded")),
        (server, chat, Outcome::Aborted, false, Some("client_closed")),
        (client, chat, Outcome::Aborted, true, Some("client_closed")),
        (server, chat, Outcome::Broken, true, Some("server_closed")),
        (client, http, Outcome::Broken, true, Some("server_closed")),
    ];
    for (role, operation, outcome, failed, error) in cases {
        let span = encoded(&Request { outcome: outcome.clone(), ..bare(role, operation) }, Engine::Unknown);
        let case = format!("{role:?} {operation:?} {outcome:?}");
        let status = failed.then(|| Status { code: StatusCode::Error.into(), message: String::new() });
        assert_eq!(span.status, status, "{case}");
        assert_eq!(named(&span).get(attr::ERROR_TYPE), error.map(text).as_ref().as_ref(), "{case}");
        assert_eq!(span.kind(), if role == server { SpanKind::Server } else { SpanKind::Client });
    }
}

#[test]
fn a_parent_gives_trace_and_flags() {
    let root = encoded(&stream(), Engine::Vllm);
    assert_eq!((&root.trace_id[..], &root.span_id[..]), (&IDS.trace[..], &IDS.span[..]));
    assert_eq!((root.parent_span_id.len(), root.flags), (0, 0x103), "sampled, random, no remote parent");
    let parent = Traceparent { trace_id: [1; 16], span_id: [2; 8], flags: 0 };
    let child = encoded(&Request { parent: Some(parent), ..stream() }, Engine::Vllm);
    assert_eq!((child.trace_id, child.span_id), (vec![1; 16], IDS.span.to_vec()));
    assert_eq!((child.parent_span_id, child.flags), (vec![2; 8], 0x300));
}

#[test]
fn a_request_that_was_joined_starts_with_its_response() {
    let at = |nanos: u64| nanos + CLOCK as u64;
    let whole = encoded(&stream(), Engine::Vllm);
    assert_eq!((whole.start_time_unix_nano, whole.end_time_unix_nano), (at(1_000_000_000), at(1_250_000_000)));
    let joined = encoded(&Request { started: None, ..stream() }, Engine::Vllm);
    assert_eq!((joined.start_time_unix_nano, joined.end_time_unix_nano), (at(1_080_000_000), at(1_250_000_000)));
    assert_eq!(named(&joined)[attr::JOINED], &Any::BoolValue(true));
    assert!(!named(&whole).contains_key(attr::JOINED));
}

#[test]
fn the_ends_are_named_from_both_sides() {
    for (role, address, port) in [(Role::Server, "10.0.0.1", 8000), (Role::Client, "10.0.0.2", 40_000)] {
        let span = encoded(&bare(role, Operation::Http), Engine::Unknown);
        let named = named(&span);
        assert_eq!((named[attr::SERVER_ADDRESS], named[attr::SERVER_PORT]), (&text(address), &Any::IntValue(port)));
        assert_eq!((named[attr::PEER_ADDRESS], named[attr::PEER_PORT]), (&text("10.0.0.2"), &Any::IntValue(40_000)));
    }
}

#[test]
fn a_provider_is_the_apis_then_the_engines_then_unknown() {
    let provider = |provider, engine| {
        let span = encoded(&Request { provider, ..stream() }, engine);
        named(&span).get(attr::PROVIDER).map(|value| (*value).clone())
    };
    assert_eq!(provider(Some("openai"), Engine::Vllm), Some(text("openai")));
    assert_eq!(provider(None, Engine::Vllm), Some(text("vllm")));
    assert_eq!(provider(None, Engine::Unknown), None);
}
