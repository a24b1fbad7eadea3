//! Embeds the compiled kernel half, where it has been built; see `cargo xtask build`.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=INFERSCOPE_EBPF_OBJECT");
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let built = manifest.join("../target/ebpf/inferscope.bpf.o");
    let object = env::var_os("INFERSCOPE_EBPF_OBJECT").map_or(built, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    // Without it everything but the observation itself works, and the agent says what is missing.
    let bytes = match fs::read(&object) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let out = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    fs::write(out.join("inferscope.bpf.o"), bytes)
}
