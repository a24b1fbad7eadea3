//! The configuration file as it is written.
//!
//! Comments, defaults and ranges in here are the only ones: the JSON Schema, the printed default file,
//! `docs/configuration.md`, the text of a refusal and the check of a range are all made from them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Size, Time};

/// The configuration of inferscope. Every setting has a default: an empty file is a valid one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "inferscope")]
pub(super) struct Raw {
    pub(super) watch: Watch,
    pub(super) host: Host,
    pub(super) metrics: Metrics,
    pub(super) spans: Spans,
    pub(super) gpu: Gpu,
    pub(super) otlp: Otlp,
    pub(super) log: Log,
    pub(super) budget: Budget,
    pub(super) resource: Resource,
}

/// Who is watched, and the room that watching may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Watch {
    /// Cgroups to watch, besides those that are found: their directories in the cgroup2 file system.
    #[schemars(example = ["/sys/fs/cgroup/system.slice/vllm.service"])]
    pub(super) cgroups: Vec<PathBuf>,
    /// Find inference servers by themselves.
    pub(super) discover: bool,
    /// How long a server that is not recognised is watched on trial, to see whether it serves inference.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1day"))]
    pub(super) trial: Time,
    /// Servers on trial at the same time, at most.
    #[schemars(range(min = 1, max = 4095))]
    pub(super) trials: u32,
    /// Longest time between two trials of one server: the time doubles from trial to trial.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1day"))]
    pub(super) longest_rest: Time,
    /// Workloads watched at the same time, at most. Each takes 110 KiB of kernel memory, 28 of them without the host's probes.
    #[schemars(range(min = 1, max = 4095))]
    pub(super) max_workloads: u32,
    /// Memory for records on their way from the kernel: a power of two. What finds it full is counted as loss.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "1GiB"))]
    pub(super) ring: Size,
    /// Requests under way whose first bytes are held, at most, until they end and are read. The oldest are
    /// forgotten beyond it, and counted as loss.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) exchanges: u32,
    /// Memory for those bytes, at most.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "1GiB"))]
    pub(super) exchange_memory: Size,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            cgroups: Vec::new(),
            discover: true,
            trial: Time::seconds(60),
            trials: 16,
            longest_rest: Time::seconds(900),
            max_workloads: 255,
            ring: Size::mib(1),
            exchanges: 8192,
            exchange_memory: Size::mib(16),
        }
    }
}

/// What the machine does beneath the workloads. Cgroup files are read whatever is switched off here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Host {
    /// Observe system calls. Where the kernel allows no programs on single calls, every call of every process on the
    /// machine pays for it, of workloads a quarter of a microsecond, of others half of that.
    pub(super) syscalls: bool,
    /// Observe the scheduler: waits for a CPU, blocked time, faults.
    pub(super) scheduler: bool,
}

impl Default for Host {
    fn default() -> Self {
        Self { syscalls: true, scheduler: true }
    }
}

/// Counters and histograms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Metrics {
    /// Ship metrics.
    pub(super) export: bool,
    /// Time between two batches.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub(super) interval: Time,
    /// What counters and histograms say of.
    pub(super) temporality: Temporality,
    /// Series of requests that one workload may have; what finds no series of its own counts in an overflow series.
    #[schemars(range(min = 1, max = 100_000))]
    pub(super) series: u32,
    /// Models, and kinds of errors, that one workload may have by name; further ones are called `_OTHER`.
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) labels: u32,
}

