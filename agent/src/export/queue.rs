//! A queue that is bounded in bytes: the oldest goes when it is full.
//!
//! One task takes from it. What it takes stays in the queue's account until it is settled, and returns to its place
//! when it is not: however the task ends, nothing is forgotten. Between this and the wire stand [`Queue::take`] and
//! [`Flight`] alone, so a store on disk that offers the same can stand there too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::export::payload::Payload;
use crate::export::stats::{LossCause, Signal, SignalStats, Stats};

/// Payloads of one signal, oldest first.
#[derive(Debug)]
pub(super) struct Queue {
    signal: Signal,
    state: Mutex<State>,
    changed: Notify,
    stats: Arc<Stats>,
}

#[derive(Debug, Default)]
struct State {
    limit: usize,
    waiting: VecDeque<Payload>,
    waiting_bytes: usize,
    /// Of the payload that is taken and not settled.
    flying_bytes: usize,
    closed: bool,
}

/// What was never delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rest {
    /// Export requests.
    pub requests: u64,
    /// Points, spans or log records in them.
    pub items: u64,
}

impl Queue {
    /// An empty queue for `limit` bytes.
    pub(super) fn new(signal: Signal, limit: usize, stats: Arc<Stats>) -> Self {
        let state = Mutex::new(State { limit, ..State::default() });
        Self { signal, state, changed: Notify::new(), stats }
    }

    /// Holds `limit` bytes from now on; the oldest go where it holds more.
    pub(super) fn set_limit(&self, limit: usize) {
        let mut state = self.state();
        state.limit = limit;
        self.make_room(&mut state, 0);
        self.stats().set_queue_bytes(state.bytes());
    }

    pub(super) fn stats(&self) -> &SignalStats {
        self.stats.of(self.signal)
    }

    /// Appends; the oldest go for it where it finds no room. What is taken right now cannot go: it may be arriving.
    pub(super) fn push(&self, payload: Payload) {
        let mut state = self.state();
        if state.closed {
            return self.stats().add_lost(LossCause::Shutdown, payload.items);
        }
        let size = payload.body.len();
        if state.flying_bytes + size > state.limit {
            return self.stats().add_lost(LossCause::QueueFull, payload.items);
        }
        self.make_room(&mut state, size);
        state.waiting_bytes += size;
        state.waiting.push_back(payload);
        self.stats().set_queue_bytes(state.bytes());
        drop(state);
        self.changed.notify_one();
    }

    /// The oldest payload, when there is one; `None` when the queue is closed and empty.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Flight> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if let Some(payload) = state.pop() {
                    state.flying_bytes = payload.body.len();
                    return Some(Flight { queue: Arc::clone(self), payload, settled: false });
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Takes nothing new in from now on.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// Gives up what is left.
    pub(super) fn abandon(&self) -> Rest {
        let mut state = self.state();
        let waiting = std::mem::take(&mut state.waiting);
        state.waiting_bytes = 0;
        let rest =
            Rest { requests: waiting.len() as u64, items: waiting.iter().map(|payload| payload.items).sum::<u64>() };
        self.stats().add_lost(LossCause::Shutdown, rest.items);
        self.stats().set_queue_bytes(state.bytes());
        rest
    }

