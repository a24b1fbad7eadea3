//! What becomes of a request costs this much CPU: `cargo bench -p inferscope --bench export`.
//!
//! CPU time of the process, user and system, the best of several rounds.

mod cpu;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use inferscope::clock::Clock;
use inferscope::export::encode::{Encoder, Identity};
use inferscope::export::{Compression, Payload};
use inferscope::model::batch::{Batch, Temporality, WorkloadBatch};
use inferscope::model::request::{Operation, Request, TokenSource};
use inferscope::model::workload::{Engine, Workload, WorkloadId};
use inferscope_common::exchange::Figures;
use inferscope_common::flow::{Endpoints, Role};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use cpu::nanos_each;

const SPANS: usize = 10_000;

fn main() -> io::Result<()> {
    let (batch, clock) = (batch(), Clock::now());
    let identity = Identity { host: "gpu-7".into(), version: "0.1.0".into(), instance: "gpu-7".into() };
    let mut out = io::stdout().lock();
    for limit in [256 << 10, 1 << 20, 4 << 20] {
        let mut encoder = Encoder::new(&identity, &[], limit);
        let (mut encoded, mut compressed) = (0, 0);
        encoder.spans(&batch, clock, |message| {
            encoded += message.bytes.len();
            compressed += Payload::new(message, Compression::Gzip).body.len();
        });
        let encode = nanos_each(SPANS, || encoder.spans(&batch, clock, |_| ()));
        let all = nanos_each(SPANS, || {
            encoder.spans(&batch, clock, |message| drop(Payload::new(message, Compression::Gzip)))
        });
        writeln!(out, "requests of {} KiB:", limit >> 10)?;
        writeln!(out, "  encode         {encode:>6} ns/span {:>6} bytes/span", encoded / SPANS)?;
        writeln!(out, "  encode + gzip  {all:>6} ns/span {:>6} bytes/span", compressed / SPANS)?;
    }
    let mut trees = Vec::new();
    Encoder::new(&identity, &[], 4 << 20)
        .spans(&batch, clock, |message| trees.extend(ExportTraceServiceRequest::decode(&message.bytes[..])));
    let build = nanos_each(SPANS, || trees.clone());
    let encode = nanos_each(SPANS, || trees.iter().map(|tree| tree.encode_to_vec()).collect::<Vec<_>>());
    writeln!(out, "for comparison, the same spans as trees of messages:")?;
    writeln!(out, "  copy and free  {build:>6} ns/span")?;
    writeln!(out, "  encode         {encode:>6} ns/span")
}

fn batch() -> Batch {
    let workload = Workload {
        id: WorkloadId(1),
        name: "vllm".into(),
        engine: Engine::Vllm,
        cgroup: PathBuf::from("/sys/fs/cgroup/system.slice/vllm.service"),
        cgroup_id: 4711,
        port: Some(8000),
        container: None,
    };
    let mut rng = fastrand::Rng::with_seed(1);
    let requests = (0..SPANS as u64).map(|number| request(&mut rng, number)).collect();
    let workload = WorkloadBatch { workload: Arc::new(workload), start: 0, since: 0, points: Vec::new(), requests };
    Batch { time: 0, temporality: Temporality::Delta, workloads: vec![workload], ..Batch::default() }
}

/// A chat completion as a stream: everything known, and nothing of it like the one before that need not be.
fn request(rng: &mut fastrand::Rng, number: u64) -> Request {
    let started = 1_000_000_000_000 + number * 1_000_000 + rng.u64(0..1_000_000);
    let (first, tokens) = (rng.u64(20_000_000..900_000_000), rng.u32(10..900));
    let duration = first + u64::from(tokens) * rng.u64(8_000_000..20_000_000);
    let id: String = (0..32).map(|_| rng.digit(16)).collect();
    let address = |last: [u8; 2]| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 4, last[0], last[1]];
    let figures = Figures {
        request_first: started,
        response_first: started + first,
        first_content: started + first,
        request_bytes: rng.u64(300..20_000),
        response_bytes: u64::from(tokens) * 200 + rng.u64(0..100),
        read_delay: rng.u64(20_000..4_000_000),
        longest_gap: rng.u64(20_000_000..90_000_000),
        events: tokens,
        rtt: rng.u32(100..30_000),
        rtt_min: rng.u32(80..10_000),
        ..Figures::default()
    };
    Request {
        provider: Some("openai"),
        method: "POST",
        version: Some("1.1"),
        route: Some("/v1/chat/completions".into()),
        status: 200,
        streamed: true,
        request_model: Some("meta-llama/Llama-3.1-8B-Instruct".into()),
        response_model: Some("meta-llama/Llama-3.1-8B-Instruct".into()),
        max_tokens: Some(1024),
        response_id: Some(format!("chatcmpl-{id}").into()),
        finish: Some("stop"),
        started: Some(started),
        duration: Some(duration),
        time_to_first_token: Some(first),
        time_per_output_token: Some((duration - first) / u64::from(tokens - 1)),
        input_tokens: Some(rng.u64(10..5_000)),
        output_tokens: Some(tokens.into()),
        token_source: TokenSource::Usage,
        energy: None,
        figures,
        endpoints: Endpoints {
            local: address([0, 17]),
            remote: address([rng.u8(0..4), rng.u8(..)]),
            local_port: 8000,
            remote_port: rng.u16(32_768..),
            family: 4,
            ..Endpoints::default()
        },
        ..Request::bare(WorkloadId(1), Role::Server, Operation::Chat, started + duration)
    }
}
