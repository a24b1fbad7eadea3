//! What a device said of itself. What it does not support is absent, never 0.

use super::event::ThrottleCause;

/// Bytes of a device's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// In all.
    pub total: u64,
    /// In use, what the driver keeps for itself included.
    pub used: u64,
}

/// Rows of memory that were replaced by spare ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Remapped {
    /// For corrected errors.
    pub corrected: Option<u64>,
    /// For uncorrected errors.
    pub uncorrected: Option<u64>,
    /// A row waits for a reset to be replaced.
    pub pending: Option<bool>,
    /// A row could not be replaced.
    pub failed: Option<bool>,
}

/// NVLink errors, all links together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NvlinkErrors {
    /// Flit CRC errors.
    pub crc_flit: Option<u64>,
    /// Data CRC errors.
    pub crc_data: Option<u64>,
    /// Replays.
    pub replay: Option<u64>,
    /// Recoveries.
    pub recovery: Option<u64>,
}

/// A fan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fan {
    /// Percent of its greatest speed; may exceed 100.
    pub pct: Option<u32>,
    /// Revolutions a minute.
    pub rpm: Option<u32>,
}

/// Activity between two GPM samples, in hundredths of a percent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Activity {
    /// Multiprocessors with a warp.
    pub sm: Option<u32>,
    /// Tensor cores.
    pub tensor: Option<u32>,
    /// Memory bandwidth.
    pub dram: Option<u32>,
}

/// Why clocks are held down: any number of causes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Throttle(u8);

impl Throttle {
    /// With one cause more.
    pub fn with(self, cause: ThrottleCause) -> Self {
        Self(self.0 | 1 << cause as u8)
    }

    /// True for a cause that holds.
    pub fn has(self, cause: ThrottleCause) -> bool {
        self.0 & (1 << cause as u8) != 0
    }
}

/// A reading: whatever was asked for this time and answered. Counters count since the driver was loaded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// Percent of time with a kernel running.
    pub utilization_pct: Option<u32>,
    /// Percent of time with memory read or written.
    pub memory_activity_pct: Option<u32>,
    /// Percent of time of the encoder.
    pub encoder_pct: Option<u32>,
    /// Percent of time of the decoder.
    pub decoder_pct: Option<u32>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Energy counter in millijoules.
    pub energy_mj: Option<u64>,
    /// Power in milliwatts, averaged by the driver (1 s).
    pub power_average_mw: Option<u32>,
    /// Power in milliwatts at once.
    pub power_instant_mw: Option<u32>,
    /// Power limit in force, in milliwatts.
    pub power_limit_mw: Option<u32>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Degrees Celsius of the memory.
    pub memory_temperature: Option<u32>,
    /// MHz of the multiprocessors.
    pub sm_mhz: Option<u32>,
    /// MHz of the memory.
    pub memory_mhz: Option<u32>,
    /// MHz of encoder and decoder.
    pub video_mhz: Option<u32>,
    /// Why clocks are held down.
    pub throttle: Option<Throttle>,
    /// Nanoseconds of throttling, by [`ThrottleCause`].
    pub throttled_ns: [Option<u64>; ThrottleCause::ALL.len()],
    /// Performance state: 0 is the fastest.
    pub performance_state: Option<u32>,
    /// Corrected ECC errors.
    pub ecc_corrected: Option<u64>,
    /// Uncorrected ECC errors.
    pub ecc_uncorrected: Option<u64>,
    /// Replaced rows.
    pub remapped: Remapped,
    /// PCIe bytes received.
    pub pcie_rx_bytes: Option<u64>,
    /// PCIe bytes sent.
    pub pcie_tx_bytes: Option<u64>,
    /// PCIe replays.
    pub pcie_replays: Option<u64>,
    /// PCIe generation of the link now.
    pub pcie_generation: Option<u32>,
    /// Lanes of the link now.
    pub pcie_width: Option<u32>,
    /// NVLink KiB received, all links.
    pub nvlink_rx_kib: Option<u64>,
    /// NVLink KiB sent, all links.
    pub nvlink_tx_kib: Option<u64>,
    /// NVLink errors.
    pub nvlink_errors: NvlinkErrors,
    /// Fans.
    pub fans: Vec<Fan>,
    /// GPM activity.
    pub activity: Option<Activity>,
}

impl Reading {
    /// Takes a newer reading: what is quick, and everything else where that was its turn too. What was asked for and not
    /// answered is not known any more.
    pub fn update(&mut self, newer: &Self, health: bool) {
        if health {
            self.clone_from(newer);
            return;
        }
        *self = Self {
            utilization_pct: newer.utilization_pct,
            memory_activity_pct: newer.memory_activity_pct,
            memory: newer.memory,
            energy_mj: newer.energy_mj,
            power_average_mw: newer.power_average_mw,
            power_instant_mw: newer.power_instant_mw,
            throttle: newer.throttle,
            ..std::mem::take(self)
        };
    }
}
