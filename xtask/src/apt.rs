//! Debian packages, installed where that is possible.

use std::process::Command;

use anyhow::{Result, bail};

use crate::checkout::{self, Checkout};
use crate::run;

/// Installs packages. `what` they are for is said in the line of progress.
pub(crate) fn install(checkout: &Checkout, packages: &[&str], what: &str) -> Result<()> {
    let names = packages.join(" ");
    if checkout::on_path("apt-get").is_none() {
        bail!("{what} is missing, and this system has no apt-get: install what Debian calls {names}");
    }
    if !checkout::is_root() {
        bail!("{what} is missing: run `sudo apt-get install {names}`, then this again");
    }
    let known = run::succeeds(Command::new("apt-cache").args(["show", "--quiet=0"]).args(packages));
    if !known {
        update(checkout)?;
    }
    let done = get(checkout, packages, what);
    if done.is_err() && known {
        // A list that is too old names versions that are no longer there.
        update(checkout)?;
        return get(checkout, packages, what);
    }
    done
}

/// Reads the lists of packages anew.
pub(crate) fn update(checkout: &Checkout) -> Result<()> {
    let log = checkout.tools("log/apt-update.log");
    run::step("Reading Debian's list of packages", &log, apt_get().arg("update"))
}

fn get(checkout: &Checkout, packages: &[&str], what: &str) -> Result<()> {
    let line = format!("Installing {what} from Debian ({})", packages.join(" "));
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    run::step(&line, &checkout.tools("log/apt-install.log"), &mut command)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Another apt-get may be at work: its lock is waited for.
    command.args(["--quiet", "--option", "DPkg::Lock::Timeout=300"]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}