impl Default for Metrics {
    fn default() -> Self {
        let interval = Time::seconds(10);
        Self { export: true, interval, temporality: Temporality::Cumulative, series: 500, labels: 100 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Temporality {
    /// the time since the workload was first seen.
    Cumulative,
    /// the time since the batch before.
    Delta,
}

/// Finished requests, one span for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Spans {
    /// Ship spans.
    pub(super) export: bool,
    /// Longest time that a finished request waits for others before it is shipped.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "10m"))]
    pub(super) wait: Time,
    /// Finished requests that may wait; more are counted in every metric, but leave no span.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) queue: u32,
}

impl Default for Spans {
    fn default() -> Self {
        Self { export: true, wait: Time::seconds(1), queue: 8192 }
    }
}

/// GPUs of NVIDIA: their use, memory, power and energy, and what of it each workload had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Gpu {
    /// Read GPUs. Where there is no driver, it is looked for once a minute.
    pub(super) enabled: bool,
    /// The driver's library, NVML. Unless set, it is looked for where the loader, GPU operators and clouds put it.
    #[schemars(example = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")]
    pub(super) library: Option<PathBuf>,
    /// Who bears the energy that a GPU draws while nothing runs on it.
    pub(super) idle_energy: IdleEnergy,
    /// Time between two readings of power, energy, use and memory while anything moves.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1m"))]
    pub(super) fastest: Time,
    /// The same while the GPU is busy and nothing moves, and between two readings of what processes use.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1m"))]
    pub(super) steady: Time,
    /// The same while the GPU is idle.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "10m"))]
    pub(super) slowest: Time,
    /// Time between two readings of everything else: temperatures, clocks, errors, links, fans.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "10m"))]
    pub(super) health: Time,
    /// Time between two lists of the processes that hold a GPU.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "10m"))]
    pub(super) processes: Time,
    /// Share of the time that may be spent in the driver, over all GPUs, in millionths. Where calls cost more, they are
    /// made more seldom.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) budget_ppm: u32,
    /// Read Xid errors in the kernel's log, where each has its own number; else the driver tells of them.
    pub(super) kernel_log: bool,
}

impl Default for Gpu {
    fn default() -> Self {
        Self {
            enabled: true,
            library: None,
            idle_energy: IdleEnergy::Memory,
            fastest: Time::millis(100),
            steady: Time::seconds(1),
            slowest: Time::seconds(5),
            health: Time::seconds(5),
            processes: Time::seconds(10),
            budget_ppm: 5_000,
            kernel_log: true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum IdleEnergy {
    /// the workloads that hold its memory, by how much of it they hold.
    Memory,
    /// the workloads that hold its memory, in equal parts.
    Equal,
    /// nobody.
    Nobody,
}

/// Where OpenTelemetry goes, and how. Without an endpoint nothing is shipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Otlp {
    /// Ship at all.
    pub(super) enabled: bool,
    /// The collector. HTTP appends `/v1/metrics`, `/v1/traces` or `/v1/logs`; gRPC takes no path, and may do
    /// without the scheme.
    #[schemars(example = "http://localhost:4317")]
    pub(super) endpoint: Option<String>,
    /// How it travels. Unless set, it is gRPC for port 4317 and for an endpoint without a scheme, HTTP for every
    /// other one.
    #[schemars(example = Protocol::Grpc)]
    pub(super) protocol: Option<Protocol>,
    /// No TLS for a gRPC endpoint without a scheme.
    pub(super) insecure: bool,
    /// How requests are compressed.
    pub(super) compression: Compression,
    /// Headers (HTTP) or metadata (gRPC) of every request. They are shown nowhere.
    #[schemars(example = example_headers())]
    pub(super) headers: Headers,
    /// Longest time that one request may take.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "10m"))]
    pub(super) timeout: Time,
    /// Certificates to trust besides the machine's own: a PEM file.
    #[schemars(example = "/etc/inferscope/ca.pem")]
    pub(super) certificate: Option<PathBuf>,
    /// The agent's own certificate, where the collector asks for one: a PEM file. Needs `client_key`.
    #[schemars(example = "/etc/inferscope/client.pem")]
    pub(super) client_certificate: Option<PathBuf>,
    /// The key of the agent's own certificate: a PEM file.
    #[schemars(example = "/etc/inferscope/client-key.pem")]
    pub(super) client_key: Option<PathBuf>,
    /// Bytes of each signal that may wait for the collector, as they will travel. Beyond them the oldest are dropped,
    /// and counted.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "4GiB"))]
    pub(super) queue: Size,
    /// Largest request, before compression; larger batches are split. Many servers take 4 MiB at most.
    #[schemars(extend("x-minimum" = "16KiB", "x-maximum" = "64MiB"))]
    pub(super) request: Size,
    /// Longest time that the agent, told to end, goes on delivering what waits.
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "10m"))]
    pub(super) shutdown: Time,
    /// For metrics alone, in place of the same settings in `otlp`.
    pub(super) metrics: Signal,
    /// For spans alone, in place of the same settings in `otlp`.
    pub(super) traces: Signal,
    /// For log records alone, the agent's own and those of events, in place of the same settings in `otlp`.
    pub(super) logs: Signal,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            enabled: true,
            endpoint: None,
            protocol: None,
            insecure: false,
            compression: Compression::Gzip,
            headers: Headers::default(),
            timeout: Time::seconds(10),
            certificate: None,
            client_certificate: None,
            client_key: None,
            queue: Size::mib(8),
            request: Size::mib(1),
            shutdown: Time::seconds(5),
            metrics: Signal::default(),
            traces: Signal::default(),
            logs: Signal::default(),
        }
    }
}

