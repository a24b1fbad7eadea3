//! The kernel, and what it lets this process do.

use super::Check;
use crate::host::Host;
use crate::host::btf::{Btf, BtfError};
use crate::host::caps::{Capability, Credentials};
use crate::host::cgroup::{CgroupError, Hierarchy, Version};
use crate::host::kernel::{self, Release};

/// The flow programs loop by `bpf_loop`, which came with this kernel.
const OLDEST: (u32, u32) = (5, 17);
/// From here on maps are charged to cgroups instead of the locked memory.
const CHARGED_TO_CGROUPS: (u32, u32) = (5, 11);

/// What requests need; the programs handle pointers, which takes CAP_PERFMON, and so do tracepoints.
const REQUESTS: [Capability; 3] = [Capability::Bpf, Capability::Perfmon, Capability::NetAdmin];
/// What it takes to see whose the sockets of other users' processes are.
const DISCOVERY: [Capability; 2] = [Capability::SysPtrace, Capability::DacReadSearch];
/// What it takes to look into network namespaces at little cost.
const NAMESPACES: [Capability; 1] = [Capability::SysAdmin];

pub(super) fn release(host: &Host) -> Check {
    const NAME: &str = "kernel";
    let Some(release) = Release::read(host) else {
        return Check::degraded(NAME, "its release is not known", "mount /proc");
    };
    if release.version >= OLDEST {
        return Check::ok(NAME, release.text);
    }
    let (major, minor) = OLDEST;
    let found = format!(
        "{} is older than {major}.{minor}: unless its vendor brought it up to date, nothing loads",
        release.text
    );
    Check::degraded(NAME, found, format!("boot Linux {major}.{minor} or later"))
}

/// The kernel's types; what reads them gets them, too.
pub(super) fn types(host: &Host) -> (Check, Option<Btf>) {
    const NAME: &str = "kernel types";
    let path = kernel::btf_path(host);
    match Btf::load(&path) {
        Ok(btf) => (Check::ok(NAME, format!("BTF at {}", path.display())), Some(btf)),
        Err(error) => {
            let why = match error {
                BtfError::Read { path, source } => format!("{}: {source}", path.display()),
                other => other.to_string(),
            };
            let found = format!("{why}: no tracepoints, and new servers are found within a second instead of at once");
            (Check::degraded(NAME, found, "boot a kernel with CONFIG_DEBUG_INFO_BTF=y"), None)
        }
    }
}

pub(super) fn capabilities(host: &Host) -> Check {
    const NAME: &str = "capabilities";
    let Some(own) = Credentials::of_self(host) else {
        return Check::degraded(NAME, "not known, since /proc/self/status does not read", "mount /proc");
    };
    let lacking = |wanted: &[Capability]| {
        let lacking: Vec<String> = own.lacking(wanted).iter().map(ToString::to_string).collect();
        (!lacking.is_empty()).then(|| lacking.join(", "))
    };
    let goes_without = [
        lacking(&REQUESTS).map(|lacking| format!("{lacking} for requests")),
        lacking(&DISCOVERY).map(|lacking| format!("{lacking} to find servers of other users")),
    ];
    let without: Vec<String> = goes_without.into_iter().flatten().collect();
    if without.is_empty() {
        let more = lacking(&NAMESPACES)
            .map(|lacking| format!("; {lacking} would make looking into network namespaces cheaper"));
        return Check::ok(NAME, format!("user {} has what is needed{}", own.uid, more.unwrap_or_default()));
    }
    let found = format!("user {} lacks {}", own.uid, without.join("; "));
    let mend = "run as root, or give them (setcap, AmbientCapabilities=, securityContext.capabilities.add)";
    match lacking(&REQUESTS) {
        Some(_) => Check::missing(NAME, found).mended_by(mend),
        None => Check::degraded(NAME, found, mend),
    }
}

pub(super) fn limits(host: &Host) -> Check {
    const NAME: &str = "limits";
    let unprivileged = match kernel::unprivileged_bpf_disabled(host) {
        Some(0) => "programs without capabilities are allowed (kernel.unprivileged_bpf_disabled=0)",
        Some(_) => "programs need capabilities (kernel.unprivileged_bpf_disabled)",
        None => "whether programs need capabilities is not known",
    };
    let charged = Release::read(host).map(|release| release.version >= CHARGED_TO_CGROUPS);
    let raises = Credentials::of_self(host).is_some_and(|own| own.may(Capability::SysResource));
    match (charged, kernel::locked_memory(host)) {
        (Some(true), _) => Check::ok(NAME, format!("maps are not charged to the locked memory; {unprivileged}")),
        (_, Some(Some(bytes))) if !raises => Check::degraded(
            NAME,
            format!("{bytes} bytes of locked memory, which kernels before 5.11 charge maps to; {unprivileged}"),
            "raise it (ulimit -l unlimited, LimitMEMLOCK=infinity), or give CAP_SYS_RESOURCE",
        ),
        (_, None) => Check::degraded(NAME, format!("the locked memory is not known; {unprivileged}"), "mount /proc"),
        _ => Check::ok(NAME, format!("locked memory can be raised; {unprivileged}")),
    }
}

/// Where cgroups of version 2 are; what needs them gets them, too.
pub(super) fn cgroups(host: &Host) -> (Check, Option<Hierarchy>) {
    const NAME: &str = "cgroups";
    match Hierarchy::find(host) {
        Ok(hierarchy) => {
            let at = hierarchy.mount.display();
            let found = match hierarchy.version {
                Version::Unified => format!("version 2 at {at}"),
                Version::Hybrid => format!("version 2 at {at}, beside version 1"),
            };
            (Check::ok(NAME, found), Some(hierarchy))
        }
        Err(error) => {
            let text = error.to_string();
            let (found, mend) = match &error {
                CgroupError::Mounts { .. } => (text.as_str(), "mount /proc"),
                // Their mend stands behind a colon.
                _ => text.split_once(": ").unwrap_or((&text, "mount cgroup2")),
            };
            (Check::missing(NAME, found).mended_by(mend), None)
        }
    }
}
