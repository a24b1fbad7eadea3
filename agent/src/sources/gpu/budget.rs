//! How much of the time may be spent in the driver, and on what.

use super::cadence::nanos;
use super::settings;
use crate::model::gpu::{Call, Cost};

const MILLION: u64 = 1_000_000;
/// What a turn may cost without much thought, in nanoseconds.
const CHEAP: u64 = 250_000;
/// A turn that takes longer hung, in nanoseconds.
const HUNG: u64 = 50_000_000;

/// What is read together, and has a share of the budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    /// Energy, power, utilisation, memory, throttling.
    Quick,
    /// Use of the multiprocessors by process.
    Uses,
    /// Everything else of a device.
    Health,
    /// Lists of processes.
    Processes,
    /// Devices that come and go, and what the driver tells of its own accord.
    House,
}

impl Group {
    /// The group of a call.
    fn of(call: Call) -> Self {
        match call {
            Call::EnergyFields
            | Call::Energy
            | Call::Power
            | Call::Utilization
            | Call::Memory
            | Call::ThrottleReasons => Self::Quick,
            Call::ProcessUtilization => Self::Uses,
            Call::Processes => Self::Processes,
            Call::Count | Call::Events => Self::House,
            Call::Init
            | Call::Shutdown
            | Call::Handle
            | Call::Facts
            | Call::HealthFields
            | Call::NvlinkFields
            | Call::PowerLimit
            | Call::Encoder
            | Call::Decoder
            | Call::Clocks
            | Call::PerformanceState
            | Call::Temperature
            | Call::Fans
            | Call::Pcie
            | Call::Ecc
            | Call::Mig
            | Call::Gpm => Self::Health,
        }
    }

    /// Nanoseconds that its calls took, of those that were made.
    pub(super) fn cost(self, costs: &[Cost]) -> u64 {
        costs.iter().filter(|cost| Self::of(cost.call) == self).map(|cost| cost.nanos).sum()
    }

    /// Its part of the budget, in percent.
    fn percent(self) -> u64 {
        match self {
            Self::Quick => 35,
            Self::Uses | Self::Health | Self::Processes => 20,
            Self::House => 5,
        }
    }
}

/// A group's share of the time.
pub(super) struct Share {
    /// In hundred-millionths.
    part: u64,
    /// Devices that have it together.
    devices: u64,
    longest: u64,
}

impl Share {
    /// The share of a group that is read of so many devices.
    pub(super) fn of(group: Group, settings: &settings::Cadence, devices: usize) -> Self {
        Self {
            part: (u64::from(settings.budget_ppm) * group.percent()).max(1),
            devices: devices as u64,
            longest: nanos(settings.longest),
        }
    }

    /// The shortest interval that keeps it.
    fn interval(&self, cost: u64) -> u64 {
        let spread = u128::from(cost) * u128::from(self.devices) * u128::from(100 * MILLION) / u128::from(self.part);
        spread.min(u128::from(self.longest)) as u64
    }
}

/// A group's turn: when it is due, how often, and what it costs. Instants and lengths are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    due: u64,
    interval: u64,
    cost: u64,
    /// Until when all turns so far take up the share, and for how long the last one does.
    paid_until: u64,
    paid_for: u64,
}

impl Turn {
    /// Due at once.
    pub(super) fn new(now: u64, interval: u64) -> Self {
        Self { due: now, interval, cost: 0, paid_until: 0, paid_for: 0 }
    }

    pub(super) fn due(&self) -> u64 {
        self.due
    }

    pub(super) fn interval(&self) -> u64 {
        self.interval
    }

    /// How often from the next turn on, as far as the share allows.
    pub(super) fn every(&mut self, interval: u64) {
        self.interval = interval;
    }

    /// It was done, at a cost that its share has to bear.
    pub(super) fn done(&mut self, now: u64, cost: u64, share: &Share) {
        self.learn(cost);
        self.paid_for = share.interval(self.cost);
        self.paid_until = self.paid_until.max(now) + self.paid_for;
        self.restart(now);
    }

