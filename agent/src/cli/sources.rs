//! From a configuration to a pipeline: shared by the commands that watch.

use anyhow::{Context, Result};
use tokio::sync::watch;

use crate::bpf::host::Begin;
use crate::bpf::{Hook, HookState, Kernel, object};
use crate::config::Config;
use crate::control::GpuDesk;
use crate::governor::{Governing, Part};
use crate::host::Host;
use crate::host::btf::{Btf, VMLINUX};
use crate::host::cgroup::Hierarchy;
use crate::host::own::give_back_memory;
use crate::model::batch::Temporality;
use crate::model::gpu::Limits;
use crate::pipeline::{GpuWatch, Pipeline};
use crate::sources::flow::Flows;
use crate::sources::gpu::GpuSource;
use crate::sources::host::{self, Beneath};
use crate::sources::workloads::Discovery;

/// Begins to read GPUs, unless the configuration says not to. It reads them from now on; whoever asks for them is
/// served even while the kernel half loads.
pub(super) fn gpus(config: &Config, temporality: Temporality) -> Result<Option<(GpuWatch, GpuDesk)>> {
    let Some(gpu) = &config.gpu else { return Ok(None) };
    let host = Host::default();
    let hierarchy = Hierarchy::find(&host)?;
    let source = GpuSource::start(gpu.source.clone()).context("cannot start a thread for GPUs")?;
    let (driver, state) = watch::channel(None);
    let desk = GpuDesk { control: source.control(), state };
    let limits = Limits { temporality, idle: gpu.idle, ..Limits::default() };
    Ok(Some((GpuWatch::new(source, limits, host, hierarchy, driver), desk)))
}

/// Loads the kernel half and prepares to watch what the configuration says. `parts`: what can be shed of what ships it.
/// `small`: begins with everything shed that can be, which is not even attached.
pub(super) fn pipeline(config: &Config, temporality: Temporality, parts: &[Part], small: bool) -> Result<Pipeline> {
    let discovery = Discovery::new(Host::default(), &config.watch)?;
    let btf = Btf::load(VMLINUX.as_ref());
    if let Err(error) = &btf {
        tracing::warn!(%error, "tracepoints stay off");
    }
    let kernel = Kernel::load(object::OBJECT, btf.as_ref().ok(), config.kernel)
        .context("cannot watch this machine (`inferscope doctor` says what is missing)")?;
    report(kernel.hooks());
    let probes = btf.ok().and_then(|btf| probes(config, &btf, small));
    give_back_memory();
    let beneath = Beneath::new(probes, config.host);
    let parts: Vec<Part> = parts.iter().copied().chain(beneath.parts()).collect();
    let limits = crate::model::Limits { temporality, ..config.model };
    // Loading does not count for the budget.
    let governing = Governing::new(config.governor.clone(), &parts);
    let mut pipeline = Pipeline::new(Flows::new(kernel, config.wire), beneath, discovery, limits, governing);
    if small {
        pipeline.start_small();
    }
    Ok(pipeline)
}

/// The host's probes as configured; what this kernel does not allow is left out, and said.
fn probes(config: &Config, btf: &Btf, small: bool) -> Option<host::Host> {
    let begin = Begin { syscalls: !small, scheduler: !small };
    match host::load(object::OBJECT, btf, config.host, begin) {
        Ok(probes) => {
            report(probes.probes().hooks());
            Some(probes)
        }
        Err(error) => {
            tracing::warn!(%error, "system calls, the scheduler and disks are not observed");
            None
        }
    }
}

fn report(hooks: &[Hook]) {
    for hook in hooks {
        if let HookState::Unavailable(reason) = &hook.state {
            tracing::warn!(hook = hook.name, signal = hook.signal, %reason, "not available");
        }
    }
}
