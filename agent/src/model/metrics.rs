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
    ERROR_TYPE, IO_DIRECTION, LOSS_CAUSE, METHOD, OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, ROLE, ROUTE,
    SERVER_ADDRESS, SERVER_PORT, SIGNAL, STATUS, TOKEN_SOURCE, TOKEN_TYPE, URL_SCHEME,
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
        "Time between two events with content that the workload received; metered in the kernel."
    HttpServerDuration "http.server.request.duration" Histogram "s" Double Stable Workload
        [METHOD, URL_SCHEME, STATUS, ROUTE, ERROR_TYPE]
        "Duration of HTTP server requests whose response was no stream."
    HttpClientDuration "http.client.request.duration" Histogram "s" Double Stable Workload
        [METHOD, URL_SCHEME, SERVER_ADDRESS, SERVER_PORT, STATUS, ERROR_TYPE]
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
        "From SYN-ACK to its acknowledgement, for connections that the workload accepted."
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
        "How long a peer kept its receive window shut during a response."
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
        "Encoded bytes that wait to be delivered."
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
            assert_eq!(
                metric.instrument == Instrument::Histogram,
                metric.value == ValueType::Double,
                "{}",
                metric.name
            );
            assert!(metric.description.ends_with('.'), "{}", metric.name);
        }
    }
}
