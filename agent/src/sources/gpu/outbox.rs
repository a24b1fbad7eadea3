//! From the sampler to whoever takes observations. Nothing here waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use crate::model::gpu::Observation;

/// Observations that must not be lost and wait for room.
const WAITING: usize = 1024;

/// Sends observations. Samples find room or are lost, and counted: counters catch up with the next one. Everything else waits
/// for room, in order.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: SyncSender<Observation>,
    waiting: VecDeque<Observation>,
    lost: Arc<AtomicU64>,
}

impl Outbox {
    pub(super) fn new(queue: SyncSender<Observation>, lost: Arc<AtomicU64>) -> Self {
        Self { queue, waiting: VecDeque::new(), lost }
    }

    pub(super) fn send(&mut self, observation: Observation) {
        self.retry();
        if !self.waiting.is_empty() {
            self.keep(observation);
        } else if let Err(TrySendError::Full(observation)) = self.queue.try_send(observation) {
            self.keep(observation);
        }
    }

    /// Sends what waits, as far as there is room now.
    pub(super) fn retry(&mut self) {
        while let Some(observation) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(observation)) = self.queue.try_send(observation) {
                self.waiting.push_front(observation);
                return;
            }
        }
    }

    fn keep(&mut self, observation: Observation) {
        let replaceable = matches!(observation, Observation::Sample(_) | Observation::Costs(_));
        if replaceable || self.waiting.len() == WAITING {
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            self.waiting.push_back(observation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gpu::{Call, DriverState};
    use std::sync::mpsc::sync_channel;

    #[test]
    fn states_wait_for_room_and_samples_do_not() {
        let (queue, taken) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let mut outbox = Outbox::new(queue, Arc::clone(&lost));
        outbox.send(Observation::Driver(DriverState::NotLoaded));
        outbox.send(Observation::Costs(Vec::new()));
        outbox.send(Observation::Driver(DriverState::Stuck { call: Call::Count, since: 0 }));
        outbox.send(Observation::Driver(DriverState::Released));
        assert_eq!(lost.load(Ordering::Relaxed), 1);
        let mut states = Vec::new();
        while let Ok(observation) = taken.try_recv() {
            states.push(observation);
            outbox.retry();
        }
        let stuck = DriverState::Stuck { call: Call::Count, since: 0 };
        let expected = [DriverState::NotLoaded, stuck, DriverState::Released].map(Observation::Driver);
        assert_eq!(states, expected);
    }
}
