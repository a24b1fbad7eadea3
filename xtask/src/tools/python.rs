//! A Python of the tests' own, with the servers and clients that they observe.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt;
use crate::checkout::{self, Checkout};
use crate::run;

/// Names every package with its version.
const REQUIREMENTS: &str = "tests/requirements.txt";
/// A Python with PyTorch.
pub(crate) const TORCH: &str = "INFERSCOPE_TORCH";
/// What names packages for what computes on a GPU.
const REQUIREMENTS_GPU: &str = "tests/requirements-gpu.txt";

/// The interpreter, made if there is none of these requirements.
pub(super) fn python(checkout: &Checkout) -> Result<PathBuf> {
    environment(checkout, "venv", "Installing Python servers and clients", &[REQUIREMENTS])
}

/// One whose PyTorch reaches a GPU: the one that is named, else the one on `PATH`, else one that is made.
pub(crate) fn torch(checkout: &Checkout) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(TORCH).map(PathBuf::from) {
        ensure!(has_cuda(&named), "the PyTorch of {} ({TORCH}) is not there, or reaches no GPU", named.display());
        return Ok(named);
    }
    if let Some(found) = checkout::on_path("python3").filter(|python| has_cuda(python)) {
        return Ok(found);
    }
    environment(checkout, "venv-gpu", "Installing PyTorch, some 5 GB", &[REQUIREMENTS_GPU])
}

fn has_cuda(python: &Path) -> bool {
    run::succeeds(Command::new(python).args(["-c", "import torch; torch.zeros(1, device='cuda')"]))
}

fn environment(checkout: &Checkout, name: &str, what: &str, files: &[&str]) -> Result<PathBuf> {
    let mut requirements = String::new();
    for file in files {
        let path = checkout.path(file);
        requirements += &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let place = checkout.tools(name);
    let python = place.join("bin/python");
    // An environment knows where it stands: one that was moved is of no use.
    let made_of = format!("{}\n{requirements}", place.display());
    let note = place.join("made-of");
    if python.is_file() && fs::read_to_string(&note).is_ok_and(|old| old == made_of) {
        return Ok(python);
    }
    let log = checkout.tools(&format!("log/{name}.log"));
    let mut make = checkout.command(base(checkout)?);
    make.args(["-m", "venv", "--clear"]).arg(&place);
    run::step("Making an environment for Python", &log, &mut make)?;
    let mut install = checkout.command(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    for file in files {
        install.arg("--requirement").arg(checkout.path(file));
    }
    run::step(&format!("{what} ({})", files.join(", ")), &log, &mut install)?;
    checkout::write_if_changed(&note, made_of.as_bytes())?;
    Ok(python)
}

/// A Python that can make environments.
fn base(checkout: &Checkout) -> Result<PathBuf> {
    let whole = |python: &Path| run::succeeds(Command::new(python).args(["-c", "import venv, ensurepip"]));
    if let Some(found) = checkout::on_path("python3").filter(|python| whole(python)) {
        return Ok(found);
    }
    apt::install(checkout, &["python3", "python3-venv"], "Python that can make environments")?;
    Ok("/usr/bin/python3".into())
}
