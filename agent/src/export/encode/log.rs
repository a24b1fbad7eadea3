//! Events as log records.

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use crate::export::encode::sink::Sink;
use crate::model::event::{Event, Severity};

/// An event as OpenTelemetry has it, observed at `now` in nanoseconds since the Unix epoch.
pub(super) fn record(event: &Event, now: u64) -> LogRecord {
    let (number, text) = match event.severity {
        Severity::Info => (SeverityNumber::Info, "INFO"),
        Severity::Warn => (SeverityNumber::Warn, "WARN"),
        Severity::Error => (SeverityNumber::Error, "ERROR"),
    };
    let mut attributes = Vec::with_capacity(event.attributes.len());
    event.attributes.iter().for_each(|(name, value)| attributes.value(name, value));
    LogRecord {
        time_unix_nano: event.time,
        observed_time_unix_nano: now,
        severity_number: number.into(),
        severity_text: text.to_owned(),
        body: Some(AnyValue { value: Some(Any::StringValue(event.body.clone())) }),
        attributes,
        event_name: event.name.to_owned(),
        ..LogRecord::default()
    }
}
