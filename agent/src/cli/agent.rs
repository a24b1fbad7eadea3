//! `inferscope agent`: the daemon.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::{Watch, sources, warn_of_unread};
use crate::bell;
use crate::config::Config;
use crate::control;
use crate::export::{Exporter, Identity, Signal};
use crate::governor::guard::{Guard, GuardError, KILLS, Past, Watch as Guarding};
use crate::governor::{self, Part};
use crate::host::Host;
use crate::model::Histogram;
use crate::pipeline::{GpuWatch, Pipeline};
use crate::run::run as run_pipeline;
use crate::telemetry::{self, AgentState, CallCost};

/// Options of `inferscope agent`.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    watch: Watch,
}

pub(super) fn run(options: Options) -> Result<ExitCode> {
    let config = options.watch.config()?;
    // One thread: exporting waits, and does little else. What watches the kernel has a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    let exporter = Exporter::start(config.export.clone(), identity())?;
    let state = Arc::new(AgentState::default());
    let told = telemetry::start(&telemetry_options(&config), &exporter, Arc::clone(&state))?;
    warn_of_unread();
    if Signal::ALL.iter().all(|&signal| !exporter.ships(signal)) {
        let mend = "set OTEL_EXPORTER_OTLP_ENDPOINT, or otlp.endpoint in the configuration; `inferscope top` shows what is seen";
        tracing::warn!(mend, "nothing is shipped: no endpoint is set, or shipping is switched off");
    }
    let (guarding, kills) = guard(&config.governor);
    // Decided, and said, before anything is loaded: loading may be what it was killed for.
    let small = kills >= KILLS;
    if small {
        governor::say_small(kills, config.governor.healthy);
    }
    let (gpus, desk) = sources::gpus(&config, config.model.temporality)?.unzip();
    let answering = match control::listen() {
        Ok(listener) => Some(tokio::spawn(control::serve(listener, desk))),
        Err(error) => {
            tracing::warn!(%error, "`inferscope gpu` cannot reach this agent");
            None
        }
    };
    let (stop, stopped) = bell::stop().context("no pipe")?;
    let (done, over) = oneshot::channel::<Infallible>();
    // Loading takes a while on a busy machine; exporters and signals go on meanwhile.
    let watch = move || -> Result<Exporter> {
        let _done = done;
        let mut pipeline = sources::pipeline(&config, config.model.temporality, &parts(&exporter), small)?;
        if let Some(gpus) = gpus {
            pipeline = pipeline.with_gpus(gpus);
        }
        let tell = |pipeline: &Pipeline| {
            state.update(pipeline.model().taken(), pipeline.flows().assembler().losses());
            let probes = pipeline.beneath().probes().map(|host| host.probes());
            state.set_kernel(pipeline.flows().kernel().hooks(), probes);
            state.set_governor(pipeline.governing().state());
            tell_gpus(&state, pipeline.gpus());
        };
        tell(&pipeline);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "running");
        run_pipeline(&mut pipeline, config.cadence, &stopped, |pipeline, batch, due| {
            tell(pipeline);
            exporter.shrink_backlog(pipeline.governing().detail().backlog);
            exporter.offer(batch, pipeline.clock());
            state.handed_over(due.elapsed());
        })
        .context("cannot wait for the kernel")?;
        if pipeline.take_gpus().is_some_and(|gpus| !gpus.stop()) {
            tracing::warn!("a call into the GPU driver has not returned: all GPUs stay open until it does");
        }
        Ok(exporter)
    };
    let watching = thread::Builder::new().name("pipeline".to_owned()).spawn(watch).context("cannot start a thread")?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: shipping what is there"),
        _ = interrupt.recv() => tracing::info!("SIGINT: shipping what is there"),
        _ = over => {}
    }
    // Whoever asked it to end may not wait for it: that is no kill.
    drop(guarding);
    drop(stop);
    // It ends within a pause of its loop.
    let Ok(watched) = watching.join() else { return Ok(ExitCode::FAILURE) };
    let exporter = watched?;
    if let Some(answering) = answering {
        answering.abort();
    }
    told.shutdown();
    let undelivered = exporter.shutdown().await;
    if !undelivered.is_empty() {
        tracing::warn!(%undelivered, "not delivered in time");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What of the agent can be shed: what it does not ship, it cannot do without.
fn parts(exporter: &Exporter) -> Vec<Part> {
    let spans = exporter.ships(Signal::Traces).then_some(Part::Spans);
    let backlog = (exporter.ships(Signal::Traces) || exporter.ships(Signal::Logs)).then_some(Part::Backlog);
    spans.into_iter().chain(backlog).collect()
}

/// Notes that this run began, and how many before it were killed in a row. Without notes it runs as if there were none.
fn guard(settings: &governor::Settings) -> (Option<Guarding>, u32) {
    let begun = Guard::begin(&Host::default(), &settings.state).and_then(|(guard, past)| {
        let watch = guard.watch(settings.healthy);
        Ok((watch.map_err(GuardError::Thread)?, past))
    });
    match begun {
        Ok((watch, past)) => {
            warn_of(&past);
            (Some(watch), past.kills)
        }
        Err(error) => {
            tracing::warn!(
                %error,
                "if this agent is killed for its cost, the next one will not know (let budget.state name a directory \
                 that it can write to)"
            );
            (None, 0)
        }
    }
}

fn warn_of(past: &Past) {
    if let Some(file) = &past.out_of_memory {
        tracing::warn!(
            file = %file.display(),
            "the last run was killed, and the kernel counted a kill for want of memory meanwhile (lower budget.memory, \
             or raise the cgroup's limit)"
        );
    } else if past.killed {
        tracing::warn!("the last run did not end in good order: it was killed, or it broke");
    }
}

fn tell_gpus(state: &AgentState, gpus: Option<&GpuWatch>) {
    let Some((gpus, driver)) = gpus.and_then(|gpus| Some((gpus, gpus.gpus().driver()?))) else { return };
    let cost = |(call, histogram): (_, &Histogram)| CallCost { call, calls: histogram.count(), nanos: histogram.sum() };
    state.set_gpu(driver, gpus.lost(), gpus.gpus().costs().map(cost).collect());
}

fn telemetry_options(config: &Config) -> telemetry::Options {
    telemetry::Options {
        level: config.log.level,
        service: config.service_name.clone(),
        interval: config.cadence.metrics,
        temporality: config.model.temporality,
    }
}

/// One agent runs on a machine, which names it.
fn identity() -> Identity {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Identity { instance: host.clone(), host, version: env!("CARGO_PKG_VERSION").to_owned() }
}
