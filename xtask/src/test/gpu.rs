//! Tests on the GPUs of this machine, and what reading them costs.

use std::path::Path;

use anyhow::Result;

use super::tally::{self, Tally};
use crate::bench;
use crate::build;
use crate::checkout::Checkout;
use crate::setup;
use crate::tools;

/// There where the kernel module is loaded.
const DRIVER: &str = "/proc/driver/nvidia/version";

/// The group.
#[expect(clippy::print_stdout, reason = "the tests' results are the output")]
pub(super) fn run(checkout: &Checkout) -> Result<Tally> {
    if !Path::new(DRIVER).exists() {
        println!("skipped: this machine has no GPU of NVIDIA, or its driver is not loaded (no {DRIVER})");
        return Ok(Tally::default());
    }
    // PyTorch first: what is not there is said before anything is built.
    let torch = tools::torch(checkout)?;
    build::kernel_half(checkout, &setup::setup(checkout)?)?;
    build::agent(checkout, true)?;
    let mut command = checkout.cargo();
    command.args(["test", "--package", "inferscope-tests", "--test", "gpu_device", "--", "--nocapture"]);
    command.args(["--test-threads", "1"]).env(tools::TORCH, &torch).env("INFERSCOPE_BIN", checkout.agent());
    let mut tally = tally::cargo(&mut command)?;
    // What calls cost goes into docs/gpu.md, with the driver and the date.
    let measured = bench::gpu(checkout, Some("device"), Some(&torch));
    if let Err(error) = &measured {
        println!("bench gpu device: {error:#}");
    }
    tally.add(Tally::one(measured.is_ok()));
    Ok(tally)
}
