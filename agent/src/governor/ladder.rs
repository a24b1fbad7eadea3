//! When to shed one thing more, and when to take one back. Pure: times and loads in, steps out.

use std::collections::VecDeque;
use std::time::Duration;

/// Below this part of the budget there is room to take something back.
pub const CALM: f64 = 0.7;
/// The time before something returns doubles with each relapse, up to this many times the shortest one.
const MOST_PATIENCE: u32 = 64;
/// What is shed again within this many shortest times after it returned is a relapse.
const RELAPSE: u32 = 20;
/// While steps follow each other, this part of a window says whether one more is due: waiting for a whole one each time, an
/// order of six would take six windows to answer a load that is not far beyond the budget.
const HURRY: u32 = 4;
/// Loads that are remembered for a mean; shorter ones are put together.
const REMEMBERED: u32 = 128;
/// No load counts for more: one absurd reading must not be remembered for long.
const HEAVIEST: f64 = 100.0;

/// How quick, and how patient.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Time for which the budget is to hold in the mean.
    pub window: Duration,
    /// Shortest calm before something returns.
    pub hold: Duration,
}

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// One rung more is shed.
    Shed,
    /// The last one returns.
    Return,
}

/// A number of rungs that are shed one after the other, and return in the opposite order.
#[derive(Clone, Debug)]
pub struct Ladder {
    patience: Patience,
    rungs: usize,
    shed: usize,
    used: Used,
    mean: f64,
    seen: Duration,
    changed: Duration,
    /// Something was just shed, and whether it was enough is not known yet.
    hurried: bool,
    calm_since: Option<Duration>,
    returned: Option<Duration>,
    hold: Duration,
}

impl Ladder {
    /// Nothing is shed yet. Times are counted from the beginning.
    pub fn new(rungs: usize, patience: Patience) -> Self {
        let window = patience.window.max(Duration::from_millis(1));
        // Within the first window after something was shed everything looks calm.
        let patience = Patience { window, hold: patience.hold.max(window) };
        Self {
            patience,
            rungs,
            shed: 0,
            used: Used::default(),
            mean: 0.0,
            seen: Duration::ZERO,
            changed: Duration::ZERO,
            hurried: false,
            calm_since: None,
            returned: None,
            hold: patience.hold,
        }
    }

    /// How many rungs are shed.
    pub fn shed(&self) -> usize {
        self.shed
    }

    /// True when nothing is left to shed although the load asks for it.
    pub fn is_exhausted(&self) -> bool {
        self.shed == self.rungs && self.mean > 1.0
    }

    /// What was used within the last window, 1 being the budget of a whole window. It begins at nothing when
    /// something is shed: what was used before says nothing of what is left.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// How long it must be calm before the next thing returns.
    pub fn hold(&self) -> Duration {
        self.hold
    }

    /// Sheds everything at once, without a load that asks for it.
    pub fn shed_all(&mut self, now: Duration) {
        (self.shed, self.changed, self.calm_since) = (self.rungs, now, None);
    }

    /// Takes the load since the last call, 1 being the budget, and makes a step where one is due. With the step comes
    /// the mean that led to it.
    pub fn step(&mut self, now: Duration, load: f64) -> Option<(Step, f64)> {
        self.observe(now, load);
        let mean = self.hurried_mean(now).unwrap_or(self.mean);
        if mean > 1.0 && self.shed < self.rungs {
            let relapsed = self.returned.is_some_and(|at| now.saturating_sub(at) < self.relapse());
            let most = self.patience.hold * MOST_PATIENCE;
            self.hold = if relapsed { (self.hold * 2).min(most) } else { self.patience.hold };
            self.shed += 1;
            (self.changed, self.calm_since, self.used, self.mean) = (now, None, Used::default(), 0.0);
            self.hurried = true;
            return Some((Step::Shed, mean));
        }
        let since = self.calm_since?.max(self.changed);
        if self.shed > 0 && now.saturating_sub(since) >= self.hold {
            self.shed -= 1;
            (self.changed, self.returned) = (now, Some(now));
            return Some((Step::Return, mean));
        }
        None
    }

    /// The same, but no step is made.
    pub fn observe(&mut self, now: Duration, load: f64) {
        let load = if load.is_nan() { 0.0 } else { load.clamp(0.0, HEAVIEST) };
        let passed = now.saturating_sub(self.seen);
        self.seen = now.max(self.seen);
        self.used.add(passed, load, self.patience.window);
        self.mean = self.used.in_all() / self.patience.window.as_secs_f64();
        self.calm_since = (self.mean < CALM).then(|| self.calm_since.unwrap_or(now));
    }

