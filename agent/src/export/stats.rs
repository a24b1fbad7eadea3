//! What became of everything that was to be exported.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What an export carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Points of metrics.
    Metrics,
    /// Spans.
    Traces,
    /// Log records of the agent.
    Logs,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// `inferscope.agent.signal`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}

/// Why something was not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LossCause {
    /// The queue was full: the oldest went.
    QueueFull,
    /// The receiver refused the request for good.
    Refused,
    /// The receiver took the request, and said that it dropped part of it.
    Rejected,
    /// Alone larger than a request may be.
    Oversize,
    /// The receiver's answer was larger than is read.
    Answer,
    /// The agent stopped before it could be delivered.
    Shutdown,
}

impl LossCause {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::QueueFull, Self::Refused, Self::Rejected, Self::Oversize, Self::Answer, Self::Shutdown];

    /// `inferscope.loss.cause`.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Oversize => "oversize",
            Self::Answer => "answer_oversize",
            Self::Shutdown => "shutdown",
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::QueueFull => "the receiver was away or too slow for so long that the queue was full; the oldest went",
            Self::Refused => "the receiver refused the request with an answer that forbids another try",
            Self::Rejected => "the receiver took the request and said that it dropped part of it",
            Self::Oversize => "a single point, span or record larger than a request may be",
            Self::Answer => "the receiver's answer was larger than 4 MiB, which forbids another try",
            Self::Shutdown => "not delivered when the agent stopped",
        }
    }
}

/// What became of one signal since the start.
#[derive(Debug, Default)]
pub struct SignalStats {
    delivered_items: AtomicU64,
    delivered_bytes: AtomicU64,
    retries: AtomicU64,
    queue_bytes: AtomicU64,
    losses: [AtomicU64; LossCause::ALL.len()],
}

impl SignalStats {
    /// Points, spans or log records that were acknowledged.
    pub fn delivered_items(&self) -> u64 {
        self.delivered_items.load(Relaxed)
    }

    /// Encoded bytes that were acknowledged, before compression.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered_bytes.load(Relaxed)
    }

    /// Requests that failed and were tried again.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Bytes that the queue holds now, those on the wire included.
    pub fn queue_bytes(&self) -> u64 {
        self.queue_bytes.load(Relaxed)
    }

    /// Points, spans or log records that were lost for this cause.
    pub fn lost(&self, cause: LossCause) -> u64 {
        self.losses[cause as usize].load(Relaxed)
    }

    /// Points, spans or log records that were lost for whatever cause.
    pub fn lost_in_all(&self) -> u64 {
        LossCause::ALL.iter().map(|&cause| self.lost(cause)).sum()
    }

    pub(crate) fn add_delivered(&self, items: u64, bytes: u64) {
        self.delivered_items.fetch_add(items, Relaxed);
        self.delivered_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn add_retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_lost(&self, cause: LossCause, items: u64) {
        self.losses[cause as usize].fetch_add(items, Relaxed);
    }

    pub(crate) fn set_queue_bytes(&self, bytes: usize) {
        self.queue_bytes.store(bytes as u64, Relaxed);
    }
}

/// What became of every signal.
#[derive(Debug, Default)]
pub struct Stats {
    signals: [SignalStats; Signal::ALL.len()],
}

impl Stats {
    /// Of one signal.
    pub fn of(&self, signal: Signal) -> &SignalStats {
        &self.signals[signal as usize]
    }
}
