//! Attribute keys, and values that go with them.

use crate::model::request::Label;

/// `container.id`.
pub const CONTAINER_ID: &str = "container.id";
/// `disk.io.direction`: `read` or `write`.
pub const DISK_DIRECTION: &str = "disk.io.direction";
/// `error.type`.
pub const ERROR_TYPE: &str = "error.type";
/// `gen_ai.operation.name`.
pub const OPERATION: &str = "gen_ai.operation.name";
/// `gen_ai.provider.name`.
pub const PROVIDER: &str = "gen_ai.provider.name";
/// `gen_ai.request.model`.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// `gen_ai.response.model`.
pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
/// `gen_ai.token.type`: `input` or `output`.
pub const TOKEN_TYPE: &str = "gen_ai.token.type";
/// `http.request.method`.
pub const METHOD: &str = "http.request.method";
/// `http.response.status_code`.
pub const STATUS: &str = "http.response.status_code";
/// `http.route`.
pub const ROUTE: &str = "http.route";
/// `network.io.direction`: `receive` or `transmit`.
pub const IO_DIRECTION: &str = "network.io.direction";
/// `network.protocol.version`: `1.0` or `1.1`.
pub const PROTOCOL_VERSION: &str = "network.protocol.version";
/// `otel.metric.overflow`: the series that takes what found no series of its own.
pub const OVERFLOW: &str = "otel.metric.overflow";
/// `process.context_switch.type`: `voluntary` or `involuntary`.
pub const SWITCH_TYPE: &str = "process.context_switch.type";
/// Processes of one record that tells of several.
pub const PROCESSES: &str = "inferscope.processes";
/// Periods of a CPU quota that passed.
pub const PERIODS: &str = "inferscope.cpu.periods";
/// Of them, those in which it was used up.
pub const THROTTLED_PERIODS: &str = "inferscope.cpu.throttled.periods";
/// Seconds for which tasks were held back.
pub const THROTTLED_TIME: &str = "inferscope.cpu.throttled.time";
/// `process.executable.name`: the kernel's name of a process.
pub const PROCESS_NAME: &str = "process.executable.name";
/// `process.pid`.
pub const PROCESS_PID: &str = "process.pid";
/// `server.address`.
pub const SERVER_ADDRESS: &str = "server.address";
/// `server.port`.
pub const SERVER_PORT: &str = "server.port";
/// `system.paging.fault.type`: `major`.
pub const PAGING_FAULT: &str = "system.paging.fault.type";
/// `url.scheme`.
pub const URL_SCHEME: &str = "url.scheme";
/// Why something was lost.
pub const LOSS_CAUSE: &str = "inferscope.loss.cause";
/// The workload's part in an exchange: `server` or `client`.
pub const ROLE: &str = "inferscope.role";
/// How output tokens were counted: `usage` or `events`.
pub const TOKEN_SOURCE: &str = "inferscope.token.source";
/// What a system call is about: `network`, `file`, `lock`, `poll`, `process`, `memory`, `gpu`, `other`, `yield`.
pub const SYSCALL_CLASS: &str = "inferscope.syscall.class";
/// Whether system calls waited for a peer, an event, a lock or a child (`wait`), or worked (`work`).
pub const SYSCALL_KIND: &str = "inferscope.syscall.kind";
/// What threads do in the workload, as their names and titles tell: `api`, `engine`, `worker`, `tokenizer`,
/// `detokenizer`, `controller`, `driver`, `other`.
pub const THREAD_ROLE: &str = "inferscope.thread.role";
/// What tasks waited for: `cpu`, `memory` or `io`.
pub const PRESSURE_RESOURCE: &str = "inferscope.pressure.resource";
/// Whether `some` tasks waited, or all of them (`full`).
pub const PRESSURE_KIND: &str = "inferscope.pressure.kind";
/// How the agent sees system calls: `per_call`, `tracepoints` or `off`.
pub const SYSCALL_MODE: &str = "inferscope.agent.syscall.mode";
/// Which of the agent's signals an export carried: `metrics`, `traces` or `logs`.
pub const SIGNAL: &str = "inferscope.agent.signal";
/// A hook in the kernel, by the name of its program.
pub const HOOK: &str = "inferscope.agent.hook";
/// Why a hook does not run.
pub const HOOK_REASON: &str = "inferscope.agent.hook.reason";
/// A part of what the agent does that it can shed.
pub const DETAIL: &str = "inferscope.agent.detail";
/// Which budget, or what else, made the governor act.
pub const GOVERNOR_CAUSE: &str = "inferscope.agent.governor.cause";
/// Who used CPU for the agent: `user`, `system`, or `programs` for its programs in the kernel.
pub const CPU_KIND: &str = "inferscope.agent.cpu.kind";
/// `cpu.mode`: `user` or `system`.
pub const CPU_MODE: &str = "cpu.mode";

