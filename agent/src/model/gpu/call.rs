//! Kinds of calls into the driver, and what they cost.

/// A kind of call. What is asked in one go is one kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Call {
    /// Loading the library and `nvmlInit`.
    Init,
    /// `nvmlShutdown` and unloading.
    Shutdown,
    /// Number of devices.
    Count,
    /// A device's handle.
    Handle,
    /// A device's facts: name, serial number, versions, modes, limits.
    Facts,
    /// Energy and power, as fields in one call.
    EnergyFields,
    /// Temperature, ECC, remapping, PCIe and throttle times, as fields in one call.
    HealthFields,
    /// NVLink traffic and errors, as fields in one call.
    NvlinkFields,
    /// Energy counter, where fields are not supported.
    Energy,
    /// Power, where fields are not supported.
    Power,
    /// Power limit in force.
    PowerLimit,
    /// Utilisation of GPU and memory.
    Utilization,
    /// Utilisation of the encoder.
    Encoder,
    /// Utilisation of the decoder.
    Decoder,
    /// Memory in use.
    Memory,
    /// Clocks.
    Clocks,
    /// Why clocks are held down.
    ThrottleReasons,
    /// Performance state.
    PerformanceState,
    /// Temperature.
    Temperature,
    /// Fans.
    Fans,
    /// PCIe link and replays.
    Pcie,
    /// ECC counts, where fields are not supported.
    Ecc,
    /// Processes.
    Processes,
    /// Use of the multiprocessors by process.
    ProcessUtilization,
    /// MIG mode and instances.
    Mig,
    /// GPM samples and what they tell.
    Gpm,
    /// Events that wait.
    Events,
}

impl Call {
    /// Its name in attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Shutdown => "shutdown",
            Self::Count => "count",
            Self::Handle => "handle",
            Self::Facts => "facts",
            Self::EnergyFields => "energy_fields",
            Self::HealthFields => "health_fields",
            Self::NvlinkFields => "nvlink_fields",
            Self::Energy => "energy",
            Self::Power => "power",
            Self::PowerLimit => "power_limit",
            Self::Utilization => "utilization",
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
            Self::Memory => "memory",
            Self::Clocks => "clocks",
            Self::ThrottleReasons => "throttle_reasons",
            Self::PerformanceState => "performance_state",
            Self::Temperature => "temperature",
            Self::Fans => "fans",
            Self::Pcie => "pcie",
            Self::Ecc => "ecc",
            Self::Processes => "processes",
            Self::ProcessUtilization => "process_utilization",
            Self::Mig => "mig",
            Self::Gpm => "gpm",
            Self::Events => "events",
        }
    }

    /// In words: that it has not returned, and for how long. `since` and `now` are nanoseconds of `CLOCK_MONOTONIC`.
    pub fn overdue(self, since: u64, now: u64) -> String {
        let seconds = now.saturating_sub(since) as f64 / 1e9;
        format!("a call into the driver ({}) has not returned for {seconds:.1} s", self.name())
    }
}

/// What one call took, and how it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Which.
    pub call: Call,
    /// Nanoseconds.
    pub nanos: u64,
    /// Why it failed, in few words; `None` where it did not. What is not supported did not fail.
    pub error: Option<&'static str>,
}
