//! The decision: readings in, changes of what is in force out. Pure.

use std::time::Duration;

use super::detail::{Detail, FOR_CPU, FOR_MEMORY, FOR_SPINNERS, Part, Rung};
use super::ladder::{Ladder, Patience, Step};
use super::settings::{Budget, Settings};

/// What a pair of programs on every system call takes from one that nobody watches, in seconds: 120 ns, the middle of
/// what was measured (*unobserved* in `docs/benchmarks.md`). It is not measured on the node.
const PAIR: f64 = 120e-9;
/// Spinning may be taxed with this part of the CPU budget: it is a cost without any use.
pub(super) const SPIN_SHARE: f64 = 0.5;
/// Nobody sees spinning while system calls are not watched: looking again costs a tax, and is done this much more
/// seldom than others return.
const SPIN_HOLD: u32 = 20;

/// What the agent used since the reading before.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Reading {
    /// CPUs, in the mean.
    pub cpu: Cpu,
    /// Bytes of resident memory now; `None` = cannot be measured.
    pub memory: Option<u64>,
    /// Calls per second that only spin (`sched_yield` and the like) and that pass the programs on every system call;
    /// `None` where there are no such programs.
    pub spinning: Option<f64>,
}

/// CPUs by who used them.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Cpu {
    /// The agent in user mode.
    pub user: f64,
    /// The kernel on the agent's behalf.
    pub system: f64,
    /// The agent's programs, charged to whoever they run in: an estimate from windows. `None` = cannot be measured.
    pub programs: Option<f64>,
}

impl Cpu {
    /// All of it.
    pub fn in_all(self) -> f64 {
        self.user + self.system + self.programs.unwrap_or(0.0)
    }
}

/// Why something changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The CPU budget.
    Cpu,
    /// The memory budget.
    Memory,
    /// Threads that spin in system calls, and would pay for each of them.
    Spinning,
    /// The agent was killed again and again.
    Killed,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Spinning, Self::Killed];

    /// `inferscope.agent.governor.cause`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Spinning => "spinning",
            Self::Killed => "killed",
        }
    }
}

/// Something was shed, or returns.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// What.
    pub rung: &'static Rung,
    /// Shed, or back.
    pub step: Step,
    /// Why.
    pub cause: Cause,
    /// What was used in the mean, 1 being the budget.
    pub load: f64,
    /// How long it must be calm until it returns, or the next thing does.
    pub hold: Duration,
}

/// A budget, and what is shed to hold it.
#[derive(Debug)]
struct Held {
    cause: Cause,
    rungs: Vec<&'static Rung>,
    ladder: Ladder,
    /// The first so many of what is shed are shed since the agent was killed, and not for what it uses.
    for_kills: usize,
}

impl Held {
    fn new(cause: Cause, order: &'static [Rung], parts: &[Part], patience: Patience) -> Self {
        let rungs: Vec<&Rung> = order.iter().filter(|rung| parts.contains(&rung.part)).collect();
        Self { cause, ladder: Ladder::new(rungs.len(), patience), rungs, for_kills: 0 }
    }

    fn shed(&self) -> &[&'static Rung] {
        &self.rungs[..self.ladder.shed()]
    }

    fn shed_all(&mut self) {
        self.ladder.shed_all(Duration::ZERO);
        self.for_kills = self.ladder.shed();
    }

    fn step(&mut self, now: Duration, load: f64) -> Option<Change> {
        let before = self.ladder.shed();
        let (step, load) = self.ladder.step(now, load)?;
        self.for_kills = self.for_kills.min(self.ladder.shed());
        let rung = self.rungs.get(before.min(self.ladder.shed()))?;
        Some(Change { rung, step, cause: self.cause, load, hold: self.ladder.hold() })
    }
}

/// Holds the budget.
#[derive(Debug)]
pub struct Governor {
    budget: Budget,
    cpu: Held,
    memory: Held,
    spinners: Held,
    /// Nothing returns before: the agent was killed.
    small_until: Option<Duration>,
    changes: [u64; Cause::ALL.len()],
}

