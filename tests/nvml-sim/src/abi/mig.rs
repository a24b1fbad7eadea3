//! MIG: mode, instances and their handles.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlDeviceAttributes_t, nvmlReturn_enum_NVML_ERROR_NOT_FOUND as NOT_FOUND,
};

use super::{NOT_SUPPORTED, exports, put, supported};
use crate::hardware::{Target, call};

/// Instances that a GPU may be divided into.
const MOST: c_uint = 7;

exports! {
    nvmlDeviceGetMigMode(device: nvmlDevice_t, current: *mut c_uint, pending: *mut c_uint) {
        call("nvmlDeviceGetMigMode", Some(device), |machine| {
            let gpu = machine.whole(device)?;
            supported(gpu.features().mig)?;
            put(current, gpu.device.mig.enabled.into())?;
            put(pending, gpu.device.mig.enabled.into())
        })
    }
    nvmlDeviceGetMaxMigDeviceCount(device: nvmlDevice_t, count: *mut c_uint) {
        call("nvmlDeviceGetMaxMigDeviceCount", Some(device), |machine| {
            put(count, if machine.whole(device)?.features().mig { MOST } else { 0 })
        })
    }
    nvmlDeviceGetMigDeviceHandleByIndex(device: nvmlDevice_t, index: c_uint, instance: *mut nvmlDevice_t) {
        call("nvmlDeviceGetMigDeviceHandleByIndex", Some(device), |machine| {
            let gpu = machine.whole(device)?;
            supported(gpu.device.mig.enabled)?;
            gpu.device.mig.instance.get(index as usize).ok_or(NOT_FOUND)?;
            put(instance, Target { gpu: gpu.place, instance: Some(index as usize) }.handle())
        })
    }
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance: nvmlDevice_t, device: *mut nvmlDevice_t) {
        call("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", Some(instance), |machine| {
            let gpu = machine.gpu(instance)?.place;
            put(device, Target { gpu, instance: None }.handle())
        })
    }
    nvmlDeviceIsMigDeviceHandle(device: nvmlDevice_t, is_instance: *mut c_uint) {
        call("nvmlDeviceIsMigDeviceHandle", Some(device), |machine| put(is_instance, machine.instance(device)?.is_some().into()))
    }
    nvmlDeviceGetGpuInstanceId(instance: nvmlDevice_t, id: *mut c_uint) {
        call("nvmlDeviceGetGpuInstanceId", Some(instance), |machine| {
            put(id, machine.instance(instance)?.ok_or(NOT_SUPPORTED)?.gpu_instance)
        })
    }
    nvmlDeviceGetComputeInstanceId(instance: nvmlDevice_t, id: *mut c_uint) {
        call("nvmlDeviceGetComputeInstanceId", Some(instance), |machine| {
            machine.instance(instance)?.ok_or(NOT_SUPPORTED)?;
            put(id, 0)
        })
    }
    nvmlDeviceGetAttributes_v2(instance: nvmlDevice_t, attributes: *mut nvmlDeviceAttributes_t) {
        call("nvmlDeviceGetAttributes_v2", Some(instance), |machine| {
            let of_slice = machine.gpu(instance)?.features().slice_multiprocessors;
            let found = machine.instance(instance)?.ok_or(NOT_SUPPORTED)?;
            put(attributes, nvmlDeviceAttributes_t {
                multiprocessorCount: found.slices * of_slice,
                sharedCopyEngineCount: found.slices,
                sharedDecoderCount: 1,
                sharedEncoderCount: 0,
                sharedJpegCount: 1,
                sharedOfaCount: 0,
                gpuInstanceSliceCount: found.slices,
                computeInstanceSliceCount: found.slices,
                memorySizeMB: found.memory >> 20,
            })
        })
    }
}
