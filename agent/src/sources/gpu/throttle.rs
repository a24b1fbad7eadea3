//! Why clocks are held down.

use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};

use crate::model::gpu::{Throttle, ThrottleCause};

/// The bits of the reasons that hold now. Newer drivers call them event reasons; the wrapper knows the old name alone.
pub(super) fn reasons(device: &Device<'_>) -> Result<ThrottleReasons, NvmlError> {
    let Ok(get) = nvml_sym(device.nvml().lib().nvmlDeviceGetCurrentClocksEventReasons.as_ref()) else {
        return device.current_throttle_reasons();
    };
    let mut bits = 0;
    // SAFETY: the handle is of this library, and the place to write to is valid.
    nvml_try(unsafe { get(device.handle(), &raw mut bits) })?;
    Ok(ThrottleReasons::from_bits_truncate(bits))
}

/// The causes among them. An idle GPU is not throttled.
pub(super) fn causes(reasons: ThrottleReasons) -> Throttle {
    let known = [
        (ThrottleReasons::SW_POWER_CAP, ThrottleCause::PowerCap),
        (ThrottleReasons::SYNC_BOOST, ThrottleCause::SyncBoost),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, ThrottleCause::SwThermal),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, ThrottleCause::HwThermal),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, ThrottleCause::HwPowerBrake),
        (ThrottleReasons::HW_SLOWDOWN, ThrottleCause::HwSlowdown),
        (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, ThrottleCause::AppliedClocks),
    ];
    let held = known.into_iter().filter(|(reason, _)| reasons.contains(*reason));
    held.fold(Throttle::default(), |throttle, (_, cause)| throttle.with(cause))
}
