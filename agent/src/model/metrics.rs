//! Every metric that is exported, as data. Its name stands here and nowhere else; `docs/metrics.md`
//! is generated from this table.

use crate::model::attr;

/// What adds up, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instrument {
    /// A sum that only grows.
    Counter,
    /// A sum that grows and shrinks; always cumulative.
    UpDownCounter,
    /// A base-2 exponential histogram of durations, scale 5.
    Histogram,
    /// The last value.
    Gauge,
}

/// What a point's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueType {
    /// A whole number.
    Int,
    /// A floating-point number.
    Double,
}

/// Where the name comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// OpenTelemetry's semantic conventions, stable.
    Stable,
    /// OpenTelemetry's semantic conventions, in development.
    Development,
    /// inferscope's own.
    Own,
}

/// Which resource carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// The observed workload.
    Workload,
    /// A GPU, or an instance of one.
    Gpu,
    /// The agent.
    Agent,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its place in [`METRICS`].
    pub id: MetricId,
    /// The exported name.
    pub name: &'static str,
    /// Kind of instrument.
    pub instrument: Instrument,
    /// UCUM unit.
    pub unit: &'static str,
    /// Type of its values.
    pub value: ValueType,
    /// What it means.
    pub description: &'static str,
    /// Keys of the attributes that a point may carry.
    pub attributes: &'static [&'static str],
    /// Where the name comes from.
    pub source: Source,
    /// Which resource carries it.
    pub resource: Resource,
}

impl MetricId {
    /// Its row.
    pub fn row(self) -> &'static Metric {
        &METRICS[self as usize]
    }
}

macro_rules! metrics {
    ($($id:ident $name:literal $instrument:ident $unit:literal $value:ident $source:ident $resource:ident
        [$($attribute:expr),*] $description:literal)*) => {
        /// Names a row of [`METRICS`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum MetricId {
            $(#[doc = concat!("`", $name, "`: ", $description)] $id,)*
        }

        /// Every metric that is exported.
        pub static METRICS: &[Metric] = &[$(Metric {
            id: MetricId::$id,
            name: $name,
            instrument: Instrument::$instrument,
            unit: $unit,
            value: ValueType::$value,
            description: $description,
            attributes: &[$($attribute),*],
            source: Source::$source,
            resource: Resource::$resource,
        }),*];
    };
}

use attr::{
    CPU_KIND, CPU_MODE, DETAIL, DISK_DIRECTION, ENERGY_METHOD, ENERGY_OWNER, ENERGY_PART, ENERGY_SOURCE, ERROR_TYPE,
    GOVERNOR_CAUSE, GPU_CALL, GPU_CLOCK, GPU_REMAP_STATE, GPU_STATE, GPU_THROTTLE_CAUSE, GPU_UNIT, GPU_XID, HOOK,
    HOOK_REASON, HW_GPU_TASK, HW_ID, HW_LIMIT_TYPE, HW_PARENT, HW_SENSOR_LOCATION, HW_STATE, HW_TYPE, IO_DIRECTION,
    LOSS_CAUSE, METHOD, OPERATION, PAGING_FAULT, PRESSURE_KIND, PRESSURE_RESOURCE, PROTOCOL_VERSION, PROVIDER,
    REQUEST_MODEL, RESPONSE_MODEL, ROLE, ROUTE, SERVER_ADDRESS, SERVER_PORT, SIGNAL, STATUS, SWITCH_TYPE,
    SYSCALL_CLASS, SYSCALL_KIND, SYSCALL_MODE, THREAD_ROLE, TOKEN_SOURCE, TOKEN_TYPE, URL_SCHEME,
};

