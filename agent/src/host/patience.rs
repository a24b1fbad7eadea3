//! Reads that may never return.
//!
//! `/proc/PID/cmdline` waits for the process's memory map, which a process that hangs in a GPU driver
//! may hold for hours. Such a read gets a thread of its own and a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Threads that may hang at the same time. Beyond them nothing is waited for at all.
const STUCK: usize = 4;

/// Waits for reads, up to a point.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    under_way: Arc<AtomicUsize>,
}

impl Patience {
    /// What `read` returns, if it does so within `limit`. A read that does not goes on in its own
    /// thread, which ends with it.
    pub fn within<T: Send + 'static>(
        &self,
        limit: Duration,
        read: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Option<T> {
        if self.stuck() >= STUCK {
            return None;
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::sync_channel(1);
        let under_way = Arc::clone(&self.under_way);
        let spawned = std::thread::Builder::new().name("proc-read".to_owned()).spawn(move || {
            let value = read();
            under_way.fetch_sub(1, Ordering::Relaxed);
            // Nobody may wait any more.
            drop(sender.send(value));
        });
        if spawned.is_err() {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        receiver.recv_timeout(limit).ok().flatten()
    }

    /// Reads that hang.
    pub fn stuck(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_hangs_costs_its_deadline_and_a_few_of_them_the_rest() {
        let patience = Patience::default();
        assert_eq!(patience.within(Duration::from_secs(10), || Some(7)), Some(7));
        let (release, hang) = mpsc::channel::<()>();
        let hang = Arc::new(std::sync::Mutex::new(hang));
        for stuck in 1..=STUCK {
            let hang = Arc::clone(&hang);
            let read = move || hang.lock().ok()?.recv().ok();
            assert_eq!(patience.within(Duration::from_millis(5), read), None);
            assert_eq!(patience.stuck(), stuck);
        }
        assert_eq!(patience.within(Duration::from_secs(10), || Some(7)), None, "too many hang already");
        drop(release);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while patience.stuck() > 0 && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(patience.within(Duration::from_secs(10), || Some(7)), Some(7));
    }
}
