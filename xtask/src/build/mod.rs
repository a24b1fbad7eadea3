//! The kernel half, then the agent with it inside.

mod btf;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::checkout::{self, Checkout};
use crate::run;
use crate::setup::{self, TARGET, Toolchain};

#[derive(Args)]
pub(crate) struct Options {
    /// Builds the agent for debugging; the kernel half is always optimised, as the verifier wants it
    #[arg(long)]
    debug: bool,
}

/// The task.
pub(crate) fn build(checkout: &Checkout, options: &Options) -> Result<()> {
    kernel_half(checkout, &setup::setup(checkout)?)?;
    agent(checkout, !options.debug)
}

/// Builds the kernel half to where the agent's build script looks for it.
pub(crate) fn kernel_half(checkout: &Checkout, toolchain: &Toolchain) -> Result<PathBuf> {
    object(checkout, toolchain, "inferscope-ebpf", "inferscope.bpf.o", &[])
}

/// Builds what benchmarks compare the kernel half with; no agent carries it.
pub(crate) fn shapes(checkout: &Checkout, toolchain: &Toolchain) -> Result<PathBuf> {
    object(checkout, toolchain, "shapes", "shapes.bpf.o", &["--features", "shapes"])
}

fn object(checkout: &Checkout, toolchain: &Toolchain, bin: &str, name: &str, features: &[&str]) -> Result<PathBuf> {
    run::run(toolchain.cargo(checkout, "build").args(["--bin", bin]).args(features))?;
    let built = checkout.target("ebpf-build").join(TARGET).join("release").join(bin);
    let (types, stripped) = (built.with_extension("btf"), built.with_extension("stripped"));
    let mut dump = OsString::from("--dump-section=.BTF=");
    dump.push(&types);
    // Types and line numbers are no debug sections to it, and stay.
    run::run(toolchain.objcopy().arg("--strip-debug").arg(dump).arg(&built).arg(&stripped))?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (mut bytes, types) = (read(&stripped)?, read(&types)?);
    // Changed where it stands: objcopy's own way to replace a section loses what its relocations belong to.
    let at = bytes.windows(types.len()).position(|window| window == types).context("the object has no .BTF")?;
    btf::settle(&mut bytes[at..at + types.len()])?;
    let object = checkout.target("ebpf").join(name);
    // An object that stays as it was leaves the agent as it was.
    checkout::write_if_changed(&object, &bytes)?;
    Ok(object)
}

/// Builds the agent.
pub(crate) fn agent(checkout: &Checkout, release: bool) -> Result<()> {
    let mut command = checkout.cargo();
    command.args(["build", "--package", "inferscope"]);
    if release {
        command.arg("--release");
    }
    // A user's own object is not what this builds.
    run::run(command.env_remove("INFERSCOPE_EBPF_OBJECT"))
}

/// Builds programs of `inferscope-tests`, as a release.
pub(crate) fn programs(checkout: &Checkout, names: &[&str]) -> Result<()> {
    let mut command = checkout.cargo();
    command.args(["build", "--release", "--package", "inferscope-tests"]);
    run::run(command.args(names.iter().flat_map(|name| ["--bin", name])))
}

/// Builds tests of `inferscope-tests`, with more arguments for cargo: their names and where they are.
pub(crate) fn tests(checkout: &Checkout, arguments: &[&str], names: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut command = checkout.cargo();
    command.args(["test", "--package", "inferscope-tests", "--no-run", "--message-format=json-render-diagnostics"]);
    command.args(arguments).args(names.iter().flat_map(|name| ["--test", name]));
    let messages = run::read(&mut command)?;
    let messages: Vec<serde_json::Value> =
        messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let find = |name: &str| {
        let mut built = messages.iter().filter(|message| message["target"]["name"] == name);
        let program = built.find_map(|message| message["executable"].as_str());
        let program = program.with_context(|| format!("cargo built no test {name}"))?;
        Ok((name.to_owned(), PathBuf::from(program)))
    };
    names.iter().map(|name| find(name)).collect()
}
