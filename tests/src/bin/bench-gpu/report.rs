//! The figures, for people and as JSON.

use anyhow::Result;
use inferscope::model::batch::Point;
use inferscope::model::metrics::MetricId;
use inferscope_tests::gpu::total;
use inferscope_tests::machine::Header;
use inferscope_tests::report::table;
use serde::Serialize;

/// `gpu.json`. What was not measured is absent.
#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    header: Header,
    source: String,
    pub(crate) calls: Vec<Call>,
    /// Time in the driver for one reading of what is read every interval: median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interval_us_per_gpu: Option<f64>,
    /// The same where it is also asked which process used the device, as it is once a second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interval_with_uses_us_per_gpu: Option<f64>,
    /// CPU time of the source's threads for each reading, whatever else they do included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_reading: Option<f64>,
    /// How much longer the longest flush took while a device hung than the median one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flush_delay_us_with_hung_device: Option<f64>,
    /// Longest gap between readings of a healthy device while another one hung, in intervals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) healthy_gap_intervals_with_hung_device: Option<f64>,
    /// Largest difference of 10 s of energy from the device's counter, read by somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) energy_error_pct_10s: Option<f64>,
    /// What was given to workloads and to nobody, minus the counter.
    #[serde(skip_serializing_if = "Option::is_none")]
    shares_minus_counter_mj: Option<i64>,
    /// Workloads that were given something, or might have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    shares_of_workloads: Option<usize>,
}

/// One kind of call.
#[derive(Serialize)]
pub(crate) struct Call {
    pub(crate) call: &'static str,
    pub(crate) us_p50: f64,
    pub(crate) us_p99: f64,
    pub(crate) calls: usize,
}

impl Report {
    pub(crate) fn begin(source: String, config: String) -> Result<Self> {
        Ok(Self {
            header: Header::now(config)?,
            source,
            calls: Vec::new(),
            interval_us_per_gpu: None,
            interval_with_uses_us_per_gpu: None,
            cpu_us_per_reading: None,
            flush_delay_us_with_hung_device: None,
            healthy_gap_intervals_with_hung_device: None,
            energy_error_pct_10s: None,
            shares_minus_counter_mj: None,
            shares_of_workloads: None,
        })
    }

    /// Takes the points of so many workloads, what nobody was given, and what the counters grew by, in joules.
    pub(crate) fn shares(&mut self, points: &[Point], workloads: usize, rest: f64, counted: f64) {
        let given = total(points, MetricId::Energy, None);
        self.shares_minus_counter_mj = Some(((given + rest - counted) * 1e3).round() as i64);
        self.shares_of_workloads = Some(workloads);
    }

    /// A section of a document; its heading is that of the driver that was measured.
    pub(crate) fn markdown(&self) -> String {
        let calls = self.calls.iter().map(|call| {
            let Call { call, us_p50, us_p99, calls } = call;
            vec![(*call).to_owned(), format!("{us_p50:.1}"), format!("{us_p99:.1}"), calls.to_string()]
        });
        let calls = table(&["call", "µs, median", "µs, 99 %", "calls"], &calls.collect::<Vec<_>>());
        let figures = [
            ("time in the driver for a reading, median", self.interval_us_per_gpu.map(|us| format!("{us:.1} µs"))),
            (
                "the same, with the use by process, median",
                self.interval_with_uses_us_per_gpu.map(|us| format!("{us:.1} µs")),
            ),
            ("CPU time of the source's threads for a reading", self.cpu_us_per_reading.map(|us| format!("{us:.0} µs"))),
            (
                "longest flush while a device hangs, beyond the median without",
                self.flush_delay_us_with_hung_device.map(|us| format!("{us:.0} µs")),
            ),
            (
                "longest gap of a healthy device while another one hangs",
                self.healthy_gap_intervals_with_hung_device.map(|gap| format!("{gap:.2} intervals")),
            ),
            ("energy of 10 s, beyond the device's counter", self.energy_error_pct_10s.map(|pct| format!("{pct:.2} %"))),
            (
                "shares and rest, minus the counter",
                self.shares_minus_counter_mj
                    .zip(self.shares_of_workloads)
                    .map(|(mj, workloads)| format!("{mj} mJ, {workloads} workloads")),
            ),
        ];
        let rows =
            figures.map(|(figure, value)| vec![figure.to_owned(), value.unwrap_or_else(|| "not measured".to_owned())]);
        let (source, line, figures) = (&self.source, self.header.line(), table(&["figure", "value"], &rows));
        format!("## Measured: {source}\n\n{line}\n\n{figures}\n{calls}")
    }
}
