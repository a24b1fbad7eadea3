//! Where observations come from: one module for each signal.

pub mod flow;
pub mod gpu;
pub mod host;
pub mod workloads;
