//! What is known of each workload: its identity, its requests, its histograms. Knows neither eBPF nor OTLP.

pub mod attr;
pub mod batch;
pub mod energy;
pub mod event;
pub mod gpu;
mod histogram;
pub mod host;
mod kernel;
pub mod metrics;
pub mod request;
mod routes;
mod series;
pub mod spans;
mod store;
pub mod workload;

pub use histogram::Histogram;
pub use kernel::loss_cause;
pub use routes::{address, engine_provider, error_type, operation_name, server_end, source_name};
pub use store::{EVENT_QUEUE, Limits, Model, SPAN_QUEUE, SPAN_SHED, Taken};