    /// Payloads that wait.
    pub(super) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    fn make_room(&self, state: &mut State, size: usize) {
        while state.bytes() + size > state.limit {
            let Some(oldest) = state.pop() else { break };
            self.stats().add_lost(LossCause::QueueFull, oldest.items);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> usize {
        self.waiting_bytes + self.flying_bytes
    }

    fn pop(&mut self) -> Option<Payload> {
        let payload = self.waiting.pop_front()?;
        self.waiting_bytes -= payload.body.len();
        Some(payload)
    }
}

/// A payload that is taken. Returns to the front of its queue unless it is settled.
#[derive(Debug)]
pub(super) struct Flight {
    queue: Arc<Queue>,
    /// What is to be sent.
    pub(super) payload: Payload,
    settled: bool,
}

impl Flight {
    /// It needs no more delivery, for better or worse.
    pub(super) fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.flying_bytes = 0;
        if !self.settled {
            state.waiting_bytes += self.payload.body.len();
            state.waiting.push_front(self.payload.clone());
        }
        self.queue.stats().set_queue_bytes(state.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn payload(size: usize, items: u64) -> Payload {
        Payload { body: vec![0; size].into(), gzip: false, encoded: size, items }
    }

    fn queue(limit: usize) -> Arc<Queue> {
        Arc::new(Queue::new(Signal::Traces, limit, Arc::default()))
    }

    /// What `take` gives at once; the outer `None` means that it waits.
    fn take(queue: &Arc<Queue>) -> Option<Option<Flight>> {
        match pin!(queue.take()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(taken) => Some(taken),
            Poll::Pending => None,
        }
    }

    fn full(queue: &Queue) -> u64 {
        queue.stats().lost(LossCause::QueueFull)
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let queue = queue(100);
        (1..=5).for_each(|items| queue.push(payload(20, items)));
        assert_eq!((full(&queue), queue.stats().queue_bytes()), (0, 100));
        queue.push(payload(30, 6));
        assert_eq!((full(&queue), queue.stats().queue_bytes()), (1 + 2, 90));
        let flight = take(&queue).unwrap().unwrap();
        assert_eq!(flight.payload.items, 3);
    }

    #[test]
    fn what_is_larger_than_the_queue_pushes_nothing_out() {
        let queue = queue(100);
        queue.push(payload(20, 1));
        queue.push(payload(101, 50));
        assert_eq!((full(&queue), queue.len()), (50, 1));
    }

    #[test]
    fn a_queue_that_shrinks_gives_up_the_oldest_and_grows_again() {
        let queue = queue(100);
        (1..=5).for_each(|items| queue.push(payload(20, items)));
        let flight = take(&queue).unwrap().unwrap();
        queue.set_limit(50);
        assert_eq!((full(&queue), queue.stats().queue_bytes()), (2 + 3 + 4, 40), "what is on the wire stays");
        flight.settle();
        queue.push(payload(60, 6));
        assert_eq!((full(&queue), queue.len()), (9 + 6, 1));
        queue.set_limit(100);
        queue.push(payload(60, 7));
        assert_eq!((full(&queue), queue.stats().queue_bytes()), (15, 80));
    }

    #[test]
    fn what_is_on_the_wire_counts_and_stays() {
        let queue = queue(100);
        queue.push(payload(60, 1));
        queue.push(payload(20, 2));
        let flight = take(&queue).unwrap().unwrap();
        queue.push(payload(40, 3));
        assert_eq!((full(&queue), queue.stats().queue_bytes()), (2, 100), "the second one is the oldest that can go");
        queue.push(payload(41, 4));
        assert_eq!(full(&queue), 2 + 4, "no room beside what is on the wire");
        flight.settle();
        assert_eq!(queue.stats().queue_bytes(), 40);
        assert_eq!(take(&queue).unwrap().unwrap().payload.items, 3);
    }

    #[test]
    fn what_is_not_settled_is_the_oldest_again() {
        let queue = queue(100);
        queue.push(payload(50, 1));
        queue.push(payload(50, 2));
        drop(take(&queue));
        assert_eq!(queue.stats().queue_bytes(), 100);
        assert_eq!(take(&queue).unwrap().unwrap().payload.items, 1);
        queue.push(payload(1, 3));
        assert_eq!(full(&queue), 1);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_takes_nothing() {
        let queue = queue(100);
        assert!(take(&queue).is_none());
        queue.push(payload(10, 1));
        queue.close();
        queue.push(payload(10, 2));
        take(&queue).unwrap().unwrap().settle();
        assert!(take(&queue).unwrap().is_none());
        assert_eq!((queue.stats().lost(LossCause::Shutdown), queue.stats().queue_bytes()), (2, 0));
    }

    #[test]
    fn what_is_given_up_is_told() {
        let queue = queue(100);
        queue.push(payload(10, 7));
        queue.push(payload(10, 8));
        assert_eq!(queue.abandon(), Rest { requests: 2, items: 15 });
        assert_eq!((queue.stats().lost(LossCause::Shutdown), queue.stats().queue_bytes()), (15, 0));
    }

    #[tokio::test]
    async fn a_taker_that_waits_is_woken_by_a_payload_and_by_the_end() {
        let queue = queue(100);
        let taker = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move {
                let mut taken = Vec::new();
                while let Some(flight) = queue.take().await {
                    taken.push(flight.payload.items);
                    flight.settle();
                }
                taken
            }
        });
        tokio::task::yield_now().await;
        queue.push(payload(10, 7));
        tokio::task::yield_now().await;
        assert_eq!(queue.stats().queue_bytes(), 0, "taken and settled");
        queue.close();
        assert_eq!(taker.await.unwrap(), [7]);
    }

    proptest! {
        /// Whatever happens, every item is delivered, lost with a cause, or held; and the bytes are those of what is held.
        #[test]
        fn nothing_is_forgotten(steps in proptest::collection::vec((0u8..4, 1usize..60, 1u64..9), 1..200)) {
            let queue = queue(150);
            let (mut pushed, mut delivered, mut flight) = (0, 0, None);
            for (step, size, items) in steps {
                match step {
                    0 | 1 => {
                        pushed += items;
                        queue.push(payload(size, items));
                    }
                    2 if flight.is_none() => flight = take(&queue).flatten(),
                    2 => {
                        let flight: Flight = flight.take().unwrap();
                        delivered += flight.payload.items;
                        flight.settle();
                    }
                    _ => flight = None,
                }
                let waiting: Vec<Payload> = queue.state().waiting.iter().cloned().collect();
                let held: Vec<&Payload> = waiting.iter().chain(flight.as_ref().map(|flight| &flight.payload)).collect();
                let items: u64 = held.iter().map(|payload| payload.items).sum();
                let bytes: usize = held.iter().map(|payload| payload.body.len()).sum();
                prop_assert_eq!(pushed, delivered + full(&queue) + items);
                prop_assert_eq!(queue.stats().queue_bytes(), bytes as u64);
                prop_assert!(bytes <= 150);
            }
        }
    }
}
