//! Where things stand: the sources, and `target/`, under which everything generated goes.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A checkout of this repository.
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout that this program was built in, as cargo says when it runs it.
    pub(crate) fn find() -> Result<Self> {
        let manifest =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = manifest.parent().context("xtask/ stands in no directory")?.to_owned();
        if !root.join("ebpf/Cargo.toml").is_file() {
            bail!("{} is no checkout of inferscope: run `cargo xtask` inside one", root.display());
        }
        Ok(Self { root })
    }

    /// Another checkout, beside this one.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Its directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path under it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A path under `target/`.
    pub(crate) fn target(&self, path: &str) -> PathBuf {
        self.root.join("target").join(path)
    }

    /// A path under `target/tools/`.
    pub(crate) fn tools(&self, path: &str) -> PathBuf {
        self.target("tools").join(path)
    }

    /// The agent of a release build.
    pub(crate) fn agent(&self) -> PathBuf {
        self.target("release/inferscope")
    }

    /// A command that runs in the checkout's directory.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        // `cargo run` sets it for this program; another toolchain's would load the wrong libraries.
        command.env_remove("LD_LIBRARY_PATH");
        command
    }

    /// The cargo of the user half, which is the one that runs this program.
    pub(crate) fn cargo(&self) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = self.command(cargo);
        command.env("CARGO_TARGET_DIR", self.target(""));
        // What `cargo run` says of this program is no business of the crates that are built; some would be built again for it.
        let of_this = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_this)) {
            command.env_remove(name);
        }
        command
    }
}

/// Where cargo keeps the sources that it downloads.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// The first of that name on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH")?;
    env::split_paths(&paths).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Copies a file, or a directory and everything below it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map(drop).with_context(|| format!("cannot copy {}", from.display()))
}

/// Writes a file unless it holds these bytes already; true if it did not. A reader sees the old bytes or the new ones.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let written = || -> std::io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let new = path.with_extension("new");
        fs::write(&new, bytes)?;
        fs::rename(&new, path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

/// True for root, by the effective user id.
pub(crate) fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

/// Says how to become root where that is needed.
pub(crate) fn need_root(what: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!("{what} needs root, for cgroups and eBPF: run it as root, or with `sudo -E env \"PATH=$PATH\" cargo xtask …`")
}
