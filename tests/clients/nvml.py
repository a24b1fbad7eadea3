"""What NVIDIA's own binding reads from the first GPU, as one JSON object. What is not supported is null."""

import json
import time

import pynvml as nvml

# As the agent names them.
FIELDS = {
    "energy_mj": nvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
    "power_average_mw": nvml.NVML_FI_DEV_POWER_AVERAGE,
    "power_instant_mw": nvml.NVML_FI_DEV_POWER_INSTANT,
    "memory_temperature": nvml.NVML_FI_DEV_MEMORY_TEMP,
    "pcie_rx_bytes": nvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES,
    "pcie_tx_bytes": nvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES,
    "nvlink_rx_kib": (nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, 0xFFFFFFFF),
    "nvlink_tx_kib": (nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, 0xFFFFFFFF),
    "nvlink_crc_flit": nvml.NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL,
    "nvlink_crc_data": nvml.NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL,
    "nvlink_replay": nvml.NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL,
    "nvlink_recovery": nvml.NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL,
    "power_cap_ns": nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP,
    "sync_boost_ns": nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST,
    "sw_thermal_ns": nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN,
    "hw_thermal_ns": nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN,
    "hw_power_brake_ns": nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN,
}
TYPES = {
    nvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
}
CAUSES = {
    "power_cap": nvml.nvmlClocksEventReasonSwPowerCap,
    "sync_boost": nvml.nvmlClocksEventReasonSyncBoost,
    "sw_thermal": nvml.nvmlClocksEventReasonSwThermalSlowdown,
    "hw_thermal": nvml.nvmlClocksEventReasonHwThermalSlowdown,
    "hw_power_brake": nvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    "hw_slowdown": nvml.nvmlClocksEventReasonHwSlowdown,
    "applied_clocks": nvml.nvmlClocksEventReasonApplicationsClocksSetting,
}
THRESHOLDS = [
    nvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,
    nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
    nvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
    nvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX,
]
MODES = {
    nvml.NVML_COMPUTEMODE_DEFAULT: "default",
    nvml.NVML_COMPUTEMODE_PROHIBITED: "prohibited",
    nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS: "exclusive_process",
}
LINK = [nvml.nvmlDeviceGetCurrPcieLinkGeneration, nvml.nvmlDeviceGetCurrPcieLinkWidth]
LACKING = (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
# GPM's samples are to lie apart.
APART = 0.15


def asked(call, *arguments):
    try:
        return call(*arguments)
    except nvml.NVMLError as error:
        if error.value in LACKING:
            return None
        raise


def fields(device):
    values = nvml.nvmlDeviceGetFieldValues(device, list(FIELDS.values()))
    read = {}
    for name, value in zip(FIELDS, values):
        read[name] = getattr(value.value, TYPES[value.valueType]) if value.nvmlReturn == nvml.NVML_SUCCESS else None
    return read


def activity(device, instance=None):
    """SM, tensor cores and memory bandwidth between two samples, in percent."""
    if not nvml.nvmlGpmQueryDeviceSupport(device).isSupportedDevice:
        return None

    def sample():
        taken = nvml.nvmlGpmSampleAlloc()
        if instance is None:
            return nvml.nvmlGpmSampleGet(device, taken)
        return nvml.nvmlGpmMigSampleGet(device, instance, taken)

    metrics = nvml.c_nvmlGpmMetricsGet_t()
    wanted = [nvml.NVML_GPM_METRIC_SM_UTIL, nvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL, nvml.NVML_GPM_METRIC_DRAM_BW_UTIL]
    metrics.version, metrics.numMetrics, metrics.sample1 = nvml.NVML_GPM_METRICS_GET_VERSION, len(wanted), sample()
    time.sleep(APART)
    metrics.sample2 = sample()
    for place, metric in enumerate(wanted):
        metrics.metrics[place].metricId = metric
    nvml.nvmlGpmMetricsGet(metrics)
    told = metrics.metrics[: len(wanted)]
    nvml.nvmlGpmSampleFree(metrics.sample1)
    nvml.nvmlGpmSampleFree(metrics.sample2)
    return [round(metric.value, 2) if metric.nvmlReturn == nvml.NVML_SUCCESS else None for metric in told]


def instances(device):
    """Of a divided GPU: UUID, GPU instance, multiprocessors, bytes of memory in all and in use, activity of its SMs."""
    found = []
    for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(device)):
        part = asked(nvml.nvmlDeviceGetMigDeviceHandleByIndex, device, place)
        if part is None:
            continue
        instance, memory = nvml.nvmlDeviceGetGpuInstanceId(part), nvml.nvmlDeviceGetMemoryInfo(part)
        size, busy = nvml.nvmlDeviceGetAttributes(part).multiprocessorCount, activity(device, instance)
        found.append([nvml.nvmlDeviceGetUUID(part), instance, size, memory.total, memory.used, busy and busy[0]])
    return found


