//! The kernel headers that bcc compiles against.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where Debian puts them.
const SOURCES: &str = "/usr/src";
const MODULES: &str = "/lib/modules";

/// Headers of another kernel where those of this one are not there: asked of tracepoints alone, bcc gets along with
/// them. What was made for that is removed when dropped.
pub(crate) struct Headers {
    made: Vec<PathBuf>,
}

impl Headers {
    /// Makes them found where bcc looks.
    pub(crate) fn provide() -> Self {
        let mut headers = Self { made: Vec::new() };
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let modules = Path::new(MODULES).join(release.trim());
        if let Some((build, source)) = debian().filter(|_| !modules.join("build").exists()) {
            for directory in [Path::new(MODULES), &modules] {
                if fs::create_dir(directory).is_ok() {
                    headers.made.push(directory.to_owned());
                }
            }
            for (to, name) in [(build, "build"), (source, "source")] {
                let link = modules.join(name);
                if symlink(to, &link).is_ok() {
                    headers.made.push(link);
                }
            }
        }
        headers
    }
}

/// Debian's headers come in two parts: what its configuration made, and what all configurations share.
fn debian() -> Option<(PathBuf, PathBuf)> {
    let entries = fs::read_dir(SOURCES).ok()?.flatten().map(|entry| entry.path());
    let build = entries.filter(|path| path.join("include/generated/autoconf.h").exists()).max()?;
    let name = build.file_name()?.to_str()?;
    // linux-headers-6.1.0-9-cloud-amd64 → linux-headers-6.1.0-9-common
    let version: Vec<&str> = name.split('-').take(4).collect();
    let source = build.with_file_name(format!("{}-common", version.join("-")));
    source.exists().then_some((build, source))
}

impl Drop for Headers {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // What somebody else has put there meanwhile stays.
            drop(fs::remove_file(path).or_else(|_| fs::remove_dir(path)));
        }
    }
}
