//! What the daemon knows of itself, where its metrics can read it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::bpf::host::{Host as Probes, Mode};
use crate::bpf::{Hook, HookState};
use crate::governor;
use crate::model::Taken;
use crate::model::gpu::DriverState;
use crate::telemetry::gpu::{CallCost, GpuState};
use crate::wire::Losses;

/// Names and meanings of what the host's probes lost, likewise.
pub const PROBE_LOSSES: [(&str, &str); 3] = [
    ("switches", "switches of threads that were not accounted for: no memory, no row, or nobody saw them"),
    ("nested_cgroups", "cgroups below a watched one that found no room in the kernel's table"),
    ("recursion", "runs of programs that the kernel left out, since one was running on that CPU already"),
];

/// Names and meanings of what the wire lost (`inferscope.loss.cause` of `inferscope.agent.loss`).
pub const WIRE_LOSSES: [(&str, &str); 4] = [
    ("evicted", "exchanges whose beginning was forgotten before their end came: too many were under way"),
    ("oversize", "pieces of an exchange beyond what is kept of one"),
    ("unbound", "records of a workload that was gone, or of no known kind"),
    ("labels", "names that were replaced by `_OTHER`: the workload has as many as it may"),
];

/// Numbers that the daemon sets, and the agent's metrics tell.
#[derive(Debug, Default)]
pub struct AgentState {
    workloads: AtomicU64,
    requests: AtomicU64,
    orphans: AtomicU64,
    batches: AtomicU64,
    /// Nanoseconds by which they were late, added up.
    batch_delay: AtomicU64,
    /// In the order of [`WIRE_LOSSES`].
    losses: [AtomicU64; WIRE_LOSSES.len()],
    /// In the order of [`PROBE_LOSSES`].
    probe_losses: [AtomicU64; PROBE_LOSSES.len()],
    hooks: Mutex<Vec<HookUp>>,
    /// Nothing until the kernel half is loaded.
    mode: Mutex<Option<ModeNow>>,
    governor: Mutex<governor::State>,
    gpu: Mutex<GpuState>,
}

/// How system calls are seen, and why not in the best way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ModeNow {
    pub(super) name: &'static str,
    pub(super) reason: Option<String>,
}

/// What became of a hook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct HookUp {
    pub(super) name: &'static str,
    /// Why it does not run.
    pub(super) reason: Option<String>,
}

impl AgentState {
    /// Takes what the model and the wire count.
    pub fn update(&self, taken: Taken, losses: Losses) {
        let Taken { workloads, requests, orphans } = taken;
        self.workloads.store(workloads, Relaxed);
        self.requests.store(requests, Relaxed);
        self.orphans.store(orphans, Relaxed);
        let Losses { evicted, oversize, unbound, labels } = losses;
        for (count, now) in self.losses.iter().zip([evicted, oversize, unbound, labels]) {
            count.store(now, Relaxed);
        }
    }

    /// A batch was handed to the exporter, so long after it was due.
    pub fn handed_over(&self, late: Duration) {
        self.batches.fetch_add(1, Relaxed);
        self.batch_delay.fetch_add(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Takes how the governor stands.
    pub fn set_governor(&self, state: governor::State) {
        *self.governor.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Takes what became of the flow programs' hooks and of the host's probes, and what those lost.
    pub fn set_kernel(&self, hooks: &[Hook], probes: Option<&Probes>) {
        self.set_hooks(hooks.iter().chain(probes.map(Probes::hooks).unwrap_or_default()));
        let Some(probes) = probes else { return self.set_mode(Mode::Off, None) };
        let (switches, nested) = probes.lost();
        for (count, now) in self.probe_losses.iter().zip([switches, nested, probes.missed()]) {
            count.store(now, Relaxed);
        }
        let (mode, reason) = probes.mode();
        self.set_mode(mode, reason);
    }

    /// Takes how system calls are seen.
    pub(super) fn set_mode(&self, mode: Mode, reason: Option<&str>) {
        let reason = reason.filter(|_| mode != Mode::PerCall).map(str::to_owned);
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = Some(ModeNow { name: mode.name(), reason });
    }

    /// Takes what became of hooks.
    pub fn set_hooks<'a>(&self, hooks: impl IntoIterator<Item = &'a Hook>) {
        let up = hooks.into_iter().map(|hook| HookUp {
            name: hook.name,
            reason: match &hook.state {
                HookState::Attached => None,
                HookState::Unavailable(reason) => Some(reason.clone()),
            },
        });
        *self.hooks.lock().unwrap_or_else(PoisonError::into_inner) = up.collect();
    }

    /// Takes how the GPU driver fares, how many observations were lost, and what calls cost that concern no single device.
    pub fn set_gpu(&self, driver: &DriverState, lost: u64, costs: Vec<CallCost>) {
        *self.gpu.lock().unwrap_or_else(PoisonError::into_inner) =
            GpuState { driver: Some(driver.name()), stuck: driver.stuck(), lost, costs };
    }

    pub(super) fn gpu(&self) -> GpuState {
        self.gpu.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn workloads(&self) -> u64 {
        self.workloads.load(Relaxed)
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(super) fn batches(&self) -> u64 {
        self.batches.load(Relaxed)
    }

    pub(super) fn batch_delay(&self) -> Duration {
        Duration::from_nanos(self.batch_delay.load(Relaxed))
    }

    pub(super) fn orphans(&self) -> u64 {
        self.orphans.load(Relaxed)
    }

    /// What was lost, by cause; only what was.
    pub(super) fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let wire = WIRE_LOSSES.iter().zip(&self.losses);
        let all = wire.chain(PROBE_LOSSES.iter().zip(&self.probe_losses));
        all.map(|((name, _), count)| (*name, count.load(Relaxed))).filter(|(_, count)| *count > 0)
    }

    pub(super) fn mode(&self) -> Option<ModeNow> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn governor(&self) -> governor::State {
        self.governor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn hooks(&self) -> Vec<HookUp> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
