//! inferscope at work: real servers, real clients, and what the agent tells of them beside what the clients saw.
//!
//! `cargo xtask demo` builds what this needs and runs it as root.

#![expect(clippy::print_stdout, reason = "the demo is its output")]

mod compared;
mod gpu;
mod load;
mod sink;

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use inferscope_tests::agent::{Agent, OFTEN, Setup};
use inferscope_tests::received::{MetricShape, Received};
use inferscope_tests::servers::{Kind, Server};
use inferscope_tests::{report, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};

use gpu::Simulated;
use load::Load;
use sink::Sink;

/// Longest wait for the last spans.
const SHIPPED_WITHIN: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_secs(1);

#[derive(Parser)]
struct Options {
    /// Sends to a real OpenTelemetry Collector, and shows what arrives there.
    #[arg(long)]
    collector: bool,
    /// Gives the servers a simulated GPU, and shows what joules their tokens cost.
    #[arg(long)]
    gpu_sim: bool,
    /// Ends after so many seconds; without it Ctrl-C ends it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // From here on Ctrl-C ends it in good order, if not at once.
    let mut end = runtime.block_on(async { End::new(options.seconds) })?;
    eprintln!("Starting two inference servers: {} and {} …", Kind::UvicornUvloop.name(), Kind::Axum.name());
    let servers = [Server::start(Kind::UvicornUvloop)?, Server::start(Kind::Axum)?];
    let sink = Sink::start(options.collector)?;
    eprintln!("Starting the agent; it ships to {} …", sink.name());
    let simulated = options.gpu_sim.then(|| Simulated::start(&servers)).transpose()?;
    if simulated.is_some() {
        eprintln!("The servers are given a SIMULATED GPU.");
    }
    let agent = watch(&servers, &sink, simulated.as_ref())?;
    eprintln!("Starting clients …");
    let loads = servers.iter().map(Load::start).collect::<Result<Vec<_>>>()?;
    runtime.block_on(serve(&mut end, &loads, &sink))?;
    eprintln!("Ending what is under way …");
    let seen = loads.into_iter().map(Load::stop).collect::<Result<Vec<_>>>()?;
    let asked: usize = seen.iter().map(Vec::len).sum();
    let shipped = wait::until_ok(SHIPPED_WITHIN, "the agent's last spans", || {
        Ok((sink.received()?.generative().len() >= asked).then_some(()))
    });
    agent.stop()?;
    let received = sink.finish()?;
    println!("{}", compared::table(&servers, &seen, &received)?);
    if let Some(simulated) = simulated {
        println!("{}", simulated.table(&servers, &received)?);
    }
    if options.collector {
        println!("{}", arrived(&received));
    }
    shipped.context("some requests have no span")
}

/// What ends the demo.
struct End {
    seconds: Option<u64>,
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    fn new(seconds: Option<u64>) -> Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { seconds, interrupt, terminate })
    }
}

/// An agent that watches the servers and nothing else.
fn watch(servers: &[Server], sink: &Sink, gpu: Option<&Simulated>) -> Result<Agent> {
    let gpu = gpu.map(Simulated::config).unwrap_or_default();
    let mut setup = Setup::new()?.config(&(OFTEN.to_owned() + &gpu))?.grpc(&sink.endpoint());
    for server in servers {
        setup = setup.cgroup(server.cgroup()?.path());
    }
    setup.start()
}

/// Lets the load run, and says each second how far it is.
async fn serve(end: &mut End, loads: &[Load], sink: &Sink) -> Result<()> {
    let begun = Instant::now();
    let deadline = tokio::time::sleep(end.seconds.map_or(Duration::MAX, Duration::from_secs));
    tokio::pin!(deadline);
    let mut ticks = tokio::time::interval(TICK);
    let is_terminal = std::io::stderr().is_terminal();
    let (before, after) = if is_terminal { ("\r\x1b[K", "") } else { ("", "\n") };
    let until = end.seconds.map_or("Ctrl-C ends it".to_owned(), |seconds| format!("of {seconds} s"));
    loop {
        tokio::select! {
            () = &mut deadline => break,
            _ = end.interrupt.recv() => break,
            _ = end.terminate.recv() => break,
            _ = ticks.tick() => {
                let asked: usize = loads.iter().map(Load::done).sum();
                let told = sink.received()?.generative().len();
                let elapsed = begun.elapsed().as_secs();
                eprint!("{before}  {elapsed:>3} s ({until}): clients have seen {asked} requests, the agent tells of {told}{after}");
                std::io::stderr().flush()?;
            }
        }
    }
    if is_terminal {
        eprintln!();
    }
    Ok(())
}

/// One line for each metric that arrived.
fn arrived(received: &Received) -> String {
    let line = |shape: MetricShape| {
        let keys: Vec<_> = shape.attributes.into_iter().collect();
        vec![shape.name, shape.unit, format!("{}, {}", shape.kind, shape.temporality), keys.join(" ")]
    };
    let rows: Vec<_> = received.shapes().into_iter().map(line).collect();
    let table = report::table(&["metric", "unit", "kind", "attributes"], &rows);
    format!("What the collector received, beside {} spans:\n\n{table}", received.spans().len())
}
