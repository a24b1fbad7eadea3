//! Who a device is.

use std::ffi::{CStr, c_char, c_int, c_uint};

use nvml_wrapper_sys::bindings::{
    nvmlComputeMode_t, nvmlDevice_t, nvmlDeviceArchitecture_t, nvmlEnableState_t, nvmlPciInfo_t,
    nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT, nvmlReturn_enum_NVML_ERROR_NOT_FOUND as NOT_FOUND,
    nvmlReturn_enum_NVML_ERROR_UNKNOWN as UNKNOWN,
};

use super::{Answer, exports, put, put_text, supported};
use crate::hardware::{Hardware, Target, call};

exports! {
    nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut nvmlDevice_t) {
        let target = Target { gpu: index as usize, instance: None };
        call("nvmlDeviceGetHandleByIndex_v2", Some(target.handle()), |machine| acquire(machine, target, device))
    }
    nvmlDeviceGetHandleByUUID(uuid: *const c_char, device: *mut nvmlDevice_t) {
        call("nvmlDeviceGetHandleByUUID", None, |machine| {
            if uuid.is_null() {
                return Err(INVALID_ARGUMENT);
            }
            // SAFETY: not null, and the caller vouches for a string.
            let uuid = unsafe { CStr::from_ptr(uuid) }.to_string_lossy();
            let place = machine.gpus.iter().position(|gpu| gpu.uuid() == uuid).ok_or(NOT_FOUND)?;
            acquire(machine, Target { gpu: place, instance: None }, device)
        })
    }
    nvmlDeviceGetName(device: nvmlDevice_t, name: *mut c_char, length: c_uint) {
        call("nvmlDeviceGetName", Some(device), |machine| {
            let gpu = machine.gpu(device)?;
            let name_of = |slices, memory: u64| format!("{} MIG {slices}g.{}gb", gpu.features().name, memory >> 30);
            let text = machine.instance(device)?.map(|instance| name_of(instance.slices, instance.memory));
            put_text(name, length, text.as_deref().unwrap_or(gpu.features().name))
        })
    }
    nvmlDeviceGetUUID(device: nvmlDevice_t, uuid: *mut c_char, length: c_uint) {
        call("nvmlDeviceGetUUID", Some(device), |machine| {
            let gpu = machine.gpu(device)?;
            let of_instance = machine.instance(device)?.map(|instance| gpu.instance_uuid(instance));
            put_text(uuid, length, &of_instance.unwrap_or_else(|| gpu.uuid()))
        })
    }
    nvmlDeviceGetIndex(device: nvmlDevice_t, index: *mut c_uint) {
        call("nvmlDeviceGetIndex", Some(device), |machine| {
            machine.gpu(device)?;
            put(index, Target::of(device).map_or(0, |target| target.instance.unwrap_or(target.gpu)) as c_uint)
        })
    }
    nvmlDeviceGetMinorNumber(device: nvmlDevice_t, minor: *mut c_uint) {
        call("nvmlDeviceGetMinorNumber", Some(device), |machine| put(minor, machine.whole(device)?.place as c_uint))
    }
    nvmlDeviceGetSerial(device: nvmlDevice_t, serial: *mut c_char, length: c_uint) {
        call("nvmlDeviceGetSerial", Some(device), |machine| {
            let gpu = machine.whole(device)?;
            put_text(serial, length, gpu.device.serial.as_deref().ok_or(super::NOT_SUPPORTED)?)
        })
    }
    nvmlDeviceGetVbiosVersion(device: nvmlDevice_t, version: *mut c_char, length: c_uint) {
        call("nvmlDeviceGetVbiosVersion", Some(device), |machine| {
            machine.whole(device)?;
            put_text(version, length, "96.00.74.00.01")
        })
    }
    nvmlDeviceGetPciInfo_v3(device: nvmlDevice_t, pci: *mut nvmlPciInfo_t) {
        call("nvmlDeviceGetPciInfo_v3", Some(device), |machine| {
            let id = machine.whole(device)?.pci();
            let bus = id.split(':').nth(1).and_then(|bus| u32::from_str_radix(bus, 16).ok()).unwrap_or(0);
            let mut info = nvmlPciInfo_t {
                busIdLegacy: [0; 16],
                domain: 0,
                bus,
                device: 0,
                pciDeviceId: 0x2330_10de,
                pciSubSystemId: 0x16c1_10de,
                busId: [0; 32],
            };
            put_text(info.busId.as_mut_ptr(), 32, &id)?;
            put_text(info.busIdLegacy.as_mut_ptr(), 16, &id[4..])?;
            put(pci, info)
        })
    }
    nvmlDeviceGetArchitecture(device: nvmlDevice_t, architecture: *mut nvmlDeviceArchitecture_t) {
        call("nvmlDeviceGetArchitecture", Some(device), |machine| put(architecture, machine.gpu(device)?.features().architecture))
    }
    nvmlDeviceGetCudaComputeCapability(device: nvmlDevice_t, major: *mut c_int, minor: *mut c_int) {
        call("nvmlDeviceGetCudaComputeCapability", Some(device), |machine| {
            let (of_major, of_minor) = machine.gpu(device)?.features().capability;
            put(major, of_major)?;
            put(minor, of_minor)
        })
    }
    nvmlDeviceGetPersistenceMode(device: nvmlDevice_t, mode: *mut nvmlEnableState_t) {
        call("nvmlDeviceGetPersistenceMode", Some(device), |machine| put(mode, machine.whole(device)?.device.persistence.into()))
    }
    nvmlDeviceGetComputeMode(device: nvmlDevice_t, mode: *mut nvmlComputeMode_t) {
        call("nvmlDeviceGetComputeMode", Some(device), |machine| put(mode, machine.whole(device)?.device.compute_mode))
    }
    nvmlDeviceGetNumFans(device: nvmlDevice_t, fans: *mut c_uint) {
        call("nvmlDeviceGetNumFans", Some(device), |machine| {
            let gpu = machine.whole(device)?;
            supported(!gpu.device.fan.is_empty())?;
            put(fans, gpu.device.fan.len() as c_uint)
        })
    }
}

/// Opens the device's node, as NVML does when a handle is first asked for.
fn acquire(machine: &mut Hardware, target: Target, device: *mut nvmlDevice_t) -> Answer {
    machine.answering(target.gpu)?;
    machine.open_node(Some(target.gpu)).map_err(|error| {
        eprintln!("nvml-sim: cannot open the node of GPU {}: {error}", target.gpu);
        UNKNOWN
    })?;
    put(device, target.handle())
}
