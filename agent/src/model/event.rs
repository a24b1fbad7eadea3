//! What happened at an instant and is worth a line: each event becomes a log record.

use std::sync::Arc;

use crate::model::attr::Attributes;
use crate::model::gpu::Gpu;
use crate::model::workload::Workload;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// To know.
    Info,
    /// To look after.
    Warn,
    /// To act upon.
    Error,
}

/// What it happened to: whose resource carries the record.
#[derive(Clone, PartialEq, Debug)]
pub enum Subject {
    /// A workload.
    Workload(Arc<Workload>),
    /// A GPU, or an instance of one.
    Gpu(Arc<Gpu>),
}

/// A kind of event, as the documents tell of it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// [`Event::name`] of its records.
    pub name: &'static str,
    /// How bad it is, or may be.
    pub severities: &'static str,
    /// What it means.
    pub description: &'static str,
    /// Keys of the attributes that a record may carry.
    pub attributes: &'static [&'static str],
}

/// Something happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// To whom.
    pub resource: Subject,
    /// What, as programs know it: the record's event name.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What, as people read it: with its meaning and the usual mend.
    pub body: String,
    /// Attributes of the record.
    pub attributes: Attributes,
}
