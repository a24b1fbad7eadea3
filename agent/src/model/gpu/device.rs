//! What is known of one device.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::GpuBatch;
use super::call::{Call, Cost};
use super::charge::{Charge, Charged};
use super::counters::Counters;
use super::event::{Event, EventKind, ThrottleCause};
use super::facts::Gpu;
use super::gauges::{self, with_id};
use super::observation::Process;
use super::reading::{Reading, Remapped};
use super::state::DeviceState;
use crate::model::attr::{self, Attributes, Value};
use crate::model::batch::{Data, Point};
use crate::model::energy::{IdlePolicy, Owner};
use crate::model::histogram::Histogram;
use crate::model::metrics::MetricId;

/// How long a cause must have been away for its return to be an event, in nanoseconds: the power limit comes and goes.
const CALM: u64 = 60_000_000_000;
/// Events that wait for a flush.
const EVENTS: usize = 256;

/// One device or instance.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) gpu: Arc<Gpu>,
    pub(super) latest: Reading,
    /// The last list, which energy is split by until there is another.
    pub(super) processes: Vec<Process>,
    /// That list is of now: the device tells one, and answered when it was last asked.
    listed: bool,
    pub(super) charge: Charge,
    /// It is not there any more: its last interval goes out with the next flush.
    pub(super) gone: bool,
    state: DeviceState,
    since: u64,
    flushed: u64,
    read_at: Option<u64>,
    utilization: Mean,
    counters: Counters,
    costs: BTreeMap<Call, Histogram>,
    throttled: [Option<u64>; ThrottleCause::ALL.len()],
    events: Vec<Event>,
}

/// A mean over time of percentages.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: u128,
    nanos: u64,
}

impl Mean {
    fn add(&mut self, pct: u32, nanos: u64) {
        self.sum += u128::from(pct) * u128::from(nanos);
        self.nanos += nanos;
    }

    /// As a fraction.
    fn take(&mut self) -> Option<f64> {
        let Self { sum, nanos } = std::mem::take(self);
        (nanos > 0).then(|| sum as f64 / nanos as f64 / 100.0)
    }
}

impl Device {
    /// A device that was not read yet; `now` is Unix time in nanoseconds.
    pub(super) fn new(gpu: Arc<Gpu>, policy: IdlePolicy, now: u64) -> Self {
        Self {
            gpu,
            latest: Reading::default(),
            processes: Vec::new(),
            listed: false,
            charge: Charge::new(policy),
            gone: false,
            state: DeviceState::Ok,
            since: now,
            flushed: now,
            read_at: None,
            utilization: Mean::default(),
            counters: Counters::default(),
            costs: BTreeMap::new(),
            throttled: [None; ThrottleCause::ALL.len()],
            events: Vec::new(),
        }
    }

    /// Another state. What was read before tells nothing of a device that does not answer.
    pub(super) fn set_state(&mut self, state: DeviceState) {
        // Whoever is not read for a while has its counter read on, and its energy split by who used it last.
        if !matches!(state, DeviceState::Ok | DeviceState::Stuck { .. } | DeviceState::Waiting) {
            self.interrupt();
        }
        if state != DeviceState::Ok {
            self.forget();
        }
        self.state = state;
    }

    pub(super) fn state(&self) -> &DeviceState {
        &self.state
    }

    /// Nobody watches the device for a while.
    pub(super) fn interrupt(&mut self) {
        self.charge.interrupt();
        self.forget();
    }

    fn forget(&mut self) {
        self.latest = Reading::default();
        self.read_at = None;
        self.listed = false;
    }

    /// Takes a list of processes, or that there is none although it was asked for.
    pub(super) fn list(&mut self, processes: Option<Vec<Process>>) {
        self.listed = processes.is_some();
        if let Some(processes) = processes {
            self.processes = processes;
        }
    }

