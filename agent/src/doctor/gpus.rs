//! GPUs, by reading them as the agent does.

use std::time::{Duration, Instant};

use super::{Check, Status, surroundings};
use crate::clock::monotonic_nanos;
use crate::host::Host;
use crate::model::gpu::{DeviceState, DriverState, Gpus, Limits, Reading};
use crate::sources::gpu::{GpuSource, Settings};

/// Longest wait for driver and devices: initialisation takes seconds where nothing holds them.
const DEADLINE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);
const NAME: &str = "NVML";

/// Tells how the driver fares, then each GPU. The devices are let go afterwards.
pub(super) fn gpus(host: &Host, library_path: Option<&str>, settings: &Settings, tell: &mut dyn FnMut(Check)) {
    let mut source = match GpuSource::start(settings.clone()) {
        Ok(source) => source,
        Err(error) => return tell(Check::degraded(NAME, error.to_string(), "allow more threads (ulimit -u)")),
    };
    let mut gpus = Gpus::new(Limits::default());
    let until = Instant::now() + DEADLINE;
    while !is_known(&gpus) && Instant::now() < until {
        std::thread::sleep(PAUSE);
        source.poll(|observation| gpus.observe(observation, 0, &mut |_, _| None));
    }
    tell(driver(host, library_path, gpus.driver()));
    let mut devices: Vec<_> = gpus.devices().map(|(gpu, state, _)| (gpu, state)).collect();
    devices.sort_by_key(|(gpu, _)| (gpu.index, gpu.instance.map(|instance| instance.id)));
    for (gpu, state) in devices {
        let name = match gpu.instance {
            None => format!("GPU {}", gpu.index),
            Some(instance) => format!("GPU {} instance {}", gpu.index, instance.id),
        };
        let is = format!("{}, {}", gpu.model, gpu.id);
        tell(match state.mend() {
            None => Check::ok(name, is),
            Some(mend) => Check::degraded(name, format!("{is}: {}", state.meaning(monotonic_nanos())), mend),
        });
    }
    if !source.stop() {
        tracing::debug!("a call into the driver has not returned");
    }
}

/// Files tell what is there; the loader, why it is of no use.
fn unloadable(host: &Host, library_path: Option<&str>, reason: &str) -> String {
    let there = surroundings::gpu(host, library_path);
    if there.status == Status::Ok { format!("{}, but cannot be loaded: {reason}", there.found) } else { there.found }
}

/// The driver was reached, and every device was read or said why it cannot be; or there is no driver.
fn is_known(gpus: &Gpus) -> bool {
    match gpus.driver() {
        None | Some(DriverState::Stuck { .. }) => false,
        Some(DriverState::Ready { devices, .. }) => {
            let told = |state: &DeviceState, reading: &Reading| match state {
                DeviceState::Ok => *reading != Reading::default(),
                DeviceState::Lost | DeviceState::ResetRequired | DeviceState::Failing { .. } => true,
                // It may yet come back.
                DeviceState::Stuck { .. } | DeviceState::Waiting => false,
            };
            let whole = gpus.devices().filter(|(gpu, state, reading)| gpu.parent.is_none() && told(state, reading));
            whole.count() >= *devices as usize
        }
        Some(_) => true,
    }
}

fn driver(host: &Host, library_path: Option<&str>, state: Option<&DriverState>) -> Check {
    let Some(state) = state else {
        return Check::degraded(
            NAME,
            format!("no answer within {} s", DEADLINE.as_secs()),
            "see the kernel's log for NVRM",
        );
    };
    let mend = state.mend().unwrap_or_default();
    let detail = state.detail(monotonic_nanos());
    match state {
        // Files tell more of what is not there.
        DriverState::Absent { .. } => surroundings::gpu(host, library_path),
        DriverState::NoDevice => Check::missing(NAME, detail),
        DriverState::Unloadable { reason, named: false } => {
            Check::degraded(NAME, unloadable(host, library_path, reason), mend)
        }
        DriverState::Ready { .. } => Check::ok(NAME, detail),
        _ => Check::degraded(NAME, detail, mend),
    }
}
