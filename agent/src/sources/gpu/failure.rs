//! What NVML's errors mean for a call, a device, or the driver.

use std::path::Path;

use nvml_wrapper::error::NvmlError;

use crate::model::gpu::{DeviceState, DriverState};

/// What an error says of a call.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The device or the driver cannot do it: no failure.
    Unsupported,
    /// It failed this time.
    Refused(&'static str),
    /// There is no sense in further calls.
    Over(Failure),
}

/// What went wrong as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// The device fell off the bus.
    Lost,
    /// The device wants a reset.
    ResetRequired,
    /// The device answers nothing but this error.
    Failing(&'static str),
    /// The device is divided in another way than before.
    Redivided,
    /// The driver is not loaded any more.
    NotLoaded,
    /// The driver was replaced.
    Mismatch,
}

impl Failure {
    /// Its name as `error.type`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Lost => "gpu_is_lost",
            Self::ResetRequired => "reset_required",
            Self::Failing(error) => error,
            Self::Redivided => "redivided",
            Self::NotLoaded => "driver_not_loaded",
            Self::Mismatch => "version_mismatch",
        }
    }

    /// The state that it puts a device in; `None` where it is the driver's, or none at all.
    pub(super) fn of_device(&self) -> Option<DeviceState> {
        match self {
            Self::Lost => Some(DeviceState::Lost),
            Self::ResetRequired => Some(DeviceState::ResetRequired),
            Self::Failing(error) => Some(DeviceState::Failing { error }),
            Self::Redivided | Self::NotLoaded | Self::Mismatch => None,
        }
    }

    /// The state that it puts the driver in, with a library of a version.
    pub(super) fn of_driver(&self, library: Option<String>) -> Option<DriverState> {
        match self {
            Self::NotLoaded => Some(DriverState::NotLoaded),
            Self::Mismatch => Some(DriverState::Mismatch { library, module: None }),
            Self::Lost | Self::ResetRequired | Self::Failing(_) | Self::Redivided => None,
        }
    }
}

/// What an error of a call on a device means.
pub(super) fn judge(error: NvmlError) -> Verdict {
    match error {
        NvmlError::NotSupported | NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_) => {
            Verdict::Unsupported
        }
        NvmlError::GpuLost => Verdict::Over(Failure::Lost),
        NvmlError::ResetRequired => Verdict::Over(Failure::ResetRequired),
        NvmlError::Uninitialized | NvmlError::DriverNotLoaded => Verdict::Over(Failure::NotLoaded),
        NvmlError::LibRmVersionMismatch => Verdict::Over(Failure::Mismatch),
        NvmlError::NoPermission => Verdict::Refused("no_permission"),
        NvmlError::InvalidArg => Verdict::Refused("invalid_argument"),
        NvmlError::NotFound => Verdict::Refused("not_found"),
        NvmlError::InsufficientSize(_) => Verdict::Refused("insufficient_size"),
        NvmlError::InsufficientPower => Verdict::Refused("insufficient_power"),
        NvmlError::Timeout => Verdict::Refused("timeout"),
        NvmlError::IrqIssue => Verdict::Refused("irq_issue"),
        NvmlError::CorruptedInfoROM => Verdict::Refused("corrupted_inforom"),
        NvmlError::OperatingSystem => Verdict::Refused("operating_system"),
        NvmlError::InUse => Verdict::Refused("in_use"),
        NvmlError::InsufficientMemory => Verdict::Refused("insufficient_memory"),
        NvmlError::NoData => Verdict::Refused("no_data"),
        NvmlError::Unknown => Verdict::Refused("unknown"),
        _ => Verdict::Refused("_OTHER"),
    }
}

/// What an error of loading and initialising a library means. `None` where the library is not there.
pub(super) fn judge_init(error: &NvmlError, path: &Path) -> Option<DriverState> {
    match error {
        NvmlError::LibloadingError(_) => None,
        NvmlError::DriverNotLoaded => Some(DriverState::NotLoaded),
        NvmlError::LibRmVersionMismatch => Some(DriverState::Mismatch { library: None, module: None }),
        other => Some(DriverState::Failed { reason: format!("{}: {other}", path.display()) }),
    }
}
