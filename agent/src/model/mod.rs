//! What is known of each workload: its identity, its requests, its histograms. Knows neither eBPF nor OTLP.

pub mod attr;
pub mod batch;
mod histogram;
mod kernel;
pub mod metrics;
pub mod request;
mod routes;
mod series;
mod store;
pub mod workload;

pub use histogram::Histogram;
pub use kernel::loss_cause;
pub use routes::{address, engine_provider, error_type, operation_name, server_end, source_name};
pub use store::{Limits, Model, SPAN_QUEUE, Taken};
