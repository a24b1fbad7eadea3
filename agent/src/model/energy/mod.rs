//! Whose energy it was: pure arithmetic in whole millijoules. Nothing here knows GPUs' drivers or OTLP.
//!
//! A [`Ledger`] splits what a device's counter grew by over owners, so that the parts add up to the growth exactly. A
//! [`Timeline`] keeps what a workload was given, and tells what one request's share of it was.

mod ledger;
mod split;
mod timeline;

pub use ledger::{Claim, IdlePolicy, Kind, Ledger, Method, Owner, Part, Step};
pub use split::split;
pub use timeline::{Estimate, RequestMethod, Stretch, Timeline};

/// Joules for each token; `None` where there was no token, or no energy was metered.
pub fn joules_per_token(millijoules: u64, tokens: u64) -> Option<f64> {
    (tokens > 0 && millijoules > 0).then(|| millijoules as f64 / 1e3 / tokens as f64)
}
