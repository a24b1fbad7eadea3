//! What the programs cost, from short windows: to take their time all the time would cost more than most of them.

use std::io;
use std::time::Duration;

/// Shortest window.
const WINDOW: Duration = Duration::from_millis(20);
/// Mean pause between two: a window costs the machine 0.4 ms to begin and to end, and each run within it 100 ns.
const PAUSE: Duration = Duration::from_secs(5);
/// The first one, which doubles until it is that long: an estimate from one window alone is luck.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The part of an estimate that each new window makes up.
const NEWEST: f64 = 0.5;

/// A window that tells of this many times what is known is looked after soon: a load that rose shows within seconds.
const ROSE: f64 = 2.0;

/// Where times come from.
pub trait Programs {
    /// Times are taken while it lives.
    type Taking;
    /// Begins to take times.
    fn take_times(&self) -> io::Result<Self::Taking>;
    /// How long the programs have run while times were taken.
    fn run_time(&self) -> Duration;
}

/// Windows that open and close as time passes.
#[derive(Debug)]
pub struct Windows<T> {
    next: Duration,
    pause: Duration,
    open: Option<Open<T>>,
    cpus: Option<f64>,
    refused: Option<io::Error>,
}

#[derive(Debug)]
struct Open<T> {
    since: Duration,
    ran: Duration,
    _taking: T,
}

impl<T> Default for Windows<T> {
    fn default() -> Self {
        Self { next: Duration::ZERO, pause: FIRST_PAUSE, open: None, cpus: None, refused: None }
    }
}

impl<T> Windows<T> {
    /// Opens or closes a window where it is time for it by `clock`, and says how long it can wait for the next call: a
    /// window that opened whenever the agent has just done its work would never meet what that work makes programs run.
    pub fn turn(&mut self, clock: impl Fn() -> Duration, programs: &impl Programs<Taking = T>) -> Duration {
        let now = clock();
        if let Some(open) = &self.open {
            let passed = now.saturating_sub(open.since);
            if passed < WINDOW {
                return WINDOW - passed;
            }
            let ran = programs.run_time().saturating_sub(open.ran);
            let passed = clock().saturating_sub(open.since);
            let newest = ran.as_secs_f64() / passed.as_secs_f64();
            if self.cpus.is_some_and(|known| newest > known * ROSE) {
                self.pause = FIRST_PAUSE;
            }
            self.cpus = Some(self.cpus.map_or(newest, |known| known + (newest - known) * NEWEST));
            self.open = None;
            // A load with a period of its own must not meet the windows again and again, or miss them.
            self.next = now + self.pause.mul_f64(0.5 + fastrand::f64());
            self.pause = (self.pause * 2).min(PAUSE);
        } else if now >= self.next && self.refused.is_none() {
            match programs.take_times() {
                // To begin takes some time itself, in which no times are taken yet.
                Ok(taking) => self.open = Some(Open { since: clock(), ran: programs.run_time(), _taking: taking }),
                Err(error) => self.refused = Some(error),
            }
        }
        match (&self.open, &self.refused) {
            (Some(_), _) => WINDOW,
            (None, Some(_)) => Duration::MAX,
            (None, None) => self.next.saturating_sub(now),
        }
    }

    /// Forgets what was measured, and lets the next window open at once: other programs run from `now` on.
    pub fn forget(&mut self, now: Duration) {
        (self.open, self.cpus, self.next, self.pause) = (None, None, now, FIRST_PAUSE);
    }

    /// CPUs that the programs use, estimated; `None` before the first window.
    pub fn cpus(&self) -> Option<f64> {
        self.cpus
    }

