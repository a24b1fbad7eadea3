//! How the GPU driver fares, and what calling it costs, where no single device is concerned.

use opentelemetry::KeyValue;

use super::instruments::{Observation, Value};
use crate::clock::monotonic_nanos;
use crate::model::attr;
use crate::model::gpu::{Call, DriverState};
use crate::model::metrics::MetricId;

/// What calls of one kind took so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallCost {
    /// Which.
    pub call: Call,
    /// How many.
    pub calls: u64,
    /// Nanoseconds, added up.
    pub nanos: u64,
}

/// As of the last batch; nothing is told before GPUs were looked for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct GpuState {
    /// Name of the driver's state.
    pub(super) driver: Option<&'static str>,
    /// The call that has not returned, and when it began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(super) stuck: Option<(Call, u64)>,
    pub(super) lost: u64,
    pub(super) costs: Vec<CallCost>,
}

impl GpuState {
    /// The values of a row now.
    pub(super) fn observe(&self, id: MetricId) -> Vec<Observation> {
        let Some(driver) = self.driver else { return Vec::new() };
        let each = |value: fn(&CallCost) -> Value| {
            let of = |cost: &CallCost| (value(cost), vec![KeyValue::new(attr::GPU_CALL, cost.call.name())]);
            self.costs.iter().map(of).collect()
        };
        match id {
            MetricId::AgentGpuDriver => {
                let holds = |state: &'static str| Value::Int((state == driver).into());
                DriverState::NAMES.map(|state| (holds(state), vec![KeyValue::new(attr::GPU_STATE, state)])).into()
            }
            MetricId::AgentGpuCalls => each(|cost| Value::Int(cost.calls)),
            MetricId::AgentGpuCallTime => each(|cost| Value::Double(cost.nanos as f64 / 1e9)),
            MetricId::AgentGpuCallStuck => {
                let age = |since: u64| Value::Double(monotonic_nanos().saturating_sub(since) as f64 / 1e9);
                let of = |(call, since): (Call, u64)| (age(since), vec![KeyValue::new(attr::GPU_CALL, call.name())]);
                self.stuck.map(of).into_iter().collect()
            }
            MetricId::AgentGpuObservationsLost => vec![(Value::Int(self.lost), Vec::new())],
            _ => Vec::new(),
        }
    }
}
