//! inferscope, the user half: what the binary, its tests and its benchmarks share.
//!
//! Data flows one way: [`bpf`] and [`sources`] observe, [`wire`] turns bytes and kernel records into
//! [`model::request::Request`]s, [`model`] aggregates by workload, [`export`] and [`view`] show.

pub mod clock;
pub mod model;
pub mod wire;
