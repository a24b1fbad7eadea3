//! NVML's C ABI in front of simulated GPUs.
//!
//! A program that loads `libnvidia-ml.so.1` cannot tell this library from NVIDIA's: symbols, signatures, struct layouts and
//! return codes are those of `nvml.h` (by way of `nvml-wrapper-sys`, against whose types every export is checked). What the
//! GPUs are and do stands in a scenario ([`scenario`]), read at every `nvmlInit`: the file that `NVML_SIM_SCENARIO` names,
//! else `scenario.toml` beside the library. While the library is in use, datagrams to its control socket ([`control`])
//! change GPUs and make calls slow, fail or hang ([`faults`]). A change is in force for every call that begins after it
//! was sent.
//!
//! The library has no thread of its own, so that it can be unloaded: calls read the socket as they come by.

mod abi;
pub mod account;
pub mod control;
pub mod curve;
pub mod faults;
pub mod features;
mod gpu;
mod hardware;
pub mod place;
pub mod scenario;

pub use abi::functions;
