//! What the source of GPUs needs to know: checked values that the configuration fills in.

use std::path::PathBuf;
use std::time::Duration;

/// Where drivers put their library: the loader's own search, device plugins, the GPU operator's driver container, GKE, WSL.
const LIBRARIES: [&str; 7] = [
    "libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1",
    "/home/kubernetes/bin/nvidia/lib64/libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
];

/// Everything the source needs to know.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Where NVML is looked for, in this order: names or paths, as for `dlopen`.
    pub libraries: Vec<PathBuf>,
    /// The configuration names it: that it cannot be loaded is then a mistake, driver or not.
    pub named: bool,
    /// How long a call may take before other devices go on without it.
    pub patience: Duration,
    /// How long a call may take before it is reported as stuck.
    pub deadline: Duration,
    /// How often what is asked for.
    pub cadence: Cadence,
    /// Pause before the first retry of what failed; doubled up to a minute.
    pub retry: Duration,
    /// Where `/proc` of the initial pid namespace is mounted.
    pub proc: PathBuf,
    /// Where `/sys` is mounted.
    pub sys: PathBuf,
    /// The kernel's log, for Xid errors; without it they come from the driver's events.
    pub kmsg: Option<PathBuf>,
    /// Observations that wait to be taken; beyond them samples are dropped and counted.
    pub queue: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            libraries: LIBRARIES.iter().map(PathBuf::from).collect(),
            named: false,
            patience: Duration::from_millis(50),
            deadline: Duration::from_secs(2),
            cadence: Cadence::default(),
            retry: Duration::from_secs(1),
            proc: PathBuf::from("/proc"),
            sys: PathBuf::from("/sys"),
            kmsg: Some(PathBuf::from("/dev/kmsg")),
            queue: 1024,
        }
    }
}

/// How often what is asked for. Intervals grow where calls cost more than the budget.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cadence {
    /// Between two readings of energy, power, utilisation and memory while anything moves.
    pub fastest: Duration,
    /// The same while the device is busy and nothing moves.
    pub steady: Duration,
    /// The same while the device is idle.
    pub slowest: Duration,
    /// Between two readings of the processes' use of a busy device; idle ones wait as long as for everything else.
    pub uses: Duration,
    /// Between two readings of temperatures, clocks, errors, links, fans and activity.
    pub health: Duration,
    /// Between two lists of processes.
    pub processes: Duration,
    /// Between two looks for devices that came or went, and for events.
    pub house: Duration,
    /// Share of the time that may be spent in the driver, in millionths, over all devices.
    pub budget_ppm: u32,
    /// Longest interval that the budget makes.
    pub longest: Duration,
}

impl Default for Cadence {
    fn default() -> Self {
        Self {
            fastest: Duration::from_millis(100),
            steady: Duration::from_secs(1),
            slowest: Duration::from_secs(5),
            uses: Duration::from_secs(1),
            health: Duration::from_secs(5),
            processes: Duration::from_secs(10),
            house: Duration::from_secs(1),
            budget_ppm: 5_000,
            longest: Duration::from_secs(60),
        }
    }
}
