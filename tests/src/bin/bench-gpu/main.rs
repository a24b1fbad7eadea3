//! What reading GPUs costs, and how true the figures are: against the simulator, or against the devices of this machine.
//!
//! `cargo xtask bench gpu` builds what this needs. `bench-gpu device` insists on a real driver, `bench-gpu simulator` on the
//! simulated one; without either the real one is taken where there is one.

#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

mod measure;
mod report;

use std::path::PathBuf;

use anyhow::{Result, bail};
use inferscope::sources::gpu::Settings;
use inferscope_tests::report::{replace_section, write_json};
use nvml_wrapper::Nvml;

use crate::report::Report;

fn main() -> Result<()> {
    let argument = std::env::args().nth(1);
    let real = real_driver();
    let report = match (argument.as_deref(), real) {
        (Some("device"), None) => bail!("no NVIDIA driver answers on this machine: see `inferscope doctor`"),
        (None | Some("device"), Some((library, source))) => measure::device(&library, source)?,
        (None | Some("simulator"), _) => measure::simulator()?,
        (Some(other), _) => bail!("unknown argument {other}: device, simulator or none"),
    };
    finish(&report)
}

/// The driver's library, and what it says of itself; `None` where there is none, or no device.
fn real_driver() -> Option<(PathBuf, String)> {
    Settings::default().libraries.into_iter().find_map(|library| {
        let nvml = Nvml::builder().lib_path(library.as_os_str()).init().ok()?;
        let name = nvml.device_by_index(0).ok()?.name().ok()?;
        let source = format!("{name}, driver {}", nvml.sys_driver_version().ok()?);
        Some((library, source))
    })
}

fn finish(report: &Report) -> Result<()> {
    let section = report.markdown();
    println!("{section}");
    write_json("gpu", report)?;
    replace_section("docs/gpu.md".as_ref(), "GPUs", &section)
}
