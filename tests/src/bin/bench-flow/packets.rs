//! Nanoseconds for a packet, by the kernel's test run of the programs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use inferscope::bpf::bench::{Program, TestRuns};
use inferscope::bpf::{Kernel, Options, object};
use inferscope_common::flow::SlotKey;
use inferscope_tests::cgroup::Cgroup;
use serde::Serialize;

/// Rounds of which the fastest counts: the machine is noisy, and noise only adds.
const ROUNDS: u32 = 15;
/// Runs of a program that can take the same packet again and again.
const MANY: u32 = 50_000;
/// Runs, one at a time, of a program that cannot.
const SINGLE: u32 = 300;
/// Any time of sending: the stamp spares the program the clock.
const SENT: u64 = 5_000_000_000_000;

#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) ns_per_packet: f64,
    pub(crate) empty_program_ns: f64,
}

impl Row {
    pub(crate) fn cells(&self) -> Vec<String> {
        vec![self.case.to_owned(), format!("{:.0}", self.ns_per_packet), format!("{:.0}", self.empty_program_ns)]
    }
}

pub(crate) fn measure() -> Result<Vec<Row>> {
    let cgroup = Cgroup::create("packets")?;
    cgroup.take(std::process::id())?;
    let key = SlotKey { cgroup: cgroup.id()?, port: 0, reserved: 0 };
    let mut kernel = Kernel::load(object::OBJECT, None, Options { workloads: 8, ring_bytes: 1 << 20 })?;
    kernel.observe(key, 1)?;
    let attachment = kernel.attach(cgroup.path())?;

    // A real connection, whose state after each step the test runs begin with.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    pass(&mut client, &mut server, REQUEST.as_bytes())?;
    pass(&mut server, &mut client, RESPONSE.as_bytes())?;
    let after_head = kernel.flow_of(&server).context("the request was not metered")?;
    for text in [" A", " token", " more"] {
        pass(&mut server, &mut client, event(text).as_bytes())?;
    }
    let in_stream = kernel.flow_of(&server).context("the stream was not metered")?;
    kernel.detach(attachment);

    let mut runs = TestRuns::load(object::OBJECT)?;
    let token = frame(true, event(" next").as_bytes());
    let mut rows = Vec::new();
    runs.seed(None)?;
    rows.push(many(&mut runs, "not_observed", Program::Egress, &token)?);
    runs.observe(key, 1)?;
    rows.push(single(&mut runs, "request_head", Program::Ingress, &frame(false, REQUEST.as_bytes()))?);
    rows.push(many(&mut runs, "unrelated", Program::Ingress, &frame(false, b"*1\r\n$4\r\nPING\r\n"))?);
    runs.seed(Some(&after_head))?;
    rows.push(single(&mut runs, "first_content", Program::Egress, &token)?);
    runs.seed(Some(&in_stream))?;
    rows.push(many(&mut runs, "mid_stream_token", Program::Egress, &token)?);
    rows.push(many(&mut runs, "acknowledgement", Program::Ingress, &frame(false, b""))?);
    Ok(rows)
}

fn many(runs: &mut TestRuns, case: &'static str, program: Program, frame: &[u8]) -> Result<Row> {
    let (mut best, mut floor) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        floor = floor.min(runs.run(Program::Empty, frame, SENT, MANY)?);
        best = best.min(runs.run(program, frame, SENT, MANY)?);
    }
    Ok(row(case, best, floor))
}

fn single(runs: &mut TestRuns, case: &'static str, program: Program, frame: &[u8]) -> Result<Row> {
    let (mut best, mut floor) = (Duration::MAX, Duration::MAX);
    for _ in 0..SINGLE {
        floor = floor.min(runs.run(Program::Empty, frame, SENT, 1)?);
        best = best.min(runs.run(program, frame, SENT, 1)?);
    }
    Ok(row(case, best, floor))
}

fn row(case: &'static str, best: Duration, floor: Duration) -> Row {
    Row { case, ns_per_packet: best.as_nanos() as f64, empty_program_ns: floor.as_nanos() as f64 }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    from.write_all(bytes)?;
    let mut buffer = vec![0; bytes.len()];
    to.read_exact(&mut buffer)?;
    Ok(())
}

const REQUEST: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:8000\r\nAccept: application/json\r\n\
Content-Type: application/json\r\nUser-Agent: OpenAI/Python 3.54.0\r\nX-Stainless-Lang: python\r\n\
Authorization: Bearer none\r\nContent-Length: 75\r\n\r\n\
{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello!\"}]}";

const RESPONSE: &str = "HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nserver: uvicorn\r\n\
content-type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

/// One streamed token as vLLM writes it, in a chunk of its own.
pub(crate) fn event(text: &str) -> String {
    let data = format!(
        "data: {{\"id\":\"chatcmpl-8f3c1b2a9d7e4f60\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
\"model\":\"meta-llama/Llama-3.1-8B-Instruct\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\
\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    );
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// An Ethernet frame with a TCP segment on loopback, as test runs take it.
fn frame(egress: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00]);
    let length = u16::try_from(20 + 32 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    frame.extend([0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    let (from, to): (u16, u16) = if egress { (8000, 40000) } else { (40000, 8000) };
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    // Sequence and acknowledgement 1, 32 bytes of header, ACK and PSH, an open window, options of padding.
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x18, 1, 0, 0, 0, 0, 0]);
    frame.extend([1; 12]);
    frame.extend(payload);
    frame
}
