//! Requests, as spans tell them.

use std::str::FromStr;

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::received::{Attributes, Received, attributes};

/// A span.
#[derive(Clone, PartialEq, Debug)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// `SPAN_KIND_…`.
    pub kind: i32,
    /// Unix time in nanoseconds.
    pub start: u64,
    /// Unix time in nanoseconds.
    pub end: u64,
    /// Its status is an error.
    pub failed: bool,
    /// Its trace.
    pub trace: Vec<u8>,
    /// Its parent; empty = none.
    pub parent: Vec<u8>,
    /// Its attributes.
    pub attributes: Attributes,
    /// Of the workload.
    pub resource: Attributes,
}

impl Received {
    /// Every span.
    pub fn spans(&self) -> Vec<Span> {
        let mut all = Vec::new();
        for part in &self.spans {
            let resource = part.resource.as_ref().map(|resource| attributes(&resource.attributes)).unwrap_or_default();
            for span in part.scope_spans.iter().flat_map(|scope| &scope.spans) {
                all.push(Span {
                    name: span.name.clone(),
                    kind: span.kind,
                    start: span.start_time_unix_nano,
                    end: span.end_time_unix_nano,
                    failed: span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32),
                    trace: span.trace_id.clone(),
                    parent: span.parent_span_id.clone(),
                    attributes: attributes(&span.attributes),
                    resource: resource.clone(),
                });
            }
        }
        all
    }

    /// Spans of generative requests.
    pub fn generative(&self) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.attributes.contains_key("gen_ai.operation.name")).collect()
    }
}

impl Span {
    /// An attribute's text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }

    /// An attribute's number.
    pub fn number<T: FromStr>(&self, key: &str) -> Option<T> {
        self.text(key)?.parse().ok()
    }

    /// The server's id of the response.
    pub fn response_id(&self) -> Option<&str> {
        self.text("gen_ai.response.id")
    }

    /// Whole duration in nanoseconds.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Time to the first event with content, in nanoseconds.
    pub fn first_token(&self) -> Option<u64> {
        self.seconds("inferscope.time_to_first_token")
    }

    /// Time per output token after the first, in nanoseconds.
    pub fn per_token(&self) -> Option<u64> {
        self.seconds("inferscope.time_per_output_token")
    }

    /// Output tokens by usage, else by events.
    pub fn tokens(&self) -> Option<u64> {
        self.number("gen_ai.usage.output_tokens").or_else(|| self.number("inferscope.output_tokens"))
    }

    /// How it failed.
    pub fn error(&self) -> Option<&str> {
        self.text("error.type")
    }

    fn seconds(&self, key: &str) -> Option<u64> {
        self.number::<f64>(key).map(|seconds| (seconds * 1e9).round() as u64)
    }
}
