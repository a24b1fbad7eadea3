//! Waiting for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// A time of patience on this machine: `INFERSCOPE_PATIENCE` times as long, where the machine is an emulated one.
pub fn patient(within: Duration) -> Duration {
    let factor = std::env::var("INFERSCOPE_PATIENCE").ok().and_then(|factor| factor.parse().ok());
    within.saturating_mul(factor.unwrap_or(1))
}

/// Looks until there is something, or `within` is over; `what` names it in the error.
pub fn until<T>(within: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    until_ok(within, what, || Ok(look()))
}

/// The same for a look that may fail for good.
pub fn until_ok<T>(within: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let within = patient(within);
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {within:?} in vain for {what}");
        }
        thread::sleep(PAUSE);
    }
}
