//! The figures, for people and as JSON.

use std::path::Path;

use anyhow::Result;
use inferscope_tests::machine::Header;
use inferscope_tests::report::{merge_json, replace_section, table};
use serde::Serialize;

use crate::reading::{FlushRow, MemoryRow};
use crate::rows::{CallRow, SwitchRow};

#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    header: Header,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) syscalls: Vec<CallRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) spinning: Vec<CallRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) scheduler: Vec<SwitchRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) flush: Vec<FlushRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) memory: Vec<MemoryRow>,
}

/// Quartiles that lie further apart than this share of the median mean that other work shared the CPU.
const SCATTER: f64 = 0.25;

impl Report {
    pub(crate) fn begin() -> Result<Self> {
        let config = "One pinned thread; minimum of 10 slices, without, with and without in turn; median and quartiles of \
            21 rounds, of tools 5";
        Ok(Self {
            header: Header::now(config)?,
            syscalls: Vec::new(),
            spinning: Vec::new(),
            scheduler: Vec::new(),
            flush: Vec::new(),
            memory: Vec::new(),
        })
    }

    /// Prints the tables and puts them into the JSON; a run of all parts replaces the section of the document.
    #[expect(clippy::print_stdout, reason = "the table is what this binary is run for")]
    pub(crate) fn finish(&self) -> Result<()> {
        let text = self.markdown();
        println!("{text}");
        merge_json("host", self, &[("syscalls", &["design", "mode"])])?;
        let whole = [self.syscalls.len(), self.scheduler.len(), self.flush.len(), self.memory.len()];
        if whole.iter().all(|&rows| rows > 0) {
            replace_section(Path::new("docs/benchmarks.md"), "Benchmarks", &text)?;
        }
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut text = format!("## Host (`cargo xtask bench host`)\n\n{}\n", self.header.line());
        for (rows, call) in [(&self.syscalls, "`getppid`"), (&self.spinning, "`sched_yield`")] {
            calls(&mut text, call, rows);
        }
        let switch = |row: &SwitchRow| vec![row.design.to_owned(), added(row.ns_added_per_switch, row.range())];
        section(&mut text, &["switch", "ns added (quartiles)"], self.scheduler.iter().map(switch));
        let flush =
            |row: &FlushRow| vec![row.workloads.to_string(), format!("{:.0}", row.us), format!("{:.0}", row.us_idle)];
        section(&mut text, &["workloads", "µs to read all, busy", "idle"], self.flush.iter().map(flush));
        let memory = |row: &MemoryRow| {
            let rss = row.rss_mib.map_or_else(|| "–".to_owned(), |mib| format!("{mib:.1}"));
            vec![row.workloads.to_string(), row.cpus.to_string(), format!("{:.1}", row.kernel_mib), rss]
        };
        let head = ["workloads", "CPUs", "kernel MiB of the probes", "resident MiB of the agent"];
        section(&mut text, &head, self.memory.iter().map(memory));
        text
    }
}

/// A table, where there are rows.
fn section(text: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(head, &rows));
    }
}

/// The table of a call.
pub(crate) fn calls(text: &mut String, call: &str, rows: &[CallRow]) {
    let ratio = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
    let row = |row: &CallRow| {
        vec![
            row.design.clone(),
            row.mode.clone(),
            added(row.ns_added_per_call, (row.ns_added_low, row.ns_added_high)),
            ratio(row.ratio_to_bcc_shape),
            ratio(row.ratio_to_rezolus_shape),
            ratio(row.ratio_to_empty_pair),
        ]
    };
    let head = [call, "mode", "ns added (quartiles)", "to bcc shape", "to Rezolus shape", "to empty pair"];
    section(text, &head, rows.iter().map(row));
}

/// A median between its quartiles, marked where those say that the machine was not at rest.
fn added(ns: f64, (low, high): (f64, f64)) -> String {
    let mark = if high - low > SCATTER * ns.abs().max(40.0) { " (disturbed)" } else { "" };
    format!("{ns:.0} ({low:.0} … {high:.0}){mark}")
}
