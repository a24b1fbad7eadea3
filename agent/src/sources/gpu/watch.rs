//! The call that a thread is in, seen from outside; and what calls cost and bring, seen from inside.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nvml_wrapper::error::NvmlError;

use super::failure::{Failure, Verdict, judge};
use crate::clock::monotonic_nanos;
use crate::model::gpu::{Call, Cost};

/// The call that a thread is in.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Option<(Call, u64)>>);

impl Watch {
    /// The call and when it began, in nanoseconds of `CLOCK_MONOTONIC`; `None` between calls.
    pub(super) fn current(&self) -> Option<(Call, u64)> {
        *self.slot()
    }

    fn slot(&self) -> MutexGuard<'_, Option<(Call, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls that a device does not support: they are asked for once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsupported(u64);

impl Unsupported {
    fn has(self, call: Call) -> bool {
        self.0 & (1 << call as u32) != 0
    }

    pub(super) fn add(&mut self, call: Call) {
        self.0 |= 1 << call as u32;
    }
}

/// Runs the calls of one job: each is watched, timed and judged. After one that says the device or the driver is gone, the
/// others are not made.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    watch: &'a Watch,
    unsupported: Unsupported,
    costs: Vec<Cost>,
    failure: Option<Failure>,
    answered: bool,
    refused: Option<&'static str>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(watch: &'a Watch, unsupported: Unsupported) -> Self {
        Self { watch, unsupported, costs: Vec::new(), failure: None, answered: false, refused: None }
    }

    /// Makes a call. `None` where it is not supported or failed, or where there is no sense in it any more.
    pub(super) fn call<T>(&mut self, call: Call, body: impl FnOnce() -> Result<T, NvmlError>) -> Option<T> {
        if self.failure.is_some() || self.unsupported.has(call) {
            return None;
        }
        let begun = monotonic_nanos();
        *self.watch.slot() = Some((call, begun));
        let answer = body();
        *self.watch.slot() = None;
        let nanos = monotonic_nanos().saturating_sub(begun);
        let mut cost = Cost { call, nanos, error: None };
        let value = match answer.map_err(judge) {
            Ok(value) => {
                self.answered = true;
                Some(value)
            }
            Err(Verdict::Unsupported) => {
                self.answered = true;
                self.unsupported.add(call);
                None
            }
            Err(Verdict::Refused(error)) => {
                cost.error = Some(error);
                self.refused = Some(error);
                None
            }
            Err(Verdict::Over(failure)) => {
                cost.error = Some(failure.name());
                self.failure = Some(failure);
                None
            }
        };
        self.costs.push(cost);
        value
    }

    /// The device's handle stands for nothing any more, or for something else.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// Any call was answered so far.
    pub(super) fn answered(&self) -> bool {
        self.answered
    }

    /// What went wrong so far.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// What the calls cost, which of them are not supported, and what went wrong as a whole. A device that answered nothing
    /// but errors is failing.
    pub(super) fn finish(self) -> (Vec<Cost>, Unsupported, Option<Failure>) {
        let failing = self.refused.filter(|_| !self.answered).map(Failure::Failing);
        (self.costs, self.unsupported, self.failure.or(failing))
    }
}