def processes(device):
    lists = {
        "compute": nvml.nvmlDeviceGetComputeRunningProcesses,
        "graphics": nvml.nvmlDeviceGetGraphicsRunningProcesses,
        "mps": nvml.nvmlDeviceGetMPSComputeRunningProcesses,
    }
    return sorted((kind, one.pid, one.usedGpuMemory) for kind, get in lists.items() for one in asked(get, device) or [])


def uses(device):
    told = asked(nvml.nvmlDeviceGetProcessUtilization, device, 0) or []
    return sorted({(one.pid, one.smUtil) for one in told})


def ecc(device, kind):
    return asked(nvml.nvmlDeviceGetTotalEccErrors, device, kind, nvml.NVML_VOLATILE_ECC)


def main():
    nvml.nvmlInit()
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    mig = asked(nvml.nvmlDeviceGetMigMode, device)
    divided = mig is not None and mig[0] == nvml.NVML_DEVICE_MIG_ENABLE
    memory = nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2)
    rates = asked(nvml.nvmlDeviceGetUtilizationRates, device)
    reasons = nvml.nvmlDeviceGetCurrentClocksEventReasons(device)
    fans = range(asked(nvml.nvmlDeviceGetNumFans, device) or 0)
    read = {
        "devices": nvml.nvmlDeviceGetCount(),
        "driver": nvml.nvmlSystemGetDriverVersion(),
        "id": nvml.nvmlDeviceGetUUID(device),
        "model": nvml.nvmlDeviceGetName(device),
        "serial": asked(nvml.nvmlDeviceGetSerial, device),
        "firmware": asked(nvml.nvmlDeviceGetVbiosVersion, device),
        "pci": nvml.nvmlDeviceGetPciInfo(device).busId,
        "persistence": bool(nvml.nvmlDeviceGetPersistenceMode(device)),
        "compute_mode": MODES.get(nvml.nvmlDeviceGetComputeMode(device)),
        "mig": None if mig is None else divided,
        "limits": [asked(nvml.nvmlDeviceGetTemperatureThreshold, device, which) for which in THRESHOLDS],
        **fields(device),
        "energy_call_mj": asked(nvml.nvmlDeviceGetTotalEnergyConsumption, device),
        "power_call_mw": asked(nvml.nvmlDeviceGetPowerUsage, device),
        "power_limit_mw": asked(nvml.nvmlDeviceGetEnforcedPowerLimit, device),
        "memory": [memory.total, memory.total - memory.free],
        "utilization": rates and [rates.gpu, rates.memory],
        "encoder_pct": (asked(nvml.nvmlDeviceGetEncoderUtilization, device) or [None])[0],
        "decoder_pct": (asked(nvml.nvmlDeviceGetDecoderUtilization, device) or [None])[0],
        "temperature": asked(nvml.nvmlDeviceGetTemperature, device, nvml.NVML_TEMPERATURE_GPU),
        "sm_mhz": asked(nvml.nvmlDeviceGetClockInfo, device, nvml.NVML_CLOCK_SM),
        "memory_mhz": asked(nvml.nvmlDeviceGetClockInfo, device, nvml.NVML_CLOCK_MEM),
        "video_mhz": asked(nvml.nvmlDeviceGetClockInfo, device, nvml.NVML_CLOCK_VIDEO),
        "throttle": [cause for cause, bit in CAUSES.items() if reasons & bit],
        "performance_state": asked(nvml.nvmlDeviceGetPerformanceState, device),
        "ecc_corrected": ecc(device, nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
        "ecc_uncorrected": ecc(device, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        "remapped": asked(nvml.nvmlDeviceGetRemappedRows, device),
        "pcie_replays": asked(nvml.nvmlDeviceGetPcieReplayCounter, device),
        "pcie_link": [asked(get, device) for get in LINK],
        "fans": [nvml.nvmlDeviceGetFanSpeed_v2(device, fan) for fan in fans],
        "first_fan_rpm": asked(nvml.nvmlDeviceGetFanSpeedRPM, device) if fans else None,
        "activity": None if divided else activity(device),
        "instances": instances(device) if divided else [],
        "processes": processes(device),
        "uses": uses(device),
    }
    nvml.nvmlShutdown()
    print(json.dumps(read))


main()
