//! What the agent reads from a GPU, beside what NVIDIA's own binding for Python reads from the same one.
//!
//! The binding declares NVML's functions, structures and numbers on its own, apart from the crate that both the agent and the
//! simulator are built with: what all three agree upon is NVML's, and not a mistake that two of them share.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use inferscope::model::gpu::{Activity, DriverState, Gpu, Groups, Observation, ProcessKind, Sample, ThrottleCause};
use serde_json::{Map, Value, json};

use crate::gpu::samples;
use crate::tools;

/// Values by the names of `nvml.py`.
pub type Values = Map<String, Value>;

/// A turn in which everything was asked for.
pub const EVERYTHING: Option<Groups> = Some(Groups { uses: true, health: true, processes: true });

/// What grows while the two look.
const GROWING: [&str; 6] =
    ["energy_mj", "energy_call_mj", "pcie_rx_bytes", "pcie_tx_bytes", "nvlink_rx_kib", "nvlink_tx_kib"];

/// What the agent told of a GPU in its last sample of everything.
pub fn told(seen: &[Observation], id: &str) -> Result<Values> {
    let sample = samples(seen, id).rfind(|sample| sample.asked == EVERYTHING);
    let sample = sample.context("there is no sample of everything")?;
    let parts = [facts(seen, sample)?, quick(sample)?, health(sample), others(seen, sample)?];
    Ok(parts.into_iter().filter_map(|part| part.as_object().cloned()).flatten().collect())
}

/// What the binding reads of the first GPU, by a Python that has it. `libraries` is where the library lies, unless the loader
/// knows.
pub fn by_binding(python: &Path, libraries: Option<&Path>) -> Result<Values> {
    let mut command = Command::new(python);
    command.arg(tools::source("clients/nvml.py")).envs(libraries.map(|directory| ("LD_LIBRARY_PATH", directory)));
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut values: Values = serde_json::from_slice(&output.stdout)?;
    if values["power_average_mw"].is_null() && values["power_instant_mw"].is_null() {
        // Without fields for it there is what a call tells.
        values["power_instant_mw"] = values["power_call_mw"].clone();
    }
    Ok(values)
}

/// Where what the agent told before and after the binding looked is not what that read: a line for each value. What grows may
/// lie between the two; what is `moving` besides is to be there or not to be there.
pub fn differences(before: &Values, theirs: &Values, after: &Values, moving: &[&str]) -> Vec<String> {
    let mut differences = Vec::new();
    for name in after.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let [one, them, other] = [before, theirs, after].map(|all| all.get(name).unwrap_or(&Value::Null));
        let same = if GROWING.contains(&&**name) && !them.is_null() {
            let [one, them, other] = [one, them, other].map(Value::as_u64);
            one.is_some() && one <= them && them <= other
        } else if moving.contains(&&**name) {
            them.is_null() == other.is_null()
        } else {
            them == other
        };
        if !same {
            differences.push(format!("{name}: {one}, then {other}; the binding reads {them}"));
        }
    }
    differences
}

/// In percent: multiprocessors, tensor cores, memory bandwidth.
fn percent(activity: Activity) -> [Option<f64>; 3] {
    [activity.sm, activity.tensor, activity.dram].map(|part| part.map(|hundredths| f64::from(hundredths) / 100.0))
}

/// What a GPU or a part of one was announced as last.
fn announced<'a>(seen: &'a [Observation], id: &str) -> Result<&'a Gpu> {
    let found = seen.iter().rev().find_map(|seen| match seen {
        Observation::Appeared(gpu) if *gpu.id == *id => Some(&**gpu),
        _ => None,
    });
    found.with_context(|| format!("{id} was not announced"))
}

/// What the agent read, by the names of `nvml.py`: what the GPU is,
fn facts(seen: &[Observation], sample: &Sample) -> Result<Value> {
    let driver = seen.iter().rev().find_map(|seen| match seen {
        Observation::Driver(DriverState::Ready { version, devices }) => Some((version, devices)),
        _ => None,
    });
    let ((driver, devices), gpu) = (driver.context("the driver is ready")?, announced(seen, &sample.gpu)?);
    let limits = gpu.limits;
    Ok(json!({
        "devices": devices, "driver": driver, "id": &*gpu.id, "model": &*gpu.model, "serial": gpu.serial.as_deref(),
        "firmware": gpu.firmware.as_deref(), "pci": gpu.pci.as_deref(), "persistence": gpu.persistence,
        "compute_mode": gpu.compute_mode, "mig": gpu.mig,
        "limits": [limits.shutdown, limits.slowdown, limits.gpu_max, limits.memory_max],
    }))
}