/// What one signal may have for itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Signal {
    /// The whole URL: nothing is appended.
    #[schemars(example = "https://otlp.example.com/ingest/otlp")]
    pub(super) endpoint: Option<String>,
    #[schemars(example = Protocol::HttpProtobuf)]
    pub(super) protocol: Option<Protocol>,
    #[schemars(example = false)]
    pub(super) insecure: Option<bool>,
    #[schemars(example = Compression::None)]
    pub(super) compression: Option<Compression>,
    /// They replace all general ones.
    #[schemars(example = example_headers())]
    pub(super) headers: Option<Headers>,
    #[schemars(example = "10s", extend("x-minimum" = "1ms", "x-maximum" = "10m"))]
    pub(super) timeout: Option<Time>,
    #[schemars(example = "/etc/inferscope/ca.pem")]
    pub(super) certificate: Option<PathBuf>,
    #[schemars(example = "/etc/inferscope/client.pem")]
    pub(super) client_certificate: Option<PathBuf>,
    #[schemars(example = "/etc/inferscope/client-key.pem")]
    pub(super) client_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) enum Protocol {
    /// gRPC over HTTP/2.
    #[serde(rename = "grpc")]
    Grpc,
    /// protobuf in HTTP/1.1 requests.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compression {
    Gzip,
    None,
}

/// Headers by name. Their values are secrets.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("writeOnly" = true))]
pub(super) struct Headers(pub(super) BTreeMap<String, String>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hidden", self.0.len())
    }
}

fn example_headers() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([("authorization", "Bearer TOKEN")])
}

/// The agent's own log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    /// The least important lines that are written to standard error and shipped.
    pub(super) level: Level,
    /// Ship log records: the log, besides writing it to standard error, and events such as a GPU's errors.
    pub(super) export: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, export: true }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What the agent itself may use. Beyond it detail is shed, in the order of `docs/governor.md`; requests and counts
/// never are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Budget {
    /// Hundredths of the node's CPUs, for the agent and its programs in the kernel.
    #[schemars(range(min = 0.001, max = 100.0))]
    pub(super) cpu_percent: f64,
    /// CPUs, however many the node has: the smaller of the two is the budget.
    #[schemars(range(min = 0.001, max = 1024.0))]
    pub(super) cpus: f64,
    /// Resident memory.
    #[schemars(extend("x-minimum" = "1MiB", "x-maximum" = "1024GiB"))]
    pub(super) memory: Size,
    /// How long less than 70 % of the budget must be used before something returns that was shed. The time doubles,
    /// up to 64 times this, when that turns out to be too early.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1day"))]
    pub(super) recovery: Time,
    /// A directory of the agent's own, in which it notes how its runs end. An agent that was killed twice in a row
    /// starts with everything shed that can be.
    pub(super) state: PathBuf,
    /// A run that lasts so long is healthy: kills before it no longer count.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1day"))]
    pub(super) healthy: Time,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            cpu_percent: 1.0,
            cpus: 0.5,
            memory: Size::mib(64),
            recovery: Time::seconds(30),
            state: "/run/inferscope".into(),
            healthy: Time::seconds(600),
        }
    }
}

/// What is said of everything that is shipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Resource {
    /// The agent's own `service.name`. Workloads have theirs.
    pub(super) service_name: String,
    /// Attributes of every resource. A name with dots stands in quotes.
    #[schemars(example = BTreeMap::from([("deployment.environment.name", "production")]))]
    pub(super) attributes: BTreeMap<String, String>,
}

impl Default for Resource {
    fn default() -> Self {
        Self { service_name: "inferscope".to_owned(), attributes: BTreeMap::new() }
    }
}
