//! OTLP: batches become requests, and requests reach a collector. The only module that knows OTLP.
//!
//! [`encode`] turns batches into requests of limited size; each is compressed once and waits in the queue of its
//! signal, from which a task delivers it as OTLP's contract asks ([`Exporter`]).

mod answer;
mod backoff;
mod body;
pub mod encode;
mod grpc;
mod own;
mod partial;
mod payload;
mod queue;
mod report;
pub mod settings;
mod ship;
pub mod stats;
mod tls;
mod transport;

pub use backoff::Pace;
pub use encode::Identity;
pub use own::{OwnLogs, OwnMetrics};
pub use payload::Payload;
pub use queue::Rest;
pub use settings::{Compression, Destination, Protocol, Settings, Tls};
pub use stats::{LossCause, Signal, SignalStats, Stats};
pub use tls::TlsError;
pub use transport::EndpointError;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::model::batch::{Batch, Temporality};
use backoff::Backoff;
use encode::{Encoder, Message};
use queue::Queue;
use report::Report;
use ship::Shipper;
use transport::Transport;

/// Why nothing can be exported.
#[derive(thiserror::Error, Debug)]
pub enum ExportError {
    /// An endpoint cannot be used.
    #[error("cannot export {signal}: {source}")]
    Endpoint {
        /// Which signal's.
        signal: &'static str,
        /// Why.
        source: EndpointError,
    },
    /// There is nobody to run its tasks.
    #[error("the exporter must be started inside a tokio runtime")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
}

/// Ships batches. Whatever the receivers do, [`Exporter::offer`] returns as soon as the batch is encoded.
#[derive(Debug)]
pub struct Exporter {
    encoder: Mutex<Encoder>,
    lines: [Option<Line>; Signal::ALL.len()],
    workers: JoinSet<()>,
    closing: watch::Sender<bool>,
    stats: Arc<Stats>,
    identity: Identity,
    settings: Settings,
}

/// The way of one signal to its queue.
#[derive(Clone, Debug)]
struct Line {
    queue: Arc<Queue>,
    compression: Compression,
    /// Largest request before compression.
    limit: usize,
}

impl Line {
    fn push(&self, message: &Message) {
        self.queue.push(Payload::new(message, self.compression));
    }

    fn oversize(&self, items: u64) {
        self.queue.stats().add_lost(LossCause::Oversize, items);
    }
}

impl Exporter {
    /// Begins to ship to the destinations in `settings`; must be called inside a tokio runtime.
    pub fn start(settings: Settings, identity: Identity) -> Result<Self, ExportError> {
        Self::with_pace(settings, identity, Pace::default())
    }

    /// The same with other waits between tries.
    pub fn with_pace(settings: Settings, identity: Identity, pace: Pace) -> Result<Self, ExportError> {
        let runtime = Handle::try_current()?;
        let stats = Arc::new(Stats::default());
        let (closing, _) = watch::channel(false);
        let mut workers = JoinSet::new();
        let mut start = |signal: Signal, destination: &Option<Destination>| -> Result<Option<Line>, ExportError> {
            let Some(destination) = destination else { return Ok(None) };
            let agent = format!("{}/{}", encode::SCOPE, identity.version);
            let transport = Transport::new(signal, destination, &agent)
                .map_err(|source| ExportError::Endpoint { signal: signal.name(), source })?;
            let queue = Arc::new(Queue::new(signal, settings.queue_bytes, Arc::clone(&stats)));
            let shipper = Shipper {
                queue: Arc::clone(&queue),
                transport,
                backoff: Backoff::new(pace),
                report: Report::new(signal, settings::shown(&destination.endpoint)),
                closing: closing.subscribe(),
            };
            workers.spawn_on(shipper.run(), &runtime);
            Ok(Some(Line { queue, compression: destination.compression, limit: settings.request_bytes }))
        };
        let lines = [
            start(Signal::Metrics, &settings.metrics)?,
            start(Signal::Traces, &settings.traces)?,
            start(Signal::Logs, &settings.logs)?,
        ];
        let encoder = Mutex::new(Encoder::new(&identity, &settings.resource, settings.request_bytes));
        Ok(Self { encoder, lines, workers, closing, stats, identity, settings })
    }

    /// Encodes a batch and queues it. `clock` tells the wall time of its requests.
    pub fn offer(&self, batch: &Batch, clock: Clock) {
        let mut encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = self.line(Signal::Metrics) {
            line.oversize(encoder.metrics(batch, |message| line.push(message)));
        }
        if let Some(line) = self.line(Signal::Traces) {
            line.oversize(encoder.spans(batch, clock, |message| line.push(message)));
        }
        if let Some(line) = self.line(Signal::Logs) {
            line.oversize(encoder.events(batch, |message| line.push(message)));
        }
    }

    /// Lets spans and log records fill one in 2^k parts of their queues from now on, or one request, which is the
    /// least that can travel; points keep all of theirs.
    pub fn shrink_backlog(&self, k: u32) {
        let Settings { queue_bytes, request_bytes, .. } = self.settings;
        let limit = queue_bytes.checked_shr(k).unwrap_or(0).max(request_bytes.min(queue_bytes));
        for line in [Signal::Traces, Signal::Logs].into_iter().filter_map(|signal| self.line(signal)) {
            line.queue.set_limit(limit);
        }
    }

    /// What became of everything that was offered.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Whether a signal goes anywhere.
    pub fn ships(&self, signal: Signal) -> bool {
        self.line(signal).is_some()
    }

    /// Who the agent is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The attributes of every resource.
    pub fn resource(&self) -> &[(String, String)] {
        &self.settings.resource
    }

    /// Takes the agent's own metrics from OpenTelemetry's SDK; `None` where metrics go nowhere.
    pub fn own_metrics(&self, temporality: Temporality) -> Option<OwnMetrics> {
        Some(OwnMetrics::new(self.line(Signal::Metrics)?.clone(), temporality))
    }

    /// Takes the agent's own logs from OpenTelemetry's SDK; `None` where logs go nowhere.
    pub fn own_logs(&self) -> Option<OwnLogs> {
        Some(OwnLogs::new(self.line(Signal::Logs)?.clone()))
    }

    /// Takes nothing new in, delivers what is queued, and says what could not be delivered in the time that the
    /// settings allow.
    pub async fn shutdown(mut self) -> Undelivered {
        for line in self.lines.iter().flatten() {
            line.queue.close();
        }
        self.closing.send_replace(true);
        let workers = &mut self.workers;
        let delivered = async { while workers.join_next().await.is_some() {} };
        if tokio::time::timeout(self.settings.shutdown, delivered).await.is_err() {
            self.workers.shutdown().await;
        }
        let rest = |signal| self.line(signal).map(|line| line.queue.abandon()).unwrap_or_default();
        Undelivered { metrics: rest(Signal::Metrics), traces: rest(Signal::Traces), logs: rest(Signal::Logs) }
    }

    fn line(&self, signal: Signal) -> Option<&Line> {
        self.lines[signal as usize].as_ref()
    }
}

/// What was queued and not delivered when the exporter stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Undelivered {
    /// Of metrics.
    pub metrics: Rest,
    /// Of traces.
    pub traces: Rest,
    /// Of logs.
    pub logs: Rest,
}

impl Undelivered {
    /// Everything was delivered.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metrics, traces, logs } = self;
        write!(
            f,
            "{} points in {} requests, {} spans in {}, {} log records in {}",
            metrics.items, metrics.requests, traces.items, traces.requests, logs.items, logs.requests
        )
    }
}
