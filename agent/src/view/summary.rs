//! Adds up batches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use inferscope_common::flow::Role;

use super::figures::{Ends, Figures, Side};
use super::row::{Loss, Row, Spread};
use crate::model::Histogram;
use crate::model::batch::{Batch, Temporality, WorkloadBatch};
use crate::model::workload::{Workload, WorkloadId};

/// What happened to each workload over one batch or several.
#[derive(Debug, Default)]
pub struct Summary {
    workloads: BTreeMap<WorkloadId, Entry>,
    /// End of the last batch, in Unix nanoseconds.
    until: u64,
}

#[derive(Debug)]
struct Entry {
    workload: Arc<Workload>,
    /// Start of the first batch, in Unix nanoseconds.
    start: Option<u64>,
    figures: Figures,
    served: Ends,
    asked: Ends,
}

impl Summary {
    /// Nothing yet; these workloads have a row even if no batch tells of them.
    pub fn new(workloads: impl IntoIterator<Item = Arc<Workload>>) -> Self {
        let mut summary = Self::default();
        for workload in workloads {
            summary.entry(&workload);
        }
        summary
    }

    /// Adds a batch. One of cumulative points takes the place of the points before it.
    pub fn add(&mut self, batch: &Batch) {
        self.until = self.until.max(batch.time);
        for part in &batch.workloads {
            self.entry(&part.workload).add(part, batch.temporality);
        }
    }

    /// The rows of a table, the busiest workload first. One that makes requests has a second row for them.
    pub fn rows(&self) -> Vec<Row> {
        let mut order: Vec<&Entry> = self.workloads.values().collect();
        order.sort_by_key(|entry| {
            let busy = entry.figures.served.requests.max(entry.figures.asked.requests);
            (std::cmp::Reverse(busy), Arc::clone(&entry.workload.name))
        });
        let mut names: HashMap<&str, usize> = HashMap::new();
        for entry in &order {
            *names.entry(&entry.workload.name).or_default() += 1;
        }
        let rows = order.iter().flat_map(|entry| {
            let is_alone = names.get(&*entry.workload.name) == Some(&1);
            let name = if is_alone { entry.workload.name.to_string() } else { distinct(&entry.workload) };
            entry.rows(name, self.until)
        });
        rows.collect()
    }

    fn entry(&mut self, workload: &Arc<Workload>) -> &mut Entry {
        self.workloads.entry(workload.id).or_insert_with(|| Entry {
            workload: Arc::clone(workload),
            start: None,
            figures: Figures::default(),
            served: Ends::default(),
            asked: Ends::default(),
        })
    }
}

/// A name that tells a workload from others of the same name.
fn distinct(workload: &Workload) -> String {
    let name = &workload.name;
    match (workload.port, &workload.container) {
        (Some(port), _) => format!("{name}:{port}"),
        (None, Some(container)) => format!("{name}@{}", container.chars().take(8).collect::<String>()),
        (None, None) => format!("{name}#{}", workload.cgroup_id),
    }
}

impl Entry {
    fn add(&mut self, part: &WorkloadBatch, temporality: Temporality) {
        self.start.get_or_insert(part.start);
        if temporality == Temporality::Cumulative && !part.points.is_empty() {
            self.figures = Figures::default();
            self.start = Some(part.start);
        }
        for point in &part.points {
            self.figures.add(point);
        }
        for request in &part.requests {
            match request.role {
                Role::Server => self.served.add(request),
                Role::Client => self.asked.add(request),
            }
        }
    }

    fn rows(&self, name: String, until: u64) -> Vec<Row> {
        let asks = !self.figures.asked.is_idle();
        let serves = !asks || !self.figures.served.is_idle();
        let mut rows = Vec::new();
        if serves {
            rows.push(self.row(name.clone(), Role::Server, until));
        }
        if asks {
            rows.push(self.row(name, Role::Client, until));
        }
        if let Some(first) = rows.first_mut() {
            self.fill_workload(first, until);
        }
        rows
    }

    fn row(&self, name: String, role: Role, until: u64) -> Row {
        let side = self.figures.side(role);
        let ends = if role == Role::Server { self.served } else { self.asked };
        // No batch tells of a workload that did nothing.
        let idle = (self.start.is_none() && until > 0).then_some(0.0);
        let rate = |amount: u64| self.rate(amount, until);
        let has_tokens = side.tokens_in + side.tokens_out > 0;
        let duration = if side.duration.count() > 0 { &side.duration } else { &side.plain_duration };
        Row {
            name,
            asks: role == Role::Client,
            requests: side.requests,
            requests_per_second: rate(side.requests).or(idle),
            in_flight: side.in_flight,
            failed: (ends.all > 0).then(|| ends.failed as f64 / ends.all as f64),
            aborted: ends.aborted,
            first_token: spread(&side.first_token),
            per_token: spread(&side.per_token),
            event_gap: side.event_gap.quantile(0.99),
            duration: spread(duration),
            tokens_in: rate(side.tokens_in).filter(|_| has_tokens),
            tokens_out: rate(side.tokens_out).filter(|_| has_tokens),
            counted_by_events: side.counted_by_events,
            models: by_use(side),
            ..Row::default()
        }
    }

    /// Per second, up to `until`.
    fn rate(&self, amount: u64, until: u64) -> Option<f64> {
        let seconds = self.start.and_then(|start| until.checked_sub(start)).map(|nanos| nanos as f64 / 1e9);
        seconds.filter(|seconds| *seconds > 0.0).map(|seconds| amount as f64 / seconds)
    }

    /// What is known of the workload as a whole.
    fn fill_workload(&self, row: &mut Row, until: u64) {
        let figures = &self.figures;
        let seconds = self.start.and_then(|start| until.checked_sub(start)).map(|nanos| nanos as f64 / 1e9);
        row.gpu = figures.gpu.utilization;
        row.watts =
            figures.gpu.joules.zip(seconds.filter(|seconds| *seconds > 0.0)).map(|(joules, time)| joules / time);
        row.joules_per_token = figures.gpu.per_token;
        row.read_delay = figures.read_delay.quantile(0.99);
        row.round_trip = figures.round_trip.quantile(0.5);
        row.retransmits = figures.retransmits;
        let beneath = &figures.beneath;
        row.cpu_wait = beneath.cpu_wait.quantile(0.99);
        row.blocked = beneath.blocked.quantile(0.5);
        row.calls = beneath.calls.quantile(0.99);
        row.throttled = beneath.throttled();
        row.killed = beneath.killed;
        // Without a switch of its threads nothing is known of its faults.
        row.faults = self.rate(beneath.faults, until).filter(|_| row.cpu_wait.is_some());
        let losses = figures.losses.iter().map(|(cause, &count)| Loss { cause: cause.to_string(), count });
        row.losses = losses.collect();
    }
}

fn spread(histogram: &Histogram) -> Option<Spread> {
    Some(Spread { p50: histogram.quantile(0.5)?, p99: histogram.quantile(0.99)? })
}

fn by_use(side: &Side) -> Vec<String> {
    let mut models: Vec<_> = side.models.iter().collect();
    models.sort_by_key(|(_, requests)| std::cmp::Reverse(**requests));
    models.into_iter().map(|(name, _)| name.to_string()).collect()
}
