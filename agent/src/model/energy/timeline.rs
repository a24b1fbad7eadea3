//! What one request's share of its workload's energy was.

use std::collections::VecDeque;

/// A stretch of time of one workload. Instants are nanoseconds of one monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Its begin.
    pub from: u64,
    /// Its end.
    pub to: u64,
    /// Millijoules that the workload was given in it.
    pub millijoules: u64,
    /// Tokens that the workload put out in it.
    pub tokens: u64,
    /// Time that its requests were under way in it, added up over them, in nanoseconds.
    pub busy: u64,
}

/// An estimate of what a request used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Estimate {
    /// Millijoules.
    pub millijoules: u64,
    /// How it came about.
    pub method: RequestMethod,
    /// The end of the request is not metered yet: the last stretch was taken to go on.
    pub extrapolated: bool,
}

/// How a request's share came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestMethod {
    /// By its tokens in flight over all of the workload's.
    TokensInFlight,
    /// By its time under way over that of all requests, where no tokens were counted.
    TimeInFlight,
}

impl RequestMethod {
    /// Its name in attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::TokensInFlight => "tokens_in_flight",
            Self::TimeInFlight => "time_in_flight",
        }
    }
}

/// The latest stretches of a workload, in order, without overlap.
#[derive(Clone, Debug)]
pub struct Timeline {
    stretches: VecDeque<Stretch>,
    /// What follows them, and is not over.
    open: Option<Stretch>,
    limit: usize,
}

impl Timeline {
    /// Keeps `limit` stretches.
    pub fn new(limit: usize) -> Self {
        Self { stretches: VecDeque::new(), open: None, limit: limit.max(1) }
    }

    /// Appends a stretch; one that is empty or does not follow the others is ignored.
    pub fn push(&mut self, stretch: Stretch) {
        self.open = None;
        let follows = self.stretches.back().is_none_or(|last| last.to <= stretch.from);
        if stretch.to <= stretch.from || !follows {
            return;
        }
        if self.stretches.len() == self.limit {
            self.stretches.pop_front();
        }
        self.stretches.push_back(stretch);
    }

    /// What is known of the stretch that is not over, until the next one is appended.
    pub fn set_open(&mut self, stretch: Stretch) {
        let follows = self.stretches.back().is_none_or(|last| last.to <= stretch.from);
        self.open = Some(stretch).filter(|stretch| follows && stretch.from < stretch.to);
    }

    /// Millijoules in so many nanoseconds at the rate of the last stretch.
    pub fn at_last_rate(&self, nanos: u64) -> u64 {
        let rate = |last: &Stretch| u128::from(last.millijoules) * u128::from(nanos) / u128::from(last.to - last.from);
        self.stretches.back().map_or(0, |last| clamped(rate(last)))
    }

    /// The share of a request that put out `tokens` from `first` (its first token, or its begin where that is not known) to
    /// `ended`: of each stretch that it was in, its tokens in it over all tokens in it. Tokens are taken to have come
    /// evenly. `None` where no energy is known of that time.
    pub fn request(&self, first: u64, ended: u64, tokens: u64) -> Option<Estimate> {
        let ended = ended.max(first + 1);
        let metered = self.stretches.back().map(|last| last.to);
        let to_come = self.open.as_ref().or(self.stretches.back()).and_then(|last| last.go_on(ended));
        let (mut sum, mut known, mut by_time) = (0u64, false, false);
        // The latest first: most requests are shorter than what is kept.
        let during = self.stretches.iter().rev().take_while(|stretch| stretch.to > first);
        for stretch in during.chain(&self.open).chain(&to_come) {
            if let Some((millijoules, method)) = stretch.share(first, ended, tokens) {
                sum = sum.saturating_add(millijoules);
                known = true;
                by_time |= method == RequestMethod::TimeInFlight;
            }
        }
        let method = if by_time { RequestMethod::TimeInFlight } else { RequestMethod::TokensInFlight };
        known.then_some(Estimate {
            millijoules: sum,
            method,
            extrapolated: metered.is_none_or(|metered| metered < ended),
        })
    }
}

impl Stretch {
    /// The stretch that follows, up to an instant, if all goes on as it did.
    fn go_on(&self, until: u64) -> Option<Self> {
        let (length, longer) = (self.to - self.from, until.checked_sub(self.to).filter(|&longer| longer > 0)?);
        let scaled = |amount: u64| clamped(u128::from(amount) * u128::from(longer) / u128::from(length));
        Some(Self {
            from: self.to,
            to: until,
            millijoules: scaled(self.millijoules),
            tokens: scaled(self.tokens),
            busy: scaled(self.busy),
        })
    }

    /// A request's share. Of its tokens as many are in the stretch as of its time; it gets the whole stretch at most.
    fn share(&self, first: u64, ended: u64, tokens: u64) -> Option<(u64, RequestMethod)> {
        let within = self.to.min(ended).checked_sub(self.from.max(first)).filter(|&within| within > 0)?;
        let (own, all, method) = if self.tokens > 0 && tokens > 0 {
            // Tokens in billionths of a nanosecond's worth would not fit: compare tokens × time with tokens × time.
            let own = u128::from(tokens) * u128::from(within);
            (own, u128::from(self.tokens) * u128::from(ended - first), RequestMethod::TokensInFlight)
        } else {
            (u128::from(within), u128::from(self.busy.max(within)), RequestMethod::TimeInFlight)
        };
        let share = if own >= all { self.millijoules } else { portion(self.millijoules, own, all) };
        Some((share, method))
    }
}

