//! Power, energy, temperature, fans.

use std::ffi::{c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlFanSpeedInfo_t, nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT,
    nvmlTemperatureSensors_t, nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_GPU_MAX as GPU_MAX,
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_MEM_MAX as MEM_MAX,
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_SHUTDOWN as SHUTDOWN,
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_SLOWDOWN as SLOWDOWN, nvmlTemperatureThresholds_t,
};

use super::{NOT_SUPPORTED, exports, put, supported, take};
use crate::hardware::call;

exports! {
    nvmlDeviceGetPowerUsage(device: nvmlDevice_t, power: *mut c_uint) {
        call("nvmlDeviceGetPowerUsage", Some(device), |machine| {
            let (gpu, time) = (machine.whole(device)?, machine.time());
            // `nvml.h`: an average on Ampere and later, except GA100.
            put(power, if gpu.features().power_average { gpu.power_average_mw(time) } else { gpu.power_instant_mw(time) })
        })
    }
    nvmlDeviceGetTotalEnergyConsumption(device: nvmlDevice_t, energy: *mut c_ulonglong) {
        call("nvmlDeviceGetTotalEnergyConsumption", Some(device), |machine| {
            let gpu = machine.whole(device)?;
            supported(gpu.features().energy)?;
            put(energy, gpu.energy_mj(machine.time()))
        })
    }
    nvmlDeviceGetEnforcedPowerLimit(device: nvmlDevice_t, limit: *mut c_uint) {
        call("nvmlDeviceGetEnforcedPowerLimit", Some(device), |machine| put(limit, machine.whole(device)?.features().power_limit))
    }
    nvmlDeviceGetTemperature(device: nvmlDevice_t, _sensor: nvmlTemperatureSensors_t, temperature: *mut c_uint) {
        call("nvmlDeviceGetTemperature", Some(device), |machine| {
            put(temperature, machine.whole(device)?.device.temperature.at(machine.time()) as c_uint)
        })
    }
    nvmlDeviceGetTemperatureThreshold(device: nvmlDevice_t, which: nvmlTemperatureThresholds_t, temperature: *mut c_uint) {
        call("nvmlDeviceGetTemperatureThreshold", Some(device), |machine| {
            let with_memory = machine.whole(device)?.features().memory_temperature;
            put(temperature, match which {
                SHUTDOWN => 92,
                SLOWDOWN => 89,
                GPU_MAX => 87,
                MEM_MAX if with_memory => 95,
                _ => return Err(NOT_SUPPORTED),
            })
        })
    }
    nvmlDeviceGetFanSpeed_v2(device: nvmlDevice_t, fan: c_uint, speed: *mut c_uint) {
        call("nvmlDeviceGetFanSpeed_v2", Some(device), |machine| {
            let fans = &machine.whole(device)?.device.fan;
            supported(!fans.is_empty())?;
            put(speed, fans.get(fan as usize).ok_or(INVALID_ARGUMENT)?.0)
        })
    }
    nvmlDeviceGetFanSpeedRPM(device: nvmlDevice_t, speed: *mut nvmlFanSpeedInfo_t) {
        call("nvmlDeviceGetFanSpeedRPM", Some(device), |machine| {
            let fans = &machine.whole(device)?.device.fan;
            supported(!fans.is_empty())?;
            let mut info = take(speed)?;
            info.speed = fans.get(info.fan as usize).ok_or(INVALID_ARGUMENT)?.1;
            put(speed, info)
        })
    }
}
