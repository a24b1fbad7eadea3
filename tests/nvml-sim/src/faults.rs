//! What goes wrong, by call and device.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A fault: calls that it is meant for suffer its effect until it is healed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The function, or `*` for all.
    pub call: String,
    /// The device's place; without it calls on any device, and on none, suffer.
    #[serde(default)]
    pub device: Option<usize>,
    /// What happens.
    pub effect: Effect,
    /// How often it happens; without it, always.
    #[serde(default)]
    pub times: Option<u32>,
}

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It returns when the fault is healed.
    Hang,
    /// It returns when the fault is healed, or after so many milliseconds.
    HangFor(u64),
    /// It takes so many microseconds longer.
    Slow(u64),
    /// It returns a code (`nvmlReturn_t`) and does nothing.
    Error(u32),
}

impl Fault {
    /// A fault of one function on one device.
    pub fn new(call: &str, device: Option<usize>, effect: Effect) -> Self {
        Self { call: call.to_owned(), device, effect, times: None }
    }

    /// The same, a number of times.
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    next: u64,
    all: Vec<(u64, Fault)>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.next += 1;
        self.all.push((self.next, fault));
    }

    pub(crate) fn heal(&mut self, call: &str, device: Option<usize>) {
        self.all.retain(|(_, fault)| {
            !((call == "*" || fault.call == call) && (device.is_none() || fault.device == device))
        });
    }

    /// The effect on a call that begins now, and the fault's number.
    pub(crate) fn strike(&mut self, call: &str, device: Option<usize>) -> Option<(u64, Effect)> {
        let meant = |fault: &Fault| {
            (fault.call == "*" || fault.call == call)
                && (fault.device.is_none() || fault.device == device)
                && fault.times != Some(0)
        };
        let (number, fault) = self.all.iter_mut().find(|(_, fault)| meant(fault))?;
        fault.times = fault.times.map(|times| times - 1);
        Some((*number, fault.effect))
    }

    /// True until the fault is healed.
    pub(crate) fn holds(&self, number: u64) -> bool {
        self.all.iter().any(|(other, _)| *other == number)
    }
}

/// Lets time pass: by sleeping where that is exact enough, else by spinning.
pub(crate) fn pass(micros: u64) {
    let until = Instant::now() + Duration::from_micros(micros);
    if micros >= 1_000 {
        std::thread::sleep(Duration::from_micros(micros));
    }
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_whom_it_is_meant_for_and_as_often_as_it_says() {
        let mut faults = Faults::default();
        faults.add(Fault::new("a", Some(1), Effect::Error(3)).times(2));
        assert_eq!(faults.strike("b", Some(1)), None);
        assert_eq!(faults.strike("a", Some(0)), None);
        assert_eq!(faults.strike("a", Some(1)), Some((1, Effect::Error(3))));
        assert_eq!(faults.strike("a", Some(1)), Some((1, Effect::Error(3))));
        assert_eq!(faults.strike("a", Some(1)), None);
        assert!(faults.holds(1), "a spent fault may still hold a call that hangs");
        faults.heal("*", None);
        assert!(!faults.holds(1));
    }
}