    /// The mean since something was shed, once after a part of a window.
    fn hurried_mean(&mut self, now: Duration) -> Option<f64> {
        let since = now.saturating_sub(self.changed);
        if !self.hurried || since < self.patience.window / HURRY {
            return None;
        }
        self.hurried = false;
        let mean = self.used.in_all() / since.min(self.patience.window).as_secs_f64();
        // What exceeds the budget of a window already is more than a mean of it.
        Some(mean.max(self.mean))
    }

    fn relapse(&self) -> Duration {
        self.hold.max(self.patience.hold * RELAPSE)
    }
}

/// Loads and for how long each held, oldest first; no more than a window of them.
#[derive(Clone, Default, Debug)]
struct Used(VecDeque<(Duration, f64)>);

impl Used {
    fn add(&mut self, passed: Duration, load: f64, window: Duration) {
        match self.0.back_mut() {
            Some((span, mean)) if *span + passed < window / REMEMBERED => {
                let used = mean.mul_add(span.as_secs_f64(), load * passed.as_secs_f64());
                *span += passed;
                *mean = if span.is_zero() { *mean } else { used / span.as_secs_f64() };
            }
            _ => self.0.push_back((passed, load)),
        }
        let mut beyond = self.0.iter().map(|(span, _)| *span).sum::<Duration>().saturating_sub(window);
        while let Some((span, _)) = self.0.front_mut().filter(|_| !beyond.is_zero()) {
            let cut = beyond.min(*span);
            *span -= cut;
            beyond -= cut;
            if span.is_zero() {
                self.0.pop_front();
            }
        }
    }

