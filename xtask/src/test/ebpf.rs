//! Tests of the kernel half that are about its build, and those that load it.

use std::fs;

use anyhow::Result;

use super::tally::{self, Tally};
use crate::build;
use crate::checkout::{self, Checkout};
use crate::setup::{self, Toolchain};

/// What a build needs of a checkout.
const SOURCES: [&str; 7] = ["Cargo.toml", "Cargo.lock", "agent", "common", "ebpf", "tests", "xtask"];

/// The group.
pub(super) fn run(checkout: &Checkout) -> Result<Tally> {
    let toolchain = setup::setup(checkout)?;
    let mut tally = reproducible(checkout, &toolchain)?;
    let mut loads = checkout.cargo();
    loads.args(["test", "--package", "inferscope-tests", "--test", "programs"]);
    tally.add(tally::cargo(&mut loads)?);
    Ok(tally)
}

/// Builds the object here and, from nothing, in another directory: the bytes must be the same.
#[expect(clippy::print_stdout, reason = "the tests' results are the output")]
fn reproducible(checkout: &Checkout, toolchain: &Toolchain) -> Result<Tally> {
    let here = build::kernel_half(checkout, toolchain)?;
    let place = checkout.target("tmp/another/checkout");
    let cleared = || if place.exists() { fs::remove_dir_all(&place) } else { Ok(()) };
    cleared()?;
    for source in SOURCES {
        checkout::copy(&checkout.path(source), &place.join(source))?;
    }
    let there = build::kernel_half(&Checkout::at(&place), toolchain)?;
    let same = fs::read(&here)? == fs::read(&there)?;
    println!("test kernel_half::two_builds_give_the_same_bytes ... {}", if same { "ok" } else { "FAILED" });
    if same {
        cleared()?;
    } else {
        println!("{} and {} differ", here.display(), there.display());
    }
    Ok(Tally::one(same))
}