/// what is read quickly,
fn quick(sample: &Sample) -> Result<Value> {
    let reading = &sample.reading;
    let throttle = reading.throttle.context("reasons are told")?;
    let causes = ThrottleCause::ALL.into_iter().filter(|cause| throttle.has(*cause)).map(ThrottleCause::name);
    Ok(json!({
        "energy_mj": reading.energy_mj, "energy_call_mj": reading.energy_mj,
        "power_average_mw": reading.power_average_mw, "power_instant_mw": reading.power_instant_mw,
        "power_call_mw": reading.power_average_mw.or(reading.power_instant_mw),
        "utilization": reading.utilization_pct.map(|pct| json!([pct, reading.memory_activity_pct])),
        "memory": reading.memory.map(|memory| [memory.total, memory.used]),
        "throttle": causes.collect::<Vec<_>>(),
    }))
}

/// everything else of it,
fn health(sample: &Sample) -> Value {
    let reading = &sample.reading;
    let [power_cap, sync_boost, sw_thermal, hw_thermal, hw_power_brake, ..] = reading.throttled_ns;
    let (remapped, errors) = (reading.remapped, reading.nvlink_errors);
    let rows = remapped.corrected.map(|corrected| {
        json!([corrected, remapped.uncorrected, remapped.pending.map(u8::from), remapped.failed.map(u8::from)])
    });
    json!({
        "power_limit_mw": reading.power_limit_mw, "temperature": reading.temperature,
        "memory_temperature": reading.memory_temperature, "encoder_pct": reading.encoder_pct,
        "decoder_pct": reading.decoder_pct, "sm_mhz": reading.sm_mhz, "memory_mhz": reading.memory_mhz,
        "video_mhz": reading.video_mhz, "performance_state": reading.performance_state,
        "ecc_corrected": reading.ecc_corrected, "ecc_uncorrected": reading.ecc_uncorrected, "remapped": rows,
        "pcie_rx_bytes": reading.pcie_rx_bytes, "pcie_tx_bytes": reading.pcie_tx_bytes,
        "pcie_replays": reading.pcie_replays, "pcie_link": [reading.pcie_generation, reading.pcie_width],
        "nvlink_rx_kib": reading.nvlink_rx_kib, "nvlink_tx_kib": reading.nvlink_tx_kib,
        "nvlink_crc_flit": errors.crc_flit, "nvlink_crc_data": errors.crc_data,
        "nvlink_replay": errors.replay, "nvlink_recovery": errors.recovery,
        "power_cap_ns": power_cap, "sync_boost_ns": sync_boost, "sw_thermal_ns": sw_thermal,
        "hw_thermal_ns": hw_thermal, "hw_power_brake_ns": hw_power_brake,
        "fans": reading.fans.iter().map(|fan| fan.pct).collect::<Vec<_>>(),
        "first_fan_rpm": reading.fans.first().and_then(|fan| fan.rpm),
        "activity": reading.activity.map(percent),
    })
}

/// its parts, and who uses it.
fn others(seen: &[Observation], sample: &Sample) -> Result<Value> {
    let mut instances = Vec::new();
    for part in &sample.instances {
        let facts = announced(seen, &part.gpu)?.instance.context("it is a part")?;
        let memory = part.memory.context("it has memory")?;
        let busy = part.activity.and_then(|activity| percent(activity)[0]);
        instances.push(json!([&*part.gpu, facts.id, facts.multiprocessors, memory.total, memory.used, busy]));
    }
    let kind = |kind| match kind {
        ProcessKind::Compute | ProcessKind::MpsServer => "compute",
        ProcessKind::Graphics => "graphics",
        ProcessKind::MpsClient => "mps",
    };
    let processes = sample.processes.iter().flatten().map(|one| (kind(one.kind), one.pid, one.memory));
    let uses = samples(seen, &sample.gpu).flat_map(|sample| sample.uses.iter().flatten());
    Ok(json!({
        "instances": instances,
        "processes": processes.collect::<BTreeSet<_>>(),
        "uses": uses.map(|one| (one.pid, one.sm_pct)).collect::<BTreeSet<_>>(),
    }))
}
