//! How often a device is read: fast while something moves, slowly while nothing does, and never more than the budget allows.

use super::budget::{Group, Share, Turn};
use super::settings;
use crate::model::gpu::{Groups, Sample};

/// A change that is not noise: percent of time, milliwatts, bytes.
const MOVED_PCT: u32 = 5;
const MOVED_MW: u32 = 5_000;
const MOVED_BYTES: u64 = 64 << 20;
/// Processes that are remembered because no list has them.
const UNLISTED: usize = 64;

/// When what of a device is to be read. Instants and lengths are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug)]
pub(super) struct Cadence {
    settings: settings::Cadence,
    quick: Turn,
    uses: Turn,
    health: Turn,
    processes: Turn,
    last: Option<Seen>,
    /// Processes of the last list, and those that used the device without ever being on one.
    listed: Vec<u32>,
    unlisted: Vec<u32>,
}

/// What moves, as it was last seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    utilization: u32,
    power: u32,
    memory: u64,
}

impl Cadence {
    /// Everything is due at once.
    pub(super) fn new(settings: settings::Cadence, now: u64) -> Self {
        let turn = |interval: std::time::Duration| Turn::new(now, nanos(interval));
        Self {
            quick: turn(settings.fastest),
            uses: turn(settings.uses),
            health: turn(settings.health),
            processes: turn(settings.processes),
            last: None,
            listed: Vec::new(),
            unlisted: Vec::new(),
            settings,
        }
    }

    /// When the device is to be read again.
    pub(super) fn due(&self) -> u64 {
        self.quick.due().min(self.uses.due()).min(self.health.due()).min(self.processes.due())
    }

    /// What is quick is to be read at once, unless the budget was stretched for that already.
    pub(super) fn refresh(&mut self, now: u64) {
        self.quick.hasten_ahead(now);
    }

    /// What is to be read besides what is read every time.
    pub(super) fn groups(&self, now: u64) -> Groups {
        let is_due = |turn: &Turn| turn.due() <= now;
        Groups { uses: is_due(&self.uses), health: is_due(&self.health), processes: is_due(&self.processes) }
    }

    /// Takes what a turn brought, of `devices` that share the budget.
    pub(super) fn done(&mut self, now: u64, groups: Groups, sample: &Sample, devices: usize) {
        let settings = self.settings;
        let before = self.last;
        let seen = Seen {
            utilization: sample.reading.utilization_pct.unwrap_or(0),
            power: sample.reading.power_instant_mw.or(sample.reading.power_average_mw).unwrap_or(0),
            memory: sample.reading.memory.map_or(0, |memory| memory.used),
        };
        self.last = Some(seen);
        let busy = seen.utilization > 0 || sample.uses.as_ref().is_some_and(|uses| !uses.is_empty());
        let calm = nanos(if busy { settings.steady } else { settings.slowest });
        let moved = before.is_none_or(|before| before.moved(&seen));
        self.quick.every(if moved {
            nanos(settings.fastest)
        } else {
            self.quick.interval().saturating_mul(2).min(calm)
        });
        self.uses.every(nanos(if busy { settings.uses } else { settings.slowest.max(settings.uses) }));
        let share = |group| Share::of(group, &settings, devices);
        // What is quick is read along with everything else, whose share then bears it.
        let quick = Group::Quick.cost(&sample.costs);
        if groups == Groups::default() {
            self.quick.done(now, quick, &share(Group::Quick));
        } else {
            self.quick.restart(now);
        }
        let turns = [
            (groups.uses, &mut self.uses, Group::Uses),
            (groups.health, &mut self.health, Group::Health),
            (groups.processes, &mut self.processes, Group::Processes),
        ];
        for (_, turn, group) in turns.into_iter().filter(|(read, ..)| *read) {
            turn.done(now, quick + group.cost(&sample.costs), &share(group));
        }
        // Whatever allocates or frees so much began or ended, and so did whoever takes the place of another.
        let allocates = before.is_some_and(|before| before.memory.abs_diff(seen.memory) >= MOVED_BYTES);
        if (self.meets_somebody(sample) || allocates) && !groups.processes {
            self.processes.hasten(now + nanos(settings.uses));
        }
        // A device that begins to work is not left to the pace of an idle one.
        if moved && busy {
            self.uses.hasten(now + self.uses.interval());
        }
    }

