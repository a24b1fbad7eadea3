//! Traffic that is no inference, in a process that can stand in a cgroup: `unrelated ROUNDS`.

#![expect(clippy::print_stdout, reason = "what passed is its output")]

use anyhow::{Context, Result};
use inferscope_tests::unrelated;

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).context("usage: unrelated ROUNDS")?.parse().context("ROUNDS")?;
    println!("{}", serde_json::to_string(&unrelated::pass(rounds)?)?);
    Ok(())
}
