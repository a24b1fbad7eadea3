//! What the log says of the governor: one line for each change.

use std::fmt;
use std::time::Duration;

use super::decide::{Cause, Change, SPIN_SHARE};
use super::ladder::{CALM, Step};
use super::settings::Budget;

/// A part of the budget that a cause is about, for people.
pub(super) struct Amount {
    cause: Cause,
    budget: Budget,
    load: f64,
}

impl Amount {
    /// So many budgets.
    pub(super) fn of(cause: Cause, budget: Budget, load: f64) -> Self {
        Self { cause, budget, load }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, budget, load } = self;
        match cause {
            Cause::Cpu | Cause::Killed => write!(f, "{:.4} CPUs", budget.cpu * load),
            Cause::Memory => write!(f, "{:.1} MiB", budget.memory as f64 * load / f64::from(1 << 20)),
            Cause::Spinning => write!(f, "{:.4} CPUs", budget.cpu * SPIN_SHARE * load),
        }
    }
}

/// Says that something was shed or returns, why, and what brings it back.
pub(super) fn change(change: &Change, budget: Budget) {
    let text = sentence(change, budget);
    let (part, cause) = (change.rung.part.name(), change.cause.name());
    match change.step {
        Step::Shed => tracing::warn!(part, cause, "{text}"),
        Step::Return => tracing::info!(part, cause, "{text}"),
    }
}

fn sentence(change: &Change, budget: Budget) -> String {
    let amount = |load| Amount::of(change.cause, budget, load);
    let (used, allowed, calm) = (amount(change.load), amount(1.0), amount(CALM));
    let (loses, hold) = (change.rung.loses, humantime::format_duration(change.hold));
    match (change.step, change.cause) {
        (Step::Shed, Cause::Spinning) => format!(
            "shed {loses}: threads that spin in system calls would pay {used} for being watched, of {allowed} at most; \
             tried again after {hold}"
        ),
        (Step::Shed, _) => {
            format!("shed {loses}: {used} are used of {allowed}; back when they are less than {calm} for {hold}")
        }
        (Step::Return, Cause::Spinning) => format!("back: {loses}, to see whether threads still spin"),
        (Step::Return, _) => format!("back: {loses}; {used} are used of {allowed}"),
    }
}

/// Says that a budget does not hold, and nothing is left that could be shed.
pub(super) fn exhausted(cause: Cause, budget: Budget, load: f64) {
    let (used, allowed) = (Amount::of(cause, budget, load), Amount::of(cause, budget, 1.0));
    let mend = match cause {
        Cause::Memory => "raise budget.memory, or lower otlp.queue, watch.exchange_memory or watch.max_workloads",
        _ => "raise budget.cpu_percent and budget.cpus, or watch fewer workloads",
    };
    tracing::warn!(
        cause = cause.name(),
        "{used} are used of {allowed}, and nothing is left to shed: requests and counts are never shed ({mend})"
    );
}

/// Says that the agent starts small: it was killed `kills` times in a row.
pub fn small(kills: u32, healthy: Duration) {
    let healthy = humantime::format_duration(healthy);
    tracing::warn!(
        cause = Cause::Killed.name(),
        "killed {kills} times in a row: starting with everything shed that can be; it returns when this run lasted \
         {healthy}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governor::detail::{FOR_CPU, FOR_MEMORY, FOR_SPINNERS};

    #[test]
    fn sentences_say_what_when_why_and_until() {
        let budget = Budget { cpu: 0.5, memory: 64 << 20 };
        let shed = |rung, cause| Change { rung, step: Step::Shed, cause, load: 1.5, hold: Duration::from_secs(90) };
        let back = |rung, cause| Change { step: Step::Return, load: 0.25, ..shed(rung, cause) };
        let all = [
            shed(&FOR_CPU[3], Cause::Cpu),
            back(&FOR_CPU[3], Cause::Cpu),
            shed(&FOR_MEMORY[0], Cause::Memory),
            shed(&FOR_SPINNERS[0], Cause::Spinning),
            back(&FOR_SPINNERS[0], Cause::Spinning),
        ];
        let text: Vec<String> = all.iter().map(|change| sentence(change, budget)).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        shed the scheduler: 0.7500 CPUs are used of 0.5000 CPUs; back when they are less than 0.3500 CPUs for 1m 30s
        back: the scheduler; 0.1250 CPUs are used of 0.5000 CPUs
        shed the oldest spans and log records that wait, beyond a quarter of their queues: 96.0 MiB are used of 64.0 MiB; back when they are less than 44.8 MiB for 1m 30s
        shed system calls: threads that spin in system calls would pay 0.3750 CPUs for being watched, of 0.2500 CPUs at most; tried again after 1m 30s
        back: system calls, to see whether threads still spin
        ");
    }
}