    /// In seconds of the budget.
    fn in_all(&self) -> f64 {
        self.0.iter().map(|(span, load)| load * span.as_secs_f64()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Patience = Patience { window: Duration::from_secs(10), hold: Duration::from_secs(30) };
    const SECOND: Duration = Duration::from_secs(1);

    /// A ladder under a load for some seconds; the seconds of its steps.
    fn under(ladder: &mut Ladder, now: &mut Duration, seconds: u32, mut load: impl FnMut(&Ladder) -> f64) -> Vec<Step> {
        let steps = (0..seconds).filter_map(|_| {
            *now += SECOND;
            ladder.step(*now, load(ladder)).map(|(step, _)| step)
        });
        steps.collect()
    }

    #[test]
    fn a_load_within_the_budget_sheds_nothing() {
        let mut ladder = Ladder::new(5, PATIENCE);
        assert!(under(&mut ladder, &mut Duration::default(), 3600, |_| 1.0).is_empty());
        assert!((ladder.mean() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_burst_that_a_window_has_room_for_sheds_nothing() {
        // Each tenth second takes seven times the budget of a second, as a flush may.
        let mut second = 0;
        let burst = |_: &Ladder| {
            second += 1;
            if second % 10 == 0 { 9.0 } else { 0.1 }
        };
        assert!(under(&mut Ladder::new(5, PATIENCE), &mut Duration::default(), 3600, burst).is_empty());
    }

    #[test]
    fn ten_times_the_budget_is_answered_within_two_windows() {
        // Each rung saves half of what is left.
        let load = |ladder: &Ladder| 10.0 / f64::from(1 << ladder.shed());
        let (mut ladder, mut now) = (Ladder::new(6, PATIENCE), Duration::ZERO);
        assert_eq!(under(&mut ladder, &mut now, 20, load), [Step::Shed; 4]);
        // 0.625 of the budget looks like room for more, and is not: each try comes later than the one before.
        let tries = under(&mut ladder, &mut now, 3600, load);
        assert_eq!((tries.len(), tries[0]), (12, Step::Return));
    }

    #[test]
    fn a_load_just_beyond_the_budget_is_answered_within_two_windows_too() {
        // Ten times the load before, of which each rung but the last saves next to nothing.
        let load = |ladder: &Ladder| if ladder.shed() < 5 { 1.3 } else { 0.9 };
        let (mut ladder, mut now) = (Ladder::new(6, PATIENCE), Duration::ZERO);
        under(&mut ladder, &mut now, 600, |_| 0.13);
        assert_eq!(under(&mut ladder, &mut now, 20, load), [Step::Shed; 5]);
        assert!(under(&mut ladder, &mut now, 3600, load).is_empty());
    }

    #[test]
    fn a_relapse_doubles_the_patience_and_a_long_peace_restores_it() {
        let (mut ladder, mut now) = (Ladder::new(1, PATIENCE), Duration::ZERO);
        // What is left looks like room, and is not.
        let load = |ladder: &Ladder| if ladder.shed() == 0 { 1.5 } else { 0.1 };
        let mut holds = Vec::new();
        for _ in 0..9 {
            while under(&mut ladder, &mut now, 1, load) != [Step::Shed] {}
            holds.push(ladder.hold().as_secs());
        }
        assert_eq!(holds, [30, 60, 120, 240, 480, 960, 1920, 1920, 1920]);
        assert_eq!(under(&mut ladder, &mut now, 4000, |_| 0.0), [Step::Return]);
        while under(&mut ladder, &mut now, 1, load) != [Step::Shed] {}
        assert_eq!(ladder.hold(), PATIENCE.hold);
    }

    #[test]
    fn a_late_look_counts_for_the_time_that_it_covers() {
        let mut ladder = Ladder::new(2, PATIENCE);
        assert_eq!(ladder.step(SECOND * 300, 1.5), Some((Step::Shed, 1.5)));
        let mut quiet = Ladder::new(2, PATIENCE);
        quiet.step(SECOND * 300, 0.2);
        assert_eq!(quiet.step(SECOND * 301, 5.0), None, "one second of it is no mean of it");
    }

    #[test]
    fn a_ladder_without_rungs_says_when_it_would_shed() {
        let mut ladder = Ladder::new(0, PATIENCE);
        assert!(under(&mut ladder, &mut Duration::default(), 100, |_| 2.0).is_empty());
        assert!(ladder.is_exhausted());
    }

    /// Loads that come and go as badly as they can, besides any others.
    fn loads() -> impl Strategy<Value = Vec<(f64, u32)>> {
        let load = prop_oneof![Just(0.0), Just(0.69), Just(0.71), Just(1.01), Just(1e9), Just(f64::NAN), any::<f64>()];
        proptest::collection::vec((load, 1u32..900), 1..20)
    }

    proptest! {
        // An hour has many seconds.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn steps_are_few_whatever_the_load(loads in loads(), rungs in 0usize..8) {
            let (mut ladder, mut now, mut steps) = (Ladder::new(rungs, PATIENCE), Duration::ZERO, Vec::new());
            for (load, seconds) in loads {
                for _ in 0..seconds {
                    now += SECOND;
                    if ladder.step(now, load).is_some() {
                        steps.push(now);
                    }
                    prop_assert!(ladder.shed() <= rungs);
                }
            }
            check_few(&steps, rungs)?;
        }

        /// Somebody who sees the state makes as many steps as can be.
        #[test]
        fn steps_are_few_even_against_an_adversary(rungs in 1usize..8, peace in 0u32..2000) {
            let (mut ladder, mut now, mut steps, mut top) = (Ladder::new(rungs, PATIENCE), Duration::ZERO, Vec::new(), false);
            let mut quiet = 0;
            for _ in 0..8_000 {
                now += SECOND;
                quiet = if ladder.shed() == 0 { quiet + 1 } else { 0 };
                top = if ladder.shed() == rungs { true } else { top && quiet < peace };
                let load = if top { 0.0 } else { 1e3 };
                if ladder.step(now, load).is_some() {
                    steps.push(now);
                }
            }
            check_few(&steps, rungs)?;
        }

        #[test]
        fn everything_returns_when_the_load_falls(loads in loads(), rungs in 0usize..8) {
            let (mut ladder, mut now) = (Ladder::new(rungs, PATIENCE), Duration::ZERO);
            for (load, seconds) in loads {
                under(&mut ladder, &mut now, seconds, |_| load);
            }
            let longest = ladder.hold().as_secs() as u32 * rungs as u32;
            let steps = under(&mut ladder, &mut now, longest + 60, |_| 0.5);
            prop_assert!(steps.iter().all(|step| *step == Step::Return));
            prop_assert_eq!(ladder.shed(), 0);
        }
    }

    /// Each return takes at least the shortest hold, and for it one shedding can come; the first ones are free.
    fn check_few(steps: &[Duration], rungs: usize) -> Result<(), TestCaseError> {
        const HOUR: Duration = Duration::from_secs(3600);
        for (first, from) in steps.iter().enumerate() {
            let within = steps[first..].iter().take_while(|at| **at - *from < HOUR).count();
            // Climbing down takes `hold` for each rung; up again without a relapse takes twenty more.
            let cycles = 3600 / (30 * (rungs as u32 + RELAPSE)) + 1;
            let most = 2 * rungs * cycles as usize + rungs + 2 * 8;
            prop_assert!(within <= most, "{within} steps in an hour, {most} at most");
        }
        Ok(())
    }
}
