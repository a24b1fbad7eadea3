//! `nvmlDeviceGetFieldValues`: many values in one call.

use std::ffi::{c_int, c_longlong, c_uint};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nvml_wrapper_sys::bindings::field_id::*;
use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlFieldValue_t, nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT,
    nvmlReturn_enum_NVML_SUCCESS as SUCCESS, nvmlValue_t,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT as UNSIGNED_INT,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG as UNSIGNED_LONG_LONG,
};

use super::{Answer, NOT_SUPPORTED, exports, supported};
use crate::gpu::Gpu;
use crate::hardware::call;

/// First driver in which fields 251 to 273 are numbered anew (`nvml.h` of CUDA 13.0 update 1).
const RENUMBERED: (u32, u32) = (580, 82);
/// Scope of NVLink's counters that means all links together.
const ALL_LINKS: c_uint = c_uint::MAX;

exports! {
    nvmlDeviceGetFieldValues(device: nvmlDevice_t, count: c_int, values: *mut nvmlFieldValue_t) {
        call("nvmlDeviceGetFieldValues", Some(device), |machine| {
            let (gpu, time, version) = (machine.whole(device)?, machine.time(), machine.driver().library.clone());
            if values.is_null() || count <= 0 {
                return Err(INVALID_ARGUMENT);
            }
            // SAFETY: not null, and the caller vouches for so many values.
            let values = unsafe { std::slice::from_raw_parts_mut(values, count as usize) };
            for value in values {
                let begun = Instant::now();
                let found = field(gpu, time, old_number(value.fieldId, &version), value.scopeId);
                value.timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |wall| wall.as_micros() as c_longlong);
                value.latencyUsec = begun.elapsed().as_micros() as c_longlong;
                value.nvmlReturn = found.as_ref().err().copied().unwrap_or(SUCCESS);
                if let Ok((kind, number)) = found {
                    value.valueType = kind;
                    value.value = nvmlValue_t { ullVal: number };
                }
            }
            Ok(())
        })
    }
}

/// The number that a field had before they were numbered anew: what smooths power took the place of what tells throttling.
fn old_number(field: c_uint, version: &str) -> c_uint {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    match field {
        251..=268 if version >= RENUMBERED => field + 5,
        269..=273 if version >= RENUMBERED => field - 18,
        _ => field,
    }
}

fn field(gpu: &Gpu, time: f64, field: c_uint, scope: c_uint) -> Answer<(c_uint, u64)> {
    let (has, device) = (gpu.features(), &gpu.device);
    let long = |has: bool, value: u64| supported(has).map(|()| (UNSIGNED_LONG_LONG, value));
    let short = |has: bool, value: u32| supported(has).map(|()| (UNSIGNED_INT, value.into()));
    let throttled = |cause: &str| device.throttled_ns.get(cause).copied().unwrap_or(0);
    let flowed = |curve: &crate::curve::Curve| curve.integral(time) as u64;
    match field {
        NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION | NVML_FI_DEV_ENERGY => long(has.energy, gpu.energy_mj(time)),
        NVML_FI_DEV_POWER_AVERAGE => short(has.power_average, gpu.power_average_mw(time)),
        NVML_FI_DEV_POWER_INSTANT => short(has.power_instant, gpu.power_instant_mw(time)),
        NVML_FI_DEV_MEMORY_TEMP => short(has.memory_temperature, device.memory_temperature.at(time) as u32),
        NVML_FI_DEV_ECC_SBE_VOL_TOTAL => long(has.ecc, device.ecc.0),
        NVML_FI_DEV_ECC_DBE_VOL_TOTAL => long(has.ecc, device.ecc.1),
        NVML_FI_DEV_REMAPPED_COR => short(has.remapping, device.remapped.0),
        NVML_FI_DEV_REMAPPED_UNC => short(has.remapping, device.remapped.1),
        NVML_FI_DEV_REMAPPED_PENDING => short(has.remapping, device.remapped.2),
        NVML_FI_DEV_REMAPPED_FAILURE => short(has.remapping, device.remapped.3),
        NVML_FI_DEV_PCIE_REPLAY_COUNTER => short(true, device.pcie_replays),
        NVML_FI_DEV_PCIE_COUNT_RX_BYTES => long(has.pcie_bytes, flowed(&device.pcie_bytes_per_s.0)),
        NVML_FI_DEV_PCIE_COUNT_TX_BYTES => long(has.pcie_bytes, flowed(&device.pcie_bytes_per_s.1)),
        NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX if scope == ALL_LINKS => {
            long(has.nvlink, flowed(&device.nvlink_kib_per_s.0))
        }
        NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX if scope == ALL_LINKS => {
            long(has.nvlink, flowed(&device.nvlink_kib_per_s.1))
        }
        NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL => long(has.nvlink, device.nvlink_errors.0),
        NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL => long(has.nvlink, device.nvlink_errors.1),
        NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL => long(has.nvlink, device.nvlink_errors.2),
        NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL => long(has.nvlink, device.nvlink_errors.3),
        NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP => long(has.throttle_time, throttled("power_cap")),
        NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST => long(has.throttle_time, throttled("sync_boost")),
        NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN => long(has.throttle_time, throttled("sw_thermal")),
        NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN => long(has.throttle_time, throttled("hw_thermal")),
        NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN => long(has.throttle_time, throttled("hw_power_brake")),
        // A number that would be wrong if it were taken for a throttle time.
        NVML_FI_PWR_SMOOTHING_ENABLED..=NVML_FI_PWR_SMOOTHING_APPLIED_TMP_FLOOR => long(has.throttle_time, 0xbad),
        _ => Err(NOT_SUPPORTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttle_times_moved_with_the_driver() {
        assert_eq!(old_number(251, "570.172.08"), 251);
        assert_eq!(old_number(269, "580.95.05"), 251);
        assert_eq!(old_number(251, "580.95.05"), NVML_FI_PWR_SMOOTHING_ENABLED);
        assert_eq!(old_number(83, "580.95.05"), 83);
    }
}