    /// It was done at the expense of another one. The pace does not drift, and turns that were missed are not made up.
    pub(super) fn restart(&mut self, now: u64) {
        let paced = Some(self.due + self.interval).filter(|due| *due > now && self.due <= now);
        self.due = paced.unwrap_or(now + self.interval).max(self.paid_until);
    }

    /// Due at an instant already, or as soon as the share allows.
    pub(super) fn hasten(&mut self, at: u64) {
        self.due = self.due.min(at.max(self.paid_until));
    }

    /// The same, one turn ahead of what the share allows: those that follow wait so much longer.
    pub(super) fn hasten_ahead(&mut self, at: u64) {
        self.due = self.due.min(at.max(self.paid_until.saturating_sub(self.paid_for)));
    }

    /// One turn that hung says little of what the next ones cost; those that stay slow are believed within a few.
    fn learn(&mut self, cost: u64) {
        let believed = if cost <= HUNG { cost } else { cost.min(4 * self.cost.max(CHEAP)) };
        self.cost = if self.cost == 0 { believed } else { (3 * self.cost + believed) / 4 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const MILLI: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MILLI;

    #[test]
    fn the_shares_are_the_budget() {
        let groups = [Group::Quick, Group::Uses, Group::Health, Group::Processes, Group::House];
        assert_eq!(groups.map(Group::percent).iter().sum::<u64>(), 100);
    }

    #[test]
    fn a_turn_ahead_is_made_up_for() {
        let settings = settings::Cadence { budget_ppm: 200_000, ..settings::Cadence::default() };
        let share = Share::of(Group::House, &settings, 1);
        let mut turn = Turn::new(0, MILLI);
        // One hundredth of the time: 1 ms in 100.
        turn.done(0, MILLI, &share);
        assert_eq!(turn.due(), 100 * MILLI);
        turn.hasten(30 * MILLI);
        assert_eq!(turn.due(), 100 * MILLI, "not before the share allows it");
        turn.hasten_ahead(30 * MILLI);
        assert_eq!(turn.due(), 30 * MILLI, "unless somebody waits for it");
        turn.done(30 * MILLI, MILLI, &share);
        assert_eq!(turn.due(), 200 * MILLI);
        turn.hasten_ahead(40 * MILLI);
        assert_eq!(turn.due(), 100 * MILLI, "one turn ahead, and no more");
    }

    proptest! {
        /// Whatever a turn costs, and however often somebody asks for it, it takes no more of the time than its share.
        #[test]
        fn a_share_is_held(
            costs in prop::collection::vec(1_000u64..20 * MILLI, 1..8), asked_every in 10 * MILLI..2 * SECOND,
            ahead: bool, budget_ppm in 100u32..200_000,
        ) {
            let longest = Duration::from_secs(100_000);
            let settings = settings::Cadence { budget_ppm, longest, ..settings::Cadence::default() };
            let share = Share::of(Group::House, &settings, 1);
            let dearest = costs.iter().copied().max().unwrap_or_default();
            let (mut turn, mut now, mut asked) = (Turn::new(0, 100 * MILLI), 0, asked_every);
            let (mut spent, mut turns) = (0, 0);
            let end = 200 * (dearest * 2_000 * MILLION / u64::from(budget_ppm)).max(SECOND);
            let mut costs = costs.iter().cycle();
            while now < end && turns < 20_000 {
                if turn.due() <= now {
                    let cost = costs.next().copied().unwrap_or_default();
                    (spent, turns) = (spent + cost, turns + 1);
                    turn.done(now, cost, &share);
                }
                if asked <= now {
                    if ahead { turn.hasten_ahead(now) } else { turn.hasten(now) }
                    asked += asked_every;
                }
                now = turn.due().min(asked).max(now);
            }
            // The first turns do not know the costs yet, and of the last one the time is still to come.
            let allowed = u128::from(now) * u128::from(budget_ppm) / 20 / u128::from(MILLION);
            prop_assert!(u128::from(spent) <= allowed + u128::from(10 * dearest), "{spent} of {allowed} in {turns} turns");
        }
    }
}
