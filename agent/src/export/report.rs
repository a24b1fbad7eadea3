//! What the agent's own log says of deliveries: the first failure, then ever more seldom, and the recovery.

use std::time::{Duration, Instant};

use crate::export::answer::Why;
use crate::export::stats::Signal;

/// The pause after the first message of its kind; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Tells of one endpoint. It never tells what the receiver wrote.
#[derive(Debug)]
pub(super) struct Report {
    signal: &'static str,
    endpoint: String,
    away: Option<Away>,
    refused: Pauses,
    rejected: Pauses,
}

/// Since when nothing is delivered.
#[derive(Debug)]
struct Away {
    since: Instant,
    tries: u64,
    pauses: Pauses,
}

/// Says whether it is time for another message.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<(Instant, Duration)>,
    /// Items since the last message.
    unsaid: u64,
}

impl Pauses {
    /// True at first, and then after pauses that grow; begins anew after the longest.
    fn due(&mut self, now: Instant) -> bool {
        let pause = match self.last {
            None => FIRST_PAUSE,
            Some((last, pause)) => {
                let gone = now.saturating_duration_since(last);
                if gone < pause {
                    return false;
                }
                if gone >= LONGEST_PAUSE * 2 { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) }
            }
        };
        self.last = Some((now, pause));
        true
    }
}

impl Report {
    pub(super) fn new(signal: Signal, endpoint: String) -> Self {
        let (refused, rejected) = (Pauses::default(), Pauses::default());
        Self { signal: signal.name(), endpoint, away: None, refused, rejected }
    }

    /// A request was not taken; it is tried again after `wait`, and `waiting` others wait behind it.
    pub(super) fn failed(&mut self, why: &Why, wait: Duration, waiting: usize) {
        let now = Instant::now();
        let away = self.away.get_or_insert_with(|| Away { since: now, tries: 0, pauses: Pauses::default() });
        away.tries += 1;
        if !away.pauses.due(now) {
            return;
        }
        let (signal, endpoint, mend) = (self.signal, &self.endpoint, why.mend());
        let (away, tries) = (rounded(now - away.since), away.tries);
        tracing::warn!(
            signal, endpoint, cause = %why, mend, ?away, tries, waiting, next_try = ?rounded(wait),
            "cannot deliver; what is queued is kept and tried again"
        );
    }

    /// The receiver answered, and took something or refused it for good.
    pub(super) fn answered(&mut self, waiting: usize) {
        if let Some(Away { since, tries, .. }) = self.away.take() {
            let (signal, endpoint, away) = (self.signal, &self.endpoint, rounded(since.elapsed()));
            tracing::info!(signal, endpoint, ?away, tries, waiting, "the receiver answers again");
        }
    }

    /// A request with `items` items was dropped, because of `why`, or because of the size of the answer.
    pub(super) fn refused(&mut self, why: Option<&Why>, items: u64) {
        self.refused.unsaid += items;
        if !self.refused.due(Instant::now()) {
            return;
        }
        let lost = std::mem::take(&mut self.refused.unsaid);
        let (signal, endpoint) = (self.signal, &self.endpoint);
        match why {
            Some(why) => tracing::warn!(
                signal, endpoint, cause = %why, mend = why.mend(), lost,
                "the receiver refused a request for good; it is dropped"
            ),
            None => tracing::warn!(
                signal,
                endpoint,
                lost,
                mend = "check that the endpoint is an OTLP receiver",
                "the receiver's answer was larger than 4 MiB; the request is dropped"
            ),
        }
    }

    /// The receiver took a request and dropped `rejected` of its items, or (0) had something else to say.
    pub(super) fn rejected(&mut self, rejected: u64) {
        self.rejected.unsaid += rejected;
        if !self.rejected.due(Instant::now()) {
            return;
        }
        let (signal, endpoint) = (self.signal, &self.endpoint);
        let (lost, mend) = (std::mem::take(&mut self.rejected.unsaid), "the receiver's own log says why");
        if lost > 0 {
            tracing::warn!(signal, endpoint, lost, mend, "the receiver took a request and dropped part of it");
        } else {
            tracing::warn!(signal, endpoint, mend, "the receiver took a request, with a warning");
        }
    }
}

/// Whole milliseconds: more is noise to a reader.
fn rounded(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis().try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_at_growing_distance() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        // A failure every second for ten hours.
        let said: Vec<u64> = (0..36_000).filter(|&second| pauses.due(start + Duration::from_secs(second))).collect();
        assert_eq!(said[..7], [0, 60, 180, 420, 900, 1860, 3780]);
        assert!(said[7..].windows(2).all(|pair| pair[1] - pair[0] == 3600), "{said:?}");
    }

    #[test]
    fn a_long_silence_makes_the_next_message_a_first_one() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(pauses.due(at(0)) && pauses.due(at(60)) && !pauses.due(at(150)));
        assert!(pauses.due(at(10_000)));
        assert!(!pauses.due(at(10_059)) && pauses.due(at(10_060)));
    }
}
