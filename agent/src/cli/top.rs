//! `inferscope top`: the workloads of this machine, at a glance.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::{Watch, sources, warn_of_unread};
use crate::bell;
use crate::clock::monotonic_nanos;
use crate::model::batch::{Batch, Temporality};
use crate::model::gpu::DriverState;
use crate::pipeline::Pipeline;
use crate::run::{Cadence, run as run_pipeline};
use crate::view::{Plain, Summary, governed, render, render_gpus};

/// Columns of a screen that tells no width.
const WIDTH: usize = 160;
const HOME_AND_CLEAR: &str = "\x1b[H\x1b[J";

/// Options of `inferscope top`.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    watch: Watch,
    /// Prints one table below the other instead of a screen: for pipes and files.
    #[arg(long)]
    plain: bool,
    /// Seconds that a table tells of.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Tables to print; without it they go on until Ctrl-C.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

pub(super) fn run(options: Options) -> Result<ExitCode> {
    let config = options.watch.config()?;
    crate::telemetry::log_to_stderr(config.log.level)?;
    warn_of_unread();
    let mut pipeline = sources::pipeline(&config, Temporality::Delta, &[], false)?;
    if let Some((gpus, _)) = sources::gpus(&config, Temporality::Delta)? {
        pipeline = pipeline.with_gpus(gpus);
    }
    let cadence = Cadence { metrics: Duration::from_secs(options.interval), requests: None };
    let (stop, stopped) = bell::stop().context("no pipe")?;
    let mut stop = Some(stop);
    let mut left = options.count.unwrap_or(u64::MAX);
    let mut plain = (options.plain || !io::stdout().is_terminal()).then(|| Plain::new(WIDTH));
    let mut failed = None;
    run_pipeline(&mut pipeline, cadence, &stopped, |pipeline, batch, _| {
        if left == 0 || stop.is_none() {
            return;
        }
        left -= 1;
        if let Err(error) = show(pipeline, batch, plain.as_mut()) {
            failed = Some(error);
            left = 0;
        }
        if left == 0 {
            drop(stop.take());
        }
    })
    .context("cannot wait for the kernel")?;
    match failed {
        // Whoever read the pipe has seen enough.
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Prints what a batch tells: below what was printed before where it is `plain`, else in its place.
fn show(pipeline: &Pipeline, batch: &Batch, plain: Option<&mut Plain>) -> io::Result<()> {
    let mut summary = Summary::new(pipeline.workloads().map(std::sync::Arc::clone));
    summary.add(batch);
    let mut out = io::stdout().lock();
    let table = match plain {
        Some(plain) => plain.render(&summary.rows()),
        None => HOME_AND_CLEAR.to_owned() + &render(&summary.rows(), WIDTH),
    };
    out.write_all(table.as_bytes())?;
    if let Some(gpus) = pipeline.gpus() {
        if let Some((driver, mend)) = gpus.gpus().driver().and_then(|driver| Some((driver, driver.mend()?)))
            && !matches!(driver, DriverState::Absent { .. })
        {
            let (name, detail) = (driver.name().replace('_', " "), driver.detail(monotonic_nanos()));
            writeln!(out, "GPU driver {name} ({detail}): {mend}")?;
        }
        out.write_all(render_gpus(gpus.gpus().devices(), monotonic_nanos(), WIDTH).as_bytes())?;
    }
    for note in governed(&pipeline.governing().state(), WIDTH) {
        writeln!(out, "{note}")?;
    }
    out.write_all(b"\n")?;
    out.flush()
}
