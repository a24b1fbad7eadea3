//! From a reading to points.

use std::sync::Arc;

use super::device::Device;
use super::event::ThrottleCause;
use super::facts::GpuId;
use super::reading::{Reading, Remapped};
use crate::model::attr::{self, Attributes, Value};
use crate::model::batch::{Data, Point};
use crate::model::metrics::MetricId;

/// Appends what a device showed last, and its mean utilisation (a fraction) where it is known.
pub(super) fn collect(device: &Device, utilization: Option<f64>, points: &mut Vec<Point>) {
    let mut gauges = Gauges { id: &device.gpu.id, points };
    gauges.utilization(&device.latest, utilization);
    gauges.memory(&device.latest);
    gauges.power(&device.latest);
    gauges.temperatures(device);
    gauges.clocks(&device.latest);
    gauges.links(&device.latest);
    gauges.fans(&device.latest);
}

struct Gauges<'a> {
    id: &'a GpuId,
    points: &'a mut Vec<Point>,
}

impl Gauges<'_> {
    fn put(&mut self, metric: MetricId, more: &[(&'static str, &'static str)], data: Option<Data>) {
        let Some(data) = data else { return };
        let mut attributes = with_id(self.id);
        attributes.extend(more.iter().map(|(key, word)| (*key, Value::Word(word))));
        self.points.push(Point { metric, attributes, data });
    }

    fn utilization(&mut self, reading: &Reading, mean: Option<f64>) {
        let pct = |pct: Option<u32>| pct.map(|pct| Data::Real(f64::from(pct) / 100.0));
        let hundredths = |part: Option<u32>| part.map(|part| Data::Real(f64::from(part) / 1e4));
        self.put(MetricId::HwGpuUtilization, &[(attr::HW_GPU_TASK, "general")], mean.map(Data::Real));
        self.put(MetricId::HwGpuUtilization, &[(attr::HW_GPU_TASK, "encoder")], pct(reading.encoder_pct));
        self.put(MetricId::HwGpuUtilization, &[(attr::HW_GPU_TASK, "decoder")], pct(reading.decoder_pct));
        self.put(MetricId::GpuMemoryActivity, &[], pct(reading.memory_activity_pct));
        let activity = reading.activity.unwrap_or_default();
        self.put(MetricId::GpuActivity, &[(attr::GPU_UNIT, "sm")], hundredths(activity.sm));
        self.put(MetricId::GpuActivity, &[(attr::GPU_UNIT, "tensor")], hundredths(activity.tensor));
        self.put(MetricId::GpuActivity, &[(attr::GPU_UNIT, "dram")], hundredths(activity.dram));
    }

    fn memory(&mut self, reading: &Reading) {
        let memory = reading.memory;
        self.put(MetricId::HwGpuMemoryLimit, &[], memory.map(|memory| Data::Current(memory.total as i64)));
        self.put(MetricId::HwGpuMemoryUsage, &[], memory.map(|memory| Data::Current(memory.used as i64)));
        let fraction = memory.filter(|memory| memory.total > 0).map(|memory| memory.used as f64 / memory.total as f64);
        self.put(MetricId::HwGpuMemoryUtilization, &[], fraction.map(Data::Real));
        let Remapped { pending, failed, .. } = reading.remapped;
        for (state, holds) in [("pending", pending), ("failed", failed)] {
            let value = holds.map(|holds| Data::Current(i64::from(holds)));
            self.put(MetricId::GpuRemapState, &[(attr::GPU_REMAP_STATE, state)], value);
        }
    }

    fn power(&mut self, reading: &Reading) {
        let watts = |milliwatts: Option<u32>| milliwatts.map(|milliwatts| Data::Real(f64::from(milliwatts) / 1e3));
        self.put(
            MetricId::HwPower,
            &[(attr::HW_TYPE, "gpu")],
            watts(reading.power_average_mw.or(reading.power_instant_mw)),
        );
        self.put(MetricId::GpuPowerInstant, &[], watts(reading.power_instant_mw));
        self.put(MetricId::GpuPowerLimit, &[], watts(reading.power_limit_mw));
    }

    fn temperatures(&mut self, device: &Device) {
        let degrees = |degrees: Option<u32>| degrees.map(|degrees| Data::Real(degrees.into()));
        let at = |place| (attr::HW_SENSOR_LOCATION, place);
        self.put(MetricId::HwTemperature, &[at("gpu")], degrees(device.latest.temperature));
        self.put(MetricId::HwTemperature, &[at("memory")], degrees(device.latest.memory_temperature));
        let limits = &device.gpu.limits;
        for (place, kind, limit) in [
            ("gpu", "critical", limits.shutdown),
            ("gpu", "throttled", limits.slowdown),
            ("gpu", "max", limits.gpu_max),
            ("memory", "max", limits.memory_max),
        ] {
            self.put(MetricId::HwTemperatureLimit, &[at(place), (attr::HW_LIMIT_TYPE, kind)], degrees(limit));
        }
    }

    fn clocks(&mut self, reading: &Reading) {
        let hertz = |mhz: Option<u32>| mhz.map(|mhz| Data::Current(i64::from(mhz) * 1_000_000));
        self.put(MetricId::GpuClock, &[(attr::GPU_CLOCK, "sm")], hertz(reading.sm_mhz));
        self.put(MetricId::GpuClock, &[(attr::GPU_CLOCK, "memory")], hertz(reading.memory_mhz));
        self.put(MetricId::GpuClock, &[(attr::GPU_CLOCK, "video")], hertz(reading.video_mhz));
        self.put(MetricId::GpuPerformanceState, &[], reading.performance_state.map(whole));
        if let Some(throttle) = reading.throttle {
            for cause in ThrottleCause::ALL {
                let holds = Some(Data::Current(i64::from(throttle.has(cause))));
                self.put(MetricId::GpuThrottled, &[(attr::GPU_THROTTLE_CAUSE, cause.name())], holds);
            }
        }
    }

    fn links(&mut self, reading: &Reading) {
        self.put(MetricId::GpuPcieGeneration, &[], reading.pcie_generation.map(whole));
        self.put(MetricId::GpuPcieWidth, &[], reading.pcie_width.map(whole));
    }

    /// A fan is a thing of its own, and part of the GPU.
    fn fans(&mut self, reading: &Reading) {
        for (number, fan) in reading.fans.iter().enumerate() {
            let id = Value::Label(format!("{}/fan{number}", self.id).into());
            let of_fan = vec![(attr::HW_ID, id), (attr::HW_PARENT, Value::Label(Arc::clone(self.id)))];
            let ratio = fan.pct.map(|pct| Data::Real(f64::from(pct) / 100.0));
            let speeds = [(MetricId::HwFanSpeedRatio, ratio), (MetricId::HwFanSpeed, fan.rpm.map(whole))];
            for (metric, data) in speeds {
                self.points.extend(data.map(|data| Point { metric, attributes: of_fan.clone(), data }));
            }
        }
    }
}

/// The attribute that every point of a device bears.
pub(super) fn with_id(id: &GpuId) -> Attributes {
    vec![(attr::HW_ID, Value::Label(Arc::clone(id)))]
}

fn whole(number: u32) -> Data {
    Data::Current(number.into())
}
