//! The figures, for people and as JSON.

use std::path::Path;

use anyhow::Result;
use inferscope_tests::machine::Header;
use inferscope_tests::report::{replace_section, table, write_json};
use serde::Serialize;

const CONFIG: &str = "agent with metrics, spans and log shipped to a receiver on loopback; streams of 5 tokens, tenfold \
for a minute; the kernel times all programs meanwhile";

/// Some seconds of the timeline.
#[derive(Serialize)]
pub(crate) struct Row {
    /// When it ended.
    pub(crate) second: u64,
    pub(crate) requests_per_s: f64,
    /// The agent's process and its programs, by the kernel's books.
    pub(crate) cpus: f64,
    /// The programs alone.
    pub(crate) programs_cpus: f64,
    /// The programs as the agent tells them.
    pub(crate) programs_told_cpus: f64,
    /// Steps that were taken and not taken back.
    pub(crate) shed: usize,
}

#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    header: Header,
    window_us: f64,
    low_cpus: f64,
    high_cpus: f64,
    high_shed_cpus: f64,
    budget_cpus: f64,
    timeline: Vec<Row>,
    changes: Vec<String>,
    requests_asked: u64,
    requests_counted: u64,
}

impl Report {
    pub(crate) fn new(
        window_us: f64,
        [low_cpus, high_cpus, high_shed_cpus]: [f64; 3],
        budget_cpus: f64,
        timeline: Vec<Row>,
        changes: Vec<String>,
        [requests_asked, requests_counted]: [u64; 2],
    ) -> Result<Self> {
        let header = Header::now(CONFIG)?;
        Ok(Self {
            header,
            window_us,
            low_cpus,
            high_cpus,
            high_shed_cpus,
            budget_cpus,
            timeline,
            changes,
            requests_asked,
            requests_counted,
        })
    }

    pub(crate) fn finish(&self) -> Result<()> {
        let text = self.markdown();
        println!("{text}");
        write_json("governor", self)?;
        replace_section(Path::new("docs/benchmarks.md"), "Benchmarks", &text)
    }

    fn markdown(&self) -> String {
        let rows: Vec<_> = self.timeline.iter().map(Row::cells).collect();
        let head = ["second", "requests/s", "CPUs", "of which programs", "told", "steps shed"];
        let changes: String = self.changes.iter().map(|change| format!("- {change}\n")).collect();
        format!(
            "## Governor (`cargo xtask bench governor`)\n\n{}\n\nBudget {:.4} CPUs. Without one the loads cost {:.4} and \
             {:.4}; with everything shed {:.4}. To begin and to end a window takes {:.0} µs. Of {} requests {} were counted.\n\n{}\n{changes}",
            self.header.line(),
            self.budget_cpus,
            self.low_cpus,
            self.high_cpus,
            self.high_shed_cpus,
            self.window_us,
            self.requests_asked,
            self.requests_counted,
            table(&head, &rows),
        )
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let Self { second, requests_per_s, cpus, programs_cpus, programs_told_cpus, shed } = self;
        vec![
            second.to_string(),
            format!("{requests_per_s:.0}"),
            format!("{cpus:.4}"),
            format!("{programs_cpus:.4}"),
            format!("{programs_told_cpus:.4}"),
            shed.to_string(),
        ]
    }
}
