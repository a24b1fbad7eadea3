//! Shows inferscope at work: the demo itself is a program of `tests/`.

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::checkout::{self, Checkout};
use crate::run;
use crate::setup;
use crate::tools;

#[derive(Args)]
pub(crate) struct Options {
    /// Sends to an OpenTelemetry Collector, too, and shows what arrives there
    #[arg(long)]
    collector: bool,
    /// Gives the servers a simulated GPU, and shows what joules their tokens cost
    #[arg(long)]
    gpu_sim: bool,
    /// Ends by itself after so many seconds; without it Ctrl-C ends it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
}

/// The task.
pub(crate) fn demo(checkout: &Checkout, options: &Options) -> Result<()> {
    checkout::need_root("the demo")?;
    build::kernel_half(checkout, &setup::setup(checkout)?)?;
    let tools = tools::of_demo(checkout, options.collector)?;
    build::agent(checkout, true)?;
    // The demo starts programs that stand beside it.
    run::run(checkout.cargo().args(["build", "--release", "--package", "inferscope-tests", "--bins"]))?;
    let mut command = checkout.command(checkout.target("release/demo"));
    if options.collector {
        command.arg("--collector");
    }
    if options.gpu_sim {
        command.arg("--gpu-sim");
    }
    if let Some(seconds) = options.seconds {
        command.args(["--seconds", &seconds.to_string()]);
    }
    tools.tell(checkout, &mut command);
    run::run(&mut command)
}
