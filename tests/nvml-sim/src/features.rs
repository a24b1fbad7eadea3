//! What generations of GPUs can do.

use serde::{Deserialize, Serialize};

/// A generation, by a well-known product.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// Hopper: everything, GPM and MIG included.
    H100,
    /// GA100: MIG, no GPM, power without an average of its own.
    A100,
    /// Ada, with fans: no MIG, NVLink or ECC totals.
    Rtx4090,
    /// Pascal: neither energy counter nor row remapping; short of fields.
    P4,
}

/// What a generation answers with something else than `NVML_ERROR_NOT_SUPPORTED`.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Product name.
    pub name: &'static str,
    /// `NVML_DEVICE_ARCH_…`.
    pub architecture: u32,
    /// CUDA compute capability.
    pub capability: (i32, i32),
    /// Bytes of memory.
    pub memory: u64,
    /// Milliwatts.
    pub power_limit: u32,
    /// `nvmlDeviceGetTotalEnergyConsumption` and its fields.
    pub energy: bool,
    /// Field `NVML_FI_DEV_POWER_AVERAGE`.
    pub power_average: bool,
    /// Field `NVML_FI_DEV_POWER_INSTANT`.
    pub power_instant: bool,
    /// ECC counters.
    pub ecc: bool,
    /// Row remapping.
    pub remapping: bool,
    /// Temperature of the memory.
    pub memory_temperature: bool,
    /// PCIe byte counters.
    pub pcie_bytes: bool,
    /// NVLinks.
    pub nvlink: bool,
    /// Throttle times.
    pub throttle_time: bool,
    /// MIG.
    pub mig: bool,
    /// GPM.
    pub gpm: bool,
    /// Multiprocessors of a MIG slice.
    pub slice_multiprocessors: u32,
}

impl Generation {
    /// What it can do.
    pub fn features(self) -> Features {
        match self {
            Self::H100 => HOPPER,
            Self::A100 => AMPERE,
            Self::Rtx4090 => ADA,
            Self::P4 => PASCAL,
        }
    }
}

const HOPPER: Features = Features {
    name: "NVIDIA H100 80GB HBM3",
    architecture: 9,
    capability: (9, 0),
    memory: 81_559 << 20,
    power_limit: 700_000,
    energy: true,
    power_average: true,
    power_instant: true,
    ecc: true,
    remapping: true,
    memory_temperature: true,
    pcie_bytes: true,
    nvlink: true,
    throttle_time: true,
    mig: true,
    gpm: true,
    slice_multiprocessors: 16,
};

const AMPERE: Features = Features {
    name: "NVIDIA A100-SXM4-80GB",
    architecture: 7,
    capability: (8, 0),
    memory: 81_920 << 20,
    power_limit: 400_000,
    // `nvml.h`: supported on Ampere, except GA100.
    power_average: false,
    pcie_bytes: false,
    gpm: false,
    slice_multiprocessors: 14,
    ..HOPPER
};

const ADA: Features = Features {
    name: "NVIDIA GeForce RTX 4090",
    architecture: 8,
    capability: (8, 9),
    memory: 24_564 << 20,
    power_limit: 450_000,
    power_average: true,
    ecc: false,
    remapping: false,
    memory_temperature: false,
    nvlink: false,
    mig: false,
    ..AMPERE
};

const PASCAL: Features = Features {
    name: "Tesla P4",
    architecture: 4,
    capability: (6, 1),
    memory: 7_680 << 20,
    power_limit: 75_000,
    energy: false,
    power_average: false,
    power_instant: false,
    ecc: true,
    throttle_time: false,
    ..ADA
};