    /// Takes a reading of what is quick, and of everything else where `health` says so.
    pub(super) fn read(&mut self, reading: &Reading, health: bool, at: u64) {
        if let Some(pct) = reading.utilization_pct {
            let since = self.read_at.replace(at).map_or(1, |before| at.saturating_sub(before).max(1));
            self.utilization.add(pct, since);
        }
        if let Some(throttle) = reading.throttle {
            for cause in ThrottleCause::ALL.into_iter().filter(|&cause| throttle.has(cause)) {
                let before = self.throttled[cause as usize].replace(at);
                if before.is_none_or(|before| at.saturating_sub(before) >= CALM) {
                    self.happened(Event { gpu: Arc::clone(&self.gpu.id), at, kind: EventKind::Throttle(cause) });
                }
            }
        }
        // Older devices tell power at once only.
        let power = reading.power_instant_mw.or(reading.power_average_mw);
        self.charge.read(at, reading.energy_mj, power, reading.utilization_pct.is_some_and(|pct| pct > 0));
        self.latest.update(reading, health);
        self.read_counters(reading);
    }

    /// Keeps an event for the next flush.
    pub(super) fn happened(&mut self, event: Event) {
        if let EventKind::Xid { code, .. } = event.kind {
            self.counters.add(MetricId::GpuXid, self.with(&[(attr::GPU_XID, Value::Int(code.into()))]), 1);
        }
        if self.events.len() < EVENTS {
            self.events.push(event);
        } else {
            self.counters.add(MetricId::GpuEventsLost, self.with(&[]), 1);
        }
    }

    /// Takes what calls cost.
    pub(super) fn pay(&mut self, costs: &[Cost]) {
        for cost in costs {
            self.costs.entry(cost.call).or_default().record(cost.nanos);
            if let Some(error) = cost.error {
                let which = [(attr::GPU_CALL, cost.call.name().into()), (attr::ERROR_TYPE, error.into())];
                self.counters.add(MetricId::GpuCallErrors, self.with(&which), 1);
            }
        }
    }

    /// Counts what was given to no workload, and the time that the device was held in vain.
    pub(super) fn settle(&mut self, charged: &Charged) {
        for part in &charged.parts {
            let owner = match part.owner {
                Owner::Workload(_) => continue,
                Owner::Unmatched => "unmatched",
                Owner::Nobody => "nobody",
            };
            let which = [
                (attr::ENERGY_PART, part.kind.name().into()),
                (attr::ENERGY_OWNER, owner.into()),
                (attr::ENERGY_SOURCE, charged.source.into()),
            ];
            self.counters.add(MetricId::GpuEnergyUnattributed, self.with(&which), part.millijoules);
        }
        if charged.in_vain {
            self.counters.add(MetricId::GpuIdleHeld, self.with(&[]), charged.nanos);
        }
    }

    /// What is new. `now` is Unix time and `instant` monotonic time, in nanoseconds.
    pub(super) fn flush(&mut self, delta: bool, now: u64, instant: u64) -> GpuBatch {
        let start = if delta { self.flushed } else { self.since };
        self.flushed = now.max(start);
        let mut points = Vec::new();
        let utilization = self.utilization.take();
        if !self.gone {
            gauges::collect(self, utilization, &mut points);
            self.status(instant, &mut points);
        }
        self.counters.collect(delta, &mut points);
        for (call, histogram) in &mut self.costs {
            if histogram.count() > 0 {
                let mut attributes = with_id(&self.gpu.id);
                attributes.push((attr::GPU_CALL, call.name().into()));
                let data = Data::Histogram(histogram.clone());
                points.push(Point { metric: MetricId::GpuCallDuration, attributes, data });
            }
            if delta {
                histogram.clear();
            }
        }
        GpuBatch {
            gpu: Arc::clone(&self.gpu),
            start,
            since: self.since,
            points,
            events: std::mem::take(&mut self.events),
        }
    }

