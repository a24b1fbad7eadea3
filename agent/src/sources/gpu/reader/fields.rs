//! Fields: many values in one call. A field that the device does not support is asked for once.

use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::*;
use nvml_wrapper::{Device, struct_wrappers::device::FieldValueSample};
use nvml_wrapper_sys::bindings::{nvmlFieldValue_t, nvmlValue_t};

use crate::model::gpu::{Call, Reading, ThrottleCause};
use crate::sources::gpu::watch::Meter;

/// Scope of NVLink's counters that means all links together.
const ALL_LINKS: u32 = u32::MAX;

/// Puts a value where it belongs.
type Put = fn(&mut Reading, Number);

/// A value, and whether it has 64 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    value: u64,
    wide: bool,
}

impl Number {
    fn short(self) -> u32 {
        u32::try_from(self.value).unwrap_or(u32::MAX)
    }

    /// The value of a counter of bytes: one of 32 bits wraps within seconds and tells nothing.
    fn bytes(self) -> Option<u64> {
        self.wide.then_some(self.value)
    }
}

/// Fields that are read together.
#[derive(Debug)]
pub(super) struct Fields {
    wanted: Vec<(u32, Put)>,
    scoped: bool,
}

impl Fields {
    /// Energy and power.
    pub(super) fn energy() -> Self {
        let wanted: Vec<(u32, Put)> = vec![
            (NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, |reading, number| reading.energy_mj = Some(number.value)),
            (NVML_FI_DEV_POWER_AVERAGE, |reading, number| reading.power_average_mw = Some(number.short())),
            (NVML_FI_DEV_POWER_INSTANT, |reading, number| reading.power_instant_mw = Some(number.short())),
        ];
        Self { wanted, scoped: false }
    }

    /// Temperature, errors, PCIe, throttle times.
    pub(super) fn health() -> Self {
        let wanted: Vec<(u32, Put)> = vec![
            (NVML_FI_DEV_MEMORY_TEMP, |reading, number| {
                // Boards without the sensor say 0.
                reading.memory_temperature = Some(number.short()).filter(|&degrees| degrees > 0);
            }),
            (NVML_FI_DEV_ECC_SBE_VOL_TOTAL, |reading, number| reading.ecc_corrected = Some(number.value)),
            (NVML_FI_DEV_ECC_DBE_VOL_TOTAL, |reading, number| reading.ecc_uncorrected = Some(number.value)),
            (NVML_FI_DEV_REMAPPED_COR, |reading, number| reading.remapped.corrected = Some(number.value)),
            (NVML_FI_DEV_REMAPPED_UNC, |reading, number| reading.remapped.uncorrected = Some(number.value)),
            (NVML_FI_DEV_REMAPPED_PENDING, |reading, number| reading.remapped.pending = Some(number.value != 0)),
            (NVML_FI_DEV_REMAPPED_FAILURE, |reading, number| reading.remapped.failed = Some(number.value != 0)),
            (NVML_FI_DEV_PCIE_REPLAY_COUNTER, |reading, number| reading.pcie_replays = Some(number.value)),
            (NVML_FI_DEV_PCIE_COUNT_RX_BYTES, |reading, number| reading.pcie_rx_bytes = number.bytes()),
            (NVML_FI_DEV_PCIE_COUNT_TX_BYTES, |reading, number| reading.pcie_tx_bytes = number.bytes()),
            (NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP, |reading, number| {
                reading.throttled_ns[ThrottleCause::PowerCap as usize] = Some(number.value);
            }),
            (NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST, |reading, number| {
                reading.throttled_ns[ThrottleCause::SyncBoost as usize] = Some(number.value);
            }),
            (NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN, |reading, number| {
                reading.throttled_ns[ThrottleCause::SwThermal as usize] = Some(number.value);
            }),
            (NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN, |reading, number| {
                reading.throttled_ns[ThrottleCause::HwThermal as usize] = Some(number.value);
            }),
            (NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN, |reading, number| {
                reading.throttled_ns[ThrottleCause::HwPowerBrake as usize] = Some(number.value);
            }),
        ];
        Self { wanted, scoped: false }
    }

    /// Traffic and errors of all NVLinks together.
    pub(super) fn nvlink() -> Self {
        let wanted: Vec<(u32, Put)> = vec![
            (NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, |reading, number| reading.nvlink_rx_kib = Some(number.value)),
            (NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, |reading, number| reading.nvlink_tx_kib = Some(number.value)),
            (NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL, |reading, number| {
                reading.nvlink_errors.crc_flit = Some(number.value);
            }),
            (NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL, |reading, number| {
                reading.nvlink_errors.crc_data = Some(number.value);
            }),
            (NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL, |reading, number| {
                reading.nvlink_errors.replay = Some(number.value);
            }),
            (NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL, |reading, number| {
                reading.nvlink_errors.recovery = Some(number.value);
            }),
        ];
        Self { wanted, scoped: true }
    }

    /// Reads them in one call.
    pub(super) fn read(&mut self, device: &Device<'_>, call: Call, reading: &mut Reading, meter: &mut Meter<'_>) {
        if self.wanted.is_empty() {
            return;
        }
        let ids: Vec<FieldId> = self.wanted.iter().map(|(id, _)| FieldId(*id)).collect();
        let scoped = self.scoped;
        let Some(values) =
            meter.call(call, || if scoped { all_links(device, &ids) } else { device.field_values_for(&ids) })
        else {
            return;
        };
        let mut kept = Vec::with_capacity(self.wanted.len());
        for ((id, put), value) in self.wanted.drain(..).zip(values) {
            match value.and_then(|sample| sample.value) {
                Ok(value) => put(reading, number(&value)),
                Err(NvmlError::NotSupported | NvmlError::InvalidArg) => continue,
                // What failed this time may succeed the next.
                Err(_) => {}
            }
            kept.push((id, put));
        }
        self.wanted = kept;
    }
}

fn number(value: &SampleValue) -> Number {
    match *value {
        SampleValue::F64(value) => Number { value: value.max(0.0) as u64, wide: true },
        SampleValue::U32(value) => Number { value: value.into(), wide: false },
        SampleValue::U64(value) => Number { value, wide: true },
        SampleValue::I64(value) => Number { value: u64::try_from(value).unwrap_or(0), wide: true },
    }
}

/// The wrapper has no way to say which links are meant. The numbers of these fields are the same in all drivers.
fn all_links(device: &Device<'_>, ids: &[FieldId]) -> Result<Vec<Result<FieldValueSample, NvmlError>>, NvmlError> {
    let get = nvml_sym(device.nvml().lib().nvmlDeviceGetFieldValues.as_ref())?;
    let field = |id: &FieldId| nvmlFieldValue_t {
        fieldId: id.0,
        scopeId: ALL_LINKS,
        timestamp: 0,
        latencyUsec: 0,
        valueType: 0,
        nvmlReturn: 0,
        value: nvmlValue_t { ullVal: 0 },
    };
    let mut fields: Vec<nvmlFieldValue_t> = ids.iter().map(field).collect();
    // SAFETY: the handle is of this library; the list is as long as it is said to be.
    nvml_try(unsafe { get(device.handle(), fields.len() as i32, fields.as_mut_ptr()) })?;
    Ok(fields.into_iter().map(FieldValueSample::try_from).collect())
}
