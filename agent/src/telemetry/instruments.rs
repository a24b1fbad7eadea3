//! The agent's metrics: one observable instrument for each row of the table that the agent carries.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use crate::export::{LossCause, Signal, SignalStats, Stats};
use crate::model::attr;
use crate::model::metrics::{Instrument, METRICS, Metric, MetricId, Resource, ValueType};
use crate::telemetry::{AgentState, governed};

/// Where the values come from.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) stats: Arc<Stats>,
    pub(super) state: Arc<AgentState>,
    /// Signals that go somewhere: the others have nothing to tell.
    pub(super) signals: Vec<Signal>,
}

/// A value, and of which series.
pub(super) type Observation = (Value, Vec<KeyValue>);

/// A value of the type that the table says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value {
    /// A whole number.
    Int(u64),
    /// A floating-point number.
    Double(f64),
}

impl Value {
    fn whole(self) -> u64 {
        match self {
            Self::Int(value) => value,
            Self::Double(value) => value as u64,
        }
    }

    fn signed(self) -> i64 {
        i64::try_from(self.whole()).unwrap_or(i64::MAX)
    }

    fn double(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

/// Makes an instrument for every row. They live as long as the provider of the meter.
pub(super) fn register(meter: &Meter, sources: &Sources) {
    for row in METRICS.iter().filter(|row| row.resource == Resource::Agent) {
        build(meter, row, sources.clone());
    }
}

fn build(meter: &Meter, row: &'static Metric, sources: Sources) {
    let Metric { id, name, unit, description, .. } = *row;
    macro_rules! build {
        ($instrument:ident, $number:ident) => {{
            let instrument = meter.$instrument(name).with_unit(unit).with_description(description);
            let observe = move |instrument: &dyn AsyncInstrument<_>| {
                for (value, attributes) in sources.observe(id) {
                    instrument.observe(value.$number(), &attributes);
                }
            };
            instrument.with_callback(observe).build();
        }};
    }
    match (row.instrument, row.value) {
        (Instrument::Counter, ValueType::Int) => build!(u64_observable_counter, whole),
        (Instrument::Counter, ValueType::Double) => build!(f64_observable_counter, double),
        (Instrument::UpDownCounter, _) => build!(i64_observable_up_down_counter, signed),
        // The agent has no histograms; a test holds the table to that.
        (Instrument::Gauge | Instrument::Histogram, ValueType::Int) => build!(u64_observable_gauge, whole),
        (Instrument::Gauge | Instrument::Histogram, ValueType::Double) => build!(f64_observable_gauge, double),
    }
}

impl Sources {
    /// The values of a row now; none of the rows that workloads carry.
    fn observe(&self, id: MetricId) -> Vec<Observation> {
        let one = |value| vec![(Value::Int(value), Vec::new())];
        match id {
            MetricId::AgentWorkloads => one(self.state.workloads()),
            MetricId::AgentRequests => one(self.state.requests()),
            MetricId::AgentOrphans => one(self.state.orphans()),
            MetricId::AgentBatches => one(self.state.batches()),
            MetricId::AgentBatchDelay => vec![(Value::Double(self.state.batch_delay().as_secs_f64()), Vec::new())],
            MetricId::AgentLoss => self
                .state
                .losses()
                .map(|(cause, count)| (Value::Int(count), vec![KeyValue::new(attr::LOSS_CAUSE, cause)]))
                .collect(),
            MetricId::AgentHookUp => self.hooks(),
            MetricId::AgentSyscallMode => self.mode(),
            id => self.of_export(id).unwrap_or_else(|| {
                let mut observed = self.state.gpu().observe(id);
                observed.extend(governed::observe(&self.state.governor(), id));
                observed
            }),
        }
    }

    fn of_export(&self, id: MetricId) -> Option<Vec<Observation>> {
        Some(match id {
            MetricId::AgentExportBytes => self.by_signal(SignalStats::delivered_bytes),
            MetricId::AgentExportItems => self.by_signal(SignalStats::delivered_items),
            MetricId::AgentExportRetries => self.by_signal(SignalStats::retries),
            MetricId::AgentExportQueue => self.by_signal(SignalStats::queue_bytes),
            MetricId::AgentExportLoss => self.export_losses(),
            _ => return None,
        })
    }

    fn by_signal(&self, value: fn(&SignalStats) -> u64) -> Vec<Observation> {
        let of = |signal: &Signal| {
            let attributes = vec![KeyValue::new(attr::SIGNAL, signal.name())];
            (Value::Int(value(self.stats.of(*signal))), attributes)
        };
        self.signals.iter().map(of).collect()
    }

    /// Only what was lost: a series for every cause would be mostly zeros.
    fn export_losses(&self) -> Vec<Observation> {
        let mut losses = Vec::new();
        for signal in &self.signals {
            for cause in LossCause::ALL {
                let items = self.stats.of(*signal).lost(cause);
                if items > 0 {
                    let names = [(attr::SIGNAL, signal.name()), (attr::LOSS_CAUSE, cause.name())];
                    losses.push((Value::Int(items), names.map(|(key, name)| KeyValue::new(key, name)).into()));
                }
            }
        }
        losses
    }

    fn mode(&self) -> Vec<Observation> {
        let observation = |mode: super::state::ModeNow| {
            let mut attributes = vec![KeyValue::new(attr::SYSCALL_MODE, mode.name)];
            attributes.extend(mode.reason.map(|reason| KeyValue::new(attr::HOOK_REASON, reason)));
            (Value::Int(1), attributes)
        };
        self.state.mode().into_iter().map(observation).collect()
    }

    fn hooks(&self) -> Vec<Observation> {
        let observation = |hook: super::state::HookUp| {
            let mut attributes = vec![KeyValue::new(attr::HOOK, hook.name)];
            let up = hook.reason.is_none();
            attributes.extend(hook.reason.map(|reason| KeyValue::new(attr::HOOK_REASON, reason)));
            (Value::Int(u64::from(up)), attributes)
        };
        self.state.hooks().into_iter().map(observation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::host::Mode;
    use crate::bpf::{Hook, HookState};
    use crate::clock::monotonic_nanos;
    use crate::governor::{Budget, Cause, Cpu, Part, Reading, State};
    use crate::host::own::CpuTime;
    use crate::model::Taken;
    use crate::model::gpu::{Call, DriverState};
    use crate::telemetry::CallCost;
    use crate::wire::Losses;
    use std::time::Duration;

    fn sources() -> Sources {
        let state = AgentState::default();
        state.update(
            Taken { workloads: 3, requests: 1000, orphans: 2 },
            Losses { evicted: 5, oversize: 0, unbound: 7, labels: 0 },
        );
        state.set_hooks(&[
            Hook { name: "tcp_send_reset", signal: "resets sent", state: HookState::Attached },
            Hook { name: "tcp_rcv_space_adjust", signal: "read delay", state: HookState::Unavailable("no BTF".into()) },
        ]);
        state.set_mode(Mode::Tracepoints, Some("not permitted"));
        state.handed_over(Duration::from_millis(1_500));
        state.handed_over(Duration::from_millis(250));
        state.set_governor(governor());
        let call = CallCost { call: Call::Count, calls: 3, nanos: 60_000 };
        // Half a second more than two, so that what the test takes makes no difference.
        let since = monotonic_nanos().saturating_sub(2_500_000_000);
        state.set_gpu(&DriverState::Stuck { call: Call::Init, since }, 6, vec![call]);
        let stats = Stats::default();
        stats.of(Signal::Traces).add_delivered(10, 4000);
        stats.of(Signal::Traces).add_lost(LossCause::QueueFull, 4);
        Sources { stats: Arc::new(stats), state: Arc::new(state), signals: vec![Signal::Metrics, Signal::Traces] }
    }

    fn governor() -> State {
        let time = CpuTime { user: Duration::from_millis(1500), system: Duration::from_millis(250) };
        State {
            reading: Some(Reading {
                cpu: Cpu { user: 0.25, system: 0.125, programs: Some(0.5) },
                memory: Some(50 << 20),
                spinning: None,
            }),
            time,
            budget: Budget { cpu: 0.5, memory: 64 << 20 },
            levels: Cause::ALL.map(|cause| (cause, u64::from(cause == Cause::Cpu) * 2)).to_vec(),
            parts: vec![(Part::Scheduler, true), (Part::Spans, false)],
            changes: vec![(Cause::Cpu, 4), (Cause::Killed, 1)],
        }
    }

    fn told(id: MetricId) -> Vec<String> {
        let text = |(value, attributes): Observation| {
            let names = attributes.iter().map(|pair| format!(" {}={}", pair.key, pair.value));
            let value = match value {
                Value::Int(value) => value.to_string(),
                Value::Double(value) => value.to_string(),
            };
            format!("{value}{}", names.collect::<String>())
        };
        sources().observe(id).into_iter().map(text).collect()
    }

    #[test]
    fn every_row_of_the_agent_is_observed_and_no_other() {
        for row in METRICS {
            assert_eq!(row.resource == Resource::Agent, !told(row.id).is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn rows_of_the_agent_are_counters_and_gauges_with_the_attributes_of_the_table() {
        for row in METRICS.iter().filter(|row| row.resource == Resource::Agent) {
            assert_ne!(row.instrument, Instrument::Histogram, "{}", row.name);
            for (value, attributes) in sources().observe(row.id) {
                assert_eq!(matches!(value, Value::Double(_)), row.value == ValueType::Double, "{}", row.name);
                assert!(attributes.iter().all(|pair| row.attributes.contains(&pair.key.as_str())), "{}", row.name);
            }
        }
    }

    #[test]
    fn the_governor_is_told_and_what_was_not_measured_is_absent() {
        let rows = [
            (MetricId::ProcessCpuTime, &["1.5 cpu.mode=user", "0.25 cpu.mode=system"][..]),
            (MetricId::ProcessMemory, &["52428800"]),
            (MetricId::GovernorCpuBudget, &["0.5"]),
            (MetricId::GovernorMemoryBudget, &["67108864"]),
            (MetricId::GovernorShed, &["1 inferscope.agent.detail=scheduler", "0 inferscope.agent.detail=spans"]),
        ];
        for (id, values) in rows {
            assert_eq!(told(id), values, "{id:?}");
        }
        let kinds =
            |id| told(id).iter().filter_map(|text| Some(text.split_once('=')?.1.to_owned())).collect::<Vec<_>>();
        assert_eq!(kinds(MetricId::AgentCpu), ["user", "system", "programs"]);
        assert_eq!(kinds(MetricId::GovernorLevel), ["cpu", "memory", "spinning", "killed"]);
        assert_eq!(told(MetricId::GovernorChanges)[1], "1 inferscope.agent.governor.cause=killed");
        let unmeasured = State { reading: Some(Reading::default()), ..governor() };
        assert_eq!(governed::observe(&unmeasured, MetricId::AgentCpu).len(), 2);
        assert_eq!(governed::observe(&unmeasured, MetricId::ProcessMemory), []);
        assert_eq!(governed::observe(&State::default(), MetricId::AgentCpu), []);
    }

    #[test]
    fn values_are_those_of_their_sources() {
        assert_eq!(told(MetricId::AgentWorkloads), ["3"]);
        assert_eq!(told(MetricId::AgentRequests), ["1000"]);
        assert_eq!(told(MetricId::AgentOrphans), ["2"]);
        assert_eq!(told(MetricId::AgentBatches), ["2"]);
        assert_eq!(told(MetricId::AgentBatchDelay), ["1.75"]);
        assert_eq!(told(MetricId::AgentLoss), ["5 inferscope.loss.cause=evicted", "7 inferscope.loss.cause=unbound"]);
        assert_eq!(
            told(MetricId::AgentHookUp),
            [
                "1 inferscope.agent.hook=tcp_send_reset",
                "0 inferscope.agent.hook=tcp_rcv_space_adjust inferscope.agent.hook.reason=no BTF"
            ]
        );
        let driver = told(MetricId::AgentGpuDriver);
        assert!(driver.contains(&"1 inferscope.gpu.state=stuck".to_owned()), "{driver:?}");
        assert_eq!(driver.iter().filter(|state| state.starts_with('0')).count(), DriverState::NAMES.len() - 1);
        let stuck = told(MetricId::AgentGpuCallStuck);
        assert!(stuck[0].starts_with("2.5") && stuck[0].ends_with(" inferscope.gpu.call=init"), "{stuck:?}");
        assert_eq!(told(MetricId::AgentGpuObservationsLost), ["6"]);
        assert_eq!(told(MetricId::AgentGpuCalls), ["3 inferscope.gpu.call=count"]);
        assert_eq!(told(MetricId::AgentGpuCallTime), ["0.00006 inferscope.gpu.call=count"]);
        assert_eq!(
            told(MetricId::AgentSyscallMode),
            ["1 inferscope.agent.syscall.mode=tracepoints inferscope.agent.hook.reason=not permitted"]
        );
        assert_eq!(
            told(MetricId::AgentExportBytes),
            ["0 inferscope.agent.signal=metrics", "4000 inferscope.agent.signal=traces"]
        );
        assert_eq!(
            told(MetricId::AgentExportItems),
            ["0 inferscope.agent.signal=metrics", "10 inferscope.agent.signal=traces"]
        );
        assert_eq!(
            told(MetricId::AgentExportLoss),
            ["4 inferscope.agent.signal=traces inferscope.loss.cause=queue_full"]
        );
    }
}