    fn status(&self, instant: u64, points: &mut Vec<Point>) {
        let mut put = |metric, attributes, data| points.push(Point { metric, attributes, data });
        let health = self.health();
        for state in ["ok", "degraded", "failed", "predicted_failure"] {
            let attributes = self.with(&[(attr::HW_TYPE, "gpu".into()), (attr::HW_STATE, state.into())]);
            put(MetricId::HwStatus, attributes, Data::Current(i64::from(state == health)));
        }
        for state in DeviceState::NAMES {
            let attributes = self.with(&[(attr::GPU_STATE, state.into())]);
            put(MetricId::GpuStatus, attributes, Data::Current(i64::from(state == self.state.name())));
        }
        if let DeviceState::Stuck { call, since } = self.state {
            let seconds = instant.saturating_sub(since) as f64 / 1e9;
            let attributes = self.with(&[(attr::GPU_CALL, call.name().into())]);
            put(MetricId::GpuCallStuck, attributes, Data::Real(seconds));
        }
        if self.listed {
            put(MetricId::GpuProcesses, self.with(&[]), Data::Current(self.processes.len() as i64));
        }
    }

    /// `hw.state`. A device that does not answer is not known to have failed.
    fn health(&self) -> &'static str {
        match self.state {
            DeviceState::Lost | DeviceState::ResetRequired => return "failed",
            DeviceState::Stuck { .. } | DeviceState::Failing { .. } | DeviceState::Waiting => return "degraded",
            DeviceState::Ok => {}
        }
        match self.latest.remapped {
            Remapped { failed: Some(true), .. } => "predicted_failure",
            Remapped { pending: Some(true), .. } => "degraded",
            _ => "ok",
        }
    }

    fn read_counters(&mut self, reading: &Reading) {
        let gpu = (attr::HW_TYPE, Value::Word("gpu"));
        let direction = |word: &'static str| (attr::IO_DIRECTION, Value::Word(word));
        let error = |word: &'static str| (attr::ERROR_TYPE, Value::Word(word));
        let bytes = |kib: Option<u64>| kib.map(|kib| kib.wrapping_mul(1024));
        let (rows, nvlink) = (reading.remapped, reading.nvlink_errors);
        let counters = [
            (MetricId::HwEnergy, vec![gpu.clone()], reading.energy_mj),
            (MetricId::HwErrors, vec![gpu.clone(), error("corrected")], reading.ecc_corrected),
            (MetricId::HwErrors, vec![gpu, error("uncorrected")], reading.ecc_uncorrected),
            (MetricId::GpuRemappedRows, vec![error("corrected")], rows.corrected),
            (MetricId::GpuRemappedRows, vec![error("uncorrected")], rows.uncorrected),
            (MetricId::HwGpuIo, vec![direction("receive")], reading.pcie_rx_bytes),
            (MetricId::HwGpuIo, vec![direction("transmit")], reading.pcie_tx_bytes),
            (MetricId::GpuPcieReplays, vec![], reading.pcie_replays),
            (MetricId::GpuNvlinkIo, vec![direction("receive")], bytes(reading.nvlink_rx_kib)),
            (MetricId::GpuNvlinkIo, vec![direction("transmit")], bytes(reading.nvlink_tx_kib)),
            (MetricId::GpuNvlinkErrors, vec![error("crc_flit")], nvlink.crc_flit),
            (MetricId::GpuNvlinkErrors, vec![error("crc_data")], nvlink.crc_data),
            (MetricId::GpuNvlinkErrors, vec![error("replay")], nvlink.replay),
            (MetricId::GpuNvlinkErrors, vec![error("recovery")], nvlink.recovery),
        ];
        let throttled = ThrottleCause::ALL.into_iter().zip(reading.throttled_ns).map(|(cause, nanos)| {
            (MetricId::GpuThrottleTime, vec![(attr::GPU_THROTTLE_CAUSE, Value::Word(cause.name()))], nanos)
        });
        for (metric, more, value) in counters.into_iter().chain(throttled) {
            if let Some(value) = value {
                self.counters.read(metric, self.with(&more), value);
            }
        }
    }

    fn with(&self, more: &[(&'static str, Value)]) -> Attributes {
        let mut attributes = with_id(&self.gpu.id);
        attributes.extend_from_slice(more);
        attributes
    }
}
