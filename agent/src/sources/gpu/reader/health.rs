//! What changes slowly, or costs more.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};

use super::Reader;
use crate::model::gpu::{Call, Fan, Reading};
use crate::sources::gpu::watch::Meter;

impl Reader {
    /// Temperatures, clocks, errors, links, fans, activity.
    pub(super) fn at_leisure(&mut self, device: &Device<'_>, reading: &mut Reading, meter: &mut Meter<'_>) {
        self.health.read(device, Call::HealthFields, reading, meter);
        self.nvlink.read(device, Call::NvlinkFields, reading, meter);
        if reading.ecc_corrected.is_none() {
            let errors = meter.call(Call::Ecc, || {
                let of = |kind| device.total_ecc_errors(kind, EccCounter::Volatile);
                Ok((of(MemoryError::Corrected)?, of(MemoryError::Uncorrected).ok()))
            });
            (reading.ecc_corrected, reading.ecc_uncorrected) =
                errors.map_or((None, None), |(one, two)| (Some(one), two));
        }
        reading.temperature = meter.call(Call::Temperature, || device.temperature(TemperatureSensor::Gpu));
        reading.power_limit_mw = meter.call(Call::PowerLimit, || device.enforced_power_limit());
        // Where the first of several is there, another may still be lacking.
        let clocks = meter.call(Call::Clocks, || {
            let of = |clock| device.clock_info(clock);
            Ok((of(Clock::SM)?, of(Clock::Memory).ok(), of(Clock::Video).ok()))
        });
        if let Some((sm, memory, video)) = clocks {
            (reading.sm_mhz, reading.memory_mhz, reading.video_mhz) = (Some(sm), memory, video);
        }
        let link = || Ok((device.current_pcie_link_gen()?, device.current_pcie_link_width().ok()));
        if let Some((generation, width)) = meter.call(Call::Pcie, link) {
            (reading.pcie_generation, reading.pcie_width) = (Some(generation), width);
        }
        reading.performance_state =
            meter.call(Call::PerformanceState, || device.performance_state()).map(|state| state.as_c());
        reading.encoder_pct = meter.call(Call::Encoder, || device.encoder_utilization()).map(|used| used.utilization);
        reading.decoder_pct = meter.call(Call::Decoder, || device.decoder_utilization()).map(|used| used.utilization);
        for fan in 0..self.fans {
            // Revolutions are told by drivers since 565.
            let speeds = || Ok(Fan { pct: Some(device.fan_speed(fan)?), rpm: device.fan_speed_rpm(fan).ok() });
            reading.fans.extend(meter.call(Call::Fans, speeds));
        }
        reading.activity = self.gpm.read(device, meter);
    }
}
