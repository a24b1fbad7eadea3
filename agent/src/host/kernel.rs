//! The running kernel: its release, and what it allows.

use std::path::PathBuf;

use super::{Host, btf, read_text};

/// A kernel's release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    /// As the kernel writes it: `6.8.0-45-generic`.
    pub text: String,
    /// Its first two numbers.
    pub version: (u32, u32),
}

impl Release {
    /// That of the running kernel; `None` where it does not say.
    pub fn read(host: &Host) -> Option<Self> {
        Self::parse(&host.text("/proc/sys/kernel/osrelease")?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self { text: text.to_owned(), version })
    }
}

/// Where the kernel shows its types on this machine, whether or not it does.
pub fn btf_path(host: &Host) -> PathBuf {
    host.path(btf::VMLINUX)
}

/// `kernel.unprivileged_bpf_disabled`: 0 = everybody may, 1 = nobody until the next boot, 2 = nobody for
/// now; `None` where there is no such switch.
pub fn unprivileged_bpf_disabled(host: &Host) -> Option<u32> {
    host.text("/proc/sys/kernel/unprivileged_bpf_disabled")?.parse().ok()
}

/// Bytes that this process may lock in memory: `Some(None)` = no limit; `None` = not known.
pub fn locked_memory(host: &Host) -> Option<Option<u64>> {
    let limits = read_text(&host.path("/proc/self/limits"), 1 << 16)?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(None),
        bytes => bytes.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;

    #[test]
    fn reads_what_the_kernel_allows() {
        let machine = Machine::new();
        let host = machine.host();
        assert_eq!((Release::read(host), locked_memory(host), unprivileged_bpf_disabled(host)), (None, None, None));
        machine.file("proc/sys/kernel/unprivileged_bpf_disabled", "2\n");
        let limits = |value: &str| format!("Limit  Soft Limit  Hard Limit  Units\nMax locked memory  {value}  bytes\n");
        machine.file("proc/self/limits", &limits("8388608  8388608"));
        assert_eq!((locked_memory(host), unprivileged_bpf_disabled(host)), (Some(Some(8_388_608)), Some(2)));
        machine.file("proc/self/limits", &limits("unlimited  unlimited"));
        assert_eq!(locked_memory(host), Some(None));
    }

    #[test]
    fn reads_releases_of_all_kinds() {
        let version = |text| Release::parse(text).map(|release| release.version);
        assert_eq!(version("6.18.5"), Some((6, 18)));
        assert_eq!(version("5.15.0-1051-gke"), Some((5, 15)));
        assert_eq!(version("6.1-rc3+"), Some((6, 1)));
        assert_eq!(version("weird"), None);
        assert_eq!(version(""), None);
    }
}