/// `amount × own / all`, rounded down, for `own` below `all`.
fn portion(amount: u64, own: u128, all: u128) -> u64 {
    let cut = u128::BITS.saturating_sub(all.leading_zeros()).saturating_sub(u64::BITS);
    clamped(u128::from(amount) * (own >> cut) / (all >> cut))
}

fn clamped(number: u128) -> u64 {
    number.min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn stretch(from: u64, to: u64, millijoules: u64, tokens: u64) -> Stretch {
        Stretch { from: from * SECOND, to: to * SECOND, millijoules, tokens, busy: 0 }
    }

    fn timeline(stretches: &[Stretch]) -> Timeline {
        let mut timeline = Timeline::new(100);
        stretches.iter().for_each(|&stretch| timeline.push(stretch));
        timeline
    }

    #[test]
    fn a_request_alone_has_it_all() {
        let timeline = timeline(&[stretch(0, 1, 300_000, 100), stretch(1, 2, 300_000, 100)]);
        let estimate = timeline.request(0, 2 * SECOND, 200).unwrap();
        assert_eq!((estimate.millijoules, estimate.extrapolated), (600_000, false));
    }

    #[test]
    fn tokens_in_flight_decide() {
        let timeline = timeline(&[stretch(0, 1, 300_000, 100), stretch(1, 2, 300_000, 50)]);
        // 25 of 100 tokens in the first stretch, 25 of 50 in the second.
        assert_eq!(timeline.request(0, 2 * SECOND, 50).unwrap().millijoules, 75_000 + 150_000);
    }

    #[test]
    fn what_is_not_metered_yet_goes_on_as_before() {
        let timeline = timeline(&[stretch(0, 2, 600_000, 200)]);
        let estimate = timeline.request(SECOND, 3 * SECOND, 100).unwrap();
        assert!(estimate.extrapolated);
        assert_eq!(estimate.millijoules, 150_000 + 150_000);
    }

    #[test]
    fn a_burst_after_idle_time_shares_what_is_known_of_it_so_far() {
        let mut timeline = timeline(&[stretch(0, 1, 70_000, 0)]);
        timeline.set_open(stretch(1, 2, 300_000, 100));
        // One of four: else the idle second would be taken to go on, and each would be given all of it.
        let estimate = timeline.request(SECOND, 2 * SECOND, 25).unwrap();
        assert_eq!((estimate.millijoules, estimate.extrapolated), (75_000, true));
        timeline.push(stretch(1, 2, 320_000, 100));
        let estimate = timeline.request(SECOND, 2 * SECOND, 25).unwrap();
        assert_eq!((estimate.millijoules, estimate.extrapolated), (80_000, false));
    }

    #[test]
    fn without_tokens_time_decides() {
        let one = Stretch { busy: 4 * SECOND, ..stretch(0, 2, 600_000, 0) };
        let estimate = timeline(&[one]).request(0, 2 * SECOND, 0).unwrap();
        assert_eq!((estimate.millijoules, estimate.method), (300_000, RequestMethod::TimeInFlight));
    }

    #[test]
    fn nothing_is_known_of_other_times() {
        assert_eq!(timeline(&[]).request(0, SECOND, 1), None);
        assert_eq!(timeline(&[stretch(5, 6, 1, 1)]).request(0, SECOND, 1), None);
    }

    #[test]
    fn old_stretches_go() {
        let mut timeline = Timeline::new(2);
        (0..5).for_each(|second| timeline.push(stretch(second, second + 1, 1_000, 1)));
        assert_eq!(timeline.request(0, SECOND, 1), None);
        assert!(timeline.request(3 * SECOND, 4 * SECOND, 1).is_some());
    }

    proptest! {
        /// Requests that each hold one rate of tokens over the whole time share the energy: nothing twice, and nothing
        /// lost beyond a millijoule for each request and stretch.
        #[test]
        fn steady_requests_share_the_energy(
            rates in vec(1u64..500, 1..12),
            energies in vec(0u64..1_000_000, 1..20),
        ) {
            let rate: u64 = rates.iter().sum();
            let seconds = energies.len() as u64;
            let stretches: Vec<_> =
                energies.iter().zip(0..).map(|(&energy, from)| stretch(from, from + 1, energy, rate)).collect();
            let timeline = timeline(&stretches);
            let given: u64 = rates
                .iter()
                .map(|rate| timeline.request(0, seconds * SECOND, rate * seconds).unwrap().millijoules)
                .sum();
            let whole: u64 = energies.iter().sum();
            prop_assert!(given <= whole && whole - given <= rates.len() as u64 * seconds, "{given} of {whole}");
        }

        #[test]
        fn nobody_gets_more_than_there_is(
            energy in any::<u64>(), all in any::<u64>(), busy in any::<u64>(),
            tokens in any::<u64>(), first in 0u64..3 * SECOND, length in 0u64..3 * SECOND,
        ) {
            let one = Stretch { from: 0, to: 6 * SECOND, millijoules: energy, tokens: all, busy };
            if let Some(estimate) = timeline(&[one]).request(first, first + length, tokens) {
                prop_assert!(estimate.millijoules <= energy);
            }
        }
    }
}
