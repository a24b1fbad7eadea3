//! A benchmark in a guest.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::guest::{self, Run};
use super::{kernel, progress, suite, tools};
use crate::checkout::Checkout;

/// A kernel that lets system calls have programs of their own.
const RELEASE: &str = "6.12";

/// Runs a command in a guest, in the checkout's directory, and answers the figures that it says it found.
pub(crate) fn figures(checkout: &Checkout, program: &Path, argument: &str) -> Result<String> {
    if !cfg!(target_arch = "x86_64") {
        bail!("only guests of x86-64 are known");
    }
    tools(checkout)?;
    let kernel = kernel::kernel(checkout, RELEASE)?;
    let mut script = suite::beginning(checkout.root())?;
    // What it says beside them comes line by line, and is kept.
    writeln!(script, "echo '@@ begin {argument}'\n{} {argument} 2>&1\necho \"@@ end $?\"", suite::quoted(program)?)?;
    let run = Run { name: "figures", script: &script, count: 0 };
    let (reader, _) = guest::run(&kernel, &run, &mut progress(RELEASE, 0))?;
    let place = kernel.place.display();
    reader.figures.with_context(|| format!("the guest gave no figures; what it said is in {place}"))
}
