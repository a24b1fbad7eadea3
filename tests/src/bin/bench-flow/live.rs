//! Nanoseconds for a token's packet among real connections, by the kernel's own statistics of programs.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Result, bail};
use inferscope::bpf::bench::{Program, TestRuns};
use inferscope::bpf::{Kernel, Options, object};
use inferscope_common::flow::SlotKey;
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::statistics::Statistics;
use tokio::net::TcpStream;

use crate::load::{PACE, ask, serve};
use crate::packets::Row;

/// Until every stream is under way.
const WARM: Duration = Duration::from_secs(1);
/// Of what runs while the statistics are read, so much may be something else than a token.
const OTHERS: f64 = 0.01;

/// Streams side by side.
struct Traffic {
    case: &'static str,
    streams: u32,
    pace: Duration,
}

/// Between the tokens of the first the processor does, and forgets, a great deal; the second is as fast as one can write.
const TRAFFIC: [Traffic; 2] = [
    Traffic { case: "mid_stream_token_live", streams: 32, pace: PACE },
    Traffic { case: "mid_stream_token_busy", streams: 1, pace: Duration::ZERO },
];

/// For `span` each, with servers that are watched and clients that are not: what leaves are tokens alone.
pub(crate) fn measure(span: Duration) -> Result<Vec<Row>> {
    TRAFFIC.iter().map(|traffic| measure_one(traffic, span)).collect()
}

fn measure_one(traffic: &Traffic, span: Duration) -> Result<Row> {
    let cgroup = Cgroup::create("live")?;
    let mut kernel = Kernel::load(object::OBJECT, None, Options { workloads: 8, ring_bytes: 1 << 20 })?;
    kernel.observe(SlotKey { cgroup: cgroup.id()?, port: 0, reserved: 0 }, 1)?;
    let attachment = kernel.attach(cgroup.path())?;
    let listener = cgroup.inside(|| TcpListener::bind("127.0.0.1:0"))??;
    let statistics = Statistics::enable()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut idle = TestRuns::load(object::OBJECT)?;
    let (runs, time, tokens, empty) = runtime.block_on(async {
        stream(listener, traffic).await?;
        let before = (kernel.run_stats()?[0], kernel.steps(1)?.events);
        tokio::time::sleep(span).await;
        let after = (kernel.run_stats()?[0], kernel.steps(1)?.events);
        // The same packets by the empty program: what it costs among all that else goes on, and what the statistics do.
        kernel.detach(attachment);
        idle.attach_empty(cgroup.path())?;
        tokio::time::sleep(span).await;
        let (empty_runs, empty_time) = idle.run_stats(Program::Empty)?;
        let empty = empty_time.as_nanos() as f64 / empty_runs.max(1) as f64;
        let tokens = u64::from(after.1.wrapping_sub(before.1));
        anyhow::Ok((after.0.0 - before.0.0, after.0.1 - before.0.1, tokens, empty))
    })?;
    drop(runtime);
    drop(statistics);
    if runs == 0 || runs.abs_diff(tokens) as f64 > OTHERS * runs as f64 {
        bail!("{runs} packets left while {tokens} tokens were metered: these are not the costs of a token");
    }
    Ok(Row { case: traffic.case, ns_per_packet: time.as_nanos() as f64 / runs as f64, empty_program_ns: empty })
}

/// Begins the streams, which last longer than the measurement.
async fn stream(listener: TcpListener, traffic: &Traffic) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    for _ in 0..traffic.streams {
        let client = TcpStream::connect(address).await?;
        let (server, _) = listener.accept().await?;
        tokio::spawn(serve(server, u32::MAX, traffic.pace));
        tokio::spawn(ask(client));
    }
    tokio::time::sleep(WARM).await;
    Ok(())
}
