//! A request as a span.

use inferscope_common::exchange::ENCODED_BODY;
use inferscope_common::flow::Role;

use crate::clock::Clock;
use crate::export::encode::address::AddressText;
use crate::export::encode::sink::Sink;
use crate::export::encode::wire::{self, key};
use crate::model::attr;
use crate::model::request::{Operation, Outcome, Request, TokenSource};
use crate::model::workload::Engine;
use crate::model::{self, attr::Value};

/// W3C trace flags of a trace that begins here: sampled, and its id is random.
const FLAGS_OF_ROOT: u32 = 0b11;
/// The parent is of another process, and that is known (`SPAN_FLAGS_CONTEXT_…`).
const PARENT_KNOWN: u32 = 0x100;
const PARENT_REMOTE: u32 = 0x200;

/// Ids that a span takes where nothing gives it any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
}

/// Everything of a span but its attributes.
#[derive(Debug, PartialEq)]
pub(super) struct Head<'a> {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) flags: u32,
    /// What was done, and to what; a space stands between.
    pub(super) name: (&'static str, Option<&'a str>),
    pub(super) serves: bool,
    /// Unix time in nanoseconds.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) failed: bool,
}

impl<'a> Head<'a> {
    pub(super) fn of(request: &'a Request, ids: Ids, clock: Clock) -> Self {
        let figures = &request.figures;
        // What was not seen to start is shown from its first visible byte.
        let seen = if figures.response_first != 0 { figures.response_first } else { request.ended };
        let start = request.started.unwrap_or(seen).min(request.ended);
        let (trace, parent, flags) = match request.parent {
            Some(parent) => {
                (parent.trace_id, Some(parent.span_id), u32::from(parent.flags) | PARENT_KNOWN | PARENT_REMOTE)
            }
            None => (ids.trace, None, FLAGS_OF_ROOT | PARENT_KNOWN),
        };
        Self {
            trace,
            span: ids.span,
            parent,
            flags,
            name: name(request),
            serves: request.role == Role::Server,
            start: clock.unix(start),
            end: clock.unix(request.ended),
            failed: failed(request),
        }
    }
}

fn name(request: &Request) -> (&'static str, Option<&str>) {
    match request.operation {
        // The conventions' word for a method outside the known set.
        Operation::Http if request.method == "_OTHER" => ("HTTP", request.route.as_deref()),
        Operation::Http => (request.method, request.route.as_deref()),
        operation => (model::operation_name(operation), request.request_model.as_deref()),
    }
}

/// Whether the span's status is an error. A server is not to blame for a 4xx, nor for a client that went away: there
/// the status stays unset and `error.type` tells. A client is failed by both.
fn failed(request: &Request) -> bool {
    let serves = request.role == Role::Server;
    match request.outcome {
        Outcome::Ok => false,
        Outcome::Status(status) => !serves || status >= 500,
        Outcome::Aborted => !serves,
        Outcome::Stream(_) | Outcome::Broken => true,
    }
}

/// Gives every attribute of a request to `sink`. Those that seldom change from one request to the next come first:
/// together they compress to a few bytes.
pub(super) fn attributes(request: &Request, engine: Engine, sink: &mut impl Sink) {
    let gen_ai = request.operation != Operation::Http;
    if gen_ai {
        generative(request, engine, sink);
    }
    sink.text(attr::METHOD, request.method);
    sink.text(attr::URL_SCHEME, "http");
    if let Some(version) = request.version {
        sink.text(attr::PROTOCOL_VERSION, version);
    }
    if let Some(route) = &request.route {
        sink.text(attr::ROUTE, route);
    }
    if request.status != 0 {
        sink.int(attr::STATUS, request.status.into());
    }
    if let Some(error) = error_type(request) {
        sink.value(attr::ERROR_TYPE, &error);
    }
    if request.started.is_none() {
        sink.bool(attr::JOINED, true);
    }
    let (endpoints, mut text) = (&request.endpoints, AddressText::default());
    let (server, port) = model::server_end(request.role, endpoints);
    sink.text(attr::SERVER_ADDRESS, text.of(server));
    sink.int(attr::SERVER_PORT, port.into());
    sink.text(attr::PEER_ADDRESS, text.of(model::address(&endpoints.remote)));
    sink.int(attr::PEER_PORT, endpoints.remote_port.into());
    measured(request, gen_ai, sink);
}

fn generative(request: &Request, engine: Engine, sink: &mut impl Sink) {
    sink.text(attr::OPERATION, model::operation_name(request.operation));
    if let Some(provider) = request.provider.or(model::engine_provider(engine)) {
        sink.text(attr::PROVIDER, provider);
    }
    if let Some(model) = &request.request_model {
        sink.text(attr::REQUEST_MODEL, model);
    }
    if let Some(model) = &request.response_model {
        sink.text(attr::RESPONSE_MODEL, model);
    }
    sink.bool(attr::STREAM, request.streamed);
    if let Some(finish) = request.finish {
        sink.texts(attr::FINISH_REASONS, &[finish]);
    }
    if let Some(most) = request.max_tokens {
        sink.int(attr::MAX_TOKENS, most.into());
    }
}

