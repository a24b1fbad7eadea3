//! inferscope, the user half.
//!
//! Data flows one way: [`bpf`] and [`sources`] observe, [`wire`] turns bytes and kernel records into
//! [`model::request::Request`]s, [`model`] aggregates by workload, [`export`] and [`view`] show.

pub mod bell;
pub mod bpf;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod doctor;
pub mod export;
pub mod governor;
pub mod host;
pub mod model;
pub mod pipeline;
pub mod run;
pub mod sources;
pub mod telemetry;
pub mod view;
pub mod wire;