// Of spans alone; what each means stands in [`crate::model::spans`].

/// `gen_ai.request.max_tokens`.
pub const MAX_TOKENS: &str = "gen_ai.request.max_tokens";
/// `gen_ai.request.stream`.
pub const STREAM: &str = "gen_ai.request.stream";
/// `gen_ai.response.finish_reasons`.
pub const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// `gen_ai.response.id`.
pub const RESPONSE_ID: &str = "gen_ai.response.id";
/// `gen_ai.usage.input_tokens`.
pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// `gen_ai.usage.output_tokens`.
pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// `network.peer.address`.
pub const PEER_ADDRESS: &str = "network.peer.address";
/// `network.peer.port`.
pub const PEER_PORT: &str = "network.peer.port";
/// Output tokens by another count than the server's own.
pub const COUNTED_TOKENS: &str = "inferscope.output_tokens";
/// The request began before the agent watched.
pub const JOINED: &str = "inferscope.joined";
/// Time to the first event with content.
pub const FIRST_TOKEN: &str = "inferscope.time_to_first_token";
/// Time per output token after the first.
pub const PER_TOKEN: &str = "inferscope.time_per_output_token";
/// Events with content.
pub const EVENTS: &str = "inferscope.stream.events";
/// Longest time between two events with content.
pub const LONGEST_GAP: &str = "inferscope.stream.longest_gap";
/// From the request's arrival to the application's first read.
pub const READ_DELAY: &str = "inferscope.request.read_delay";
/// Bytes of the request.
pub const REQUEST_BYTES: &str = "inferscope.request.bytes";
/// Bytes of the response.
pub const RESPONSE_BYTES: &str = "inferscope.response.bytes";
/// TCP's smoothed round trip.
pub const RTT: &str = "inferscope.tcp.rtt";
/// The smallest smoothed round trip.
pub const RTT_MIN: &str = "inferscope.tcp.rtt_min";
/// Segments sent again.
pub const RETRANSMITS: &str = "inferscope.tcp.retransmits";
/// Time for which the peer's receive window was shut.
pub const WRITE_STALL: &str = "inferscope.tcp.write_stall";

// Of resources.

/// `host.name`.
pub const HOST_NAME: &str = "host.name";
/// `service.instance.id`.
pub const SERVICE_INSTANCE: &str = "service.instance.id";
/// `service.name`.
pub const SERVICE_NAME: &str = "service.name";
/// `service.version`.
pub const SERVICE_VERSION: &str = "service.version";
/// The directory of the workload's cgroup.
pub const CGROUP: &str = "inferscope.workload.cgroup";

// Of GPUs and energy.

