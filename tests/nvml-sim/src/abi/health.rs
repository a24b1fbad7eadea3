//! ECC, row remapping, retired pages.

use std::ffi::{c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlEccCounterType_t, nvmlEnableState_t,
    nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_CORRECTED as CORRECTED, nvmlMemoryErrorType_t,
};

use super::{exports, put, supported};
use crate::hardware::call;

exports! {
    nvmlDeviceGetEccMode(device: nvmlDevice_t, current: *mut nvmlEnableState_t, pending: *mut nvmlEnableState_t) {
        call("nvmlDeviceGetEccMode", Some(device), |machine| {
            supported(machine.whole(device)?.features().ecc)?;
            put(current, 1)?;
            put(pending, 1)
        })
    }
    nvmlDeviceGetTotalEccErrors(device: nvmlDevice_t, kind: nvmlMemoryErrorType_t, _counter: nvmlEccCounterType_t, errors: *mut c_ulonglong) {
        call("nvmlDeviceGetTotalEccErrors", Some(device), |machine| {
            let gpu = machine.whole(device)?;
            supported(gpu.features().ecc)?;
            put(errors, if kind == CORRECTED { gpu.device.ecc.0 } else { gpu.device.ecc.1 })
        })
    }
    nvmlDeviceGetRemappedRows(device: nvmlDevice_t, corrected: *mut c_uint, uncorrected: *mut c_uint, pending: *mut c_uint, failed: *mut c_uint) {
        call("nvmlDeviceGetRemappedRows", Some(device), |machine| {
            let gpu = machine.whole(device)?;
            supported(gpu.features().remapping)?;
            let (of_corrected, of_uncorrected, is_pending, has_failed) = gpu.device.remapped;
            put(corrected, of_corrected)?;
            put(uncorrected, of_uncorrected)?;
            put(pending, is_pending)?;
            put(failed, has_failed)
        })
    }
}
