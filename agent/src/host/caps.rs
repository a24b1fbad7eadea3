//! What this process may do.

use std::fmt;

use super::{Host, read_text};

/// A capability that some part of the agent needs; the number is the kernel's.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// Reads directories of other users, such as `/proc/PID/fd`.
    DacReadSearch = 2,
    /// Attaches programs to cgroups.
    NetAdmin = 12,
    /// Reads `fd`, `exe` and `ns` of other users' processes.
    SysPtrace = 19,
    /// Implies several others.
    SysAdmin = 21,
    /// Raises limits: kernels before 5.11 charge maps to the locked memory.
    SysResource = 24,
    /// Loads tracing programs, and programs that handle pointers.
    Perfmon = 38,
    /// Creates maps, loads programs.
    Bpf = 39,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        })
    }
}

/// The effective user and capabilities of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Effective user id.
    pub uid: u32,
    effective: u64,
}

impl Credentials {
    /// Those of this process; `None` where `/proc/self/status` does not read.
    pub fn of_self(host: &Host) -> Option<Self> {
        Self::parse(&read_text(&host.path("/proc/self/status"), 1 << 16)?)
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let effective = u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?;
        let uid = field("Uid:")?.split_whitespace().nth(1)?.parse().ok()?;
        Some(Self { uid, effective })
    }

    /// True with this capability, or with one that the kernel takes for it.
    pub fn may(self, capability: Capability) -> bool {
        let has = |capability: Capability| self.effective >> capability as u8 & 1 == 1;
        let admin = matches!(capability, Capability::Bpf | Capability::Perfmon | Capability::NetAdmin);
        has(capability) || admin && has(Capability::SysAdmin)
    }

    /// Those of `wanted` that are lacking.
    pub fn lacking(self, wanted: &[Capability]) -> Vec<Capability> {
        wanted.iter().copied().filter(|&capability| !self.may(capability)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t1000\t65532\t0\t0\nCapEff:\t000000c000001000\nCapBnd:\t000001ffffffffff\n";

    #[test]
    fn reads_effective_ones_only() {
        let credentials = Credentials::parse(STATUS).unwrap();
        assert_eq!(credentials.uid, 65532);
        let wanted = [Capability::Bpf, Capability::Perfmon, Capability::NetAdmin, Capability::SysPtrace];
        assert_eq!(credentials.lacking(&wanted), [Capability::SysPtrace]);
        let admin = Credentials::parse("Uid:\t0\t0\nCapEff:\t0000000000200000\n").unwrap();
        assert_eq!(admin.lacking(&wanted), [Capability::SysPtrace], "CAP_SYS_ADMIN implies the others");
        assert_eq!(Credentials::parse("CapEff: nonsense"), None);
    }
}