/// `hw.id`: the UUID of a GPU or a MIG instance; of a fan, its GPU's and its number.
pub const HW_ID: &str = "hw.id";
/// `hw.type`: `gpu`.
pub const HW_TYPE: &str = "hw.type";
/// `hw.name`.
pub const HW_NAME: &str = "hw.name";
/// `hw.parent`: the GPU that a MIG instance or a fan is part of.
pub const HW_PARENT: &str = "hw.parent";
/// `hw.model`.
pub const HW_MODEL: &str = "hw.model";
/// `hw.vendor`.
pub const HW_VENDOR: &str = "hw.vendor";
/// `hw.serial_number`.
pub const HW_SERIAL_NUMBER: &str = "hw.serial_number";
/// `hw.driver_version`.
pub const HW_DRIVER_VERSION: &str = "hw.driver_version";
/// `hw.firmware_version`.
pub const HW_FIRMWARE_VERSION: &str = "hw.firmware_version";
/// `hw.state`: `ok`, `degraded`, `failed` or `predicted_failure`.
pub const HW_STATE: &str = "hw.state";
/// `hw.gpu.task`: `general`, `encoder` or `decoder`.
pub const HW_GPU_TASK: &str = "hw.gpu.task";
/// `hw.sensor_location`: `gpu` or `memory`.
pub const HW_SENSOR_LOCATION: &str = "hw.sensor_location";
/// `hw.limit_type`: `critical`, `throttled` or `max`.
pub const HW_LIMIT_TYPE: &str = "hw.limit_type";
/// PCI bus id of a GPU.
pub const GPU_PCI: &str = "inferscope.gpu.pci";
/// Persistence mode of a GPU.
pub const GPU_PERSISTENCE: &str = "inferscope.gpu.persistence_mode";
/// Compute mode of a GPU.
pub const GPU_COMPUTE_MODE: &str = "inferscope.gpu.compute_mode";
/// MIG mode of a GPU that can be divided.
pub const GPU_MIG: &str = "inferscope.gpu.mig_mode";
/// Part of a GPU whose activity is told: `sm`, `tensor` or `dram`.
pub const GPU_UNIT: &str = "inferscope.gpu.unit";
/// Domain of a clock: `sm`, `memory` or `video`.
pub const GPU_CLOCK: &str = "inferscope.gpu.clock";
/// Why a GPU's clocks are held down.
pub const GPU_THROTTLE_CAUSE: &str = "inferscope.gpu.throttle.cause";
/// What remapping of rows wants: `pending` or `failed`.
pub const GPU_REMAP_STATE: &str = "inferscope.gpu.remap.state";
/// Number of an Xid error.
pub const GPU_XID: &str = "inferscope.gpu.xid";
/// Kind of a call into the GPU driver.
pub const GPU_CALL: &str = "inferscope.gpu.call";
/// How the agent sees a GPU, or the GPU driver.
pub const GPU_STATE: &str = "inferscope.gpu.state";
/// Part of a device's energy that a share is of: `active`, `idle` or `whole`.
pub const ENERGY_PART: &str = "inferscope.energy.part";
/// Who bears energy that no workload bears: `unmatched` processes, or `nobody`.
pub const ENERGY_OWNER: &str = "inferscope.energy.owner";
/// Where a device's energy was read: its `counter`, or `power` added up over time where it has none.
pub const ENERGY_SOURCE: &str = "inferscope.energy.source";
/// Joules that a request is estimated to have used; of spans, with [`ENERGY_METHOD`].
pub const REQUEST_ENERGY: &str = "inferscope.request.energy";
/// How a share of energy came about.
pub const ENERGY_METHOD: &str = "inferscope.energy.method";

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Value {
    /// A word of the conventions or of inferscope.
    Word(&'static str),
    /// A string from the wire or the host, out of a bounded set.
    Label(Label),
    /// A whole number.
    Int(i64),
    /// A time in nanoseconds; exported as seconds.
    Seconds(u64),
    /// True or false.
    Bool(bool),
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<Label> for Value {
    fn from(label: Label) -> Self {
        Self::Label(label)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// Attributes of one series: few, each key once.
pub type Attributes = Vec<(&'static str, Value)>;
