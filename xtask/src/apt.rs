//! Debian packages, installed where that is possible, or unpacked elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

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
    update_with(checkout, &[])
}

/// The same with more options, which may name other lists.
pub(crate) fn update_with(checkout: &Checkout, options: &[String]) -> Result<()> {
    let log = checkout.tools("log/apt-update.log");
    run::step("Reading Debian's list of packages", &log, apt_get().args(options).arg("update"))
}

/// Downloads a package, with more options for apt-get, and unpacks it into a directory that is made anew. It is not installed.
pub(crate) fn unpack(checkout: &Checkout, options: &[String], package: &str, what: &str, into: &Path) -> Result<()> {
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    fs::create_dir_all(into)?;
    let mut download = apt_get();
    download.args(options).args(["download", package]).current_dir(into);
    run::step(&format!("Downloading {what}"), &checkout.tools("log/apt-download.log"), &mut download)?;
    let archive = files(into)?.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let archive = archive.with_context(|| format!("apt-get downloaded no {package}"))?;
    run::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(into))
}

/// Every file below a directory.
pub(crate) fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut open } else { &mut found };
            list.push(entry.path());
        }
    }
    Ok(found)
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
