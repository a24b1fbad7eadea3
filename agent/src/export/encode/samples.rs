//! Requests for tests.

use std::path::PathBuf;
use std::sync::Arc;

use inferscope_common::exchange::{ENCODED_BODY, Figures};
use inferscope_common::flow::{Endpoints, Role};
use proptest::option;
use proptest::prelude::*;

use crate::model::energy::{Estimate, RequestMethod};
use crate::model::gpu::{Gpu, TemperatureLimits};
use crate::model::request::{Label, Operation, Outcome, Request, TokenSource, Traceparent};
use crate::model::workload::{Engine, Workload, WorkloadId};

pub(super) fn workload() -> Workload {
    Workload {
        id: WorkloadId(1),
        name: "vllm".into(),
        engine: Engine::Vllm,
        cgroup: PathBuf::from("/sys/fs/cgroup/system.slice/vllm.service"),
        cgroup_id: 4711,
        port: Some(8000),
        container: None,
    }
}

/// The address `10.0.0.last`.
pub(super) fn mapped(last: u8) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last]
}

/// A request of which nothing is known that need not be.
pub(super) fn bare(role: Role, operation: Operation) -> Request {
    Request {
        method: "POST",
        started: Some(1_000_000_000),
        endpoints: Endpoints {
            local: mapped(1),
            remote: mapped(2),
            local_port: 8000,
            remote_port: 40_000,
            family: 4,
            ..Endpoints::default()
        },
        ..Request::bare(WorkloadId(1), role, operation, 1_250_000_000)
    }
}

/// A stream of which everything is known.
pub(super) fn gpu() -> Gpu {
    Gpu {
        id: "GPU-5ca1ab1e".into(),
        index: 0,
        model: "NVIDIA H100 80GB HBM3".into(),
        vendor: "NVIDIA",
        serial: None,
        pci: Some("00000000:18:00.0".into()),
        driver: "570.172.08".into(),
        firmware: None,
        persistence: Some(true),
        compute_mode: Some("default"),
        mig: Some(false),
        limits: TemperatureLimits::default(),
        parent: None,
        instance: None,
    }
}

pub(super) fn stream() -> Request {
    let figures = Figures {
        request_first: 1_000_000_000,
        request_last: 1_000_100_000,
        response_first: 1_080_000_000,
        first_content: 1_100_000_000,
        last_content: 1_200_000_000,
        terminal: 1_250_000_000,
        last: 1_250_000_000,
        request_bytes: 700,
        response_bytes: 9_000,
        stalled: 3_000_000,
        read_delay: 150_000,
        longest_gap: 20_000_000,
        events: 11,
        rtt: 340,
        rtt_min: 280,
        retransmits: 2,
        status: 200,
        ..Figures::default()
    };
    Request {
        provider: Some("openai"),
        version: Some("1.1"),
        route: Some("/v1/chat/completions".into()),
        status: 200,
        streamed: true,
        request_model: Some("llama-3".into()),
        response_model: Some("llama-3-8b".into()),
        max_tokens: Some(256),
        response_id: Some("chatcmpl-1".into()),
        finish: Some("stop"),
        duration: Some(250_000_000),
        time_to_first_token: Some(100_000_000),
        time_per_output_token: Some(15_000_000),
        input_tokens: Some(21),
        output_tokens: Some(11),
        token_source: TokenSource::Usage,
        energy: Some(Estimate { millijoules: 4_200, method: RequestMethod::TokensInFlight, extrapolated: false }),
        figures,
        ..bare(Role::Server, Operation::Chat)
    }
}

fn label() -> impl Strategy<Value = Label> {
    prop_oneof![Just(Label::from("")), "[ -~]{1,40}".prop_map(Label::from), "\\PC{1,130}".prop_map(Label::from)]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Ok),
        (400u16..600).prop_map(Outcome::Status),
        label().prop_map(Outcome::Stream),
        Just(Outcome::Aborted),
        Just(Outcome::Broken)
    ]
}

fn parent() -> impl Strategy<Value = Traceparent> {
    (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>()).prop_map(|(trace_id, span_id, flags)| Traceparent {
        trace_id,
        span_id,
        flags,
    })
}

fn figures() -> impl Strategy<Value = Figures> {
    let nanos = || prop_oneof![Just(0), any::<u64>()];
    let small = || prop_oneof![Just(0), any::<u32>()];
    let flags = prop_oneof![Just(0), Just(ENCODED_BODY), any::<u16>()];
    ((nanos(), nanos(), nanos(), nanos(), nanos(), nanos()), (small(), small(), small(), small()), flags).prop_map(
        |((response_first, request_bytes, response_bytes, stalled, read_delay, longest_gap), counts, flags)| Figures {
            response_first,
            request_bytes,
            response_bytes,
            stalled,
            read_delay,
            longest_gap,
            events: counts.0,
            rtt: counts.1,
            rtt_min: counts.2,
            retransmits: counts.3,
            flags,
            ..Figures::default()
        },
    )
}

fn endpoints() -> impl Strategy<Value = Endpoints> {
    let address = || prop_oneof![any::<u8>().prop_map(mapped), any::<[u8; 16]>()];
    (address(), address(), any::<u16>(), any::<u16>()).prop_map(|(local, remote, local_port, remote_port)| Endpoints {
        local,
        remote,
        local_port,
        remote_port,
        ..Endpoints::default()
    })
}

/// Any request at all, sensible or not.
pub(super) fn request() -> impl Strategy<Value = Request> {
    use Operation::{Chat, Embeddings, GenerateContent, Http, Infer, TextCompletion};
    let role = prop_oneof![Just(Role::Server), Just(Role::Client)];
    let operation = prop::sample::select(vec![Chat, Embeddings, GenerateContent, Http, Infer, TextCompletion]);
    let source = prop_oneof![Just(TokenSource::Usage), Just(TokenSource::Events)];
    let what = (role, operation, prop::sample::select(vec!["GET", "POST", "_OTHER"]), any::<u16>(), any::<bool>());
    let version = option::of(prop::sample::select(vec!["1.0", "1.1"]));
    let names = (option::of(Just("openai")), option::of(label()), option::of(label()), option::of(label()));
    let rest =
        (version, option::of(any::<u32>()), option::of("[!-~]{0,130}"), option::of(Just("stop")), option::of(parent()));
    let times = (option::of(any::<u64>()), any::<u64>(), option::of(any::<u64>()), option::of(any::<u64>()));
    let tokens = (option::of(any::<u64>()), option::of(any::<u64>()), source);
    let all = (what, names, rest, outcome(), times, tokens, figures(), endpoints());
    all.prop_map(|(what, names, rest, outcome, times, tokens, figures, endpoints)| Request {
        workload: WorkloadId(1),
        role: what.0,
        operation: what.1,
        method: what.2,
        status: what.3,
        streamed: what.4,
        provider: names.0,
        route: names.1,
        request_model: names.2,
        response_model: names.3,
        version: rest.0,
        max_tokens: rest.1,
        response_id: rest.2.map(String::into_boxed_str),
        finish: rest.3,
        parent: rest.4,
        outcome,
        started: times.0,
        ended: times.1,
        duration: None,
        time_to_first_token: times.2,
        time_per_output_token: times.3,
        input_tokens: tokens.0,
        output_tokens: tokens.1,
        token_source: tokens.2,
        energy: None,
        figures,
        endpoints,
    })
}

/// A workload in a container, whole cgroup.
pub(super) fn container() -> Arc<Workload> {
    Arc::new(Workload {
        name: "ollama".into(),
        engine: Engine::Ollama,
        container: Some("4f2a".into()),
        port: None,
        ..workload()
    })
}
