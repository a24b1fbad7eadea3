//! Clocks and what holds them down.

use std::ffi::{c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlClockType_enum_NVML_CLOCK_MEM as MEM, nvmlClockType_enum_NVML_CLOCK_VIDEO as VIDEO, nvmlClockType_t,
    nvmlDevice_t, nvmlPstates_t,
};

use super::{exports, put};
use crate::hardware::call;

exports! {
    nvmlDeviceGetClockInfo(device: nvmlDevice_t, clock: nvmlClockType_t, mhz: *mut c_uint) {
        call("nvmlDeviceGetClockInfo", Some(device), |machine| {
            let (gpu, time) = (machine.whole(device)?, machine.time());
            let sm = gpu.device.sm_mhz.at(time);
            put(mhz, match clock {
                MEM => gpu.device.memory_mhz.at(time),
                VIDEO => sm * 0.9,
                _ => sm,
            } as c_uint)
        })
    }
    nvmlDeviceGetCurrentClocksEventReasons(device: nvmlDevice_t, reasons: *mut c_ulonglong) {
        call("nvmlDeviceGetCurrentClocksEventReasons", Some(device), |machine| put(reasons, machine.whole(device)?.device.throttle))
    }
    nvmlDeviceGetCurrentClocksThrottleReasons(device: nvmlDevice_t, reasons: *mut c_ulonglong) {
        call("nvmlDeviceGetCurrentClocksThrottleReasons", Some(device), |machine| put(reasons, machine.whole(device)?.device.throttle))
    }
    nvmlDeviceGetPerformanceState(device: nvmlDevice_t, state: *mut nvmlPstates_t) {
        call("nvmlDeviceGetPerformanceState", Some(device), |machine| {
            let busy = machine.whole(device)?.device.utilization_pct.at(machine.time()) > 0.0;
            put(state, if busy { 0 } else { 8 })
        })
    }
}
