//! A CUDA load: matrix products on the first GPU for a share of the time.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Process;
use crate::tools;

const READY_WITHIN: Duration = Duration::from_secs(120);
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// A process that multiplies.
#[derive(Debug)]
pub struct Matrices(Process);

impl Matrices {
    /// Starts one that is busy for a share of the time, and waits until it has the GPU.
    pub fn start(busy: f64) -> Result<Self> {
        let mut command = tools::on_first_gpu("servers/matrices.py")?;
        command.args(["--busy", &busy.to_string()]);
        let mut process = Process::start("matrices", command, None)?;
        process.until(READY_WITHIN, "CUDA", |process| process.out().first().map(drop))?;
        Ok(Self(process))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// What it did so far: products, and milliseconds.
    pub fn done(&self) -> Result<[f64; 2]> {
        let out = self.0.out();
        let said = out.last().context("it said nothing")?;
        let numbers =
            said.split_once(' ').and_then(|(products, busy)| Some([products.parse().ok()?, busy.parse().ok()?]));
        numbers.with_context(|| format!("it said {said:?}"))
    }

    /// Ends it.
    pub fn end(self) -> Result<()> {
        self.0.stop(ENDS_WITHIN)?.well("matrices").map(drop)
    }
}
