//! Puts the tests of GPUs into a directory, for a machine that has a GPU and nothing to build with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Result;

use crate::build;
use crate::checkout::{self, Checkout};
use crate::run;
use crate::setup;

/// Programs that the tests start, and the benchmark.
const PROGRAMS: [&str; 2] = ["bench-gpu", "client-hyper"];
const TEST: &str = "gpu_device";
/// What runs there.
const SCRIPT: &str = include_str!("run.sh");

/// The task.
#[expect(clippy::print_stdout, reason = "what to do with it is the output")]
pub(crate) fn pack(checkout: &Checkout) -> Result<()> {
    let toolchain = setup::setup(checkout)?;
    build::kernel_half(checkout, &toolchain)?;
    build::agent(checkout, true)?;
    build::programs(checkout, &PROGRAMS)?;
    let test = build::tests(checkout, &["--release"], &[TEST])?;
    let place = checkout.target("pack");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let programs = PROGRAMS.iter().map(|name| (*name, checkout.target("release").join(name)));
    let all = programs
        .chain([("inferscope", checkout.agent())])
        .chain(test.iter().map(|(name, path)| (&**name, path.clone())));
    for (name, built) in all {
        run::run(toolchain.objcopy().arg("--strip-debug").arg(built).arg(place.join(name)))?;
    }
    for folder in ["servers", "clients"] {
        checkout::copy(&checkout.path("tests").join(folder), &place.join("tests").join(folder))?;
    }
    let commit = run::read(Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(checkout.root()));
    let script = place.join("run");
    fs::write(&script, SCRIPT.replace("@COMMIT@", commit.unwrap_or_default().trim()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    println!("{} is to be copied to the machine with the GPU; `run` in it tests and measures there.", place.display());
    Ok(())
}
