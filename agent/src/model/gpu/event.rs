//! What happens to GPUs: each event becomes a log record, with its meaning and the usual mend.

use std::sync::Arc;

use super::facts::{Gpu, GpuId};
use super::state::DeviceState;
use super::xid;
use crate::model::attr::{self, Attributes, Value};
use crate::model::event::{self, Severity, Subject};

/// Why clocks are held down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ThrottleCause {
    /// The power limit.
    PowerCap,
    /// Another GPU of its sync boost group.
    SyncBoost,
    /// Temperature, by the driver.
    SwThermal,
    /// Temperature, by the hardware.
    HwThermal,
    /// The power supply asked for it.
    HwPowerBrake,
    /// The hardware, for a cause that it does not tell.
    HwSlowdown,
    /// Clocks set by somebody.
    AppliedClocks,
}

impl ThrottleCause {
    /// Every cause.
    pub const ALL: [Self; 7] = [
        Self::PowerCap,
        Self::SyncBoost,
        Self::SwThermal,
        Self::HwThermal,
        Self::HwPowerBrake,
        Self::HwSlowdown,
        Self::AppliedClocks,
    ];

    /// Its name in attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerCap => "power_cap",
            Self::SyncBoost => "sync_boost",
            Self::SwThermal => "sw_thermal",
            Self::HwThermal => "hw_thermal",
            Self::HwPowerBrake => "hw_power_brake",
            Self::HwSlowdown => "hw_slowdown",
            Self::AppliedClocks => "applied_clocks",
        }
    }

    /// What it means, and what usually mends it.
    fn explained(self) -> (&'static str, &'static str) {
        match self {
            Self::PowerCap => (
                "clocks are held at the power limit",
                "expected under full load; raise the limit with nvidia-smi -pl if it may draw more",
            ),
            Self::SyncBoost => {
                ("clocks follow another GPU of the sync boost group", "see what holds the others of the group down")
            }
            Self::SwThermal => {
                ("the driver lowers clocks for temperature", "check air flow, fans and inlet temperature")
            }
            Self::HwThermal => ("the hardware halves clocks or more for temperature", "check cooling at once"),
            Self::HwPowerBrake => (
                "the power supply asks the hardware to halve clocks or more",
                "check power supplies and feeds of the machine",
            ),
            Self::HwSlowdown => ("the hardware halves clocks or more", "check temperature, power supplies and feeds"),
            Self::AppliedClocks => ("clocks are limited by a setting", "nvidia-smi -rgc and -rac take it away"),
        }
    }
}

/// Who told of an Xid error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XidSource {
    /// The driver's events. Where several errors waited, all bear the number of the last one.
    Driver,
    /// The kernel's log.
    KernelLog,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// The driver reported an error.
    Xid {
        /// Its number.
        code: u32,
        /// The process that was running, where it is told.
        pid: Option<u32>,
        /// Who told of it.
        source: XidSource,
    },
    /// Clocks began to be held down.
    Throttle(ThrottleCause),
    /// The device is in another state.
    State(DeviceState),
}

/// Every kind of event.
pub static EVENTS: [event::Kind; 3] = [
    event::Kind {
        name: "inferscope.gpu.xid",
        severities: "INFO to ERROR",
        description: "The driver reported an Xid error; the record says what it means and what usually mends it.",
        attributes: &[attr::GPU_XID, attr::PROCESS_PID],
    },
    event::Kind {
        name: "inferscope.gpu.throttle",
        severities: "INFO, WARN",
        description: "Clocks began to be held down, by this cause.",
        attributes: &[attr::GPU_THROTTLE_CAUSE],
    },
    event::Kind {
        name: "inferscope.gpu.state",
        severities: "INFO to ERROR",
        description: "The device is in another state: lost, in want of a reset, stuck in this call, failing, waiting for others that are stuck, or well again.",
        attributes: &[attr::GPU_STATE, attr::GPU_CALL],
    },
];

/// Something happened to a GPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Which.
    pub gpu: GpuId,
    /// When it was noticed, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// What.
    pub kind: EventKind,
}

impl Event {
    /// Name of the log record.
    pub fn name(&self) -> &'static str {
        match self.kind {
            EventKind::Xid { .. } => EVENTS[0].name,
            EventKind::Throttle(_) => EVENTS[1].name,
            EventKind::State(_) => EVENTS[2].name,
        }
    }

    /// How bad it is. Errors of applications are no faults of the GPU.
    pub fn severity(&self) -> Severity {
        match self.kind {
            EventKind::Xid { code, .. } => xid::explain(code).severity,
            EventKind::Throttle(ThrottleCause::PowerCap | ThrottleCause::AppliedClocks | ThrottleCause::SyncBoost) => {
                Severity::Info
            }
            EventKind::Throttle(_) => Severity::Warn,
            EventKind::State(DeviceState::Ok) => Severity::Info,
            EventKind::State(DeviceState::Lost | DeviceState::ResetRequired) => Severity::Error,
            EventKind::State(DeviceState::Stuck { .. } | DeviceState::Failing { .. } | DeviceState::Waiting) => {
                Severity::Warn
            }
        }
    }

    /// What it means.
    pub fn meaning(&self) -> String {
        match self.kind {
            EventKind::Xid { code, .. } => xid::explain(code).meaning.to_owned(),
            EventKind::Throttle(cause) => cause.explained().0.to_owned(),
            EventKind::State(state) => state.meaning(self.at),
        }
    }

    /// What usually mends it; `None` where nothing is to be mended.
    pub fn mend(&self) -> Option<&'static str> {
        match self.kind {
            EventKind::Xid { code, .. } => Some(xid::explain(code).mend),
            EventKind::Throttle(cause) => Some(cause.explained().1),
            EventKind::State(state) => state.mend(),
        }
    }

    /// The log record's text.
    pub fn body(&self) -> String {
        let what = match self.kind {
            EventKind::Xid { code, .. } => format!("Xid {code}"),
            EventKind::Throttle(cause) => format!("throttled ({})", cause.name()),
            EventKind::State(state) => state.name().to_owned(),
        };
        let mend = self.mend().map(|mend| format!(" Usual mend: {mend}.")).unwrap_or_default();
        format!("{what}: {}.{mend}", self.meaning())
    }

    /// The event as a log record is made of it: of `gpu`, at `time` in nanoseconds since the Unix epoch.
    pub fn record(&self, gpu: &Arc<Gpu>, time: u64) -> event::Event {
        event::Event {
            time,
            resource: Subject::Gpu(Arc::clone(gpu)),
            name: self.name(),
            severity: self.severity(),
            body: self.body(),
            attributes: self.attributes(),
        }
    }

    /// The log record's attributes, besides the resource's.
    pub fn attributes(&self) -> Attributes {
        match self.kind {
            EventKind::Throttle(cause) => vec![(attr::GPU_THROTTLE_CAUSE, cause.name().into())],
            EventKind::State(state) => {
                let call = match state {
                    DeviceState::Stuck { call, .. } => Some((attr::GPU_CALL, call.name().into())),
                    _ => None,
                };
                [(attr::GPU_STATE, state.name().into())].into_iter().chain(call).collect()
            }
            EventKind::Xid { code, pid, .. } => {
                let pid = pid.map(|pid| (attr::PROCESS_PID, Value::Int(i64::from(pid))));
                [(attr::GPU_XID, Value::Int(i64::from(code)))].into_iter().chain(pid).collect()
            }
        }
    }
}