impl Governor {
    /// A governor of what there is of `parts`; nothing is shed yet. Times are counted from now on.
    pub fn new(settings: &Settings, budget: Budget, parts: &[Part]) -> Self {
        let patience = Patience { window: settings.window, hold: settings.hold };
        let seldom = Patience { hold: settings.hold * SPIN_HOLD, ..patience };
        Self {
            budget,
            cpu: Held::new(Cause::Cpu, &FOR_CPU, parts, patience),
            memory: Held::new(Cause::Memory, &FOR_MEMORY, parts, patience),
            spinners: Held::new(Cause::Spinning, &FOR_SPINNERS, parts, seldom),
            small_until: None,
            changes: [0; Cause::ALL.len()],
        }
    }

    /// Sheds everything that can be, and lets nothing return before `until`.
    pub fn start_small(&mut self, until: Duration) {
        self.cpu.shed_all();
        self.memory.shed_all();
        self.small_until = Some(until);
        self.changes[Cause::Killed as usize] += 1;
    }

    /// Takes a reading; what changes, if anything does.
    pub fn step(&mut self, now: Duration, reading: &Reading) -> Vec<Change> {
        let cpu = ratio(reading.cpu.in_all(), self.budget.cpu);
        let memory = reading.memory.map_or(0.0, |memory| ratio(memory as f64, self.budget.memory as f64));
        let tax = reading.spinning.unwrap_or(0.0) * PAIR;
        let spinning = ratio(tax, self.budget.cpu * SPIN_SHARE);
        if self.small_until.is_some_and(|until| now < until) {
            self.cpu.ladder.observe(now, cpu);
            self.memory.ladder.observe(now, memory);
            return Vec::new();
        }
        self.small_until = None;
        let held = [(&mut self.cpu, cpu), (&mut self.memory, memory), (&mut self.spinners, spinning)];
        let changes: Vec<Change> = held.into_iter().filter_map(|(held, load)| held.step(now, load)).collect();
        changes.iter().for_each(|change| self.changes[change.cause as usize] += 1);
        changes
    }

    /// What is in force.
    pub fn detail(&self) -> Detail {
        let shed = [&self.cpu, &self.memory, &self.spinners].into_iter().flat_map(Held::shed);
        shed.fold(Detail::FULL, |detail, rung| detail.without(rung))
    }

    /// The budget.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Rungs that are shed for a cause.
    pub fn level(&self, cause: Cause) -> usize {
        let held = self.held(cause);
        match cause {
            Cause::Killed => self.cpu.for_kills + self.memory.for_kills,
            _ => held.ladder.shed() - held.for_kills,
        }
    }

    /// What was used of a budget in the mean, 1 being all of it.
    pub fn mean(&self, cause: Cause) -> f64 {
        self.held(cause).ladder.mean()
    }

    fn held(&self, cause: Cause) -> &Held {
        match cause {
            Cause::Cpu | Cause::Killed => &self.cpu,
            Cause::Memory => &self.memory,
            Cause::Spinning => &self.spinners,
        }
    }

    /// Budgets that do not hold although nothing is left to shed.
    pub fn exhausted(&self) -> impl Iterator<Item = Cause> {
        let held = [&self.cpu, &self.memory].into_iter();
        held.filter(|held| held.ladder.is_exhausted()).map(|held| held.cause)
    }

    /// True while the agent is kept small because it was killed.
    pub fn is_small(&self) -> bool {
        self.small_until.is_some()
    }

    /// Changes so far, by cause.
    pub fn changes(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.into_iter().zip(self.changes)
    }
}

