//! Where the programs are that the harness runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

/// The root of the repository, or the directory that takes its place on a machine that did not build this.
pub fn root() -> PathBuf {
    let tests = tests();
    tests.parent().map_or_else(|| tests.clone(), Path::to_owned)
}

/// A file beside this crate's sources, such as `servers/app.py`.
pub fn source(path: &str) -> PathBuf {
    tests().join(path)
}

/// This crate's directory: `INFERSCOPE_TESTS` says where it is on a machine that did not build this.
fn tests() -> PathBuf {
    env::var_os("INFERSCOPE_TESTS").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// The agent: `INFERSCOPE_BIN`, else the release build.
pub fn inferscope() -> Result<PathBuf> {
    let path = env::var_os("INFERSCOPE_BIN").map_or_else(|| root().join("target/release/inferscope"), PathBuf::from);
    ensure!(path.exists(), "there is no agent at {}: run `cargo xtask build`, or set INFERSCOPE_BIN", path.display());
    Ok(path)
}

/// The collector: `INFERSCOPE_COLLECTOR`.
pub fn collector() -> Result<PathBuf> {
    let named = env::var_os("INFERSCOPE_COLLECTOR").map(PathBuf::from);
    let path = named.with_context(|| format!("INFERSCOPE_COLLECTOR names no collector: {MEND}"))?;
    ensure!(path.exists(), "there is no collector at {}: {MEND}", path.display());
    Ok(path)
}

/// A Python that has what `tests/requirements.txt` names: `INFERSCOPE_PYTHON`, else the one on `PATH`.
pub fn python() -> Result<PathBuf> {
    let path = env::var_os("INFERSCOPE_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let imports = ["-c", "import uvicorn, uvloop, starlette, sse_starlette, openai, pynvml"];
    let probe = Command::new(&path).args(imports).stdin(Stdio::null()).output();
    let output = probe.with_context(|| format!("there is no Python at {}: {MEND}", path.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} lacks a package of tests/requirements.txt ({}): {MEND}", path.display(), said.trim());
    }
    Ok(path)
}

/// A Python with PyTorch, for machines with a GPU: `INFERSCOPE_TORCH`.
pub fn torch() -> Option<PathBuf> {
    env::var_os("INFERSCOPE_TORCH").map(PathBuf::from)
}

/// NVIDIA's own management libraries, by the major version of their drivers, oldest first: those below `INFERSCOPE_NVML`.
pub fn nvml() -> Result<Vec<(u32, PathBuf)>> {
    let Some(place) = env::var_os("INFERSCOPE_NVML") else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for release in fs::read_dir(place)?.flatten() {
        for file in fs::read_dir(release.path()).into_iter().flatten().flatten() {
            let name = file.file_name().into_string().unwrap_or_default();
            let version = name.strip_prefix("libnvidia-ml.so.").and_then(|version| version.split('.').next());
            found.extend(version.and_then(|major| Some((major.parse().ok()?, file.path()))));
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "INFERSCOPE_NVML names a directory without libraries: {MEND}");
    Ok(found)
}

/// A program of this crate's with PyTorch, on the GPU that NVML names first.
pub fn on_first_gpu(program: &str) -> Result<Command> {
    let python = torch().context("no Python with PyTorch: `cargo xtask test gpu` finds or makes one")?;
    let mut command = Command::new(python);
    command.arg(source(program)).envs([("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), ("CUDA_VISIBLE_DEVICES", "0")]);
    Ok(command)
}

/// What mends a missing tool.
const MEND: &str = "run `cargo xtask test`, or set what `cargo xtask tools` prints";

/// Node.
pub fn node() -> PathBuf {
    env::var_os("INFERSCOPE_NODE").map_or_else(|| PathBuf::from("node"), PathBuf::from)
}

/// Another program of this crate, from the directory where this one was built.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let here = env::current_exe()?;
    // Tests are built one directory below the programs.
    let found = here.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("there is no {name} beside {}: build inferscope-tests", here.display()))
}
