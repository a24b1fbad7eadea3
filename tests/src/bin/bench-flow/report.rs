//! The figures, for people and as JSON.

use std::path::Path;

use anyhow::Result;
use inferscope_tests::machine::Header;
use inferscope_tests::report;
use serde::Serialize;

use crate::{cpu, memory, packets};

const CONFIG: &str = "agent without an OTLP endpoint, host probes and GPUs where no row says otherwise; loads on loopback, open loop, 5 ms between tokens; best of \
repeated runs for packets";

#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    header: Header,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) packets: Vec<packets::Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<cpu::Idle>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cpu: Vec<cpu::Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) memory: Vec<memory::Row>,
}

impl Report {
    pub(crate) fn begin() -> Result<Self> {
        Ok(Self { header: Header::now(CONFIG)?, packets: Vec::new(), idle: None, cpu: Vec::new(), memory: Vec::new() })
    }

    /// Shows the figures, and keeps them where they are `real`.
    pub(crate) fn finish(&self, real: bool) -> Result<()> {
        let text = self.markdown();
        println!("{text}");
        if !real {
            return Ok(());
        }
        report::merge_json("flow", self, &[("packets", &["case"])])?;
        if !self.packets.is_empty() && !self.cpu.is_empty() && !self.memory.is_empty() {
            report::replace_section(Path::new("docs/benchmarks.md"), "Benchmarks", &text)?;
        }
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut text = format!("## Flows (`cargo xtask bench flow`)\n\n{}\n", self.header.line());
        if !self.packets.is_empty() {
            let rows: Vec<_> = self.packets.iter().map(packets::Row::cells).collect();
            text += &format!("\n{}", report::table(&["packet", "ns", "of which an empty program"], &rows));
        }
        if !self.cpu.is_empty() {
            let rows: Vec<_> = self.cpu.iter().map(cpu::Row::cells).collect();
            text += &format!("\n{}", report::table(&cpu::HEAD, &rows));
            if let Some(idle) = &self.idle {
                text += &format!(
                    "\nWithout requests the agent uses {:.0} µs of user time a second, {:.0} µs with system time; the table's figures are \
                     beyond that.",
                    idle.agent_user_us_per_s, idle.agent_cpu_us_per_s
                );
            }
            text += &cpu::cut_short(&self.cpu);
            text += "\nUser time by samples every 50 µs (± by their chance, 95 %), CPU time by the scheduler's clock; what an agent \
                     needs once to look around, and for a server that is new, some milliseconds each, is left out. Servers are watched, their clients are not.\n";
        }
        if !self.memory.is_empty() {
            let rows: Vec<_> = self.memory.iter().map(memory::Row::cells).collect();
            text += &format!("\n{}\n{}\n", report::table(&memory::HEAD, &rows), memory::compared(&self.memory));
        }
        text
    }
}
