//! What is summed up of one workload.

use std::collections::BTreeMap;
use std::sync::Arc;

use inferscope_common::flow::Role;

use crate::model::Histogram;
use crate::model::attr::{self, Attributes, Value};
use crate::model::batch::{Data, Point};
use crate::model::metrics::MetricId;
use crate::model::request::{Label, Outcome, Request};

/// The cause of what series overflow, beside those of `inferscope.loss`.
pub(super) const SERIES: &str = "series_full";

/// Figures of one workload's points.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) served: Side,
    pub(super) asked: Side,
    pub(super) read_delay: Histogram,
    pub(super) round_trip: Histogram,
    pub(super) retransmits: u64,
    pub(super) beneath: Beneath,
    pub(super) gpu: Gpu,
    pub(super) losses: BTreeMap<Arc<str>, u64>,
}

/// What the host did.
#[derive(Debug, Default)]
pub(super) struct Beneath {
    pub(super) cpu_wait: Histogram,
    pub(super) blocked: Histogram,
    pub(super) calls: Histogram,
    pub(super) periods: u64,
    pub(super) throttled: u64,
    pub(super) faults: u64,
    pub(super) killed: u64,
}

impl Beneath {
    /// Share of periods that were throttled; `None` where there is no quota.
    pub(super) fn throttled(&self) -> Option<f64> {
        (self.periods > 0).then(|| self.throttled as f64 / self.periods as f64)
    }
}

/// Figures of the requests that a workload served, or of those that it made.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) requests: u64,
    pub(super) in_flight: Option<i64>,
    pub(super) duration: Histogram,
    pub(super) plain_duration: Histogram,
    pub(super) first_token: Histogram,
    pub(super) per_token: Histogram,
    pub(super) event_gap: Histogram,
    pub(super) tokens_in: u64,
    pub(super) tokens_out: u64,
    pub(super) counted_by_events: bool,
    pub(super) models: BTreeMap<Label, u64>,
}

/// What the workload used of GPUs; `None` where nothing tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gpu {
    pub(super) joules: Option<f64>,
    pub(super) utilization: Option<f64>,
    pub(super) per_token: Option<f64>,
}

/// How finished requests ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    pub(super) all: u64,
    pub(super) failed: u64,
    pub(super) aborted: u64,
}

impl Ends {
    pub(super) fn add(&mut self, request: &Request) {
        self.all += 1;
        match request.outcome {
            Outcome::Ok => (),
            Outcome::Status(_) if request.is_blameless() => (),
            Outcome::Aborted => self.aborted += 1,
            Outcome::Status(_) | Outcome::Stream(_) | Outcome::Broken => self.failed += 1,
        }
    }
}

impl Figures {
    pub(super) fn add(&mut self, point: &Point) {
        match &point.data {
            Data::Sum(sum) | Data::Seconds(sum) => self.add_sum(point.metric, &point.attributes, *sum),
            Data::Current(current) if point.metric == MetricId::HttpActiveRequests => {
                self.served.in_flight = Some(*current);
            }
            Data::Current(_) => (),
            Data::Real(real) => self.gpu.add(point.metric, *real),
            Data::Histogram(histogram) => self.add_histogram(point.metric, &point.attributes, histogram),
        }
    }

    fn add_sum(&mut self, metric: MetricId, attributes: &Attributes, sum: u64) {
        match metric {
            MetricId::Requests if is(attributes, attr::ROLE, "client") => self.asked.requests += sum,
            MetricId::Requests => self.served.requests += sum,
            MetricId::Tokens if is(attributes, attr::TOKEN_TYPE, "input") => self.served.tokens_in += sum,
            MetricId::Tokens => {
                self.served.tokens_out += sum;
                self.served.counted_by_events |= sum > 0 && is(attributes, attr::TOKEN_SOURCE, "events");
            }
            MetricId::TcpRetransmits => self.retransmits += sum,
            MetricId::CpuPeriods => self.beneath.periods += sum,
            MetricId::CpuThrottledPeriods => self.beneath.throttled += sum,
            MetricId::PagingFaults => self.beneath.faults += sum,
            MetricId::OomKills => self.beneath.killed += sum,
            MetricId::Loss => self.lose(text(attributes, attr::LOSS_CAUSE).unwrap_or_default(), sum),
            MetricId::SeriesOverflow => self.lose(SERIES, sum),
            _ => (),
        }
    }

    fn lose(&mut self, cause: &str, sum: u64) {
        if sum > 0 {
            *self.losses.entry(cause.into()).or_default() += sum;
        }
    }

    fn add_histogram(&mut self, metric: MetricId, attributes: &Attributes, histogram: &Histogram) {
        let (served, asked) = (&mut self.served, &mut self.asked);
        let sum = match metric {
            MetricId::ServerDuration => {
                served.count_model(attributes, histogram.count());
                &mut served.duration
            }
            MetricId::ClientDuration => {
                asked.count_model(attributes, histogram.count());
                &mut asked.duration
            }
            MetricId::HttpServerDuration => &mut served.plain_duration,
            MetricId::HttpClientDuration => &mut asked.plain_duration,
            MetricId::ServerTimeToFirstToken => &mut served.first_token,
            MetricId::ClientTimeToFirstChunk => &mut asked.first_token,
            MetricId::ServerTimePerOutputToken => &mut served.per_token,
            MetricId::EventGap => &mut served.event_gap,
            MetricId::ClientTimePerOutputChunk => &mut asked.event_gap,
            MetricId::ReadDelay => &mut self.read_delay,
            MetricId::TcpRtt => &mut self.round_trip,
            MetricId::CpuRunDelay => &mut self.beneath.cpu_wait,
            MetricId::CpuBlocked => &mut self.beneath.blocked,
            // What waits for others is no sign of trouble beneath.
            MetricId::SyscallDuration if is(attributes, attr::SYSCALL_KIND, "work") => &mut self.beneath.calls,
            _ => return,
        };
        sum.merge(histogram);
    }

    /// The figures of one part.
    pub(super) fn side(&self, role: Role) -> &Side {
        match role {
            Role::Server => &self.served,
            Role::Client => &self.asked,
        }
    }
}

impl Gpu {
    fn add(&mut self, metric: MetricId, real: f64) {
        let sum = |before: Option<f64>| Some(before.unwrap_or(0.0) + real);
        match metric {
            MetricId::Energy => self.joules = sum(self.joules),
            MetricId::WorkloadGpuUtilization => self.utilization = sum(self.utilization),
            MetricId::EnergyPerOutputToken => self.per_token = Some(real),
            _ => (),
        }
    }
}

impl Side {
    /// True where nothing happened.
    pub(super) fn is_idle(&self) -> bool {
        self.requests == 0 && self.duration.count() == 0 && self.event_gap.count() == 0
    }

    fn count_model(&mut self, attributes: &Attributes, requests: u64) {
        let label = |key| match find(attributes, key) {
            Some(Value::Label(label)) => Some(Label::clone(label)),
            _ => None,
        };
        // A model that answers may have a longer name than the one that was asked for.
        if let Some(model) = label(attr::REQUEST_MODEL).or_else(|| label(attr::RESPONSE_MODEL))
            && requests > 0
        {
            *self.models.entry(model).or_default() += requests;
        }
    }
}

fn find<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a Value> {
    attributes.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

fn text<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a str> {
    match find(attributes, key)? {
        Value::Word(word) => Some(word),
        Value::Label(label) => Some(label),
        Value::Int(_) | Value::Seconds(_) | Value::Bool(_) => None,
    }
}

fn is(attributes: &Attributes, key: &str, word: &str) -> bool {
    text(attributes, key) == Some(word)
}
