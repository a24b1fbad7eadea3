//! A Rust compiler for the eBPF target: Debian's, which has its core library built, or rustup's nightly, which builds it.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::checkout::Checkout;
use crate::run;

const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];
/// Where Debian's compiler stands; rustup's comes first on most paths.
const DEBIAN: &str = "/usr";
/// Oldest compiler that takes this workspace, as its manifest says.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// A compiler and its cargo.
pub(super) struct Rust {
    pub(super) cargo: PathBuf,
    pub(super) rustc: PathBuf,
    /// The core library has to be built along.
    pub(super) build_std: bool,
    /// Major version of its LLVM: the linker's must be the same.
    pub(super) llvm: u32,
    /// `x86_64-unknown-linux-gnu` or another.
    host: String,
    release: String,
    root: PathBuf,
}

/// Finds one that is installed and new enough.
pub(super) fn find() -> Option<Rust> {
    debian().or_else(nightly)
}

/// Installs Debian's.
pub(super) fn install(checkout: &Checkout) -> Result<Rust> {
    let mend = "a compiler for eBPF is needed: Debian 12's security archive has one (rustc-web), or run \
                `rustup toolchain install nightly --component rust-src`";
    apt::install(checkout, &PACKAGES, "a Rust compiler for eBPF").context(mend)?;
    debian().with_context(|| format!("Debian's rustc-web is older than {OLDEST}; {mend}"))
}

fn debian() -> Option<Rust> {
    let root = Path::new(DEBIAN);
    let core = root.join("lib/rustlib").join(super::TARGET).join("lib");
    core.is_dir().then(|| Rust::at(root, false))?
}

fn nightly() -> Option<Rust> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".rustup"));
    let rustup = env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(home)?;
    let toolchains = fs::read_dir(rustup.join("toolchains")).ok()?.flatten();
    let mut nightlies: Vec<PathBuf> = toolchains
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("nightly"))
        .map(|entry| entry.path())
        .filter(|root| root.join(SOURCES).join("library/core").is_dir())
        .collect();
    // Dated ones come before the one that moves, which is taken first.
    nightlies.sort();
    nightlies.iter().rev().find_map(|root| Rust::at(root, true))
}

/// Where rust-src lies in a toolchain.
const SOURCES: &str = "lib/rustlib/src/rust";

impl Rust {
    /// The one at `root`, unless it is too old.
    fn at(root: &Path, build_std: bool) -> Option<Self> {
        let rustc = root.join("bin/rustc");
        let said = run::read(Command::new(&rustc).arg("-vV").env_remove("LD_LIBRARY_PATH")).ok()?;
        let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let release = field("release")?;
        let llvm = field("LLVM version")?.split('.').next()?.parse().ok()?;
        let rust = Self {
            cargo: root.join("bin/cargo"),
            rustc,
            build_std,
            llvm,
            host: field("host")?.to_owned(),
            release: release.to_owned(),
            root: root.to_owned(),
        };
        (minor(release) >= minor(OLDEST)).then_some(rust)
    }

    /// Its clippy, which Debian has in a package of its own.
    pub(super) fn clippy(&self, checkout: &Checkout) -> Result<PathBuf> {
        let clippy = self.root.join("bin/cargo-clippy");
        if !clippy.is_file() && self.root == Path::new(DEBIAN) {
            apt::install(checkout, &["rust-web-clippy"], "the lints of the compiler for eBPF")?;
        }
        if clippy.is_file() { Ok(clippy) } else { bail!("{self} has no clippy") }
    }

    /// Sources of the core library, where it is built along.
    pub(super) fn sources(&self) -> PathBuf {
        self.root.join(SOURCES)
    }

    /// The toolchain's own tools, some of which come with LLVM's.
    pub(super) fn tools(&self) -> PathBuf {
        self.root.join("lib/rustlib").join(&self.host).join("bin")
    }
}

impl fmt::Display for Rust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (LLVM {})", self.rustc.display(), self.release, self.llvm)
    }
}

/// The second number of a version: the first has been 1 for ever.
fn minor(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn versions_compare_by_number() {
        assert!(minor("1.100.0-nightly") > minor("1.95"));
        assert!(minor("1.85.0") < minor("1.95"));
        assert_eq!(minor("1"), None);
    }
}
