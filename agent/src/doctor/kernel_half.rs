//! The kernel half: loaded, attached to this process's own cgroup, and shown a request.

use std::path::PathBuf;

use super::{Check, Inputs, exchange};
use crate::bpf::host::Mode;
use crate::bpf::{Hook, HookState, Kernel};
use crate::host::Host;
use crate::host::btf::Btf;
use crate::host::cgroup::{self, Hierarchy};
use crate::sources::host as sources;

const BUILT: &str = "kernel half";
const LOAD: &str = "load";
const ATTACH: &str = "attach";
const METER: &str = "meter";

/// Takes each step that the step before allows.
pub(super) fn examine(
    host: &Host,
    inputs: &Inputs<'_>,
    btf: Option<&Btf>,
    hierarchy: Option<&Hierarchy>,
    tell: &mut dyn FnMut(Check),
) {
    let untried = |name: &str, why: &str| Check::missing(name, format!("not tried, since {why}"));
    if inputs.object.is_empty() {
        let found = "this binary was built without it";
        tell(Check::missing(BUILT, found).mended_by("build it with `cargo xtask build`"));
        return [LOAD, ATTACH, METER].into_iter().for_each(|name| tell(untried(name, "there is no kernel half")));
    }
    tell(Check::ok(BUILT, format!("built in, {} KiB", inputs.object.len() / 1024)));
    let mut kernel = match Kernel::load(inputs.object, btf, inputs.kernel) {
        Ok(kernel) => kernel,
        Err(error) => {
            let mend = "see kernel and capabilities above; a verifier's refusal is a defect worth reporting";
            tell(Check::missing(LOAD, error.to_string()).mended_by(mend));
            return [ATTACH, METER].into_iter().for_each(|name| tell(untried(name, "nothing is loaded")));
        }
    };
    tell(Check::ok(LOAD, "the kernel accepts programs and maps"));
    kernel.hooks().iter().for_each(|hook| tell(tracepoint(hook)));
    btf.into_iter().for_each(|btf| probes(inputs, btf, tell));
    let own = match own_cgroup(host, hierarchy) {
        Ok(own) => own,
        Err(why) => return [ATTACH, METER].into_iter().for_each(|name| tell(untried(name, why))),
    };
    match kernel.attach(&own) {
        Ok(attachment) => {
            tell(Check::ok(ATTACH, format!("to {}, this process's own cgroup", own.display())));
            tell(meter(&mut kernel, &own));
            kernel.detach(attachment);
        }
        Err(error) => {
            let mend =
                "give CAP_NET_ADMIN; where another program holds the cgroup alone, remove it (`bpftool cgroup tree`)";
            tell(Check::missing(ATTACH, error.to_string()).mended_by(mend));
            tell(untried(METER, "nothing is attached"));
        }
    }
}

/// The host's probes, and how system calls are seen.
fn probes(inputs: &Inputs<'_>, btf: &Btf, tell: &mut dyn FnMut(Check)) {
    const NAME: &str = "host probes";
    let mend = "see kernel types and capabilities above (CAP_PERFMON)";
    let loaded = match sources::try_out(inputs.object, btf, inputs.host) {
        Ok(loaded) => loaded,
        Err(error) => {
            let found = format!("no system calls, scheduler or disks: {error}");
            return tell(Check::degraded(NAME, found, mend));
        }
    };
    let probes = loaded.probes();
    let (mode, why) = probes.mode();
    tell(seen(NAME, mode, why));
    probes.hooks().iter().for_each(|hook| tell(tracepoint(hook)));
}

/// How system calls are seen, and who pays for it.
fn seen(name: &str, mode: Mode, why: Option<&str>) -> Check {
    match mode {
        Mode::PerCall => Check::ok(name, "system calls by programs of their own: all others cost nothing"),
        Mode::Tracepoints => {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let found = format!(
                "every system call of every process on this node costs a tenth of a microsecond more, of workloads a \
                 quarter, since single calls take no programs here{why}"
            );
            Check::degraded(name, found, "a kernel that allows fentry; or `host.syscalls = false`: nobody pays then")
        }
        Mode::Off => Check::ok(name, "system calls are not observed"),
    }
}

fn tracepoint(hook: &Hook) -> Check {
    let name = format!("hook {}", hook.name);
    match &hook.state {
        HookState::Attached => Check::ok(name, hook.signal),
        HookState::Unavailable(reason) => Check::degraded(
            name,
            format!("without it no {}: {reason}", hook.signal),
            "see kernel types and capabilities above (CAP_PERFMON)",
        ),
    }
}

fn own_cgroup(host: &Host, hierarchy: Option<&Hierarchy>) -> Result<PathBuf, &'static str> {
    let hierarchy = hierarchy.ok_or("there are no cgroups of version 2")?;
    let own = cgroup::of_process(host, std::process::id()).and_then(|own| hierarchy.directory(&own.version2?));
    own.ok_or("this process's own cgroup lies outside of the mounted cgroup2 file system")
}

/// Shows the kernel half a request over loopback. That takes socket storage, the counters and the map of workloads.
fn meter(kernel: &mut Kernel, own: &std::path::Path) -> Check {
    match exchange::meter(kernel, own) {
        Ok(requests) if requests > 0 => Check::ok(METER, "a request over loopback was seen, by way of socket storage"),
        Ok(_) => Check::missing(METER, "a request over loopback passed unseen")
            .mended_by("socket storage may be at fault (CONFIG_BPF_SYSCALL, CONFIG_CGROUP_BPF), or a foreign program on the cgroup"),
        Err(error) => Check::degraded(METER, format!("no request could be sent over loopback: {error}"), "ip link set lo up"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line;

    #[test]
    fn a_way_that_everybody_pays_for_is_no_good_one() {
        let told = |mode, why| anstream::adapter::strip_str(&line(&seen("host probes", mode, why))).to_string();
        let refused = Some("__x64_sys_socket: Operation not permitted (os error 1)");
        insta::assert_snapshot!(
            [told(Mode::PerCall, None), told(Mode::Tracepoints, refused), told(Mode::Off, None)].join("\n")
        );
    }
}
