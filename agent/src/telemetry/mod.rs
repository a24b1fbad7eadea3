//! What the agent tells of itself: its log, and metrics of its own.
//!
//! Both pass through OpenTelemetry's SDK into the queues of the [`Exporter`], and so share its connections, its
//! patience and its counters. The log goes to standard error as well.

mod governed;
mod gpu;
mod instruments;
mod state;

pub use gpu::CallCost;
pub use state::{AgentState, PROBE_LOSSES, WIRE_LOSSES};

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{BatchConfigBuilder, BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt, registry};

use crate::export::encode::SCOPE;
use crate::export::{Exporter, OwnLogs, OwnMetrics, Signal};
use crate::model::attr;
use crate::model::batch::Temporality;
use crate::pipeline::EVENTS;
use instruments::Sources;

/// Log records that wait to be encoded; more are dropped.
const LOG_QUEUE: usize = 512;
/// How often log records are encoded.
const LOG_DELAY: Duration = Duration::from_secs(1);
/// Longest time to collect a last time. Nothing in it waits for a receiver.
const LAST: Duration = Duration::from_secs(2);

/// How the agent tells of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The least important lines that are written.
    pub level: LevelFilter,
    /// The agent's own `service.name`.
    pub service: String,
    /// How often its metrics are told.
    pub interval: Duration,
    /// What its counters say of.
    pub temporality: Temporality,
}

/// Why the agent cannot tell of itself.
#[derive(thiserror::Error, Debug)]
pub enum TelemetryError {
    /// Somebody else logs in this process.
    #[error("cannot set up the log: {0}")]
    Log(#[from] TryInitError),
}

/// Writes the log to standard error, for commands that ship nothing.
pub fn log_to_stderr(level: LevelFilter) -> Result<(), TelemetryError> {
    Ok(registry().with(to_stderr(level)).try_init()?)
}

/// Begins to log, to standard error and to where `exporter` ships logs, and to tell metrics of the agent, where
/// it ships metrics.
pub fn start(options: &Options, exporter: &Exporter, state: Arc<AgentState>) -> Result<Telemetry, TelemetryError> {
    let logs = exporter.own_logs().map(|own| logger_provider(own, resource(options, exporter)));
    let bridge = logs.as_ref().map(|logs| OpenTelemetryTracingBridge::new(logs).with_filter(shipped(options.level)));
    registry().with(bridge).with(to_stderr(options.level)).try_init()?;
    let metrics = exporter.own_metrics(options.temporality).map(|own| {
        let provider = meter_provider(own, options.interval, resource(options, exporter));
        let signals = Signal::ALL.into_iter().filter(|&signal| exporter.ships(signal)).collect();
        let sources = Sources { stats: Arc::clone(exporter.stats()), state, signals };
        instruments::register(&provider.meter(SCOPE), &sources);
        provider
    });
    Ok(Telemetry { metrics, logs })
}

/// Lives as long as the agent tells of itself.
#[derive(Debug)]
#[must_use = "nothing is told any more once it is dropped"]
pub struct Telemetry {
    metrics: Option<SdkMeterProvider>,
    logs: Option<SdkLoggerProvider>,
}

impl Telemetry {
    /// Puts the last metrics and log records into the exporter's queues; call it before [`Exporter::shutdown`].
    /// Standard error goes on.
    pub fn shutdown(self) {
        let metrics = self.metrics.map_or(Ok(()), |metrics| metrics.shutdown_with_timeout(LAST));
        let logs = self.logs.map_or(Ok(()), |logs| logs.shutdown_with_timeout(LAST));
        for (signal, ended) in [("metrics", metrics), ("logs", logs)] {
            if let Err(error) = ended {
                tracing::warn!(signal, %error, "the agent's last own telemetry is lost");
            }
        }
    }
}

/// For people. Libraries are heard from warnings on: at lower levels they write what they send, headers included.
fn to_stderr<S: Subscriber + for<'span> LookupSpan<'span>>(level: LevelFilter) -> impl Layer<S> {
    let heard = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(SCOPE, level);
    let stderr = std::io::stderr;
    fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal()).with_filter(heard)
}

/// What is shipped: of the agent itself, and nothing of what ships it. Else every failure to ship would be one more
/// thing to ship. What happens to workloads is shipped as theirs.
fn shipped(level: LevelFilter) -> Targets {
    let others = ["inferscope::export", EVENTS].map(|target| (target, LevelFilter::OFF));
    Targets::new().with_target(SCOPE, level).with_targets(others)
}

fn logger_provider(own: OwnLogs, resource: Resource) -> SdkLoggerProvider {
    let config = BatchConfigBuilder::default().with_max_queue_size(LOG_QUEUE).with_scheduled_delay(LOG_DELAY).build();
    let processor = BatchLogProcessor::builder(own).with_batch_config(config).build();
    SdkLoggerProvider::builder().with_resource(resource).with_log_processor(processor).build()
}

fn meter_provider(own: OwnMetrics, interval: Duration, resource: Resource) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(own).with_interval(interval).build();
    SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build()
}

/// The agent as a resource. Attributes of every resource replace none of its own.
fn resource(options: &Options, exporter: &Exporter) -> Resource {
    let identity = exporter.identity();
    let own = [
        (attr::SERVICE_NAME, &options.service),
        (attr::SERVICE_VERSION, &identity.version),
        (attr::SERVICE_INSTANCE, &identity.instance),
        (attr::HOST_NAME, &identity.host),
    ];
    let extra = exporter.resource().iter().filter(|(name, _)| own.iter().all(|(known, _)| known != name));
    let extra = extra.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let own = own.map(|(name, value)| KeyValue::new(name, value.clone()));
    Resource::builder_empty().with_attributes(own.into_iter().chain(extra)).build()
}
