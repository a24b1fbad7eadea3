//! One simulated GPU: its quantities at a time.

use crate::features::Features;
use crate::scenario::{Device, Instance, Kind, Process};

/// Sensors and counters of power move in steps of this length, in seconds.
const STEP: f64 = 0.1;
/// Stretch over which the driver averages power, in seconds.
const AVERAGE: f64 = 1.0;
/// Period of the driver's samples of processes, in seconds.
pub(crate) const SAMPLE: f64 = 1.0 / 6.0;
/// Samples of processes that the driver keeps.
const KEPT: u64 = 100;

/// A GPU at its place in the machine.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) place: usize,
    pub(crate) device: Device,
    /// When it came into the machine, in seconds since the scenario's start.
    pub(crate) since: f64,
}

/// Use of the SMs by a process in one period of the driver's.
pub(crate) struct Use {
    pub(crate) pid: u32,
    /// End of the period, in seconds since the scenario's start.
    pub(crate) end: f64,
    pub(crate) sm_pct: u32,
}

impl Gpu {
    pub(crate) fn features(&self) -> Features {
        self.device.generation.features()
    }

    pub(crate) fn uuid(&self) -> String {
        let made = || format!("GPU-5ca1ab1e-0000-4000-8000-{:012x}", self.place);
        self.device.uuid.clone().unwrap_or_else(made)
    }

    pub(crate) fn instance_uuid(&self, instance: &Instance) -> String {
        let made = || format!("MIG-5ca1ab1e-0000-4000-9000-{:08x}{:04x}", self.place, instance.gpu_instance);
        instance.uuid.clone().unwrap_or_else(made)
    }

    pub(crate) fn pci(&self) -> String {
        let made = || format!("00000000:{:02X}:00.0", 0x18 + self.place);
        self.device.pci.clone().unwrap_or_else(made)
    }

    /// Millijoules since the driver was loaded, as the counter shows them: it moves in steps.
    pub(crate) fn energy_mj(&self, time: f64) -> u64 {
        let begun = self.device.power_w.integral(self.since);
        let watt_seconds = self.device.power_w.integral(step(time)) - begun;
        self.device.energy_mj + (watt_seconds.max(0.0) * 1e3) as u64
    }

    /// Milliwatts of the last step.
    pub(crate) fn power_instant_mw(&self, time: f64) -> u32 {
        (self.device.power_w.mean(step(time) - STEP, step(time)) * 1e3).round() as u32
    }

    /// Milliwatts, averaged over the last second.
    pub(crate) fn power_average_mw(&self, time: f64) -> u32 {
        (self.device.power_w.mean((step(time) - AVERAGE).max(0.0), step(time)) * 1e3).round() as u32
    }

    /// Bytes in use, all instances together.
    pub(crate) fn memory_used(&self) -> u64 {
        self.device.memory_reserved + self.device.process.iter().map(|process| process.memory).sum::<u64>()
    }

    /// Processes of a kind, of one instance or of all.
    pub(crate) fn processes(&self, kind: Kind, instance: Option<u32>) -> impl Iterator<Item = &Process> {
        let within = move |process: &&Process| instance.is_none() || process.gpu_instance == instance;
        self.device.process.iter().filter(move |process| process.kind == kind).filter(within)
    }

    /// What processes used in the periods that ended after `seen`, as far as the driver still knows them.
    pub(crate) fn uses(&self, seen: f64, time: f64) -> Vec<Use> {
        let last = (time / SAMPLE) as u64;
        let first = ((seen / SAMPLE) as u64 + 1).max(last.saturating_sub(KEPT) + 1).max(1);
        let mut uses = Vec::new();
        for period in first..=last {
            let end = period as f64 * SAMPLE;
            for process in &self.device.process {
                let sm_pct = process.sm_pct.mean(end - SAMPLE, end).round() as u32;
                if sm_pct > 0 {
                    uses.push(Use { pid: process.pid, end, sm_pct });
                }
            }
        }
        uses
    }
}

/// The end of the last step of sensors.
fn step(time: f64) -> f64 {
    // A step that ends at this very instant has ended, however the division is rounded.
    ((time / STEP) + 1e-9).floor() * STEP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::Curve;

    fn gpu(power_w: Curve) -> Gpu {
        Gpu { place: 0, device: Device { power_w, ..Device::default() }, since: 0.0 }
    }

    #[test]
    fn energy_moves_in_steps_and_agrees_with_power() {
        let gpu = gpu(Curve::Steps(vec![(0.0, 100.0), (2.05, 300.0)]));
        assert_eq!(gpu.energy_mj(1.09), 100_000, "the last step ended at 1.0 s");
        assert_eq!(gpu.energy_mj(1.1), 110_000);
        assert_eq!(gpu.energy_mj(2.1), 205_000 + 15_000);
        assert_eq!(gpu.power_instant_mw(2.15), 200_000, "half of the step was at each level");
        assert!(gpu.power_average_mw(2.15) < 120_000, "an average lags");
    }

    #[test]
    fn samples_are_told_once() {
        let mut gpu = gpu(Curve::Constant(0.0));
        gpu.device.process = vec![
            Process { pid: 1, memory: 0, sm_pct: Curve::Constant(60.0), kind: Kind::Compute, gpu_instance: None },
            Process { pid: 2, memory: 0, sm_pct: Curve::default(), kind: Kind::Compute, gpu_instance: None },
        ];
        let uses = gpu.uses(0.0, 1.01);
        assert_eq!(uses.iter().map(|one| (one.pid, one.sm_pct)).collect::<Vec<_>>(), vec![(1, 60); 6]);
        let last = uses.last().unwrap().end;
        assert!(gpu.uses(last, 1.01).is_empty());
        assert_eq!(gpu.uses(last, 1.18).len(), 1);
        assert_eq!(gpu.uses(0.0, 1000.0).len(), 100, "the driver keeps so many");
    }
}
