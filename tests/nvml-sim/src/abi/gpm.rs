//! GPM: activity between two samples.

use std::ffi::c_uint;
use std::ptr;

use nvml_wrapper_sys::bindings::{
    NVML_GPM_METRICS_GET_VERSION, NVML_GPM_SUPPORT_VERSION, nvmlDevice_t,
    nvmlGpmMetricId_t_NVML_GPM_METRIC_ANY_TENSOR_UTIL as TENSOR,
    nvmlGpmMetricId_t_NVML_GPM_METRIC_DRAM_BW_UTIL as DRAM, nvmlGpmMetricId_t_NVML_GPM_METRIC_SM_UTIL as SM,
    nvmlGpmMetricsGet_t, nvmlGpmSample_t, nvmlGpmSupport_t,
    nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH as ARGUMENT_VERSION_MISMATCH,
    nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT, nvmlReturn_enum_NVML_ERROR_NOT_FOUND as NOT_FOUND,
    nvmlReturn_enum_NVML_SUCCESS as SUCCESS,
};

use super::{Answer, NOT_SUPPORTED, exports, put, supported, take};
use crate::hardware::{Hardware, call};

/// What stands behind a sample's handle.
#[derive(Clone, Copy, Default)]
struct Sample {
    gpu: usize,
    instance: Option<c_uint>,
    time: f64,
}

exports! {
    nvmlGpmQueryDeviceSupport(device: nvmlDevice_t, support: *mut nvmlGpmSupport_t) {
        call("nvmlGpmQueryDeviceSupport", Some(device), |machine| {
            if take(support)?.version != NVML_GPM_SUPPORT_VERSION {
                return Err(ARGUMENT_VERSION_MISMATCH);
            }
            let has = machine.whole(device)?.features().gpm;
            put(support, nvmlGpmSupport_t { version: NVML_GPM_SUPPORT_VERSION, isSupportedDevice: has.into() })
        })
    }
    nvmlGpmSampleAlloc(sample: *mut nvmlGpmSample_t) {
        call("nvmlGpmSampleAlloc", None, |_| put(sample, Box::into_raw(Box::new(Sample::default())).cast()))
    }
    nvmlGpmSampleFree(sample: nvmlGpmSample_t) {
        call("nvmlGpmSampleFree", None, |_| {
            if sample.is_null() {
                return Err(INVALID_ARGUMENT);
            }
            // SAFETY: allocated by `nvmlGpmSampleAlloc`, which the caller vouches for.
            drop(unsafe { Box::from_raw(sample.cast::<Sample>()) });
            Ok(())
        })
    }
    nvmlGpmSampleGet(device: nvmlDevice_t, sample: nvmlGpmSample_t) {
        call("nvmlGpmSampleGet", Some(device), |machine| {
            let gpu = machine.whole(device)?;
            supported(gpu.features().gpm && !gpu.device.mig.enabled)?;
            put(sample.cast(), Sample { gpu: gpu.place, instance: None, time: machine.time() })
        })
    }
    nvmlGpmMigSampleGet(device: nvmlDevice_t, instance: c_uint, sample: nvmlGpmSample_t) {
        call("nvmlGpmMigSampleGet", Some(device), |machine| {
            let gpu = machine.whole(device)?;
            supported(gpu.features().gpm && gpu.device.mig.enabled)?;
            gpu.device.mig.instance.iter().find(|one| one.gpu_instance == instance).ok_or(NOT_FOUND)?;
            put(sample.cast(), Sample { gpu: gpu.place, instance: Some(instance), time: machine.time() })
        })
    }
    nvmlGpmMetricsGet(metrics: *mut nvmlGpmMetricsGet_t) {
        call("nvmlGpmMetricsGet", None, |machine| {
            if metrics.is_null() {
                return Err(INVALID_ARGUMENT);
            }
            // SAFETY: not null, and the caller vouches for the rest.
            let request = unsafe { &mut *metrics };
            if request.version != NVML_GPM_METRICS_GET_VERSION {
                return Err(ARGUMENT_VERSION_MISMATCH);
            }
            let (one, other) = (take(request.sample1.cast::<Sample>())?, take(request.sample2.cast::<Sample>())?);
            for metric in request.metrics.iter_mut().take(request.numMetrics as usize) {
                let value = activity(machine, metric.metricId, one, other);
                metric.nvmlReturn = value.err().unwrap_or(SUCCESS);
                metric.value = value.unwrap_or(0.0);
                metric.metricInfo.shortName = ptr::null_mut();
                metric.metricInfo.longName = ptr::null_mut();
                metric.metricInfo.unit = ptr::null_mut();
            }
            Ok(())
        })
    }
}

fn activity(machine: &Hardware, metric: c_uint, one: Sample, other: Sample) -> Answer<f64> {
    let device = &machine.answering(other.gpu)?.device;
    let curve = match (other.instance, metric) {
        (Some(id), SM) => {
            &device.mig.instance.iter().find(|instance| instance.gpu_instance == id).ok_or(NOT_FOUND)?.sm_pct
        }
        (None, SM) => &device.activity_pct.0,
        (None, TENSOR) => &device.activity_pct.1,
        (None, DRAM) => &device.activity_pct.2,
        _ => return Err(NOT_SUPPORTED),
    };
    if (one.gpu, one.instance) != (other.gpu, other.instance) || one.time >= other.time {
        return Err(INVALID_ARGUMENT);
    }
    Ok(curve.mean(one.time, other.time))
}
