//! Measures what watching costs: the benchmarks themselves are programs of `tests/`.

use std::path::Path;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use crate::apt;
use crate::build;
use crate::checkout::{self, Checkout};
use crate::run;
use crate::setup;
use crate::tools;
use crate::vm;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Packets, CPU and memory of the flow programs and of the agent
    Flow {
        /// One part of it; all of them when none is named
        #[arg(value_parser = FLOW.map(|(part, _)| part))]
        part: Option<String>,
        /// Runs everything for a moment, to see that it works: the figures mean nothing and are not kept
        #[arg(long)]
        quick: bool,
    },
    /// What the host's probes add to a system call and to a switch, beside the ways of other tools; reading, memory
    Host {
        /// One part of it; all of them but `guest` when none is named. `guest` compares the ways to see system calls, in a
        /// virtual machine with a kernel that allows both
        #[arg(value_parser = PossibleValuesParser::new(HOST.map(|(part, _)| part).into_iter().chain([GUEST])))]
        part: Option<String>,
    },
    /// The agent's own cost under a load step, and what it sheds to hold its budget
    Governor,
    /// What reading GPUs costs, and how true their energy is
    Gpu {
        /// `device`: those of this machine; `simulator`; the device where there is one when nothing is named
        #[arg(value_parser = ["device", "simulator"])]
        driver: Option<String>,
    },
}

/// Parts of the benchmark `flow`, and the seconds that each takes at most.
const FLOW: [(&str, u32); 4] = [("packets", 5), ("live", 90), ("cpu", 660), ("memory", 140)];

/// The same of `host`.
const HOST: [(&str, u32); 5] = [("syscalls", 60), ("tools", 60), ("scheduler", 30), ("flush", 30), ("memory", 60)];

/// The part of `host` that is no measurement of this machine.
const GUEST: &str = "guest";
/// Minutes that it takes.
const GUEST_MINUTES: u32 = 5;

/// Seconds that the benchmark `governor` takes.
const GOVERNOR: u32 = 240;

/// Seconds that the benchmark `gpu` takes.
const GPU_SECONDS: u32 = 75;

/// The task.
pub(crate) fn bench(checkout: &Checkout, options: &Options) -> Result<()> {
    let chosen = |parts: &[(&str, u32)], part: &Option<String>| -> u32 {
        let chosen = parts.iter().filter(|(name, _)| part.as_deref().is_none_or(|part| part == *name));
        chosen.map(|(_, seconds)| seconds).sum()
    };
    // The program, what else it starts, and how long it takes.
    let (program, others, part, seconds) = match &options.benchmark {
        Benchmark::Flow { part, .. } => ("bench-flow", &[][..], part.as_deref(), chosen(&FLOW, part)),
        Benchmark::Host { part } => ("bench-host", &["syscall-load"][..], part.as_deref(), chosen(&HOST, part)),
        Benchmark::Governor => ("bench-governor", &["server-axum", "client-hyper", "syscall-load"][..], None, GOVERNOR),
        Benchmark::Gpu { driver } => return gpu(checkout, driver.as_deref(), None),
    };
    if part == Some(GUEST) {
        return guest(checkout);
    }
    checkout::need_root("this benchmark")?;
    if program == "bench-host" && part.is_none_or(|part| part == "tools") {
        rivals(checkout);
    }
    let toolchain = setup::setup(checkout)?;
    build::kernel_half(checkout, &toolchain)?;
    if matches!(options.benchmark, Benchmark::Host { .. }) {
        build::shapes(checkout, &toolchain)?;
    }
    build::agent(checkout, true)?;
    build::programs(checkout, &[&[program], others].concat())?;
    let mut command = checkout.command(checkout.target("release").join(program));
    if matches!(options.benchmark, Benchmark::Flow { quick: true, .. }) {
        command.args([part.unwrap_or("all"), "quick"]);
    } else {
        command.args(part);
        eprintln!("This takes {} min at most; leave the machine alone meanwhile.", seconds.div_ceil(60));
    }
    run::run(&mut command).context("the benchmark did not end well")
}

/// The part `guest` of the benchmark `host`: a guest measures, and this machine puts what it found beside its own figures.
fn guest(checkout: &Checkout) -> Result<()> {
    let toolchain = setup::setup(checkout)?;
    build::kernel_half(checkout, &toolchain)?;
    build::shapes(checkout, &toolchain)?;
    let mut build = checkout.cargo();
    // What it measures runs in the kernel, and is the same in a release.
    run::run(build.args(["build", "--package", "inferscope-tests", "--bin", "bench-host"]))?;
    let program = checkout.target("debug/bench-host");
    eprintln!("This takes about {GUEST_MINUTES} min; leave the machine alone meanwhile.");
    let figures = checkout.target("tmp/guest.json");
    checkout::write_if_changed(&figures, vm::figures(checkout, &program, "in-guest")?.as_bytes())?;
    run::run(checkout.command(program).arg("of-guest").arg(figures)).context("the guest's figures are of no use")
}

/// The benchmark `gpu`, on the device, with loads by a Python with PyTorch, or on the simulator.
pub(crate) fn gpu(checkout: &Checkout, driver: Option<&str>, torch: Option<&Path>) -> Result<()> {
    // Beside it the library is built that stands in for the driver's.
    build::programs(checkout, &["bench-gpu"])?;
    eprintln!("This takes about {} min.", GPU_SECONDS.div_ceil(60));
    let mut command = checkout.command(checkout.target("release/bench-gpu"));
    command.args(driver).envs(torch.map(|torch| (tools::TORCH, torch)));
    run::run(&mut command).context("the benchmark did not end well")
}

/// Tools to compare with; a benchmark without them has fewer rows.
fn rivals(checkout: &Checkout) {
    let missing = ["syscount-bpfcc", "bpftrace"].iter().any(|program| checkout::on_path(program).is_none());
    let headers = format!("linux-headers-{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" });
    let packages = ["bpfcc-tools", "bpftrace", &headers];
    if missing && let Err(error) = apt::install(checkout, &packages, "tools to compare with") {
        eprintln!("Left out: {error:#}");
    }
}
