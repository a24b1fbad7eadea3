//! What this machine allows: each thing that the agent builds on is tried, and what is missing says what that costs and
//! what mends it.

mod exchange;
mod gpus;
mod kernel_half;
mod machine;
mod render;
mod surroundings;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use render::{json, line};
pub use surroundings::Endpoint;

use crate::bpf;
use crate::host::Host;
use crate::sources::gpu;
use crate::sources::host::Settings as HostSettings;
use crate::sources::workloads::Settings;

/// How a thing stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All that is wanted.
    Ok,
    /// Less than that, and something goes without.
    Degraded,
    /// Not there.
    Missing,
}

/// What requests are not seen without; what it takes besides shows when these are tried.
const REQUIRED: [&str; 7] = ["capabilities", "cgroups", "kernel half", "load", "attach", "meter", "watch"];

/// One thing that was tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// Requests are not seen without it.
    pub required: bool,
    /// What was found, and where something is missing, what goes without.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        let name = name.into();
        let required = REQUIRED.contains(&name.as_str());
        Self { name, status: Status::Ok, required, found: found.into(), mend: None }
    }

    fn degraded(name: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { status: Status::Degraded, mend: Some(mend.into()), ..Self::ok(name, found) }
    }

    fn missing(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { status: Status::Missing, ..Self::ok(name, found) }
    }

    fn mended_by(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }

    /// True where requests cannot be seen because of it.
    pub fn is_fatal(&self) -> bool {
        self.required && self.status == Status::Missing
    }
}

/// What to look at besides the machine.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The compiled kernel half.
    pub object: &'a [u8],
    /// Its sizes.
    pub kernel: bpf::Options,
    /// What is to be observed of the host.
    pub host: HostSettings,
    /// Who is to be watched.
    pub watch: &'a Settings,
    /// Where OpenTelemetry is to go.
    pub endpoints: Vec<Endpoint>,
    /// How GPUs are read; `None` where they are not to be, and are only looked for.
    pub gpu: Option<&'a gpu::Settings>,
    /// `LD_LIBRARY_PATH`, where libraries are looked for first.
    pub library_path: Option<String>,
}

/// Tries everything, one thing after the other, and tells each as soon as it is known. Attaches to this process's
/// own cgroup for a moment.
pub fn examine(host: &Host, inputs: &Inputs<'_>, tell: &mut dyn FnMut(Check)) {
    tell(machine::release(host));
    let (check, btf) = machine::types(host);
    tell(check);
    tell(machine::capabilities(host));
    tell(machine::limits(host));
    let (check, hierarchy) = machine::cgroups(host);
    tell(check);
    kernel_half::examine(host, inputs, btf.as_ref(), hierarchy.as_ref(), tell);
    if hierarchy.is_some() {
        tell(surroundings::watch(host, inputs.watch));
    }
    tell(surroundings::processes(host));
    match inputs.gpu {
        Some(settings) => gpus::gpus(host, inputs.library_path.as_deref(), settings, tell),
        None => tell(surroundings::gpu(host, inputs.library_path.as_deref())),
    }
    surroundings::endpoints(&inputs.endpoints, tell);
}