/// No budget at all is exceeded by anything.
fn ratio(used: f64, budget: f64) -> f64 {
    if budget > 0.0 {
        used / budget
    } else if used > 0.0 {
        f64::INFINITY
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    const SECOND: Duration = Duration::from_secs(1);
    const BUDGET: Budget = Budget { cpu: 0.5, memory: 64 << 20 };

    fn governor(parts: &[Part]) -> Governor {
        let settings = Settings {
            cpu_share: 0.01,
            cpu_most: 0.5,
            memory: BUDGET.memory,
            window: SECOND * 10,
            hold: SECOND * 30,
            state: PathBuf::new(),
            healthy: SECOND * 600,
        };
        Governor::new(&settings, BUDGET, parts)
    }

    fn using(user: f64, mib: u64) -> Reading {
        Reading { cpu: Cpu { user, system: 0.0, programs: None }, memory: Some(mib << 20), spinning: None }
    }

    /// The changes of some seconds, each with its second.
    fn run(
        governor: &mut Governor,
        from: u32,
        seconds: u32,
        mut reading: impl FnMut(&Governor) -> Reading,
    ) -> Vec<(u32, Change)> {
        let mut all = Vec::new();
        for second in from..from + seconds {
            let reading = reading(governor);
            all.extend(governor.step(SECOND * second, &reading).into_iter().map(|change| (second, change)));
        }
        all
    }

    fn names(changes: &[(u32, Change)], step: Step) -> Vec<&'static str> {
        changes.iter().filter(|(_, change)| change.step == step).map(|(_, change)| change.rung.part.name()).collect()
    }

    #[test]
    fn what_is_shed_for_cpu_is_shed_in_order_and_returns_in_the_opposite_one() {
        let mut governor = governor(&Part::ALL);
        let changes = run(&mut governor, 1, 60, |_| using(5.0, 10));
        let order = ["token_timelines", "syscall_clocks", "syscall_clocks", "scheduler", "syscalls", "spans"];
        assert_eq!(names(&changes, Step::Shed), order);
        assert!(changes.iter().all(|(_, change)| change.cause == Cause::Cpu && change.load > 1.0));
        assert_eq!(governor.exhausted().collect::<Vec<_>>(), [Cause::Cpu]);
        let changes = run(&mut governor, 61, 600, |_| using(0.1, 10));
        assert_eq!(names(&changes, Step::Return), order.into_iter().rev().collect::<Vec<_>>());
        assert_eq!((governor.detail(), governor.level(Cause::Cpu)), (Detail::FULL, 0));
    }

    /// A tenfold load, each part of which costs what it may: the budget holds after two windows, and what was shed is
    /// the least that holds it.
    #[test]
    fn a_tenfold_load_is_within_the_budget_after_two_windows() {
        let costs = |detail: Detail| {
            let clocks = 1.2 / f64::from(1 << detail.syscall_clocks);
            let all = [(detail.token_timelines, 0.9), (detail.syscalls, 0.25 + clocks), (detail.scheduler, 0.25)];
            0.1 + all.into_iter().filter(|(on, _)| *on).map(|(_, cost)| cost).sum::<f64>()
        };
        let reading = |factor: f64| {
            move |governor: &Governor| {
                let cpu = Cpu { user: 0.05 * factor, system: 0.0, programs: Some(costs(governor.detail()) * factor) };
                Reading { cpu, memory: Some(10 << 20), spinning: None }
            }
        };
        let mut governor = governor(&Part::ALL);
        assert!(run(&mut governor, 1, 600, reading(0.1)).is_empty());
        let changes = run(&mut governor, 601, 3000, reading(1.0));
        assert!(changes.iter().all(|(second, _)| *second <= 620), "{changes:?}");
        assert!(reading(1.0)(&governor).cpu.in_all() <= BUDGET.cpu);
        assert_eq!(governor.level(Cause::Cpu), 4, "system calls cost what is left to spend");
        assert!(names(&run(&mut governor, 3601, 900, reading(0.1)), Step::Shed).is_empty());
        assert_eq!(governor.detail(), Detail::FULL);
    }

    #[test]
    fn memory_sheds_the_backlog_first() {
        let mut governor = governor(&Part::ALL);
        let changes = run(&mut governor, 1, 60, |_| using(0.1, 70));
        assert_eq!(names(&changes, Step::Shed), ["backlog", "spans"]);
        assert_eq!(governor.detail(), Detail { spans: false, backlog: 2, ..Detail::FULL });
        assert_eq!((governor.level(Cause::Memory), governor.level(Cause::Cpu)), (2, 0));
    }

    #[test]
    fn spinning_takes_system_calls_alone_and_looks_again_seldom() {
        let mut governor = governor(&Part::ALL);
        // Three workers, 3 M/s each, while there are programs on every call.
        let spinning =
            |governor: &Governor| Reading { spinning: governor.detail().syscalls.then_some(9e6), ..using(0.1, 10) };
        let changes = run(&mut governor, 1, 590, spinning);
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].1.cause, changes[0].1.rung.part), (Cause::Spinning, Part::Syscalls));
        assert_eq!(governor.detail(), Detail { syscalls: false, ..Detail::FULL });
        assert_eq!(governor.level(Cause::Spinning), 1);
        let looks = names(&run(&mut governor, 591, 3600 * 10, spinning), Step::Return);
        assert!((2..=6).contains(&looks.len()), "{looks:?}");
        run(&mut governor, 40_000, 40_000, |_| using(0.1, 10));
        assert_eq!(governor.detail(), Detail::FULL);
        // A hundred thousand calls a second cost 12 ms of them.
        let few = Reading { spinning: Some(1e5), ..using(0.1, 10) };
        assert!(run(&mut governor, 80_000, 600, |_| few).is_empty());
    }

    #[test]
    fn a_killed_agent_starts_small_and_grows_when_it_proved_healthy() {
        let mut governor = governor(&Part::ALL);
        governor.start_small(SECOND * 600);
        let least = governor.detail();
        assert!(Part::ALL.into_iter().all(|part| least.lacks(part)), "{least:?}");
        let levels = |governor: &Governor| Cause::ALL.map(|cause| governor.level(cause));
        assert_eq!(levels(&governor), [0, 0, 0, 8], "for the kills, whatever is used");
        assert!(run(&mut governor, 1, 599, |_| using(0.01, 10)).is_empty());
        assert!(governor.is_small());
        let changes = run(&mut governor, 600, 300, |_| using(0.01, 10));
        assert_eq!(names(&changes, Step::Return).len(), 8);
        assert_eq!((governor.detail(), governor.is_small(), levels(&governor)), (Detail::FULL, false, [0; 4]));
        assert_eq!(governor.changes().find(|(cause, _)| *cause == Cause::Killed), Some((Cause::Killed, 1)));
    }

    #[test]
    fn what_is_not_there_is_not_shed() {
        let mut governor = governor(&[Part::Spans]);
        let changes = run(&mut governor, 1, 60, |_| using(5.0, 700));
        assert_eq!(names(&changes, Step::Shed), ["spans", "spans"], "once for each budget");
        assert_eq!(governor.detail(), Detail { spans: false, ..Detail::FULL });
        assert_eq!(governor.exhausted().collect::<Vec<_>>(), [Cause::Cpu, Cause::Memory]);
    }

    #[test]
    fn a_budget_of_nothing_is_exceeded_by_anything() {
        assert_eq!((ratio(0.0, 0.0), ratio(0.1, 0.0)), (0.0, f64::INFINITY));
    }

    fn readings() -> impl Strategy<Value = Vec<(Reading, u32)>> {
        let cpu = prop_oneof![0.0..0.4, 0.4..0.6, 0.6..50.0, Just(f64::NAN), Just(f64::INFINITY)];
        let reading = (cpu, 0u64..200, proptest::option::of(0.0..1e7)).prop_map(|(cpu, mib, spinning)| Reading {
            cpu: Cpu { user: cpu / 2.0, system: 0.0, programs: Some(cpu / 2.0) },
            memory: Some(mib << 20),
            spinning,
        });
        proptest::collection::vec((reading, 1u32..300), 1..15)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Of the order for CPU a beginning is shed, at all times; and when the cost has fallen, nothing is.
        #[test]
        fn nothing_is_shed_out_of_order_and_everything_returns(
            readings in readings(),
            parts in proptest::sample::subsequence(Part::ALL.to_vec(), 0..=Part::ALL.len()),
            small: bool,
        ) {
            let mut governor = governor(&parts);
            if small {
                governor.start_small(SECOND * 600);
            }
            let mut second = 0;
            for (reading, seconds) in readings {
                for _ in 0..seconds {
                    second += 1;
                    governor.step(SECOND * second, &reading);
                    let order: Vec<&Rung> = FOR_CPU.iter().filter(|rung| parts.contains(&rung.part)).collect();
                    let shed: Vec<*const Rung> = governor.cpu.shed().iter().map(|rung| std::ptr::from_ref(*rung)).collect();
                    let first: Vec<*const Rung> = order[..shed.len()].iter().map(|rung| std::ptr::from_ref(*rung)).collect();
                    prop_assert_eq!(shed, first);
                    for part in Part::ALL {
                        prop_assert!(parts.contains(&part) || !governor.detail().lacks(part));
                    }
                }
            }
            let longest = governor.cpu.ladder.hold().max(governor.memory.ladder.hold()) * 8;
            let longest = longest.max(governor.spinners.ladder.hold()) + SECOND * 700;
            run(&mut governor, second + 1, longest.as_secs() as u32, |_| using(0.1, 10));
            prop_assert_eq!(governor.detail(), Detail::FULL);
        }
    }
}
