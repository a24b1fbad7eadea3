//! Everything that can be switched on and off around a measurement.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use inferscope::bpf::host::Mode;
use inferscope::bpf::host::bench::{Attached, Shape, Shapes};
use inferscope::host::btf::{Btf, VMLINUX};
use inferscope::model::workload::WorkloadId;
use inferscope_tests::affinity;
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::host::watch::{Watch, workload};

use crate::measure::Slices;

const OBJECT: &str = "target/ebpf/shapes.bpf.o";
const TRACEFS: &str = "/sys/kernel/tracing";
const CPU: usize = 1;
pub(crate) const ID: WorkloadId = WorkloadId(1);

/// What is in place during a measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Design {
    None,
    Other(Shape),
    /// Ours, with clocks on one call in 2^k.
    Ours {
        k: u32,
    },
    /// Ours, in a cgroup that is not watched.
    Unobserved,
}

impl Design {
    /// It is done by our programs.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Ours { .. } | Self::Unobserved)
    }
}

/// How a measurement goes.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Rounds, each of which measures every design between two measurements without any.
    pub(crate) rounds: usize,
    /// Between two designs of ours our programs stay in place.
    pub(crate) keeps_ours: bool,
    pub(crate) slices: Slices,
}

pub(crate) struct Rig {
    shapes: Shapes,
    pub(crate) host: Watch,
    pub(crate) pace: Pace,
    attached: Attached,
    watched: Cgroup,
    beside: Cgroup,
    mounted: bool,
}

impl Rig {
    /// With these probes as our design.
    pub(crate) fn new(mut host: Watch, pace: Pace) -> Result<Self> {
        // Classic tracepoints are found by tracefs, which is not mounted everywhere.
        let mounted = !Path::new(TRACEFS).join("events").exists();
        if mounted {
            let done = Command::new("mount").args(["-t", "tracefs", "none", TRACEFS]).status()?;
            ensure!(done.success(), "cannot mount tracefs at {TRACEFS}");
        }
        let types = Btf::load(VMLINUX.as_ref())?;
        let object =
            fs::read(OBJECT).with_context(|| format!("{OBJECT} is missing: `cargo xtask bench host` builds it"))?;
        let (watched, beside) = (Cgroup::create("bench")?, Cgroup::create("bench-beside")?);
        host.add(&workload(ID.0, &watched)?)?;
        host.probes_mut().observe_calls(false);
        host.probes_mut().observe_sched(false);
        let shapes = Shapes::load(&object, &types)?;
        let rig = Self { shapes, host, pace, attached: Attached::default(), watched, beside, mounted };
        affinity::pin(0, CPU)?;
        Ok(rig)
    }

    /// Puts a design in place, on system calls or on switches.
    pub(crate) fn put(&mut self, design: Design, on_calls: bool) -> Result<()> {
        let ours = design.is_ours();
        self.host.probes_mut().observe_calls(ours && on_calls);
        self.host.probes_mut().observe_sched(ours && !on_calls);
        self.attached = match design {
            Design::Other(shape) => self.shapes.attach(shape)?,
            Design::None | Design::Ours { .. } | Design::Unobserved => Attached::default(),
        };
        if let Design::Ours { k } = design {
            self.host.set_sampling(ID, k);
        }
        let cgroup = if design == Design::Unobserved { &self.beside } else { &self.watched };
        cgroup.take(std::process::id())
    }

    /// How our programs see system calls here.
    pub(crate) fn mode(&mut self) -> Result<Mode> {
        self.put(Design::Ours { k: 0 }, true)?;
        let mode = self.host.probes().mode().0;
        self.put(Design::None, true)?;
        Ok(mode)
    }

    /// Calls that the probes counted of this process.
    pub(crate) fn counted(&mut self) -> u64 {
        self.host.read(ID).map_or(0, |totals| totals.calls.iter().sum())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The cgroups are removed with all that is in them, and that must not be this process.
        if let Some(root) = self.watched.path().parent() {
            drop(fs::write(root.join("cgroup.procs"), std::process::id().to_string()));
        }
        self.attached = Attached::default();
        if self.mounted {
            drop(Command::new("umount").arg(TRACEFS).status());
        }
    }
}
