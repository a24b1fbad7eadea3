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
use crate::packets::{self, Row};

/// Streams side by side.
const STREAMS: u32 = 32;
/// Until every stream is under way.
const WARM: Duration = Duration::from_secs(1);
/// Of what runs while the statistics are read, so much may be something else than a token.
const OTHERS: f64 = 0.01;

/// For `span`, with servers that are watched and clients that are not: what leaves are tokens alone.
pub(crate) fn measure(span: Duration) -> Result<Row> {
    let cgroup = Cgroup::create("live")?;
    let mut kernel = Kernel::load(object::OBJECT, None, Options { workloads: 8, ring_bytes: 1 << 20 })?;
    kernel.observe(SlotKey { cgroup: cgroup.id()?, port: 0, reserved: 0 }, 1)?;
    let attachment = kernel.attach(cgroup.path())?;
    let listener = cgroup.inside(|| TcpListener::bind("127.0.0.1:0"))??;
    let statistics = Statistics::enable()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (runs, time, tokens) = runtime.block_on(async {
        stream(listener, span).await?;
        let before = (kernel.run_stats()?[0], kernel.steps(1)?.events);
        tokio::time::sleep(span).await;
        let after = (kernel.run_stats()?[0], kernel.steps(1)?.events);
        anyhow::Ok((after.0.0 - before.0.0, after.0.1 - before.0.1, after.1 - before.1))
    })?;
    drop(runtime);
    kernel.detach(attachment);
    let empty = empty()?;
    drop(statistics);
    if runs == 0 || runs.abs_diff(tokens) as f64 > OTHERS * runs as f64 {
        bail!("{runs} packets left while {tokens} tokens were metered: these are not the costs of a token");
    }
    Ok(Row {
        case: "mid_stream_token_live",
        ns_per_packet: time.as_nanos() as f64 / runs as f64,
        empty_program_ns: empty.as_nanos() as f64,
    })
}

/// Begins the streams, which last longer than the measurement.
async fn stream(listener: TcpListener, span: Duration) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let length = WARM + span + WARM;
    let tokens = u32::try_from(length.as_nanos() / PACE.as_nanos())?;
    for _ in 0..STREAMS {
        let client = TcpStream::connect(address).await?;
        let (server, _) = listener.accept().await?;
        tokio::spawn(serve(server, tokens));
        tokio::spawn(ask(client));
    }
    tokio::time::sleep(WARM).await;
    Ok(())
}

/// A run of the empty program by the same statistics, their two looks at the clock included.
fn empty() -> Result<Duration> {
    let mut test = TestRuns::load(object::OBJECT)?;
    let before = test.run_stats(Program::Empty)?;
    packets::run_empty(&mut test)?;
    let after = test.run_stats(Program::Empty)?;
    let runs = u32::try_from(after.0 - before.0)?;
    if runs == 0 {
        bail!("the kernel's statistics do not count");
    }
    Ok((after.1 - before.1) / runs)
}
