//! What arrived at the other end of OTLP, as a test wants to look at it.

mod logs;
mod metrics;
mod spans;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;

pub use logs::Record;
pub use metrics::{MetricShape, Totals};
pub use spans::Span;

/// Attributes as text.
pub type Attributes = BTreeMap<String, String>;

/// Everything that arrived, in order.
#[derive(Clone, Default, Debug)]
pub struct Received {
    /// Of every metrics export.
    pub metrics: Vec<ResourceMetrics>,
    /// Of every trace export.
    pub spans: Vec<ResourceSpans>,
    /// Of every logs export.
    pub logs: Vec<ResourceLogs>,
}

impl Received {
    /// True where `text` stands anywhere in what arrived, in whatever field.
    pub fn holds(&self, text: &str) -> bool {
        let found = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        self.metrics.iter().any(|part| found(part.encode_to_vec()))
            || self.spans.iter().any(|part| found(part.encode_to_vec()))
            || self.logs.iter().any(|part| found(part.encode_to_vec()))
    }
}

fn attributes(from: &[KeyValue]) -> Attributes {
    from.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(Value::ArrayValue(array)) => {
            array.values.iter().map(|value| text(Some(value))).collect::<Vec<_>>().join(",")
        }
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
