//! Runs the tests, group by group, and counts them.

mod ebpf;
mod gpu;
mod tally;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::again;
use crate::build;
use crate::checkout::{self, Checkout};
use crate::setup;
use crate::tidy;
use crate::tools;
use tally::Tally;

#[derive(Args)]
pub(crate) struct Options {
    /// What to test; everything when nothing is named
    groups: Vec<Group>,
}

/// Tests by what they need.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Needs nothing but cargo: neither root nor the toolchain of the kernel half
    Unit,
    /// The kernel half: two builds give the same bytes, and this kernel takes every program
    Ebpf,
    /// The agent on real servers and clients, shipping to a real Collector
    E2e,
    /// The GPUs of this machine under load; skipped where there is none
    Gpu,
}

impl Group {
    const ALL: [Self; 4] = [Self::Unit, Self::Ebpf, Self::E2e, Self::Gpu];

    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Ebpf => "ebpf",
            Self::E2e => "e2e",
            Self::Gpu => "gpu",
        }
    }

    fn run(self, checkout: &Checkout) -> Result<Tally> {
        match self {
            Self::Unit => tally::cargo(checkout.cargo().args(["test", "--no-fail-fast"])),
            Self::Ebpf => ebpf::run(checkout),
            Self::E2e => e2e(checkout),
            Self::Gpu => gpu::run(checkout),
        }
    }
}

/// The task. What it prints ends with one line for all groups.
#[expect(clippy::print_stdout, reason = "the tests' results are the output")]
pub(crate) fn test(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    let groups = if options.groups.is_empty() { &Group::ALL[..] } else { &options.groups };
    if groups.iter().any(|group| *group != Group::Unit) {
        checkout::need_root("this group of tests (all but `cargo xtask test unit`)")?;
    }
    let mut total = Tally::default();
    let mut lines = Vec::new();
    for group in groups {
        let (name, begun) = (group.name(), Instant::now());
        println!("\n== {name}");
        let tally = group.run(checkout).unwrap_or_else(|error| {
            println!("== {name} did not run: {error:#}");
            Tally::one(false)
        });
        lines.push(format!("== {name}: {tally}, {:.0} s", begun.elapsed().as_secs_f64()));
        total.add(tally);
    }
    println!();
    for line in lines {
        println!("{line}");
    }
    if let Some(line) = again::told(&total.at_second) {
        println!("{line}");
    }
    println!("{total}");
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn e2e(checkout: &Checkout) -> Result<Tally> {
    build::kernel_half(checkout, &setup::setup(checkout)?)?;
    let tools = tools::tools(checkout)?;
    build::agent(checkout, true)?;
    let before = tidy::programs(checkout);
    let mut command = checkout.cargo();
    command.args(["test", "--no-fail-fast", "--package", "inferscope-tests"]);
    tools.tell(checkout, &mut command);
    let tally = tally::cargo(&mut command);
    tidy::tidy()?;
    tidy::report_programs(before, tidy::programs(checkout));
    tally
}
