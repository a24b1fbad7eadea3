//! How busy a device is, and how full.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlMemory_t, nvmlMemory_v2_t,
    nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH as ARGUMENT_VERSION_MISMATCH, nvmlUtilization_t,
};

use super::{Answer, exports, put, supported, take};
use crate::gpu::{Gpu, SAMPLE};
use crate::hardware::{Hardware, call};

/// `NVML_STRUCT_VERSION(Memory, 2)`.
const MEMORY_V2: c_uint = size_of::<nvmlMemory_v2_t>() as c_uint | (2 << 24);
/// The stretch of time that utilisation is told of, in microseconds.
const PERIOD: c_uint = (SAMPLE * 1e6) as c_uint;

exports! {
    nvmlDeviceGetUtilizationRates(device: nvmlDevice_t, rates: *mut nvmlUtilization_t) {
        call("nvmlDeviceGetUtilizationRates", Some(device), |machine| {
            let (gpu, time) = (undivided(machine, device)?, machine.time());
            let over = |curve: &crate::curve::Curve| curve.mean((time - SAMPLE).max(0.0), time).round() as c_uint;
            put(rates, nvmlUtilization_t { gpu: over(&gpu.device.utilization_pct), memory: over(&gpu.device.memory_pct) })
        })
    }
    nvmlDeviceGetEncoderUtilization(device: nvmlDevice_t, pct: *mut c_uint, period: *mut c_uint) {
        call("nvmlDeviceGetEncoderUtilization", Some(device), |machine| {
            put(pct, undivided(machine, device)?.device.encoder_pct.at(machine.time()) as c_uint)?;
            put(period, PERIOD)
        })
    }
    nvmlDeviceGetDecoderUtilization(device: nvmlDevice_t, pct: *mut c_uint, period: *mut c_uint) {
        call("nvmlDeviceGetDecoderUtilization", Some(device), |machine| {
            put(pct, undivided(machine, device)?.device.decoder_pct.at(machine.time()) as c_uint)?;
            put(period, PERIOD)
        })
    }
    nvmlDeviceGetMemoryInfo(device: nvmlDevice_t, memory: *mut nvmlMemory_t) {
        call("nvmlDeviceGetMemoryInfo", Some(device), |machine| {
            let (total, used, reserved) = memory_of(machine, device)?;
            let used = used + reserved;
            put(memory, nvmlMemory_t { total, free: total.saturating_sub(used), used })
        })
    }
    nvmlDeviceGetMemoryInfo_v2(device: nvmlDevice_t, memory: *mut nvmlMemory_v2_t) {
        call("nvmlDeviceGetMemoryInfo_v2", Some(device), |machine| {
            if take(memory)?.version != MEMORY_V2 {
                return Err(ARGUMENT_VERSION_MISMATCH);
            }
            let (total, used, reserved) = memory_of(machine, device)?;
            let free = total.saturating_sub(used + reserved);
            put(memory, nvmlMemory_v2_t { version: MEMORY_V2, total, reserved, free, used })
        })
    }
}

/// A whole GPU that is not divided: MIG takes utilisation away.
fn undivided(machine: &Hardware, device: nvmlDevice_t) -> Answer<&Gpu> {
    let gpu = machine.whole(device)?;
    supported(!gpu.device.mig.enabled)?;
    Ok(gpu)
}

/// Bytes in all, used, and reserved, of a GPU or an instance.
fn memory_of(machine: &Hardware, device: nvmlDevice_t) -> Answer<(u64, u64, u64)> {
    let gpu = machine.gpu(device)?;
    Ok(match machine.instance(device)? {
        Some(instance) => {
            let within =
                gpu.device.process.iter().filter(|process| process.gpu_instance == Some(instance.gpu_instance));
            (instance.memory, within.map(|process| process.memory).sum(), 0)
        }
        None => (gpu.features().memory, gpu.memory_used() - gpu.device.memory_reserved, gpu.device.memory_reserved),
    })
}
