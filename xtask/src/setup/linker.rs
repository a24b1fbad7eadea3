//! What makes an object of the compiler's output: bpf-linker, and LLVM's objcopy.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::rust::Rust;
use crate::apt;
use crate::checkout::{self, Checkout};
use crate::crates::Tool;
use crate::run;

const LINKER: Tool = Tool { name: "bpf-linker", version: "0.13.0", what: "the linker of eBPF programs" };
/// LLVMs that this version of the linker can be built with.
const LLVMS: [u32; 3] = [21, 22, 23];

/// The linker: the project's own, one of the right version on `PATH`, or a new one.
pub(super) fn linker(checkout: &Checkout, rust: &Rust) -> Result<PathBuf> {
    let llvm = format!("-llvm-{}", rust.llvm);
    if let Some(own) = LINKER.built(checkout, &llvm) {
        return Ok(own);
    }
    if let Some(found) = checkout::on_path(LINKER.name) {
        let said = run::read(Command::new(&found).arg("--version")).unwrap_or_default();
        if said.split_whitespace().nth(1) == Some(LINKER.version) {
            return Ok(found);
        }
    }
    let prefix = prefix(rust);
    install_llvm(checkout, rust, &prefix)?;
    LINKER.get(checkout, &llvm, |install| {
        install.args(["--no-default-features", "--features", llvm.trim_start_matches('-')]);
        // Without these another LLVM on the machine may win.
        install.env("LLVM_PREFIX", &prefix).env(format!("LLVM_SYS_{}1_PREFIX", rust.llvm), &prefix);
    })
}

/// LLVM's objcopy, or rustc's own copy of it.
pub(super) fn objcopy(checkout: &Checkout, rust: &Rust) -> Result<PathBuf> {
    let llvms = prefix(rust).join("bin/llvm-objcopy");
    let rusts = rust.tools().join("rust-objcopy");
    if let Some(found) = [&llvms, &rusts].into_iter().find(|path| path.is_file()) {
        return Ok(found.clone());
    }
    apt::install(checkout, &[&format!("llvm-{}", rust.llvm)], "LLVM's objcopy")?;
    Ok(llvms)
}

/// Where Debian puts the LLVM of this compiler.
fn prefix(rust: &Rust) -> PathBuf {
    Path::new("/usr/lib").join(format!("llvm-{}", rust.llvm))
}

/// Installs what the linker is built with.
fn install_llvm(checkout: &Checkout, rust: &Rust, prefix: &Path) -> Result<()> {
    let llvm = rust.llvm;
    if !LLVMS.contains(&llvm) {
        bail!("{rust}: {} {} cannot be built with this LLVM, only with {LLVMS:?}", LINKER.name, LINKER.version);
    }
    if prefix.join("bin/llvm-config").is_file() && prefix.join("lib/libPolly.a").is_file() {
        return Ok(());
    }
    let packages = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev"), "g++".to_owned()];
    apt::install(checkout, &packages.each_ref().map(String::as_str), "LLVM for the linker of eBPF programs")
}
