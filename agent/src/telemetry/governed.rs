//! The governor's state as values of its metrics.

use opentelemetry::KeyValue;

use super::instruments::{Observation, Value};
use crate::governor::{Part, Reading, State};
use crate::model::attr;
use crate::model::metrics::MetricId;

/// The values of a row; none of rows that are not the governor's.
pub(super) fn observe(state: &State, id: MetricId) -> Vec<Observation> {
    let one = |value| vec![(value, Vec::new())];
    match id {
        MetricId::ProcessCpuTime => [("user", state.time.user), ("system", state.time.system)]
            .map(|(mode, time)| (Value::Double(time.as_secs_f64()), named(attr::CPU_MODE, mode)))
            .into(),
        MetricId::ProcessMemory => {
            state.reading.and_then(|reading| reading.memory).map_or_else(Vec::new, |bytes| one(Value::Int(bytes)))
        }
        MetricId::AgentCpu => {
            let Some(Reading { cpu, .. }) = state.reading else { return Vec::new() };
            let kinds = [("user", Some(cpu.user)), ("system", Some(cpu.system)), ("programs", cpu.programs)];
            // What was not measured is absent.
            let known = kinds.into_iter().filter_map(|(kind, cpus)| Some((kind, cpus?)));
            known.map(|(kind, cpus)| (Value::Double(cpus), named(attr::CPU_KIND, kind))).collect()
        }
        MetricId::GovernorCpuBudget => one(Value::Double(state.budget.cpu)),
        MetricId::GovernorMemoryBudget => one(Value::Int(state.budget.memory)),
        MetricId::GovernorLevel => by(&state.levels, attr::GOVERNOR_CAUSE, |cause| cause.name()),
        MetricId::GovernorChanges => by(&state.changes, attr::GOVERNOR_CAUSE, |cause| cause.name()),
        MetricId::GovernorShed => {
            let shed = |(part, shed): &(Part, bool)| (Value::Int(u64::from(*shed)), named(attr::DETAIL, part.name()));
            state.parts.iter().map(shed).collect()
        }
        _ => Vec::new(),
    }
}

fn by<T: Copy>(values: &[(T, u64)], key: &'static str, name: fn(T) -> &'static str) -> Vec<Observation> {
    values.iter().map(|&(of, value)| (Value::Int(value), named(key, name(of)))).collect()
}

fn named(key: &'static str, name: &'static str) -> Vec<KeyValue> {
    vec![KeyValue::new(key, name)]
}
