//! The figures, for people and as JSON.

use std::path::Path;

use anyhow::Result;
use inferscope_tests::machine::Header;
use inferscope_tests::report::{replace_section, table, write_json};
use serde::Serialize;

use super::timeline::{Row, Timeline};

const CONFIG: &str = "agent with host probes, metrics each 5 s, spans and log shipped to a receiver on loopback; streams of \
5 tokens, and as many threads that make 10 system calls each millisecond and sleep, tenfold for 40 s; the kernel times all \
programs meanwhile";

/// CPUs that the loads cost.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Costs {
    /// With full detail.
    #[serde(rename = "low_cpus")]
    pub(crate) low: f64,
    #[serde(rename = "high_cpus")]
    pub(crate) high: f64,
    /// With everything shed.
    #[serde(rename = "high_shed_cpus")]
    pub(crate) high_shed: f64,
}

#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    header: Header,
    window_us: f64,
    #[serde(flatten)]
    costs: Costs,
    pub(crate) timelines: Vec<Timeline>,
}

impl Report {
    pub(crate) fn new(window_us: f64, costs: Costs, timelines: Vec<Timeline>) -> Result<Self> {
        Ok(Self { header: Header::now(CONFIG)?, window_us, costs, timelines })
    }

    pub(crate) fn finish(&self) -> Result<()> {
        let text = self.markdown();
        println!("{text}");
        write_json("governor", self)?;
        replace_section(Path::new("docs/benchmarks.md"), "Benchmarks", &text)
    }

    fn markdown(&self) -> String {
        let Costs { low, high, high_shed } = self.costs;
        let timelines: String = self.timelines.iter().map(Timeline::markdown).collect();
        format!(
            "## Governor (`cargo xtask bench governor`)\n\n{}\n\nWithout a budget the loads cost {low:.4} and {high:.4} CPUs; the \
             high one with everything shed {high_shed:.4}. To begin and to end a window takes {:.0} µs.\n{timelines}",
            self.header.line(),
            self.window_us,
        )
    }
}

impl Timeline {
    fn markdown(&self) -> String {
        let head = ["second", "requests/s", "CPUs", "of which programs", "told", "shed (-), back (+)"];
        let rows: Vec<_> = self.rows.iter().map(Row::cells).collect();
        let changes: String = self.changes.iter().map(|change| format!("- {change}\n")).collect();
        let (done, counted) = (self.done, self.counted);
        let calls = if self.counts_calls() {
            format!("{} calls {}", done.calls, counted.calls)
        } else {
            "calls those that were made while system calls were not shed".to_owned()
        };
        format!(
            "\nBudget {:.4} CPUs: {:.4} from the third interval of the step on. Of {} requests {} were counted, of {} tokens {}, \
             of {calls}.\n\n{}\n{changes}",
            self.budget_cpus,
            self.held_cpus,
            done.requests,
            counted.requests,
            done.tokens,
            counted.tokens,
            table(&head, &rows),
        )
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        vec![
            self.second.to_string(),
            format!("{:.0}", self.requests_per_s),
            format!("{:.4}", self.cpus),
            format!("{:.4}", self.programs_cpus),
            format!("{:.4}", self.programs_told_cpus),
            self.changes.join(", "),
        ]
    }
}
