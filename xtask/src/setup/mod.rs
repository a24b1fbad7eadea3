//! The toolchain of the kernel half: found, or installed. The user half needs none of it.

mod linker;
mod rust;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::checkout::{self, Checkout};
use rust::Rust;

/// The target of the kernel half.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// What builds the kernel half.
pub(crate) struct Toolchain {
    rust: Rust,
    linker: PathBuf,
    objcopy: PathBuf,
}

/// Finds the toolchain, and installs what is missing of it.
pub(crate) fn setup(checkout: &Checkout) -> Result<Toolchain> {
    let rust = match rust::find() {
        Some(rust) => rust,
        None => rust::install(checkout)?,
    };
    let linker = linker::linker(checkout, &rust)?;
    let objcopy = linker::objcopy(checkout, &rust)?;
    Ok(Toolchain { rust, linker, objcopy })
}

/// The task: says what there is.
pub(crate) fn report(checkout: &Checkout) -> Result<()> {
    let Toolchain { rust, linker, objcopy } = setup(checkout)?;
    eprintln!("The kernel half is built by {rust},");
    eprintln!("linked by {}, stripped by {}.", linker.display(), objcopy.display());
    Ok(())
}

impl Toolchain {
    /// Cargo with this toolchain, for a task such as `build`.
    pub(crate) fn cargo(&self, checkout: &Checkout, task: &str) -> Command {
        self.with(checkout, checkout.command(&self.rust.cargo), task)
    }

    /// Clippy with this toolchain; an error where it has none.
    pub(crate) fn clippy(&self, checkout: &Checkout) -> Result<Command> {
        // Not by way of cargo, which would take rustup's where both are there.
        let clippy = self.rust.clippy(checkout)?;
        Ok(self.with(checkout, checkout.command(clippy), "clippy"))
    }

    /// LLVM's tool for the sections of an object.
    pub(crate) fn objcopy(&self) -> Command {
        Command::new(&self.objcopy)
    }

    fn with(&self, checkout: &Checkout, mut command: Command, task: &str) -> Command {
        command.args([task, "--package", "inferscope-ebpf", "--target", TARGET, "--release", "--locked"]);
        if self.rust.build_std {
            command.arg("-Zbuild-std=core");
        }
        let mut flags = vec!["-Clink-arg=--btf".to_owned(), "-Cdebuginfo=2".to_owned()];
        flags.extend(self.remapped(checkout).map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
        command
            .env("CARGO", &self.rust.cargo)
            .env("RUSTC", &self.rust.rustc)
            // The target has no stable atomics and no stable panics: see `ebpf/src/main.rs`.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("CARGO_TARGET_DIR", checkout.target("ebpf-build"))
            .env_remove("RUSTUP_TOOLCHAIN");
        command
    }

    /// Paths that differ from machine to machine, and what stands for them in the object. The checkout's own become
    /// relative: the linker finds the sources there and puts their lines into the BTF, for the verifier's log.
    fn remapped(&self, checkout: &Checkout) -> impl Iterator<Item = (PathBuf, &'static str)> {
        let registry = checkout::cargo_home().map(|home| home.join("registry/src"));
        let registries = registry.and_then(|path| fs::read_dir(path).ok()).into_iter().flatten().flatten();
        let rust = self.rust.build_std.then(|| (self.rust.sources(), "/rust"));
        let own = (checkout.root().to_owned(), "");
        std::iter::once(own).chain(registries.map(|entry| (entry.path(), "/registry"))).chain(rust)
    }
}
