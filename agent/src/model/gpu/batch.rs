//! What a flush tells of one GPU.

use std::sync::Arc;

use super::event::Event;
use super::facts::Gpu;
use crate::model::batch::Point;

/// What is new of one GPU or instance. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuBatch {
    /// Which; its [`Gpu::resource`] carries the points.
    pub gpu: Arc<Gpu>,
    /// Start of its counters and histograms.
    pub start: u64,
    /// When it was first seen: the start of what is always cumulative.
    pub since: u64,
    /// Points of metrics.
    pub points: Vec<Point>,
    /// What happened to it: each is to become a log record.
    pub events: Vec<Event>,
}
