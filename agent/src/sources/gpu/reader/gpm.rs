//! GPM: activity between two samples, on Hopper and later. It shuts nobody out, unlike profiling.

use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::gpm::{GpmSample, gpm_metrics_get};
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::nvmlGpmSample_t;

use crate::clock::monotonic_nanos;
use crate::model::gpu::{Activity, Call};
use crate::sources::gpu::watch::Meter;

/// Shortest time between two samples, in nanoseconds: closer ones tell nothing.
const APART: u64 = 110_000_000;
const METRICS: [GpmMetricId; 3] = [GpmMetricId::SmUtil, GpmMetricId::AnyTensorUtil, GpmMetricId::DramBwUtil];

/// The last sample of a device or an instance.
#[derive(Debug)]
pub(super) struct Gpm {
    of: Option<Of>,
    last: Option<(Kept, u64)>,
    /// What the last two samples told.
    told: Option<Activity>,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Device,
    Instance(u32),
}

/// A sample between two readings. To be freed while the library is initialised.
#[derive(Debug)]
struct Kept(nvmlGpmSample_t);

// SAFETY: a sample may be used by any thread, by one at a time.
unsafe impl Send for Kept {}

impl Gpm {
    /// Of a device that has none.
    pub(super) fn none() -> Self {
        Self { of: None, last: None, told: None }
    }

    /// Of a whole device.
    pub(super) fn of_device() -> Self {
        Self { of: Some(Of::Device), last: None, told: None }
    }

    /// Of an instance, by its GPU instance id.
    pub(super) fn of_instance(id: Option<u32>) -> Self {
        Self { of: id.map(Of::Instance), last: None, told: None }
    }

    /// Activity since the last reading, or between the last two that were apart; `None` for the first one. `device` is the
    /// whole one.
    pub(super) fn read(&mut self, device: &Device<'_>, meter: &mut Meter<'_>) -> Option<Activity> {
        let of = self.of?;
        let now = monotonic_nanos();
        if self.last.as_ref().is_some_and(|(_, at)| now.saturating_sub(*at) < APART) {
            return self.told;
        }
        self.told = None;
        let sample = meter.call(Call::Gpm, || match of {
            Of::Device => device.gpm_sample(),
            Of::Instance(id) => device.gpm_mig_sample(id),
        })?;
        // SAFETY: the sample is of the same library; `last` gives up its handle here.
        let before = self.last.take().map(|(Kept(raw), _)| unsafe { GpmSample::from_handle(device.nvml(), raw) });
        let told = before
            .and_then(|before| meter.call(Call::Gpm, || gpm_metrics_get(device.nvml(), &before, &sample, &METRICS)));
        self.last = Some((Kept(sample.into_handle()), now));
        let mut told = told?.into_iter().map(|metric| metric.ok().map(|metric| (metric.value * 100.0).round() as u32));
        let activity = Activity { sm: told.next()?, tensor: told.next()?, dram: told.next()? };
        self.told = Some(activity).filter(|activity| *activity != Activity::default());
        self.told
    }

    /// Frees the last sample.
    pub(super) fn free(&mut self, nvml: &Nvml) {
        if let Some((Kept(raw), _)) = self.last.take() {
            // SAFETY: allocated by this library and used nowhere else.
            drop(unsafe { GpmSample::from_handle(nvml, raw) });
        }
    }
}
