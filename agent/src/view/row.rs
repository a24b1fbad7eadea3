//! What a table says of one workload.

/// The figures of one workload, over the time that was summed up. Times are seconds; `None` = nothing was measured.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Row {
    /// Its name, as it came; two workloads of the same name are told apart.
    pub name: String,
    /// The figures are those of requests that the workload made, not of those that it served.
    pub asks: bool,
    /// Requests that ended.
    pub requests: u64,
    /// The same, per second.
    pub requests_per_second: Option<f64>,
    /// Requests under way at the end.
    pub in_flight: Option<i64>,
    /// Share of finished requests that failed, whoever is to blame; those that the client gave up are not among them, and
    /// of other HTTP than generative AI no 4xx that the workload answered with.
    pub failed: Option<f64>,
    /// Finished requests that the client gave up.
    pub aborted: u64,
    /// Time to the first token.
    pub first_token: Option<Spread>,
    /// Time per output token after the first.
    pub per_token: Option<Spread>,
    /// Time between two events with content, 99th percentile.
    pub event_gap: Option<f64>,
    /// Duration of requests.
    pub duration: Option<Spread>,
    /// Input tokens per second.
    pub tokens_in: Option<f64>,
    /// Output tokens per second.
    pub tokens_out: Option<f64>,
    /// Some of the output tokens are counted events.
    pub counted_by_events: bool,
    /// From a request's arrival to the application's first read of it, 99th percentile.
    pub read_delay: Option<f64>,
    /// TCP's round trip, median.
    pub round_trip: Option<f64>,
    /// How long threads waited for a CPU, 99th percentile.
    pub cpu_wait: Option<f64>,
    /// Share of the CPU quota's periods in which it was used up.
    pub throttled: Option<f64>,
    /// How long system calls worked, waits apart, 99th percentile.
    pub calls: Option<f64>,
    /// How long threads were off the CPU by themselves, median.
    pub blocked: Option<f64>,
    /// Page faults that waited for a disk, per second.
    pub faults: Option<f64>,
    /// Processes that the kernel killed for want of memory.
    pub killed: u64,
    /// TCP segments sent again.
    pub retransmits: u64,
    /// Share of the GPUs' multiprocessors, 1 for each that it has to itself.
    pub gpu: Option<f64>,
    /// Watts of GPUs, by its share of their energy.
    pub watts: Option<f64>,
    /// Joules of GPUs for each output token, over the last batch.
    pub joules_per_token: Option<f64>,
    /// Models that were asked for or answered, the most used first.
    pub models: Vec<String>,
    /// What could not be metered or kept.
    pub losses: Vec<Loss>,
}

/// Median and 99th percentile, in seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Half of the values are below.
    pub p50: f64,
    /// All but one in a hundred are below.
    pub p99: f64,
}

/// A loss by its cause (`inferscope.loss.cause`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loss {
    /// The cause.
    pub cause: String,
    /// How often.
    pub count: u64,
}
