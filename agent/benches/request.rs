//! What a request costs between the kernel's ring and the metrics: `cargo bench -p inferscope --bench request`.
//!
//! CPU time of the process, the best of several rounds, with warm caches: what the agent's own code needs at least.

mod cpu;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use inferscope::model::batch::Temporality;
use inferscope::model::workload::{Engine, Workload, WorkloadId};
use inferscope::model::{self, Model};
use inferscope::wire::meter::{Link, Record};
use inferscope::wire::{self, Assembler, Direction, Meter, Segment};
use inferscope_common::block::Block;
use inferscope_common::flow::{Endpoints, Header, Role, Summary};

use cpu::nanos_each;

const REQUESTS: usize = 10_000;
const SLOT: u32 = 1;
const WORKLOAD: WorkloadId = WorkloadId(1);

/// A record as it comes out of the ring.
enum Kept {
    Piece(Header, Vec<u8>),
    End(Header, Box<Summary>),
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for tokens in [1, 40, 400] {
        let records = records(tokens);
        let bytes: usize = records.iter().map(Kept::bytes).sum();
        let (assemble, count) = (assemble(&records), count(&records));
        writeln!(
            out,
            "{tokens:>4} tokens: {:>2} records, {bytes:>5} bytes; assemble {assemble:>5} ns, count {count:>4} ns",
            records.len()
        )?;
    }
    Ok(())
}

impl Kept {
    fn bytes(&self) -> usize {
        match self {
            Self::Piece(_, bytes) => bytes.len(),
            Self::End(..) => 0,
        }
    }
}

/// Everything that the ring brings of one streamed chat.
fn records(tokens: usize) -> Vec<Kept> {
    let body = r#"{"model":"llama-3-8b","stream":true,"messages":[{"role":"user","content":"Tell me of the sea."}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: inference\r\nuser-agent: bench\r\ncontent-type: application/json\r\n\
         accept: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let event = |delta: &str| {
        let json = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"llama-3-8b","choices":"#;
        chunk(&format!("data: {json}[{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":null}}]}}\n\n"))
    };
    let mut parts =
        vec![(Direction::In, request), (Direction::Out, head), (Direction::Out, event("\"role\":\"assistant\""))];
    parts.extend((0..tokens).map(|_| (Direction::Out, event("\"content\":\" wave\""))));
    parts.push((Direction::Out, chunk("data: [DONE]\n\n") + "0\r\n\r\n"));

    let mut meter = Meter::default();
    meter.open(1, 0, Link { slot: SLOT, role: Role::Server, endpoints: Endpoints::default() });
    let (mut kept, mut offsets) = (Vec::new(), [0u64; 2]);
    for (number, (direction, text)) in parts.iter().enumerate() {
        let offset = &mut offsets[usize::from(*direction == Direction::Out)];
        let time = 1_000_000_000 + number as u64 * 10_000_000;
        let (direction, bytes) = (*direction, text.as_bytes());
        meter.feed(&Segment { connection: 1, stream: 0, direction, offset: *offset, time, bytes }, |header, record| {
            kept.push(match record {
                Record::Piece(bytes) => Kept::Piece(*header, bytes.to_vec()),
                Record::End(summary) => Kept::End(*header, Box::new(*summary)),
            });
        });
        *offset += bytes.len() as u64;
    }
    kept
}

fn assembler() -> Assembler {
    let mut assembler = Assembler::new(wire::Limits::default());
    assembler.bind(SLOT, WORKLOAD);
    assembler
}

/// From records to requests, as 20 exchanges under way at once bring them.
fn assemble(records: &[Kept]) -> u128 {
    const AT_ONCE: u64 = 20;
    let mut assembler = assembler();
    let mut number = 0;
    nanos_each(REQUESTS, || {
        for _ in 0..REQUESTS as u64 / AT_ONCE {
            for record in records {
                for connection in number..number + AT_ONCE {
                    take(&mut assembler, record, connection);
                }
            }
            number += AT_ONCE;
        }
    })
}

fn take(assembler: &mut Assembler, record: &Kept, connection: u64) -> Option<model::request::Request> {
    match record {
        Kept::Piece(header, bytes) => {
            assembler.record(&Header { connection, ..*header }, bytes);
            None
        }
        Kept::End(header, summary) => assembler.end(&Header { connection, ..*header }, summary),
    }
}

/// From requests to metrics and to spans that wait.
fn count(records: &[Kept]) -> u128 {
    let mut assembler = assembler();
    let Some(request) = records.iter().find_map(|record| take(&mut assembler, record, 1)) else { return 0 };
    let mut model = Model::new(model::Limits { temporality: Temporality::Delta, series: 100, requests: REQUESTS });
    let workload = Workload {
        id: WORKLOAD,
        name: "vllm".into(),
        engine: Engine::Vllm,
        cgroup: PathBuf::from("/sys/fs/cgroup/vllm"),
        cgroup_id: 1,
        port: None,
        container: None,
    };
    model.add(Arc::new(workload), &Block::zeroed(), 0);
    nanos_each(REQUESTS, || {
        for _ in 0..REQUESTS {
            model.request(request.clone());
        }
        model.flush_requests(1)
    })
}
