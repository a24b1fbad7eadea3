//! How driver and devices fare.

use super::call::Call;

/// Without a dynamic loader no library can be loaded, whichever is there.
const STATIC: bool = cfg!(target_feature = "crt-static");

/// State of the driver's library as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DriverState {
    /// No library was found: no NVIDIA driver, or not where it was looked for.
    Absent {
        /// What the loader said.
        reason: String,
    },
    /// The kernel module is loaded, and no library was found or could be loaded.
    Unloadable {
        /// What the loader said.
        reason: String,
    },
    /// The library is there; the kernel module is not loaded.
    NotLoaded,
    /// Library and kernel module are of different versions.
    Mismatch,
    /// The library refused for another reason.
    Failed {
        /// What it said.
        reason: String,
    },
    /// A call that concerns no single device has not returned.
    Stuck {
        /// Which.
        call: Call,
        /// When it began, in nanoseconds of `CLOCK_MONOTONIC`.
        since: u64,
    },
    /// In use.
    Ready {
        /// Version of the driver.
        version: String,
        /// Devices.
        devices: u32,
    },
    /// Let go on request, and to be let go as soon as a call returns where one is stuck.
    Releasing {
        /// The call that has not returned, and when it began.
        stuck: Option<(Call, u64)>,
    },
    /// Let go on request: no device node is open.
    Released,
}

impl DriverState {
    /// Names of all states, in the order of the variants.
    pub const NAMES: [&'static str; 9] =
        ["absent", "unloadable", "not_loaded", "mismatch", "failed", "stuck", "ready", "releasing", "released"];

    /// Its name in attributes.
    pub fn name(&self) -> &'static str {
        let place = match self {
            Self::Absent { .. } => 0,
            Self::Unloadable { .. } => 1,
            Self::NotLoaded => 2,
            Self::Mismatch => 3,
            Self::Failed { .. } => 4,
            Self::Stuck { .. } => 5,
            Self::Ready { .. } => 6,
            Self::Releasing { .. } => 7,
            Self::Released => 8,
        };
        Self::NAMES[place]
    }

    /// What the loader or the library said.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Absent { reason } | Self::Unloadable { reason } | Self::Failed { reason } => Some(reason),
            _ => None,
        }
    }

    /// The call that has not returned, and when it began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn stuck(&self) -> Option<(Call, u64)> {
        match self {
            Self::Stuck { call, since } => Some((*call, *since)),
            Self::Releasing { stuck } => *stuck,
            _ => None,
        }
    }

    /// What to do about it; `None` where nothing is to be done.
    pub fn mend(&self) -> Option<&'static str> {
        Some(match self {
            Self::Absent { .. } => "install the NVIDIA driver, or name the library's path in the configuration",
            Self::Unloadable { .. } if STATIC => {
                "this build is static and cannot load libraries: use the one for glibc (x86_64-unknown-linux-gnu)"
            }
            Self::Unloadable { .. } => {
                "install libnvidia-ml.so.1, in a container set NVIDIA_DRIVER_CAPABILITIES=utility, or name its path (gpu.library)"
            }
            Self::NotLoaded => "load the kernel module: modprobe nvidia",
            Self::Mismatch => "the driver was replaced while in use: reload its kernel module, or reboot",
            Self::Failed { .. } => "see `nvidia-smi` and the kernel's log",
            Self::Stuck { .. } | Self::Releasing { stuck: Some(_) } => {
                "the driver does not answer: see the kernel's log for NVRM; a restart of the agent does not help"
            }
            Self::Ready { .. } | Self::Releasing { stuck: None } | Self::Released => return None,
        })
    }
}

/// State of one device, as the agent sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceState {
    /// It answers.
    Ok,
    /// A call has not returned; the device is set aside until it does.
    Stuck {
        /// Which.
        call: Call,
        /// When it began, in nanoseconds of `CLOCK_MONOTONIC`.
        since: u64,
    },
    /// It fell off the bus.
    Lost,
    /// It wants a reset.
    ResetRequired,
    /// It answers with errors.
    Failing {
        /// Which, in few words.
        error: &'static str,
    },
    /// It is not asked: every thread that may call the driver is in a call that has not returned.
    Waiting,
}

impl DeviceState {
    /// Names of all states, in the order of the variants.
    pub const NAMES: [&'static str; 6] = ["ok", "stuck", "lost", "reset_required", "failing", "waiting"];

    /// Its name in attributes.
    pub fn name(&self) -> &'static str {
        let place = match self {
            Self::Ok => 0,
            Self::Stuck { .. } => 1,
            Self::Lost => 2,
            Self::ResetRequired => 3,
            Self::Failing { .. } => 4,
            Self::Waiting => 5,
        };
        Self::NAMES[place]
    }

    /// What it means.
    pub fn meaning(&self) -> &'static str {
        match self {
            Self::Ok => "the GPU answers again",
            Self::Stuck { .. } => "a call into the driver does not return; the GPU is set aside until it does",
            Self::Lost => "the GPU fell off the bus",
            Self::ResetRequired => "the GPU wants a reset before anything runs on it",
            Self::Failing { .. } => "the GPU answers with errors",
            Self::Waiting => "the GPU is not read: calls for others have not returned",
        }
    }

    /// What to do about it; `None` where nothing is to be done.
    pub fn mend(&self) -> Option<&'static str> {
        Some(match self {
            Self::Ok => return None,
            Self::Stuck { .. } => {
                "the driver does not answer for this GPU: see the kernel's log; drain the node if it lasts"
            }
            Self::Lost => "check power, seating and the kernel's log for Xid 79; reboot the node",
            Self::ResetRequired => {
                "drain the GPU, `inferscope gpu release`, `nvidia-smi --gpu-reset`, `inferscope gpu acquire`"
            }
            Self::Failing { .. } => "see `nvidia-smi -q` and the kernel's log",
            Self::Waiting => "see to the GPUs whose calls are stuck; this one is read again when either returns",
        })
    }
}
