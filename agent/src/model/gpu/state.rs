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
    /// The kernel module is loaded or the configuration names a library, and none was found or could be loaded.
    Unloadable {
        /// What the loader said, with the path.
        reason: String,
        /// The configuration names it.
        named: bool,
    },
    /// The library is there; the kernel module is not loaded.
    NotLoaded,
    /// The same, where no GPU is on the PCI bus that it might drive: there is none, or other drivers have them.
    NoDevice,
    /// Library and kernel module are of different versions.
    Mismatch {
        /// The library's, where it tells.
        library: Option<String>,
        /// The kernel module's, where it tells.
        module: Option<String>,
    },
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
    pub const NAMES: [&'static str; 10] = [
        "absent",
        "unloadable",
        "not_loaded",
        "no_device",
        "mismatch",
        "failed",
        "stuck",
        "ready",
        "releasing",
        "released",
    ];

    /// Its name in attributes.
    pub fn name(&self) -> &'static str {
        let place = match self {
            Self::Absent { .. } => 0,
            Self::Unloadable { .. } => 1,
            Self::NotLoaded => 2,
            Self::NoDevice => 3,
            Self::Mismatch { .. } => 4,
            Self::Failed { .. } => 5,
            Self::Stuck { .. } => 6,
            Self::Ready { .. } => 7,
            Self::Releasing { .. } => 8,
            Self::Released => 9,
        };
        Self::NAMES[place]
    }

    /// What there is to say of it besides its name. `now` is monotonic time in nanoseconds.
    pub fn detail(&self, now: u64) -> String {
        let all_stay = "; all GPUs stay open until it does";
        let version = |of: &str, version: &Option<String>| {
            format!("{of} {}", version.as_deref().unwrap_or("of a version that it does not tell"))
        };
        match self {
            Self::Absent { reason } | Self::Unloadable { reason, named: false } => reason.clone(),
            Self::Failed { reason } => format!("the driver refuses: {reason}"),
            Self::Unloadable { reason, named: true } => format!("gpu.library cannot be loaded: {reason}"),
            Self::NotLoaded => "the library is there, the kernel module is not loaded".to_owned(),
            Self::NoDevice => {
                "the library is there, and no GPU of NVIDIA on the PCI bus that its driver might have".to_owned()
            }
            Self::Mismatch { library, module } => {
                format!("{} does not fit {}", version("library", library), version("kernel module", module))
            }
            Self::Stuck { call, since } => call.overdue(*since, now),
            Self::Ready { version, devices } => format!("driver {version}, {devices} GPUs"),
            Self::Releasing { stuck: Some((call, since)) } => call.overdue(*since, now) + all_stay,
            Self::Releasing { stuck: None } => "the driver has not answered yet".to_owned() + all_stay,
            Self::Released => "let go: no device node is open".to_owned(),
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
            Self::Unloadable { named: true, .. } if !STATIC => {
                "let gpu.library name the driver's libnvidia-ml.so.1, or leave it out to have it looked for"
            }
            Self::Unloadable { .. } if STATIC => {
                "this build is static and cannot load libraries: use the one for glibc (x86_64-unknown-linux-gnu)"
            }
            Self::Unloadable { .. } => {
                "install libnvidia-ml.so.1, in a container set NVIDIA_DRIVER_CAPABILITIES=utility, or name its path (gpu.library)"
            }
            Self::NotLoaded => "load the kernel module: modprobe nvidia",
            Self::Mismatch { .. } => "the driver was replaced while in use: reload its kernel module, or reboot",
            Self::Failed { .. } => "see `nvidia-smi` and the kernel's log",
            Self::Stuck { .. } | Self::Releasing { stuck: Some(_) } => {
                "the driver does not answer: see the kernel's log for NVRM; a restart of the agent does not help"
            }
            Self::NoDevice | Self::Ready { .. } | Self::Releasing { stuck: None } | Self::Released => return None,
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

    /// What it means. `now` is monotonic time in nanoseconds.
    pub fn meaning(&self, now: u64) -> String {
        match self {
            Self::Ok => "the GPU answers again".to_owned(),
            Self::Stuck { call, since } => {
                format!("{}; the GPU is set aside until it does", call.overdue(*since, now))
            }
            Self::Lost => "the GPU fell off the bus".to_owned(),
            Self::ResetRequired => "the GPU wants a reset before anything runs on it".to_owned(),
            Self::Failing { error } => format!("the GPU answers with errors ({})", error.replace('_', " ")),
            Self::Waiting => "the GPU is not read: calls for others have not returned".to_owned(),
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
