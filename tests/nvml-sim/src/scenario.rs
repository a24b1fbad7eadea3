//! What the simulated machine is: a TOML file. Every field has a default.
//!
//! ```toml
//! socket = "/tmp/control.sock"       # control socket; none without it
//! nodes = "/tmp/dev"                 # directory with nvidiactl, nvidia0 …: opened and held as NVML holds /dev/nvidia*
//! [driver]
//! library = "580.95.05"
//! [[device]]
//! generation = "h100"
//! power_w = [[0, 70], [10, 350]]     # seconds since the start, watts
//! utilization_pct = 90
//! [[device.process]]
//! pid = 4242
//! memory = 60_000_000_000
//! sm_pct = 75
//! [[latency]]
//! call = "nvmlDeviceGetFieldValues"
//! micros = 30
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::curve::Curve;
use crate::faults::Fault;
use crate::features::Generation;

/// The machine.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Where the control socket is made.
    pub socket: Option<PathBuf>,
    /// Directory of files that stand for device nodes.
    pub nodes: Option<PathBuf>,
    /// File in which calls and their time are counted.
    pub account: Option<PathBuf>,
    /// When the scenario began, in nanoseconds of `CLOCK_MONOTONIC`; without it, when the library was first initialised.
    pub epoch: Option<u64>,
    /// Who asks may not see all processes of a divided GPU at once.
    pub unprivileged: bool,
    /// The driver.
    pub driver: Driver,
    /// What calls cost beyond their own work.
    pub latency: Vec<Latency>,
    /// What goes wrong from the start.
    pub fault: Vec<Fault>,
    /// The GPUs.
    pub device: Vec<Device>,
}

/// Versions, and what they imply.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Driver {
    /// Version of the library.
    pub library: String,
    /// Version of the kernel module; the library's where it is left out.
    pub module: Option<String>,
    /// The module is loaded.
    pub loaded: bool,
    /// CUDA version, as `nvmlSystemGetCudaDriverVersion` tells it.
    pub cuda: i32,
}

impl Default for Driver {
    fn default() -> Self {
        Self { library: "570.172.08".to_owned(), module: None, loaded: true, cuda: 12080 }
    }
}

/// What a call takes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// The function, or `*` for all.
    pub call: String,
    /// Microseconds.
    pub micros: u64,
}

/// A GPU. Quantities that change over time are [`Curve`]s.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// What it can do.
    pub generation: Generation,
    /// UUID; made from its place where left out.
    pub uuid: Option<String>,
    /// PCI bus id; made from its place where left out.
    pub pci: Option<String>,
    /// Board serial number.
    pub serial: Option<String>,
    /// Persistence mode.
    pub persistence: bool,
    /// Compute mode: 0 default, 2 prohibited, 3 exclusive process.
    pub compute_mode: u32,
    /// Power in watts.
    pub power_w: Curve,
    /// What the energy counter held at the scenario's start, in millijoules.
    pub energy_mj: u64,
    /// Share of time with a kernel running.
    pub utilization_pct: Curve,
    /// Share of time with memory being read or written.
    pub memory_pct: Curve,
    /// Share of time of the encoder.
    pub encoder_pct: Curve,
    /// Share of time of the decoder.
    pub decoder_pct: Curve,
    /// Bytes in use besides those of processes.
    pub memory_reserved: u64,
    /// Degrees Celsius.
    pub temperature: Curve,
    /// Degrees Celsius of the memory.
    pub memory_temperature: Curve,
    /// SM clock in MHz.
    pub sm_mhz: Curve,
    /// Memory clock in MHz.
    pub memory_mhz: Curve,
    /// Bits of `nvmlClocksEventReason…`.
    pub throttle: u64,
    /// Nanoseconds of throttling by cause: `power_cap`, `sync_boost`, `sw_thermal`, `hw_thermal`, `hw_power_brake`.
    pub throttled_ns: BTreeMap<String, u64>,
    /// Corrected and uncorrected volatile ECC errors.
    pub ecc: (u64, u64),
    /// Rows remapped for corrected and for uncorrected errors, 1 where a remapping is pending, 1 where one failed.
    pub remapped: (u32, u32, u32, u32),
    /// PCIe bytes a second, received and sent.
    pub pcie_bytes_per_s: (Curve, Curve),
    /// PCIe replays.
    pub pcie_replays: u32,
    /// PCIe link: generation, width, and the most of both.
    pub pcie_link: (u32, u32, u32, u32),
    /// NVLink KiB a second over all links, received and sent.
    pub nvlink_kib_per_s: (Curve, Curve),
    /// NVLink errors: flit CRC, data CRC, replay, recovery.
    pub nvlink_errors: (u64, u64, u64, u64),
    /// Fans: percent and revolutions a minute.
    pub fan: Vec<(u32, u32)>,
    /// GPM activity in percent: SM, tensor cores, DRAM bandwidth.
    pub activity_pct: (Curve, Curve, Curve),
    /// Fallen off the bus.
    pub lost: bool,
    /// Wants a reset.
    pub reset_required: bool,
    /// Who uses it.
    pub process: Vec<Process>,
    /// MIG mode and instances.
    pub mig: Mig,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            generation: Generation::H100,
            uuid: None,
            pci: None,
            serial: None,
            persistence: true,
            compute_mode: 0,
            power_w: Curve::Constant(70.0),
            energy_mj: 0,
            utilization_pct: Curve::default(),
            memory_pct: Curve::default(),
            encoder_pct: Curve::default(),
            decoder_pct: Curve::default(),
            memory_reserved: 600 << 20,
            temperature: Curve::Constant(35.0),
            memory_temperature: Curve::Constant(38.0),
            sm_mhz: Curve::Constant(345.0),
            memory_mhz: Curve::Constant(2619.0),
            throttle: 1,
            throttled_ns: BTreeMap::new(),
            ecc: (0, 0),
            remapped: (0, 0, 0, 0),
            pcie_bytes_per_s: (Curve::default(), Curve::default()),
            pcie_replays: 0,
            pcie_link: (5, 16, 5, 16),
            nvlink_kib_per_s: (Curve::default(), Curve::default()),
            nvlink_errors: (0, 0, 0, 0),
            fan: Vec::new(),
            activity_pct: (Curve::default(), Curve::default(), Curve::default()),
            lost: false,
            reset_required: false,
            process: Vec::new(),
            mig: Mig::default(),
        }
    }
}

/// A process on a GPU.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Process id in the initial namespace.
    pub pid: u32,
    /// Bytes of GPU memory.
    #[serde(default)]
    pub memory: u64,
    /// Share of the SMs' time.
    #[serde(default)]
    pub sm_pct: Curve,
    /// Which list it stands in.
    #[serde(default)]
    pub kind: Kind,
    /// GPU instance that it runs in.
    #[serde(default)]
    pub gpu_instance: Option<u32>,
}

/// Lists of processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// With a compute context.
    #[default]
    Compute,
    /// With a graphics context.
    Graphics,
    /// A client of MPS.
    Mps,
}

/// MIG state of a GPU.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mig {
    /// Mode.
    pub enabled: bool,
    /// Instances, by place.
    pub instance: Vec<Instance>,
}

/// A GPU instance with one compute instance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// GPU instance id.
    pub gpu_instance: u32,
    /// UUID; made from the GPU's and the id where left out.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Compute slices, of seven.
    pub slices: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// GPM activity of its SMs in percent.
    #[serde(default)]
    pub sm_pct: Curve,
}