    /// True where a process uses the device that was not on the last list: once for each that never is.
    fn meets_somebody(&mut self, sample: &Sample) -> bool {
        if let Some(processes) = &sample.processes {
            self.listed = processes.iter().map(|process| process.pid).collect();
        }
        let known = |pid: &u32| self.listed.contains(pid) || self.unlisted.contains(pid);
        let met: Vec<u32> = sample.uses.iter().flatten().map(|one| one.pid).filter(|pid| !known(pid)).collect();
        let room = UNLISTED.saturating_sub(self.unlisted.len());
        self.unlisted.extend(met.iter().take(room));
        !met.is_empty() && room > 0
    }
}

impl Seen {
    fn moved(&self, now: &Self) -> bool {
        self.utilization.abs_diff(now.utilization) >= MOVED_PCT
            || self.power.abs_diff(now.power) >= MOVED_MW.max(self.power / 20)
            || self.memory.abs_diff(now.memory) >= MOVED_BYTES
    }
}

pub(super) fn nanos(length: std::time::Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gpu::{Call, Cost, Memory, Process, ProcessKind, Reading, SmUse};
    use proptest::prelude::*;
    use std::sync::Arc;

    const MILLI: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MILLI;

    fn sample(utilization: u32, power: u32, costs: Vec<Cost>) -> Sample {
        Sample {
            gpu: Arc::from("GPU"),
            at: 0,
            asked: Some(Groups::default()),
            reading: Reading {
                utilization_pct: Some(utilization),
                power_instant_mw: Some(power),
                ..Reading::default()
            },
            processes: None,
            uses: None,
            instances: Vec::new(),
            costs,
        }
    }

    fn cost(call: Call, nanos: u64) -> Cost {
        Cost { call, nanos, error: None }
    }

    /// Runs a cadence for a while and says when it read, and what groups.
    fn run(seconds: u64, devices: usize, sample_at: impl FnMut(u64, Groups) -> Sample) -> Vec<(u64, Groups)> {
        run_with(settings::Cadence::default(), seconds, devices, u64::MAX, sample_at)
    }

    /// The same, with other settings, and refreshed again and again.
    fn run_with(
        settings: settings::Cadence,
        seconds: u64,
        devices: usize,
        refreshed_every: u64,
        mut sample_at: impl FnMut(u64, Groups) -> Sample,
    ) -> Vec<(u64, Groups)> {
        let mut cadence = Cadence::new(settings, 0);
        let (mut read, mut refresh) = (Vec::new(), refreshed_every);
        loop {
            let now = cadence.due().min(refresh);
            if now >= seconds * SECOND {
                return read;
            }
            if refresh <= now {
                cadence.refresh(now);
                refresh += refreshed_every;
            }
            if cadence.due() <= now {
                let groups = cadence.groups(now);
                read.push((now, groups));
                cadence.done(now, groups, &sample_at(now, groups), devices);
            }
        }
    }

    #[test]
    fn what_moves_is_read_ten_times_a_second_and_no_faster() {
        let mut toggle = 0;
        let read = run(10, 1, |_, _| {
            toggle = 100 - toggle;
            sample(toggle, 300_000, vec![cost(Call::EnergyFields, 20_000)])
        });
        assert!((95..=130).contains(&read.len()), "{}", read.len());
    }

    #[test]
    fn what_is_idle_is_left_alone() {
        let read = run(60, 1, |_, _| sample(0, 70_000, vec![cost(Call::EnergyFields, 20_000)]));
        let late = read.iter().filter(|(at, _)| *at >= 30 * SECOND).count();
        assert!(late <= 7, "{late} in 30 s");
        let lists = read.iter().filter(|(_, groups)| groups.processes).count();
        assert!((6..=7).contains(&lists), "{lists} lists in a minute");
    }

    #[test]
    fn a_busy_device_that_does_not_move_is_read_once_a_second() {
        let read = run(60, 1, |_, _| sample(100, 650_000, vec![cost(Call::EnergyFields, 20_000)]));
        let late = read.iter().filter(|(at, _)| *at >= 30 * SECOND).count();
        assert!((30..=45).contains(&late), "{late} in 30 s");
    }

    #[test]
    fn whoever_takes_the_place_of_another_is_looked_for_at_once_and_not_for_ever() {
        let listed = |pid| Process { pid, kind: ProcessKind::Compute, memory: None, instance: None, cgroup: None };
        let mut lists = Vec::new();
        run(60, 1, |at, groups| {
            // The second takes over after 32 s; the third is on no list, as a server of MPS may be.
            let first = at < 32 * SECOND;
            let mut sample = sample(100, 650_000, vec![cost(Call::EnergyFields, 20_000)]);
            if groups.uses {
                let pids = [if first { 1 } else { 2 }, 3];
                sample.uses = Some(pids.map(|pid| SmUse { pid, sm_pct: 50, cgroup: None }).into());
            }
            if groups.processes {
                lists.push(at);
                sample.processes = Some(vec![listed(if first { 1 } else { 2 })]);
            }
            sample
        });
        assert!(lists.iter().any(|at| (32 * SECOND..35 * SECOND).contains(at)), "{lists:?}");
        assert!((6..=9).contains(&lists.len()), "{lists:?}");
    }

    #[test]
    fn one_hang_does_not_slow_a_device_down_for_long() {
        let mut toggle = 0;
        let read = run(30, 1, |at, _| {
            toggle = 100 - toggle;
            let hung = (10 * SECOND..10 * SECOND + 100 * MILLI).contains(&at);
            sample(toggle, 300_000, vec![cost(Call::EnergyFields, if hung { 5 * SECOND } else { 20_000 })])
        });
        let late = read.iter().filter(|(at, _)| *at >= 15 * SECOND).count();
        assert!(late > 130, "{late} in 15 s");
    }

    #[test]
    fn calls_that_stay_slow_are_made_seldom() {
        let read = run(120, 1, |_, _| sample(50, 300_000, vec![cost(Call::EnergyFields, 100 * MILLI)]));
        let late = read.iter().filter(|(at, groups)| *at >= 60 * SECOND && *groups == Groups::default()).count();
        assert!(late <= 3, "{late} in a minute");
    }

    #[test]
    fn what_is_idle_is_read_afresh_before_every_flush() {
        let idle = |_, _| sample(0, 70_000, vec![cost(Call::EnergyFields, 20_000)]);
        let read = run_with(settings::Cadence::default(), 60, 8, 700 * MILLI, idle);
        let missed = (1..85).filter(|flush| !read.iter().any(|(at, _)| *at == flush * 700 * MILLI)).count();
        assert_eq!(missed, 0);
    }

    proptest! {
        /// Whatever calls cost, however much moves, and however often somebody wants fresh readings: all devices together, and
        /// the look for others, take no more of the time than the budget.
        #[test]
        fn the_budget_is_held(
            quick in 1_000u64..5 * MILLI, list in 1_000u64..20 * MILLI, uses in 1_000u64..5 * MILLI,
            health in 1_000u64..10 * MILLI, house in 1_000u64..5 * MILLI, devices in 1usize..9,
            refreshed_every in 50 * MILLI..10 * SECOND,
        ) {
            const SECONDS: u64 = 3_600;
            // Beyond the longest interval the budget may not be held.
            let settings = settings::Cadence { longest: std::time::Duration::MAX, ..settings::Cadence::default() };
            let (mut toggle, mut spent) = (0, 0);
            run_with(settings, SECONDS, devices, refreshed_every, |_, groups| {
                toggle = 100 - toggle;
                let mut costs = vec![cost(Call::EnergyFields, quick)];
                if groups.uses { costs.push(cost(Call::ProcessUtilization, uses)); }
                if groups.health { costs.push(cost(Call::HealthFields, health)); }
                if groups.processes { costs.push(cost(Call::Processes, list)); }
                spent += costs.iter().map(|cost| cost.nanos).sum::<u64>();
                let mut sample = sample(toggle, 300_000, costs);
                sample.reading.memory = Some(Memory { total: 80 << 30, used: u64::from(toggle) << 30 });
                sample
            });
            spent *= devices as u64;
            let (mut turn, share) = (Turn::new(0, nanos(settings.house)), Share::of(Group::House, &settings, 1));
            while turn.due() < SECONDS * SECOND {
                spent += house;
                turn.done(turn.due(), house, &share);
            }
            // The first turns do not know the costs yet, and the last ones' time is still to come.
            let unknown = (4 * quick + list + uses + health) * devices as u64 + house;
            let budget = SECONDS * SECOND / 1_000_000 * u64::from(settings.budget_ppm);
            prop_assert!(spent <= budget + 10 * unknown, "{spent} of {budget}");
        }
    }
}
