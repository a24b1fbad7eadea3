//! What is known of each workload: its identity, its requests, its histograms. Knows neither eBPF nor OTLP.

pub mod request;
pub mod workload;