metrics! {
    ServerDuration "gen_ai.server.request.duration" Histogram "s" Double Development Workload
        [OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE]
        "Generative AI server request duration: from the request's first byte in the kernel to the response's last."
    ServerTimeToFirstToken "gen_ai.server.time_to_first_token" Histogram "s" Double Development Workload
        [OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT]
        "Time to the first event with content, for successful streamed responses."
    ServerTimePerOutputToken "gen_ai.server.time_per_output_token" Histogram "s" Double Development Workload
        [OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT]
        "Time per output token after the first, for successful streamed responses."
    ClientDuration "gen_ai.client.operation.duration" Histogram "s" Double Development Workload
        [OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE]
        "Duration of generative AI operations that the workload asks of others."
    ClientTimeToFirstChunk "gen_ai.client.operation.time_to_first_chunk" Histogram "s" Double Development Workload
        [OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT]
        "Time until the workload received the first event with content, for streamed responses."
    ClientTimePerOutputChunk "gen_ai.client.operation.time_per_output_chunk" Histogram "s" Double Development Workload
        []
        "Time between two events with content that the workload received; metered in the kernel, which knows no \
         model, hence without the attributes of the others."
    HttpServerDuration "http.server.request.duration" Histogram "s" Double Stable Workload
        [METHOD, URL_SCHEME, STATUS, ROUTE, PROTOCOL_VERSION, ERROR_TYPE]
        "Duration of HTTP server requests whose response was no stream."
    HttpClientDuration "http.client.request.duration" Histogram "s" Double Stable Workload
        [METHOD, URL_SCHEME, SERVER_ADDRESS, SERVER_PORT, STATUS, PROTOCOL_VERSION, ERROR_TYPE]
        "Duration of HTTP client requests whose response was no stream."
    HttpActiveRequests "http.server.active_requests" UpDownCounter "{request}" Int Development Workload
        [METHOD, URL_SCHEME]
        "Requests that have begun and not ended. The kernel counts them without their method, hence `_OTHER`."
    Requests "inferscope.requests" Counter "{request}" Int Own Workload
        [ROLE]
        "Requests that ended in whatever way; metered in the kernel."
    Tokens "inferscope.tokens" Counter "{token}" Int Own Workload
        [OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, TOKEN_TYPE, TOKEN_SOURCE]
        "Tokens that the workload served: by the server's own usage, or events with content where it tells none."
    StreamEvents "inferscope.stream.events" Counter "{event}" Int Own Workload
        [ROLE]
        "Events with content, while they stream; metered in the kernel."
    EventGap "inferscope.stream.event_gap" Histogram "s" Double Own Workload
        []
        "Time between two events with content that the workload streamed; metered in the kernel."
    ReadDelay "inferscope.request.read_delay" Histogram "s" Double Own Workload
        []
        "From a request's arrival in the kernel to the application's first read of it."
    TcpRtt "inferscope.tcp.rtt" Histogram "s" Double Own Workload
        []
        "TCP's smoothed round trip, sampled during exchanges."
    TcpConnect "inferscope.tcp.connect.duration" Histogram "s" Double Own Workload
        []
        "From the first SYN to the connection, for connections that the workload opened."
    TcpHandshake "inferscope.tcp.handshake.duration" Histogram "s" Double Own Workload
        []
        "From SYN-ACK to its acknowledgement, for connections that the workload accepted. Where the SYN-ACK was sent twice and the peer has no TCP timestamps, TCP knows no time, and none is counted."
    TcpConnectFailures "inferscope.tcp.connect.failures" Counter "{connection}" Int Own Workload
        [ERROR_TYPE]
        "Connections that the workload tried to open in vain."
    TcpResets "inferscope.tcp.resets" Counter "{reset}" Int Own Workload
        [IO_DIRECTION]
        "TCP resets that the workload's sockets sent or received."
    TcpRetransmits "inferscope.tcp.retransmits" Counter "{segment}" Int Own Workload
        []
        "TCP segments that the workload's sockets sent again."
    TcpDuplicates "inferscope.tcp.duplicates" Counter "{segment}" Int Own Workload
        []
        "TCP segments that passed a second time and were metered once."
    TcpWriteStall "inferscope.tcp.write_stall" Histogram "s" Double Own Workload
        []
        "How long a peer kept its receive window at zero during a response. Other waits for a peer, as for acknowledgements, are no stall."
    SyscallDuration "inferscope.syscall.duration" Histogram "s" Double Own Workload
        [SYSCALL_CLASS, SYSCALL_KIND]
        "How long system calls took. Those that waited for a peer, an event, a lock or a child are kept apart from work."
    SyscallCalls "inferscope.syscall.calls" Counter "{call}" Int Own Workload
        [SYSCALL_CLASS]
        "System calls that ended; exact, whatever share of them is timed."
    SyscallErrors "inferscope.syscall.errors" Counter "{call}" Int Own Workload
        [SYSCALL_CLASS]
        "System calls that failed; exact."
    SyscallActive "inferscope.syscall.active" UpDownCounter "{call}" Int Own Workload
        [SYSCALL_CLASS]
        "System calls that have slept and not ended: who hangs, and in what. An estimate where calls are sampled; absent \
         while calls are not observed."
    SyscallRestarts "inferscope.syscall.restarts" Counter "{call}" Int Own Workload
        []
        "System calls that a signal interrupted and the kernel began again; they count as calls."
    SyscallTimed "inferscope.syscall.sampling" Gauge "{call}" Int Own Workload
        []
        "Of so many system calls one is timed and stands for all: 1 where each is timed. Absent while calls are not observed."
    FileRead "inferscope.file.read" Counter "By" Int Own Workload
        []
        "Bytes that system calls read from regular files, from the page cache or not."
    StorageIo "inferscope.storage.io" Counter "By" Int Own Workload
        [DISK_DIRECTION, THREAD_ROLE]
        "Bytes that threads caused to be read from storage or written to it: what the page cache did not have."
    DiskIo "container.disk.io" Counter "By" Int Development Workload
        [DISK_DIRECTION]
        "Bytes of requests that disks completed for the workload's cgroup."
    DiskErrors "inferscope.disk.errors" Counter "{request}" Int Own Workload
        [DISK_DIRECTION]
        "Requests of the workload's cgroup that disks failed."
    DiskDuration "inferscope.disk.duration" Histogram "s" Double Own Workload
        [DISK_DIRECTION]
        "From a disk request's issue to its completion."
    CpuTime "container.cpu.time" Counter "s" Double Development Workload
        []
        "CPU time of the workload's cgroup."
    CpuRunDelay "inferscope.cpu.run_delay" Histogram "s" Double Own Workload
        [THREAD_ROLE]
        "From runnable to running: how long threads waited for a CPU, once for each time that they got one."
    CpuBlocked "inferscope.cpu.blocked" Histogram "s" Double Own Workload
        [THREAD_ROLE]
        "From giving the CPU up to being runnable again: sleeps and waits, idle ones too."
    CpuSwitches "inferscope.cpu.context_switches" Counter "{context_switch}" Int Own Workload
        [SWITCH_TYPE, THREAD_ROLE]
        "Times that threads gave the CPU up, or lost it."
    CpuMigrations "inferscope.cpu.migrations" Counter "{migration}" Int Own Workload
        [THREAD_ROLE]
        "Times that threads were moved to another CPU."
    CpuPeriods "inferscope.cpu.periods" Counter "{period}" Int Own Workload
        []
        "Periods of the CPU quota that passed."
    CpuThrottledPeriods "inferscope.cpu.throttled.periods" Counter "{period}" Int Own Workload
        []
        "Periods in which the CPU quota was used up."
    CpuThrottledTime "inferscope.cpu.throttled.time" Counter "s" Double Own Workload
        []
        "Time for which the CPU quota held tasks back."
    PressureTime "inferscope.pressure.time" Counter "s" Double Own Workload
        [PRESSURE_RESOURCE, PRESSURE_KIND]
        "Time for which some tasks, or all of them, waited for a CPU, memory or I/O (pressure stall information)."
    MemoryUsage "container.memory.usage" UpDownCounter "By" Int Development Workload
        []
        "Memory that the workload's cgroup is charged with, the page cache of its files included."
    MemoryLimit "inferscope.memory.limit" UpDownCounter "By" Int Own Workload
        []
        "The limit of the workload's cgroup; absent where there is none."
    MemoryLimitHits "inferscope.memory.limit_hits" Counter "{hit}" Int Own Workload
        []
        "Times that the limit was hit and memory had to be taken back."
    OomKills "inferscope.memory.oom_kills" Counter "{process}" Int Own Workload
        []
        "Processes that the kernel killed for want of memory."
    PagingFaults "container.paging.faults" Counter "{fault}" Int Development Workload
        [PAGING_FAULT, THREAD_ROLE]
        "Page faults that waited for a disk."
    Loss "inferscope.loss" Counter "1" Int Own Workload
        [LOSS_CAUSE]
        "What the agent could not meter or keep, by cause (see below)."
    SeriesOverflow "inferscope.series.overflow" Counter "{measurement}" Int Own Workload
        []
        "Measurements that went into an overflow series, because the workload has as many series as it may."
    AgentWorkloads "inferscope.agent.workloads" Gauge "{workload}" Int Own Agent
        []
        "Workloads that are observed."
    AgentRequests "inferscope.agent.requests" Counter "{request}" Int Own Agent
        []
        "Finished requests that the model took in."
    AgentOrphans "inferscope.agent.orphans" Counter "{request}" Int Own Agent
        []
        "Finished requests of workloads that were gone already."
    AgentBatches "inferscope.agent.batches" Counter "{batch}" Int Own Agent
        []
        "Batches of metrics and requests that were handed to the exporter."
    AgentBatchDelay "inferscope.agent.batch.delay" Counter "s" Double Own Agent
        []
        "Time from when each of them was due until it was handed over, added up. What making one takes is in it; more than that is time without a CPU."
    AgentLoss "inferscope.agent.loss" Counter "1" Int Own Agent
        [LOSS_CAUSE]
        "What the agent could not join or keep of what the kernel passed on, by cause (see below)."
    AgentHookUp "inferscope.agent.hook.up" Gauge "1" Int Own Agent
        [HOOK, HOOK_REASON]
        "1 where a hook runs in the kernel; 0 where it does not, with the reason."
    AgentSyscallMode "inferscope.agent.syscall.mode" Gauge "1" Int Own Agent
        [SYSCALL_MODE, HOOK_REASON]
        "1 for the way in which the agent sees system calls: by programs on each call of interest, which leave all others alone (`per_call`), by the tracepoints that every call of the machine passes (`tracepoints`), or not at all; with the reason where it is not the first."
    AgentExportBytes "inferscope.agent.export.bytes" Counter "By" Int Own Agent
        [SIGNAL]
        "Encoded bytes that were acknowledged, before compression."
    AgentExportItems "inferscope.agent.export.items" Counter "{item}" Int Own Agent
        [SIGNAL]
        "Points, spans and log records that were acknowledged."
    AgentExportRetries "inferscope.agent.export.retries" Counter "{request}" Int Own Agent
        [SIGNAL]
        "Export requests that failed and were tried again."
    AgentExportLoss "inferscope.agent.export.loss" Counter "{item}" Int Own Agent
        [SIGNAL, LOSS_CAUSE]
        "Points, spans and log records that were not delivered, by cause."
    AgentExportQueue "inferscope.agent.export.queue.usage" Gauge "By" Int Own Agent
        [SIGNAL]
        "Bytes that wait to be delivered, as they travel."
    HwGpuUtilization "hw.gpu.utilization" Gauge "1" Double Development Gpu
        [HW_ID, HW_GPU_TASK]
        "Fraction of time with a kernel running (`general`), or of the encoder or decoder; mean since the last flush for the former."
    HwGpuMemoryLimit "hw.gpu.memory.limit" UpDownCounter "By" Int Development Gpu
        [HW_ID]
        "Memory of the GPU or the instance."
    HwGpuMemoryUsage "hw.gpu.memory.usage" UpDownCounter "By" Int Development Gpu
        [HW_ID]
        "Memory in use, what the driver keeps for itself included."
    HwGpuMemoryUtilization "hw.gpu.memory.utilization" Gauge "1" Double Development Gpu
        [HW_ID]
        "Fraction of the memory in use."
    HwGpuIo "hw.gpu.io" Counter "By" Int Development Gpu
        [HW_ID, IO_DIRECTION]
        "Bytes over PCIe, where the device counts them in 64 bits."
    HwPower "hw.power" Gauge "W" Double Development Gpu
        [HW_ID, HW_TYPE]
        "Power: over the last second where the driver averages it (most devices since Ampere), else at once."
    HwEnergy "hw.energy" Counter "J" Double Development Gpu
        [HW_ID, HW_TYPE]
        "Energy by the device's own counter."
    HwErrors "hw.errors" Counter "{error}" Int Development Gpu
        [HW_ID, HW_TYPE, ERROR_TYPE]
        "ECC errors, corrected and uncorrected."
    HwStatus "hw.status" UpDownCounter "1" Int Development Gpu
        [HW_ID, HW_TYPE, HW_STATE]
        "1 for the state that holds, 0 for the others."
    HwTemperature "hw.temperature" Gauge "Cel" Double Development Gpu
        [HW_ID, HW_SENSOR_LOCATION]
        "Temperature of GPU and memory."
    HwTemperatureLimit "hw.temperature.limit" Gauge "Cel" Double Development Gpu
        [HW_ID, HW_SENSOR_LOCATION, HW_LIMIT_TYPE]
        "Temperature at which the GPU switches off (`critical`), is slowed down (`throttled`), or that it should not exceed (`max`)."
    HwFanSpeed "hw.fan.speed" Gauge "rpm" Int Development Gpu
        [HW_ID, HW_PARENT]
        "Speed of a fan."
    HwFanSpeedRatio "hw.fan.speed_ratio" Gauge "1" Double Development Gpu
        [HW_ID, HW_PARENT]
        "Speed of a fan, as a fraction of its greatest."
    GpuPowerInstant "inferscope.gpu.power.instant" Gauge "W" Double Own Gpu
        [HW_ID]
        "Power at once."
    GpuPowerLimit "inferscope.gpu.power.limit" Gauge "W" Double Own Gpu
        [HW_ID]
        "Power limit in force."
    GpuMemoryActivity "inferscope.gpu.memory.activity" Gauge "1" Double Own Gpu
        [HW_ID]
        "Fraction of time with memory read or written."
    GpuActivity "inferscope.gpu.activity" Gauge "1" Double Own Gpu
        [HW_ID, GPU_UNIT]
        "Activity by GPM: multiprocessors with a warp, tensor cores, memory bandwidth."
    GpuClock "inferscope.gpu.clock.frequency" Gauge "Hz" Int Own Gpu
        [HW_ID, GPU_CLOCK]
        "Clocks."
    GpuPerformanceState "inferscope.gpu.performance_state" Gauge "1" Int Own Gpu
        [HW_ID]
        "Performance state: 0 is the fastest."
    GpuThrottled "inferscope.gpu.throttle.active" UpDownCounter "1" Int Own Gpu
        [HW_ID, GPU_THROTTLE_CAUSE]
        "1 for causes that hold clocks down now, 0 for the others."
    GpuThrottleTime "inferscope.gpu.throttle.time" Counter "s" Double Own Gpu
        [HW_ID, GPU_THROTTLE_CAUSE]
        "Time that clocks were held down, by cause."
    GpuRemappedRows "inferscope.gpu.memory.remapped_rows" Counter "{row}" Int Own Gpu
        [HW_ID, ERROR_TYPE]
        "Rows of memory that were replaced, since the agent saw the device first."
    GpuRemapState "inferscope.gpu.memory.remap.state" UpDownCounter "1" Int Own Gpu
        [HW_ID, GPU_REMAP_STATE]
        "1 where a row waits for a reset to be replaced, or could not be replaced."
    GpuPcieReplays "inferscope.gpu.pcie.replays" Counter "{replay}" Int Own Gpu
        [HW_ID]
        "PCIe replays."
    GpuPcieGeneration "inferscope.gpu.pcie.link.generation" Gauge "1" Int Own Gpu
        [HW_ID]
        "PCIe generation of the link now; it falls while the device is idle."
    GpuPcieWidth "inferscope.gpu.pcie.link.width" Gauge "{lane}" Int Own Gpu
        [HW_ID]
        "Lanes of the PCIe link now."
    GpuNvlinkIo "inferscope.gpu.nvlink.io" Counter "By" Int Own Gpu
        [HW_ID, IO_DIRECTION]
        "Bytes over NVLink, all links together."
    GpuNvlinkErrors "inferscope.gpu.nvlink.errors" Counter "{error}" Int Own Gpu
        [HW_ID, ERROR_TYPE]
        "NVLink errors, all links together."
    GpuXid "inferscope.gpu.xid.errors" Counter "{error}" Int Own Gpu
        [HW_ID, GPU_XID]
        "Xid errors of the driver, by number."
    GpuEventsLost "inferscope.gpu.events.lost" Counter "{event}" Int Own Gpu
        [HW_ID]
        "Events that left no log record: too many came between two batches."
    GpuProcesses "inferscope.gpu.processes" Gauge "{process}" Int Own Gpu
        [HW_ID]
        "Processes that hold the device."
    GpuIdleHeld "inferscope.gpu.idle_held.time" Counter "s" Double Own Gpu
        [HW_ID]
        "Time that processes held the device without using it."
    GpuEnergyUnattributed "inferscope.gpu.energy.unattributed" Counter "J" Double Own Gpu
        [HW_ID, ENERGY_PART, ENERGY_OWNER, ENERGY_SOURCE]
        "Energy that was given to no workload: with `inferscope.energy` it adds up to `hw.energy`, to the millijoule."
    GpuCallDuration "inferscope.gpu.call.duration" Histogram "s" Double Own Gpu
        [HW_ID, GPU_CALL]
        "What calls into the driver took, by kind."
    GpuCallErrors "inferscope.gpu.call.errors" Counter "{call}" Int Own Gpu
        [HW_ID, GPU_CALL, ERROR_TYPE]
        "Calls into the driver that failed."
    GpuCallStuck "inferscope.gpu.call.stuck" Gauge "s" Double Own Gpu
        [HW_ID, GPU_CALL]
        "Age of a call that has not returned; absent while there is none."
    GpuStatus "inferscope.gpu.status" UpDownCounter "1" Int Own Gpu
        [HW_ID, GPU_STATE]
        "How the agent sees the device: 1 for the state that holds, 0 for the others."
    WorkloadGpuMemory "inferscope.gpu.workload.memory.usage" UpDownCounter "By" Int Own Workload
        [HW_ID]
        "GPU memory that the workload's processes hold."
    WorkloadGpuUtilization "inferscope.gpu.workload.utilization" Gauge "1" Double Own Workload
        [HW_ID]
        "The workload's share of the GPU's utilisation since the last flush, by measured use of the multiprocessors."
    Energy "inferscope.energy" Counter "J" Double Own Workload
        [HW_ID, ENERGY_PART, ENERGY_METHOD, ENERGY_SOURCE]
        "The workload's share of the GPU's energy: an estimate, made as its method says."
    EnergyPerOutputToken "inferscope.energy.per_output_token" Gauge "J/{token}" Double Own Workload
        [ENERGY_METHOD]
        "The workload's energy over its output tokens, since the last flush: an estimate."
    AgentGpuDriver "inferscope.agent.gpu.driver.state" Gauge "1" Int Own Agent
        [GPU_STATE]
        "State of the GPU driver's library: 1 for the state that holds, 0 for the others."
    AgentGpuCalls "inferscope.agent.gpu.calls" Counter "{call}" Int Own Agent
        [GPU_CALL]
        "Calls into the GPU driver that concern no single device."
    AgentGpuCallTime "inferscope.agent.gpu.call.time" Counter "s" Double Own Agent
        [GPU_CALL]
        "What they took, added up."
    AgentGpuCallStuck "inferscope.agent.gpu.call.stuck" Gauge "s" Double Own Agent
        [GPU_CALL]
        "Age of such a call that has not returned; absent while there is none."
    AgentGpuObservationsLost "inferscope.agent.gpu.observations.lost" Counter "{observation}" Int Own Agent
        []
        "Observations of GPUs that found the queue full. Counters catch up with the next one."
    ProcessCpuTime "process.cpu.time" Counter "s" Double Development Agent
        [CPU_MODE]
        "CPU time of the agent's process. What its programs in the kernel use is charged to others, and not in it."
    ProcessMemory "process.memory.usage" UpDownCounter "By" Int Development Agent
        []
        "Resident memory of the agent."
    AgentCpu "inferscope.agent.cpu.usage" Gauge "{cpu}" Double Own Agent
        [CPU_KIND]
        "CPUs that the agent uses for itself; `programs` is an estimate from windows of 20 ms, where that is allowed."
    GovernorCpuBudget "inferscope.agent.governor.cpu_budget" Gauge "{cpu}" Double Own Agent
        []
        "CPUs that the agent and its programs may use together."
    GovernorMemoryBudget "inferscope.agent.governor.memory_budget" Gauge "By" Int Own Agent
        []
        "Resident memory that the agent may use."
    GovernorLevel "inferscope.agent.governor.level" Gauge "{step}" Int Own Agent
        [GOVERNOR_CAUSE]
        "Steps that are shed, by what they are shed for: 0 for each is full detail."
    GovernorShed "inferscope.agent.governor.shed" Gauge "1" Int Own Agent
        [DETAIL]
        "1 where something of a part is shed, else 0; parts that this agent does not have are absent."
    GovernorChanges "inferscope.agent.governor.changes" Counter "{change}" Int Own Agent
        [GOVERNOR_CAUSE]
        "Times that something was shed or returned."
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_places_and_names_are_unique() {
        assert!(METRICS.iter().enumerate().all(|(place, metric)| metric.id as usize == place));
        let names: HashSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
    }

    #[test]
    fn rows_follow_the_naming_rules() {
        for metric in METRICS {
            let own = metric.name.starts_with("inferscope.");
            assert_eq!(own, metric.source == Source::Own, "{}", metric.name);
            assert!(metric.name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_'), "{}", metric.name);
            assert!(!metric.name.ends_with("_total") && !metric.name.ends_with("_seconds"), "{}", metric.name);
            let histogram = metric.instrument == Instrument::Histogram;
            assert!(!histogram || metric.value == ValueType::Double, "{}", metric.name);
            assert!(metric.description.ends_with('.'), "{}", metric.name);
        }
    }
}
