//! PCIe and NVLink.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings::{
    NVML_NVLINK_MAX_LINKS, nvmlDevice_t, nvmlEnableState_t,
    nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT,
};

use super::{exports, put, supported};
use crate::hardware::call;

exports! {
    nvmlDeviceGetPcieReplayCounter(device: nvmlDevice_t, replays: *mut c_uint) {
        call("nvmlDeviceGetPcieReplayCounter", Some(device), |machine| put(replays, machine.whole(device)?.device.pcie_replays))
    }
    nvmlDeviceGetCurrPcieLinkGeneration(device: nvmlDevice_t, generation: *mut c_uint) {
        call("nvmlDeviceGetCurrPcieLinkGeneration", Some(device), |machine| put(generation, machine.whole(device)?.device.pcie_link.0))
    }
    nvmlDeviceGetCurrPcieLinkWidth(device: nvmlDevice_t, width: *mut c_uint) {
        call("nvmlDeviceGetCurrPcieLinkWidth", Some(device), |machine| put(width, machine.whole(device)?.device.pcie_link.1))
    }
    nvmlDeviceGetMaxPcieLinkGeneration(device: nvmlDevice_t, generation: *mut c_uint) {
        call("nvmlDeviceGetMaxPcieLinkGeneration", Some(device), |machine| put(generation, machine.whole(device)?.device.pcie_link.2))
    }
    nvmlDeviceGetMaxPcieLinkWidth(device: nvmlDevice_t, width: *mut c_uint) {
        call("nvmlDeviceGetMaxPcieLinkWidth", Some(device), |machine| put(width, machine.whole(device)?.device.pcie_link.3))
    }
    nvmlDeviceGetNvLinkState(device: nvmlDevice_t, link: c_uint, state: *mut nvmlEnableState_t) {
        call("nvmlDeviceGetNvLinkState", Some(device), |machine| {
            supported(machine.whole(device)?.features().nvlink)?;
            if link >= NVML_NVLINK_MAX_LINKS {
                return Err(INVALID_ARGUMENT);
            }
            put(state, 1)
        })
    }
}
