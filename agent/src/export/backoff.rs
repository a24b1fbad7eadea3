//! How long to wait before the next try.

use std::time::Duration;

/// The shortest and the longest wait between tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// The first wait.
    pub first: Duration,
    /// The longest wait, unless the receiver asks for more.
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

/// A receiver that asks for more patience than this is asked again all the same.
const MOST_PATIENT: Duration = Duration::from_secs(3600);
/// A wait grows by a random part of itself, this at most: agents that failed together do not return together.
const JITTER: f64 = 0.5;

/// Waits that double from failure to failure.
#[derive(Debug)]
pub(super) struct Backoff {
    pace: Pace,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, next: pace.first }
    }

    /// The wait after a failure: never less than the receiver asked for, and the next ones go on from there.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let base = self.next.max(asked.unwrap_or_default().min(MOST_PATIENT));
        self.next = (base * 2).min(self.pace.longest.max(base));
        base.mul_f64(1.0 + JITTER * fastrand::f64())
    }

    /// It worked: the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.next = self.pace.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(wait: Duration, seconds: f64) {
        let range = seconds..=seconds * (1.0 + JITTER);
        assert!(range.contains(&wait.as_secs_f64()), "{wait:?} is not in {range:?}");
    }

    #[test]
    fn doubles_up_to_the_longest_and_begins_anew() {
        let mut backoff = Backoff::new(Pace::default());
        for seconds in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            within(backoff.wait(None), seconds);
        }
        backoff.reset();
        within(backoff.wait(None), 1.0);
    }

    #[test]
    fn waits_as_long_as_asked_and_backs_off_from_there() {
        let mut backoff = Backoff::new(Pace::default());
        within(backoff.wait(Some(Duration::from_secs(12))), 12.0);
        within(backoff.wait(None), 24.0);
        within(backoff.wait(Some(Duration::from_secs(90))), 90.0);
        // Longer than the longest of its own: not longer still.
        within(backoff.wait(None), 90.0);
        within(backoff.wait(Some(Duration::MAX)), 3600.0);
    }

    #[test]
    fn an_impatient_receiver_does_not_shorten_the_wait() {
        let mut backoff = Backoff::new(Pace::default());
        backoff.wait(None);
        within(backoff.wait(Some(Duration::ZERO)), 2.0);
    }

    #[test]
    fn waits_are_random() {
        let waits: std::collections::HashSet<_> = (0..100).map(|_| Backoff::new(Pace::default()).wait(None)).collect();
        assert!(waits.len() > 90);
    }
}