    /// Why there are no windows.
    pub fn refused(&self) -> Option<&io::Error> {
        self.refused.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    /// Programs that use a CPU for some part of the time, and are timed while somebody asks for it.
    struct Made {
        part: Cell<f64>,
        now: Cell<Duration>,
        timed: RefCell<Duration>,
        taking: Rc<Cell<u32>>,
    }

    struct Taking(Rc<Cell<u32>>);

    impl Drop for Taking {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    impl Programs for Made {
        type Taking = Taking;

        fn take_times(&self) -> io::Result<Taking> {
            self.taking.set(self.taking.get() + 1);
            Ok(Taking(Rc::clone(&self.taking)))
        }

        fn run_time(&self) -> Duration {
            *self.timed.borrow()
        }
    }

    impl Made {
        fn pass(&self, millis: u64) {
            let passed = Duration::from_millis(millis);
            self.now.set(self.now.get() + passed);
            if self.taking.get() > 0 {
                *self.timed.borrow_mut() += passed.mul_f64(self.part.get());
            }
        }
    }

    #[test]
    fn windows_are_few_and_tell_what_the_programs_use() {
        let (now, taking) = (Cell::default(), Rc::default());
        let made = Made { part: Cell::new(0.25), now, timed: RefCell::default(), taking };
        let mut windows = Windows::default();
        let (mut opened, mut in_windows) = (0, 0);
        for _ in 0..60_000 {
            let was = made.taking.get();
            let wait = windows.turn(|| made.now.get(), &made);
            let open = made.taking.get() == 1;
            assert!(!open || wait <= WINDOW, "{wait:?}");
            opened += u32::from(open && was == 0);
            in_windows += u32::from(open);
            made.pass(10);
        }
        assert!((windows.cpus().unwrap() - 0.25).abs() < 1e-6);
        // Ten minutes; every fifth second in the mean.
        assert!((100..=150).contains(&opened), "{opened}");
        assert!(in_windows <= opened * 3, "{in_windows}");
        made.part.set(0.5);
        for _ in 0..1500 {
            windows.turn(|| made.now.get(), &made);
            made.pass(10);
        }
        assert!(windows.cpus().unwrap() > 0.37, "two windows later most of a step shows");
    }

    #[test]
    fn a_load_that_rose_is_known_within_seconds_of_the_first_window_that_meets_it() {
        let (now, taking) = (Cell::default(), Rc::default());
        let made = Made { part: Cell::new(0.05), now, timed: RefCell::default(), taking };
        let mut windows = Windows::default();
        for _ in 0..6000 {
            windows.turn(|| made.now.get(), &made);
            made.pass(10);
        }
        made.part.set(0.5);
        while windows.cpus().unwrap() < 0.1 {
            windows.turn(|| made.now.get(), &made);
            made.pass(10);
        }
        // Pauses of 0.75 and 0.75 s at most: the second window still tells of more than was known twice over.
        for _ in 0..350 {
            windows.turn(|| made.now.get(), &made);
            made.pass(10);
        }
        assert!(windows.cpus().unwrap() > 0.37, "{:?}", windows.cpus());
    }

    #[test]
    fn a_change_is_measured_anew_and_at_once() {
        let (now, taking) = (Cell::default(), Rc::default());
        let made = Made { part: Cell::new(0.8), now, timed: RefCell::default(), taking };
        let mut windows = Windows::default();
        let turns = |windows: &mut Windows<Taking>, count: u32| {
            for _ in 0..count {
                windows.turn(|| made.now.get(), &made);
                made.pass(10);
            }
        };
        turns(&mut windows, 3000);
        // In the middle of a window, too.
        while windows.open.is_none() {
            turns(&mut windows, 1);
        }
        made.part.set(0.1);
        windows.forget(made.now.get());
        assert_eq!((windows.cpus(), made.taking.get()), (None, 0));
        turns(&mut windows, 4);
        assert!((windows.cpus().unwrap() - 0.1).abs() < 1e-6, "nothing is left of what was before");
    }

    #[test]
    fn what_is_refused_is_not_asked_for_again() {
        struct Refusing(Cell<u32>);
        impl Programs for Refusing {
            type Taking = ();
            fn take_times(&self) -> io::Result<()> {
                self.0.set(self.0.get() + 1);
                Err(io::ErrorKind::PermissionDenied.into())
            }
            fn run_time(&self) -> Duration {
                Duration::ZERO
            }
        }
        let (refusing, mut windows) = (Refusing(Cell::new(0)), Windows::default());
        for second in 0..100 {
            assert_eq!(windows.turn(|| Duration::from_secs(second), &refusing), Duration::MAX);
        }
        assert_eq!((refusing.0.get(), windows.cpus()), (1, None));
        assert_eq!(windows.refused().map(io::Error::kind), Some(io::ErrorKind::PermissionDenied));
    }
}
