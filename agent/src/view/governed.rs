//! What stands below the table of the agent's own cost.

use super::text::wrap;
use crate::governor::{Cause, State};

/// Lines that tell what is shed to hold the budget; none while nothing is.
pub fn governed(state: &State, width: usize) -> Vec<String> {
    let shed: Vec<&str> = state.parts.iter().filter(|(_, shed)| *shed).map(|(part, _)| part.name()).collect();
    if shed.is_empty() {
        return Vec::new();
    }
    let used = state.reading.unwrap_or_default();
    let level = |of| state.levels.iter().any(|(cause, level)| *cause == of && *level > 0);
    let mut why = Vec::new();
    if level(Cause::Cpu) {
        why.push(format!("{:.3} CPUs are used of {:.3}", used.cpu.in_all(), state.budget.cpu));
    }
    if level(Cause::Memory) {
        let mib = |bytes| bytes as f64 / f64::from(1 << 20);
        why.push(format!(
            "{:.0} MiB are used of {:.0}",
            mib(used.memory.unwrap_or_default()),
            mib(state.budget.memory)
        ));
    }
    if level(Cause::Spinning) {
        why.push("threads spin in system calls".to_owned());
    }
    if level(Cause::Killed) {
        why.push("earlier runs were killed".to_owned());
    }
    wrap(&format!("! shed to hold the budget: {} ({})", shed.join(", "), why.join("; ")), width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governor::{Budget, Cpu, Part, Reading};

    #[test]
    fn what_is_shed_is_told_with_its_reason() {
        let mut state = State {
            reading: Some(Reading {
                cpu: Cpu { user: 0.25, system: 0.25, programs: Some(0.125) },
                memory: Some(70 << 20),
                spinning: None,
            }),
            budget: Budget { cpu: 0.5, memory: 64 << 20 },
            levels: vec![(Cause::Cpu, 0), (Cause::Memory, 0), (Cause::Spinning, 1), (Cause::Killed, 0)],
            parts: vec![(Part::Scheduler, false), (Part::Syscalls, true)],
            ..State::default()
        };
        assert_eq!(governed(&state, 160), ["! shed to hold the budget: syscalls (threads spin in system calls)"]);
        state.levels = vec![(Cause::Cpu, 3), (Cause::Memory, 1)];
        let both = "! shed to hold the budget: syscalls (0.625 CPUs are used of 0.500; 70 MiB are used of 64)";
        assert_eq!(governed(&state, 160), [both]);
        state.levels = vec![(Cause::Cpu, 3), (Cause::Memory, 0), (Cause::Spinning, 1), (Cause::Killed, 2)];
        let all = "! shed to hold the budget: syscalls (0.625 CPUs are used of 0.500; threads spin in system calls; \
                   earlier runs were killed)";
        assert_eq!(governed(&state, 160), [all]);
        state.parts = vec![(Part::Scheduler, false)];
        assert!(governed(&state, 160).is_empty());
    }
}
