//! What the kernel's block of a workload means, word by word.

use inferscope_common::block::{Block, COUNTERS, Counter, Hist};

use crate::model::attr::{Attributes, ERROR_TYPE, IO_DIRECTION, LOSS_CAUSE, METHOD, ROLE, URL_SCHEME};
use crate::model::batch::{Data, Point};
use crate::model::histogram::{Histogram, grown};
use crate::model::metrics::MetricId;

const HISTS: usize = Hist::ALL.len();

/// Growth of a workload's block since the last flush (delta) or since it was assigned (cumulative).
#[derive(Debug)]
pub(super) struct KernelCounts {
    read: Reading,
    grown: Reading,
    /// Requests under way: begun and not ended since the block was assigned.
    active: i64,
    /// `active` as it was last told.
    told: Option<i64>,
}

/// Words of a block, its histograms without their empty ends.
#[derive(Debug, Default)]
struct Reading {
    counters: [u64; COUNTERS],
    hists: [Histogram; HISTS],
}

impl KernelCounts {
    /// Begins with what the block holds now, left by whoever had it before.
    pub(super) fn new(baseline: &Block) -> Self {
        let mut counts = Self { read: Reading::default(), grown: Reading::default(), active: 0, told: None };
        counts.update(baseline);
        counts.grown = Reading::default();
        counts.active = 0;
        counts
    }

    /// Takes the block's words as they are now.
    pub(super) fn update(&mut self, block: &Block) {
        let before = self.read.counters;
        for (place, &word) in block.counters.iter().enumerate() {
            self.grown.counters[place] += grown(word, self.read.counters[place]);
            self.read.counters[place] = word;
        }
        for (place, words) in block.hists.iter().enumerate() {
            self.grown.hists[place].grow(words, &mut self.read.hists[place]);
        }
        let step = |counter: Counter| grown(block.counters[counter as usize], before[counter as usize]) as i64;
        self.active = (self.active + step(Counter::RequestsBegun) - step(Counter::RequestsEnded)).max(0);
    }

    /// Appends the points of what has grown; of everything where not `delta`.
    pub(super) fn collect(&mut self, delta: bool, points: &mut Vec<Point>) {
        for counter in Counter::ALL {
            let Some((metric, attributes)) = counter_series(counter) else { continue };
            let count = self.count(counter);
            if count != 0 || !delta {
                points.push(Point { metric, attributes, data: Data::Sum(count) });
            }
        }
        for hist in Hist::ALL {
            let histogram = &self.grown.hists[hist as usize];
            // An empty cumulative histogram says nothing; unlike a counter it has no zero to rise from.
            if histogram.count() != 0 {
                let data = Data::Histogram(histogram.clone());
                points.push(Point { metric: hist_metric(hist), attributes: Vec::new(), data });
            }
        }
        if !delta || self.active != 0 || self.told != Some(0) {
            let attributes = vec![(METHOD, "_OTHER".into()), (URL_SCHEME, "http".into())];
            points.push(Point { metric: MetricId::HttpActiveRequests, attributes, data: Data::Current(self.active) });
            self.told = Some(self.active);
        }
        if delta {
            self.grown.counters = [0; COUNTERS];
            self.grown.hists.iter_mut().for_each(Histogram::clear);
        }
    }

    fn count(&self, counter: Counter) -> u64 {
        // Events that follow another one are counted by the histogram of their gaps alone.
        let gaps = |hist: Hist| self.grown.hists[hist as usize].count();
        let apart = match counter {
            Counter::Events => gaps(Hist::EventGap),
            Counter::ClientEvents => gaps(Hist::ClientEventGap),
            _ => 0,
        };
        self.grown.counters[counter as usize] + apart
    }
}

/// The series of a counter; `None` for those that only serve to tell the requests under way.
fn counter_series(counter: Counter) -> Option<(MetricId, Attributes)> {
    let (metric, attribute) = match counter {
        Counter::RequestsBegun | Counter::ClientRequestsBegun => return None,
        Counter::RequestsEnded => (MetricId::Requests, Some((ROLE, "server"))),
        Counter::ClientRequestsEnded => (MetricId::Requests, Some((ROLE, "client"))),
        Counter::Events => (MetricId::StreamEvents, Some((ROLE, "server"))),
        Counter::ClientEvents => (MetricId::StreamEvents, Some((ROLE, "client"))),
        Counter::ConnectRefused => (MetricId::TcpConnectFailures, Some((ERROR_TYPE, "refused"))),
        Counter::ConnectTimedOut => (MetricId::TcpConnectFailures, Some((ERROR_TYPE, "timeout"))),
        Counter::ConnectFailed => (MetricId::TcpConnectFailures, Some((ERROR_TYPE, "_OTHER"))),
        Counter::ResetsSent => (MetricId::TcpResets, Some((IO_DIRECTION, "transmit"))),
        Counter::ResetsReceived => (MetricId::TcpResets, Some((IO_DIRECTION, "receive"))),
        Counter::Retransmits => (MetricId::TcpRetransmits, None),
        Counter::Duplicates => (MetricId::TcpDuplicates, None),
        Counter::LostRing
        | Counter::LostBudget
        | Counter::LostScan
        | Counter::LostOrder
        | Counter::LostPipelined
        | Counter::LostState => (MetricId::Loss, loss_cause(counter).map(|(cause, _)| (LOSS_CAUSE, cause))),
    };
    Some((metric, attribute.into_iter().map(|(key, value)| (key, value.into())).collect()))
}

/// Name and meaning of a kernel loss, as `inferscope.loss.cause` tells it.
pub fn loss_cause(counter: Counter) -> Option<(&'static str, &'static str)> {
    Some(match counter {
        Counter::LostRing => ("ring_full", "records that found the ring buffer full"),
        Counter::LostBudget => {
            ("capture_budget", "packets whose bytes were not passed on: the exchange's allowance was used up")
        }
        Counter::LostScan => ("scan_limit", "bytes of a packet beyond what one program run scans"),
        Counter::LostOrder => {
            ("out_of_order", "bytes that arrived out of order, or behind missing ones, and were not metered")
        }
        Counter::LostPipelined => ("pipelined", "requests sent before the answer to the one before was complete"),
        Counter::LostState => ("no_memory", "connections for whose state the kernel had no memory"),
        _ => return None,
    })
}

fn hist_metric(hist: Hist) -> MetricId {
    match hist {
        Hist::EventGap => MetricId::EventGap,
        Hist::ClientEventGap => MetricId::ClientTimePerOutputChunk,
        Hist::Rtt => MetricId::TcpRtt,
        Hist::ReadDelay => MetricId::ReadDelay,
        Hist::Connect => MetricId::TcpConnect,
        Hist::Handshake => MetricId::TcpHandshake,
        Hist::WriteStall => MetricId::TcpWriteStall,
    }
}
