//! What other tools of this field add to a system call, as Debian has them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use inferscope::bpf::host::Mode;
use inferscope_tests::process::Process;

use crate::headers::Headers;
use crate::measure::{SLICES, apart, getppid};
use crate::rig::{Design, Rig};
use crate::rows::{CallRow, quartiles};

/// Rounds, each of which starts the tool anew between two measurements without it.
const ROUNDS: usize = 5;
/// Longest wait until a tool has compiled its programs and attached them.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// A tool that observes every system call until it is told to end.
struct Tool {
    design: &'static str,
    command: fn() -> Command,
    /// What it says once it observes.
    ready: &'static str,
}

const TOOLS: [Tool; 2] = [
    Tool { design: "bcc_syscount", command: syscount, ready: "Tracing" },
    Tool { design: "bpftrace", command: bpftrace, ready: "ready" },
];

fn syscount() -> Command {
    let mut command = everywhere("syscount-bpfcc");
    command.args(["-L", "-i", "3600"]).env("PYTHONUNBUFFERED", "1");
    command
}

fn bpftrace() -> Command {
    let mut command = everywhere("bpftrace");
    command.args([
        "-e",
        "BEGIN { printf(\"ready\\n\"); }
         tracepoint:raw_syscalls:sys_enter { @start[tid] = nsecs; }
         tracepoint:raw_syscalls:sys_exit /@start[tid]/ { @ns[args->id] = hist(nsecs - @start[tid]); delete(@start[tid]); }",
    ]);
    command
}

/// The tool is not to share the CPU that is measured.
fn everywhere(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0-1023", program]);
    command
}

/// A row for each tool that runs here, in proportion to the shapes among `others`.
pub(crate) fn measure(rig: &mut Rig, others: &[CallRow]) -> Result<Vec<CallRow>> {
    let _headers = Headers::provide();
    let mut rows = Vec::new();
    rig.put(Design::None, true)?;
    for tool in &TOOLS {
        match rounds(tool) {
            Ok(mut added) => {
                let mut row = CallRow::new(tool.design, Mode::Tracepoints.name(), quartiles(&mut added));
                row.compare(others);
                rows.push(row);
            }
            Err(error) => eprintln!("{} is left out: {}", tool.design, first_line(&error)),
        }
    }
    Ok(rows)
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

/// What it adds, round by round.
fn rounds(tool: &Tool) -> Result<Vec<f64>> {
    let time = || apart(|| getppid(SLICES));
    let mut added = Vec::new();
    for round in 0..ROUNDS {
        eprintln!("{}: round {} of {ROUNDS}", tool.design, round + 1);
        let before = time();
        let mut running = Process::start(tool.design, (tool.command)(), None)?;
        running
            .until(READY_WITHIN, "it to observe", |process| {
                process.out().iter().any(|line| line.contains(tool.ready)).then_some(())
            })
            .context("it does not run here")?;
        let with = time();
        drop(running);
        added.push(with - f64::midpoint(before, time()));
    }
    Ok(added)
}