/// `error.type` as the metrics of the same request have it.
fn error_type(request: &Request) -> Option<Value> {
    if request.is_blameless() { None } else { model::error_type(&request.outcome) }
}

/// What differs from request to request.
fn measured(request: &Request, gen_ai: bool, sink: &mut impl Sink) {
    let figures = &request.figures;
    if gen_ai {
        if let Some(id) = &request.response_id {
            sink.text(attr::RESPONSE_ID, id);
        }
        tokens(request, sink);
    }
    if let Some(energy) = request.energy {
        sink.double(attr::REQUEST_ENERGY, energy.millijoules as f64 / 1e3);
        sink.text(attr::ENERGY_METHOD, energy.method.name());
    }
    optional(sink, attr::FIRST_TOKEN, request.time_to_first_token);
    optional(sink, attr::PER_TOKEN, request.time_per_output_token);
    if request.streamed && figures.response_first != 0 && figures.flags & ENCODED_BODY == 0 {
        sink.int(attr::EVENTS, figures.events.into());
    }
    optional(sink, attr::LONGEST_GAP, (figures.events > 1).then_some(figures.longest_gap));
    optional(sink, attr::READ_DELAY, (figures.read_delay != 0).then_some(figures.read_delay));
    for (name, bytes) in [(attr::REQUEST_BYTES, figures.request_bytes), (attr::RESPONSE_BYTES, figures.response_bytes)]
    {
        if bytes != 0 {
            sink.int(name, whole(bytes));
        }
    }
    if figures.rtt != 0 {
        sink.double(attr::RTT, f64::from(figures.rtt) / 1e6);
        sink.double(attr::RTT_MIN, f64::from(figures.rtt_min) / 1e6);
        sink.int(attr::RETRANSMITS, figures.retransmits.into());
        if figures.response_first != 0 {
            sink.double(attr::WRITE_STALL, seconds(figures.stalled));
        }
    }
}

fn tokens(request: &Request, sink: &mut impl Sink) {
    // Input tokens are the server's own count wherever they are known; a stream may tell them at its start.
    if let Some(input) = request.input_tokens {
        sink.int(attr::INPUT_TOKENS, whole(input));
    }
    match (request.output_tokens, request.token_source) {
        (Some(output), TokenSource::Usage) => sink.int(attr::OUTPUT_TOKENS, whole(output)),
        (Some(output), source @ TokenSource::Events) => {
            sink.text(attr::TOKEN_SOURCE, model::source_name(source));
            sink.int(attr::COUNTED_TOKENS, whole(output));
        }
        (None, _) => {}
    }
}

fn optional(sink: &mut impl Sink, name: &'static str, nanos: Option<u64>) {
    if let Some(nanos) = nanos {
        sink.double(name, seconds(nanos));
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

// Fields of `Span`, with their wire types.
const TRACE_ID: u8 = key(1);
const SPAN_ID: u8 = key(2);
const PARENT_SPAN_ID: u8 = key(4);
const NAME: u8 = key(5);
const KIND: u8 = 6 << 3;
const START: u8 = 7 << 3 | 1;
const END: u8 = 8 << 3 | 1;
const ATTRIBUTE: u8 = key(9);
/// `status`, of which the code alone is set, to `STATUS_CODE_ERROR`.
const STATUS_ERROR: [u8; 4] = [key(15), 2, 3 << 3, 2];
/// `flags`, field 16: its key, 16 << 3 | 5, takes two bytes.
const FLAGS: [u8; 2] = [0x85, 1];
const KIND_SERVER: u8 = 2;
const KIND_CLIENT: u8 = 3;

/// Writes a request as a `Span`, fields in the order of their numbers.
pub(super) fn write(request: &Request, engine: Engine, head: &Head<'_>, out: &mut Vec<u8>) {
    wire::bytes(out, TRACE_ID, &head.trace);
    wire::bytes(out, SPAN_ID, &head.span);
    if let Some(parent) = head.parent {
        wire::bytes(out, PARENT_SPAN_ID, &parent);
    }
    let (verb, object) = head.name;
    wire::open(out, NAME, verb.len() + object.map_or(0, |object| 1 + object.len()));
    out.extend_from_slice(verb.as_bytes());
    if let Some(object) = object {
        out.push(b' ');
        out.extend_from_slice(object.as_bytes());
    }
    out.extend_from_slice(&[KIND, if head.serves { KIND_SERVER } else { KIND_CLIENT }]);
    for (field, time) in [(START, head.start), (END, head.end)] {
        // The epoch is what a field that is left out says.
        if time != 0 {
            out.push(field);
            out.extend_from_slice(&time.to_le_bytes());
        }
    }
    attributes(request, engine, &mut wire::Attributes { out, field: ATTRIBUTE });
    if head.failed {
        out.extend_from_slice(&STATUS_ERROR);
    }
    out.extend_from_slice(&FLAGS);
    out.extend_from_slice(&head.flags.to_le_bytes());
}

#[cfg(test)]
mod tests;
