//! Every attribute that a span may carry, as data. `docs/metrics.md` is generated from this table; the exporter's
//! tests hold what it writes against it.

use crate::model::attr;
use crate::model::metrics::Source;

/// What an attribute's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// Strings.
    Texts,
    /// A whole number.
    Int,
    /// A floating-point number.
    Double,
    /// True or false.
    Bool,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct SpanAttribute {
    /// The exported name.
    pub key: &'static str,
    /// Type of its value.
    pub kind: Kind,
    /// Where the name comes from.
    pub source: Source,
    /// What it means, and when it is there. A value that is not known is absent, never zero.
    pub description: &'static str,
}

const fn row(key: &'static str, kind: Kind, source: Source, description: &'static str) -> SpanAttribute {
    SpanAttribute { key, kind, source, description }
}

use Kind::{Bool, Double, Int, Text, Texts};
use Source::{Development, Own, Stable};

/// Every attribute that a span may carry.
pub static SPAN_ATTRIBUTES: &[SpanAttribute] = &[
    row(attr::OPERATION, Text, Development, "What was asked for; absent for other HTTP."),
    row(attr::PROVIDER, Text, Development, "Whose API it is, or which server speaks it; generative AI only."),
    row(attr::REQUEST_MODEL, Text, Development, "Model asked for."),
    row(attr::RESPONSE_MODEL, Text, Development, "Model that answered."),
    row(attr::STREAM, Bool, Development, "Whether the response came as events; generative AI only."),
    row(attr::MAX_TOKENS, Int, Development, "Most tokens asked for."),
    row(attr::RESPONSE_ID, Text, Development, "The server's id of the response."),
    row(attr::FINISH_REASONS, Texts, Development, "Why generation ended."),
    row(attr::INPUT_TOKENS, Int, Development, "Input tokens, by the server's own usage alone."),
    row(attr::OUTPUT_TOKENS, Int, Development, "Output tokens, by the server's own usage alone."),
    row(attr::COUNTED_TOKENS, Int, Own, "Output tokens where the server tells none: events with content."),
    row(attr::TOKEN_SOURCE, Text, Own, "How `inferscope.output_tokens` were counted: `events`."),
    row(attr::METHOD, Text, Stable, "Method, `_OTHER` where unknown or not of the known set."),
    row(attr::URL_SCHEME, Text, Stable, "`http`: what is metered is plain."),
    row(attr::ROUTE, Text, Stable, "Path template, for known endpoints."),
    row(attr::STATUS, Int, Stable, "Status code, where a response came."),
    row(attr::PROTOCOL_VERSION, Text, Stable, "Version of HTTP, `1.0` or `1.1`: the lower of what both sides name."),
    row(attr::SERVER_ADDRESS, Text, Stable, "Address of the server's end."),
    row(attr::SERVER_PORT, Int, Stable, "Port of the server's end."),
    row(attr::PEER_ADDRESS, Text, Stable, "Address of the other end, as the workload's socket names it."),
    row(attr::PEER_PORT, Int, Stable, "Port of the other end."),
    row(
        attr::ERROR_TYPE,
        Text,
        Stable,
        "How it failed: status code, the stream's own error type, `client_closed` or `server_closed`. A server's 4xx \
         counts for generative AI, as in its metrics, and not for other HTTP.",
    ),
    row(attr::JOINED, Bool, Own, "True where the request began before the agent watched: the span starts too late."),
    row(
        attr::REQUEST_ENERGY,
        Double,
        Own,
        "Joules of GPUs that the request is estimated to have used: its share of what its workload was given meanwhile; \
         of workloads with a GPU.",
    ),
    row(
        attr::ENERGY_METHOD,
        Text,
        Own,
        "How the estimate came about: by `tokens_in_flight`, or by `time_in_flight` where no tokens were counted.",
    ),
    row(attr::FIRST_TOKEN, Double, Own, "Seconds to the first event with content."),
    row(attr::PER_TOKEN, Double, Own, "Seconds per output token after the first, for streams that ended well."),
    row(attr::EVENTS, Int, Own, "Events with content, of a stream that is not compressed."),
    row(attr::LONGEST_GAP, Double, Own, "Longest time between two events with content, in seconds."),
    row(attr::READ_DELAY, Double, Own, "Seconds from arrival in the kernel to the application's first read."),
    row(attr::REQUEST_BYTES, Int, Own, "Bytes of the request, head included."),
    row(attr::RESPONSE_BYTES, Int, Own, "Bytes of the response, head included."),
    row(attr::RTT, Double, Own, "TCP's smoothed round trip at the end, in seconds."),
    row(attr::RTT_MIN, Double, Own, "Smallest smoothed round trip seen meanwhile, in seconds."),
    row(attr::RETRANSMITS, Int, Own, "TCP segments sent again meanwhile; there wherever TCP's state was seen."),
    row(
        attr::WRITE_STALL,
        Double,
        Own,
        "Seconds for which the peer's receive window was shut during the response; there wherever TCP's state was seen.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_are_unique_and_told_apart_by_their_source() {
        let keys: HashSet<_> = SPAN_ATTRIBUTES.iter().map(|row| row.key).collect();
        assert_eq!(keys.len(), SPAN_ATTRIBUTES.len());
        for row in SPAN_ATTRIBUTES {
            assert_eq!(row.key.starts_with("inferscope."), row.source == Own, "{}", row.key);
            assert_eq!(row.key.starts_with("gen_ai."), row.source == Development, "{}", row.key);
            assert!(row.description.ends_with('.'), "{}", row.key);
        }
    }
}
