//! The hyper client as a program: takes a plan, prints a line of JSON for each exchange.

#![expect(clippy::print_stdout, reason = "what it saw is its output")]

use anyhow::{Context, Result};
use inferscope_tests::clients::{Plan, hyper};

fn main() -> Result<()> {
    let plan = std::env::args().nth(1).context("usage: client-hyper PLAN")?;
    let plan: Plan = serde_json::from_str(&plan).context("the plan")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tell = |seen: &_| match serde_json::to_string(seen) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("{error}"),
    };
    tokio::task::LocalSet::new().block_on(&runtime, hyper::run(plan, tell))
}
