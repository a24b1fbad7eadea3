//! Debian's kernels: found in the configured sources of apt, unpacked but not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::checkout::Checkout;
use crate::run;

/// What the guest loads to see the host's files, and what tests need. Some are built into some kernels.
const MODULES: [&str; 22] = [
    "virtio",
    "virtio_ring",
    "virtio_pci",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "fscache",
    "netfs",
    "9pnet",
    "9pnet_virtio",
    "9p",
    "overlay",
    "virtio_blk",
    "crc16",
    "crc32c_generic",
    "crc32c-intel",
    "libcrc32c",
    "mbcache",
    "jbd2",
    "ext4",
    "tun",
    "inet_diag",
    "tcp_diag",
];

/// What the names of kernels' packages begin with.
const PACKAGE: &str = "linux-image-";

/// A kernel, unpacked.
pub(super) struct Kernel {
    /// As it was asked for: `6.1`.
    pub(super) release: String,
    /// As it calls itself: `6.1.0-56-amd64`.
    pub(super) version: String,
    /// Its directory: `vmlinuz`, and below `root` what the guest begins with.
    pub(super) place: PathBuf,
}

/// The newest kernel of a release that apt's sources offer, or, where they offer none, that was fetched before.
pub(super) fn kernel(checkout: &Checkout, release: &str) -> Result<Kernel> {
    let mut names = offered()?;
    if newest(&names, release).is_none() {
        apt::update(checkout)?;
        names = offered()?;
    }
    let place = checkout.target("vm");
    let fetched = fetched(&place);
    let version = newest(&names, release).or_else(|| newest(&fetched, release));
    let Some(version) = version else {
        let there = releases(&names).join(", ");
        bail!(
            "no source of apt offers a kernel {release}; offered are: {}. Name one of these, or add the Debian release or \
             its backports that has it to /etc/apt/sources.list.d",
            if there.is_empty() { "none of Debian's" } else { &there }
        );
    };
    let kernel = Kernel { release: release.to_owned(), version: version.to_owned(), place: place.join(version) };
    if !kernel.image().is_file() || kernel.kept() != MODULES.join(" ") {
        kernel.fetch(checkout)?;
    }
    Ok(kernel)
}

/// Packages of kernels, one a line.
fn offered() -> Result<String> {
    run::read(Command::new("apt-cache").args(["pkgnames", PACKAGE]))
        .context("Debian's kernels come by apt, which this system seems to lack")
}

/// The same of those that were fetched.
fn fetched(place: &Path) -> String {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.map(|entry| format!("{PACKAGE}{}\n", entry.file_name().display())).collect()
}

/// Releases that one can ask for, each once: `6.1`.
fn releases(names: &str) -> Vec<String> {
    let release = |name: &str| {
        let version = name.strip_prefix(PACKAGE)?.strip_suffix("-amd64")?;
        let mut numbers = version.split(['.', '-', '+']);
        let release = format!("{}.{}", numbers.next()?, numbers.next()?);
        newest(name, &release).map(|_| release)
    };
    let mut found: Vec<String> = names.lines().filter_map(release).collect();
    found.sort();
    found.dedup();
    found
}

/// The highest version of a release among names of packages, without those of other flavours.
fn newest<'a>(names: &'a str, release: &str) -> Option<&'a str> {
    let version = |name: &'a str| {
        let version = name.strip_prefix(PACKAGE)?;
        let rest = version.strip_suffix("-amd64")?.strip_prefix(release)?;
        let plain = rest.split('-').skip(1).all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        (plain && rest.starts_with(['.', '-', '+'])).then_some(version)
    };
    let numbers = |version: &str| -> Vec<u64> {
        version.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    names.lines().filter_map(version).max_by_key(|version| numbers(version))
}

impl Kernel {
    pub(super) fn image(&self) -> PathBuf {
        self.place.join("vmlinuz")
    }

    /// What the guest's memory holds when it begins.
    pub(super) fn root(&self) -> PathBuf {
        self.place.join("root")
    }

    /// The modules that were kept of the package when it was fetched.
    fn kept(&self) -> String {
        fs::read_to_string(self.place.join("modules")).unwrap_or_default()
    }

    /// Downloads the package and keeps of it the image and the few modules.
    fn fetch(&self, checkout: &Checkout) -> Result<()> {
        let (whole, what) = (self.place.join("whole"), format!("Debian's kernel {}", self.version));
        apt::unpack(checkout, &[], &format!("{PACKAGE}{}", self.version), &what, &whole)?;
        self.keep_modules(&whole)?;
        fs::rename(whole.join("boot").join(format!("vmlinuz-{}", self.version)), self.image())?;
        // Last, since its presence says that everything is there.
        fs::write(self.place.join("modules"), MODULES.join(" "))?;
        Ok(fs::remove_dir_all(&whole)?)
    }

    fn keep_modules(&self, whole: &Path) -> Result<()> {
        let modules = self.root().join("lib/modules").join(&self.version);
        fs::create_dir_all(&modules)?;
        for path in apt::files(&whole.join("lib/modules"))? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if !name.split_once(".ko").is_some_and(|(module, _)| MODULES.contains(&module)) {
                continue;
            }
            fs::rename(&path, modules.join(name))?;
            if name.ends_with(".xz") {
                run::run(Command::new("xz").args(["--decompress", "--force"]).arg(modules.join(name)))?;
            }
        }
        // Names in it are relative, so that it holds for the guest, too.
        run::run(Command::new("busybox").args(["depmod", "-b"]).arg(self.root()).arg(&self.version))
    }
}

#[cfg(test)]
mod tests {
    use super::{newest, releases};

    #[test]
    fn the_newest_of_a_release_is_taken() {
        let names = "linux-image-6.1.0-9-amd64\nlinux-image-6.1.0-56-amd64\nlinux-image-6.1.0-57-cloud-amd64\n\
             linux-image-6.1.0-58-rt-amd64\nlinux-image-6.1.0-59-amd64-unsigned\nlinux-image-6.12.9+bpo-amd64\n\
             linux-image-6.12.117+deb12-amd64\nlinux-image-6.12-amd64\nlinux-image-6.12.117+deb12-cloud-amd64";
        assert_eq!(newest(names, "6.1"), Some("6.1.0-56-amd64"));
        assert_eq!(newest(names, "6.12"), Some("6.12.117+deb12-amd64"));
        assert_eq!(newest(names, "6.13"), None);
        assert_eq!(releases(names), ["6.1", "6.12"]);
    }
}
