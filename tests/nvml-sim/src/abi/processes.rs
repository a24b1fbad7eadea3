//! Who uses a device.

use std::ffi::{c_uint, c_ulonglong};
use std::time::{SystemTime, UNIX_EPOCH};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlProcessInfo_t, nvmlProcessInfo_v2_t, nvmlProcessUtilizationSample_t,
    nvmlReturn_enum_NVML_ERROR_NO_PERMISSION as NO_PERMISSION, nvmlReturn_enum_NVML_ERROR_NOT_FOUND as NOT_FOUND,
};

use super::{Answer, exports, put_list, supported};
use crate::hardware::{Hardware, call};
use crate::scenario::Kind;

/// No instance.
const NONE: c_uint = u32::MAX;

exports! {
    nvmlDeviceGetComputeRunningProcesses_v3(device: nvmlDevice_t, count: *mut c_uint, processes: *mut nvmlProcessInfo_t) {
        call("nvmlDeviceGetComputeRunningProcesses_v3", Some(device), |machine| {
            put_list(processes, count, running(machine, device, Kind::Compute)?)
        })
    }
    nvmlDeviceGetComputeRunningProcesses_v2(device: nvmlDevice_t, count: *mut c_uint, processes: *mut nvmlProcessInfo_v2_t) {
        call("nvmlDeviceGetComputeRunningProcesses_v2", Some(device), |machine| {
            put_list(processes, count, running(machine, device, Kind::Compute)?)
        })
    }
    nvmlDeviceGetGraphicsRunningProcesses_v3(device: nvmlDevice_t, count: *mut c_uint, processes: *mut nvmlProcessInfo_t) {
        call("nvmlDeviceGetGraphicsRunningProcesses_v3", Some(device), |machine| {
            put_list(processes, count, running(machine, device, Kind::Graphics)?)
        })
    }
    nvmlDeviceGetMPSComputeRunningProcesses_v3(device: nvmlDevice_t, count: *mut c_uint, processes: *mut nvmlProcessInfo_t) {
        call("nvmlDeviceGetMPSComputeRunningProcesses_v3", Some(device), |machine| {
            put_list(processes, count, running(machine, device, Kind::Mps)?)
        })
    }
    nvmlDeviceGetProcessUtilization(device: nvmlDevice_t, samples: *mut nvmlProcessUtilizationSample_t, count: *mut c_uint, seen: c_ulonglong) {
        call("nvmlDeviceGetProcessUtilization", Some(device), |machine| {
            let (gpu, time) = (machine.whole(device)?, machine.time());
            supported(!gpu.device.mig.enabled)?;
            // Samples bear the wall clock's microseconds.
            let began = wall_micros() as f64 - time * 1e6;
            let uses = gpu.uses((seen as f64 - began) / 1e6 + 1e-4, time);
            if uses.is_empty() {
                return Err(NOT_FOUND);
            }
            let sample = |one: crate::gpu::Use| nvmlProcessUtilizationSample_t {
                pid: one.pid,
                timeStamp: (began + one.end * 1e6) as c_ulonglong,
                smUtil: one.sm_pct,
                memUtil: 0,
                encUtil: 0,
                decUtil: 0,
            };
            put_list(samples, count, uses.into_iter().map(sample).collect())
        })
    }
}

fn running(machine: &Hardware, device: nvmlDevice_t, kind: Kind) -> Answer<Vec<nvmlProcessInfo_v2_t>> {
    let gpu = machine.gpu(device)?;
    let instance = machine.instance(device)?.map(|instance| instance.gpu_instance);
    if gpu.device.mig.enabled && instance.is_none() && !machine.is_privileged() {
        return Err(NO_PERMISSION);
    }
    let info = |process: &crate::scenario::Process| nvmlProcessInfo_v2_t {
        pid: process.pid,
        usedGpuMemory: process.memory,
        gpuInstanceId: process.gpu_instance.unwrap_or(NONE),
        computeInstanceId: process.gpu_instance.map_or(NONE, |_| 0),
    };
    Ok(gpu.processes(kind, instance).map(info).collect())
}

fn wall_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}
