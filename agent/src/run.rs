//! The agent's one loop: what happens how often. Nothing in it waits for anybody.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::bell::{Bell, Stopped, Woken};
use crate::model::batch::Batch;
use crate::pipeline::Pipeline;

/// Longest pause between two looks into the kernel's ring, which calls when it fills and when a socket listens: the
/// more records wait, the less each costs, since whatever else runs here takes the agent's memory out of the caches.
const RECORDS: Duration = Duration::from_secs(1);
/// Shortest pause: calls may come as often as somebody opens sockets.
const BREATH: Duration = Duration::from_millis(10);
/// Pause between two looks for workloads. The kernel tells of new listening sockets at once; this finds
/// what it could not tell.
const DISCOVER: Duration = Duration::from_millis(500);

/// How long before a batch what it tells is read: some reading takes as long.
const AHEAD: Duration = Duration::from_millis(150);

/// How often batches are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cadence {
    /// Of everything.
    pub metrics: Duration,
    /// Of finished requests; `None` = with the rest.
    pub requests: Option<Duration>,
}

/// Runs until `stopped` tells of the end, then makes a last batch. `ship` takes batches, and when each was due, and must not
/// wait.
pub fn run(
    pipeline: &mut Pipeline,
    cadence: Cadence,
    stopped: &Stopped,
    mut ship: impl FnMut(&Pipeline, &Batch, Instant),
) -> io::Result<()> {
    let bell = Bell::new(pipeline.flows().kernel().ring(), stopped)?;
    let begun = Instant::now();
    let requests_every = cadence.requests.unwrap_or(Duration::MAX);
    let mut records = Timer::new(begun, Duration::ZERO);
    let mut discover = Timer::new(begun, Duration::ZERO);
    let mut metrics = Timer::new(begun, cadence.metrics);
    let mut refresh = Timer::new(begun, cadence.metrics.saturating_sub(AHEAD));
    let mut requests = Timer::new(begun, requests_every);
    let (mut pause, mut looked) = (Duration::ZERO, begun);
    loop {
        let called = match bell.sleep(pause)? {
            Woken::Stopped => break,
            Woken::Called => true,
            Woken::Slept => false,
        };
        if called {
            thread::sleep(BREATH.saturating_sub(looked.elapsed()));
        }
        let now = Instant::now();
        if records.take(now, RECORDS).is_some() || called {
            looked = now;
            if pipeline.poll() {
                discover.hasten(now);
            }
        }
        if discover.take(now, DISCOVER).is_some() {
            pipeline.discover();
        }
        if refresh.take(now, cadence.metrics).is_some() {
            pipeline.refresh();
        }
        if let Some(due) = metrics.take(now, cadence.metrics) {
            records.restart(now, RECORDS);
            let batch = pipeline.flush();
            ship(pipeline, &batch, due);
        } else if let Some(due) = requests.take(now, requests_every) {
            records.restart(now, RECORDS);
            let batch = pipeline.flush_requests();
            ship(pipeline, &batch, due);
        }
        pause = pipeline.govern();
        let now = Instant::now();
        for timer in [&records, &discover, &metrics, &refresh, &requests] {
            pause = pause.min(timer.left(now));
        }
    }
    let due = Instant::now();
    let batch = pipeline.flush();
    ship(pipeline, &batch, due);
    Ok(())
}

/// Falls due again and again; a turn that was missed is not made up.
struct Timer {
    next: Option<Instant>,
}

impl Timer {
    fn new(begun: Instant, first: Duration) -> Self {
        Self { next: begun.checked_add(first) }
    }

    /// Time until it falls due.
    fn left(&self, now: Instant) -> Duration {
        self.next.map_or(Duration::MAX, |next| next.saturating_duration_since(now))
    }

    /// Begins anew: it was done just now.
    fn restart(&mut self, now: Instant, every: Duration) {
        self.next = now.checked_add(every);
    }

    /// Makes it due at once, and then at its pace from now on.
    fn hasten(&mut self, now: Instant) {
        self.next = Some(now);
    }

    /// When it fell due, if it did: then it is due again.
    fn take(&mut self, now: Instant, every: Duration) -> Option<Instant> {
        let due = self.next.filter(|next| *next <= now)?;
        let after = due.checked_add(every);
        self.next = after.map_or(after, |after| if after > now { Some(after) } else { now.checked_add(every) });
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_keeps_its_pace_and_makes_up_for_nothing() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let every = Duration::from_millis(100);
        let mut timer = Timer::new(begun, every);
        assert_eq!(timer.take(at(99), every), None);
        assert_eq!(timer.take(at(105), every), Some(at(100)));
        assert_eq!(timer.take(at(199), every), None);
        assert_eq!(timer.take(at(200), every), Some(at(200)), "the pace does not drift");
        assert_eq!(timer.take(at(950), every), Some(at(300)));
        assert_eq!(timer.take(at(1049), every), None, "missed turns are gone");
        assert_eq!(timer.left(at(1049)), Duration::from_millis(1));
        assert_eq!(timer.take(at(1050), every), Some(at(1050)));
        timer.restart(at(1050), every);
        assert_eq!(timer.left(at(1140)), Duration::from_millis(10));
        timer.hasten(at(1060));
        assert_eq!(timer.left(at(1061)), Duration::ZERO);
        assert_eq!(timer.take(at(1061), every), Some(at(1060)));
        assert_eq!(timer.take(at(1159), every), None);
        assert_eq!(timer.take(at(1160), every), Some(at(1160)));
    }

    #[test]
    fn what_never_falls_due_does_not() {
        let begun = Instant::now();
        let mut timer = Timer::new(begun, Duration::MAX);
        assert_eq!(timer.take(begun + Duration::from_secs(1 << 30), Duration::MAX), None);
        assert_eq!(timer.left(begun), Duration::MAX);
    }
}
