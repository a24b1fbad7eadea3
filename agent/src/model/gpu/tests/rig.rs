//! Observations for tests, and points as text.

use std::path::Path;
use std::sync::Arc;

use super::super::*;
use crate::model::attr::Value;
use crate::model::batch::{Data, Point, Temporality};
use crate::model::energy::IdlePolicy;
use crate::model::metrics::MetricId;
use crate::model::workload::WorkloadId;

pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) fn gpu(id: &str) -> Gpu {
    Gpu {
        id: Arc::from(id),
        index: 0,
        model: Arc::from("NVIDIA H100 80GB HBM3"),
        vendor: "NVIDIA",
        serial: Some(Arc::from("1650923002467")),
        pci: Some(Arc::from("00000000:18:00.0")),
        driver: Arc::from("570.172.08"),
        firmware: Some(Arc::from("96.00.74.00.01")),
        persistence: Some(true),
        compute_mode: Some("default"),
        mig: Some(false),
        limits: TemperatureLimits { shutdown: Some(92), slowdown: Some(89), gpu_max: Some(87), memory_max: Some(95) },
        parent: None,
        instance: None,
    }
}

/// `/7` is the cgroup of workload 7.
pub(super) fn by_name(_: u32, path: &Path) -> Option<WorkloadId> {
    path.to_str()?.strip_prefix('/')?.parse().ok().map(WorkloadId)
}

pub(super) fn cgroup(pid: u32) -> Option<Arc<Path>> {
    (pid < 100).then(|| Arc::from(Path::new(&format!("/{pid}"))))
}

pub(super) fn process(pid: u32, memory: Option<u64>) -> Process {
    Process { pid, kind: ProcessKind::Compute, memory, instance: None, cgroup: cgroup(pid) }
}

pub(super) fn used(pid: u32, sm_pct: u32) -> SmUse {
    SmUse { pid, sm_pct, cgroup: cgroup(pid) }
}

pub(super) fn sample(second: u64, reading: Reading) -> Sample {
    Sample {
        gpu: Arc::from("GPU-1"),
        at: second * SECOND,
        asked: Some(Groups { uses: true, health: true, processes: false }),
        reading,
        processes: None,
        uses: None,
        instances: Vec::new(),
        costs: Vec::new(),
    }
}

pub(super) fn joules(energy_mj: u64, utilization_pct: u32) -> Reading {
    Reading { energy_mj: Some(energy_mj), utilization_pct: Some(utilization_pct), ..Reading::default() }
}

pub(super) struct Bench {
    pub(super) gpus: Gpus,
}

impl Bench {
    pub(super) fn new(temporality: Temporality) -> Self {
        let gpus = Gpus::new(Limits { temporality, idle: IdlePolicy::Holders, stretches: 100 });
        let mut bench = Self { gpus };
        bench.tell(Observation::Appeared(Arc::new(gpu("GPU-1"))));
        bench
    }

    pub(super) fn tell(&mut self, observation: Observation) {
        self.gpus.observe(observation, 0, &mut by_name);
    }

    /// Who brings a list was asked for it.
    pub(super) fn sample(&mut self, mut sample: Sample) {
        if let Some(asked) = &mut sample.asked {
            asked.processes |= sample.processes.is_some();
        }
        self.tell(Observation::Sample(Box::new(sample)));
    }

    pub(super) fn flush(&mut self, second: u64) -> Vec<Point> {
        let batches = self.gpus.flush(second * SECOND, second * SECOND);
        batches.into_iter().flat_map(|batch| batch.points).collect()
    }

    pub(super) fn workload(&mut self, id: u64) -> Vec<Point> {
        let mut points = Vec::new();
        self.gpus.workload_points(WorkloadId(id), &mut points);
        points
    }
}

/// Sum of a metric's points, with a word among their attributes.
pub(super) fn total(points: &[Point], metric: MetricId, word: &str) -> f64 {
    let bears = |point: &&Point| {
        word.is_empty() || point.attributes.iter().any(|(_, value)| matches!(value, Value::Word(w) if *w == word))
    };
    let value = |point: &Point| match point.data {
        Data::Real(real) => real,
        Data::Sum(sum) | Data::Seconds(sum) => sum as f64,
        Data::Current(current) => current as f64,
        Data::Histogram(_) => 0.0,
    };
    points.iter().filter(|point| point.metric == metric).filter(bears).map(value).sum()
}

pub(super) fn has(points: &[Point], metric: MetricId) -> bool {
    points.iter().any(|point| point.metric == metric)
}

/// Points as text, one a line, in the shape of the conventions.
pub(super) fn told(points: &[Point]) -> String {
    let mut lines: Vec<String> = points
        .iter()
        .map(|point| {
            let row = point.metric.row();
            let attributes: Vec<String> =
                point.attributes.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
            let data = match &point.data {
                Data::Histogram(histogram) => format!("{} values", histogram.count()),
                other => format!("{other:?}"),
            };
            format!("{} {:?} {} {} {{{}}}", row.name, row.instrument, data, row.unit, attributes.join(", "))
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

pub(super) fn full() -> Reading {
    Reading {
        utilization_pct: Some(90),
        memory_activity_pct: Some(40),
        encoder_pct: Some(0),
        decoder_pct: Some(5),
        memory: Some(Memory { total: 80 << 30, used: 60 << 30 }),
        energy_mj: Some(1_000_000),
        power_average_mw: Some(650_500),
        power_instant_mw: Some(690_000),
        power_limit_mw: Some(700_000),
        temperature: Some(61),
        memory_temperature: Some(70),
        sm_mhz: Some(1_980),
        memory_mhz: Some(2_619),
        video_mhz: Some(1_545),
        throttle: Some(Throttle::default().with(ThrottleCause::PowerCap)),
        throttled_ns: [Some(5_000_000_000), None, Some(0), Some(0), Some(0), None, None],
        performance_state: Some(0),
        ecc_corrected: Some(3),
        ecc_uncorrected: Some(0),
        remapped: Remapped { corrected: Some(1), uncorrected: Some(0), pending: Some(true), failed: Some(false) },
        pcie_rx_bytes: Some(1 << 40),
        pcie_tx_bytes: Some(1 << 30),
        pcie_replays: Some(2),
        pcie_generation: Some(5),
        pcie_width: Some(16),
        nvlink_rx_kib: Some(1 << 20),
        nvlink_tx_kib: Some(1 << 20),
        nvlink_errors: NvlinkErrors { crc_flit: Some(0), crc_data: Some(0), replay: Some(1), recovery: Some(0) },
        fans: vec![Fan { pct: Some(45), rpm: Some(1_800) }],
        activity: Some(Activity { sm: Some(8_500), tensor: Some(6_000), dram: Some(5_500) }),
    }
}
