//! What watching flows costs: nanoseconds for a packet, agent CPU for a request and a token, memory for a workload.
//!
//! `cargo xtask bench flow` builds what this needs and runs it as root.

#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

mod cpu;
mod length;
mod live;
mod load;
mod memory;
mod packets;
mod report;
mod shift;

use anyhow::{Context, Result, bail};

use length::Length;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("serve") => load::run_server(&arguments.next().context("the number of tokens is missing")?),
        Some("load") => {
            let (parameters, address) = (arguments.next(), arguments.next());
            load::run_clients(&parameters.context("no parameters")?, &address.context("no address")?)
        }
        part => bench(part, arguments.next().as_deref()),
    }
}

/// The agent's settings: what else it watches has benchmarks of its own.
const FLOWS_ALONE: &str = "[host]\nsyscalls = false\nscheduler = false\n[gpu]\nenabled = false\n";

const PARTS: [&str; 4] = ["packets", "live", "cpu", "memory"];

fn bench(part: Option<&str>, quick: Option<&str>) -> Result<()> {
    let parts = match part.filter(|part| *part != "all") {
        None => &PARTS[..],
        Some(part) => {
            let known = PARTS.iter().position(|known| *known == part);
            let at = known.with_context(|| format!("unknown part {part}: {} or all", PARTS.join(", ")))?;
            &PARTS[at..=at]
        }
    };
    let length = match quick {
        None => Length::FULL,
        Some("quick") => Length::QUICK,
        Some(other) => bail!("unknown length {other}: quick or nothing"),
    };
    let mut report = report::Report::begin()?;
    for part in parts {
        eprintln!("bench flow: {part} …");
        match *part {
            "packets" => report.packets = packets::measure()?,
            "live" => report.packets.extend(live::measure(length.live)?),
            "cpu" => {
                let (idle, rows) = cpu::measure(length)?;
                (report.idle, report.cpu) = (Some(idle), rows);
            }
            _ => report.memory = memory::measure()?,
        }
    }
    report.finish(quick.is_none())
}
