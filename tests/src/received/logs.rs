//! Log records.

use opentelemetry_proto::tonic::logs::v1::SeverityNumber;

use crate::received::{Attributes, Received, attributes, text};

/// A log record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Name of the event; empty where it is none.
    pub name: String,
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// How bad it is.
    pub severity: SeverityNumber,
    /// Its text.
    pub body: String,
    /// Its attributes.
    pub attributes: Attributes,
    /// Of what it tells.
    pub resource: Attributes,
}

impl Received {
    /// Every log record.
    pub fn records(&self) -> Vec<Record> {
        let mut all = Vec::new();
        for part in &self.logs {
            let resource = part.resource.as_ref().map(|resource| attributes(&resource.attributes)).unwrap_or_default();
            for record in part.scope_logs.iter().flat_map(|scope| &scope.log_records) {
                all.push(Record {
                    name: record.event_name.clone(),
                    time: record.time_unix_nano,
                    severity: record.severity_number(),
                    body: text(record.body.as_ref()),
                    attributes: attributes(&record.attributes),
                    resource: resource.clone(),
                });
            }
        }
        all
    }
}
