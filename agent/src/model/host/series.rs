//! Which series the probes' totals are told as.

use inferscope_common::disk::Direction;
use inferscope_common::sched::{Counter, Role};
use inferscope_common::syscall::Class;

use super::names::{class_name, direction_name, lost_cause, role_name};
use super::totals::{DiskTotals, RoleTotals, Totals};
use crate::model::Histogram;
use crate::model::attr::{
    DISK_DIRECTION, LOSS_CAUSE, PAGING_FAULT, SWITCH_TYPE, SYSCALL_CLASS, SYSCALL_KIND, THREAD_ROLE,
};
use crate::model::metrics::MetricId;

/// Attributes of a series: every value is a word of ours.
pub(super) type Words = Vec<(&'static str, &'static str)>;

/// The value of a series since the workload is watched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// It only grows.
    Sum(u64),
    /// It comes and goes.
    Current(u64),
    /// Durations.
    Histogram(&'a Histogram),
}

/// Gives every series that has something to say to `tell`, in an order that stays.
pub(super) fn each(totals: &Totals, tell: &mut dyn FnMut(MetricId, Words, Value<'_>)) {
    calls(totals, tell);
    for role in Role::ALL {
        if let Some(of_role) = &totals.roles[role as usize] {
            threads(role_name(role), of_role, tell);
        }
    }
    for direction in Direction::ALL {
        disk(direction_name(direction), &totals.disk[direction as usize], tell);
    }
}

fn calls(totals: &Totals, tell: &mut dyn FnMut(MetricId, Words, Value<'_>)) {
    for class in Class::ALL {
        let words = vec![(SYSCALL_CLASS, class_name(class))];
        let [calls, errors, asleep] = [totals.calls, totals.errors, totals.asleep].map(|of| of[class as usize]);
        // A class that was never called is no series: most workloads use few of them.
        if calls != 0 || asleep != 0 {
            tell(MetricId::SyscallCalls, words.clone(), Value::Sum(calls));
            tell(MetricId::SyscallErrors, words.clone(), Value::Sum(errors));
            if totals.observed {
                tell(MetricId::SyscallActive, words.clone(), Value::Current(asleep));
            }
        }
        // Classes that never wait have one histogram.
        let kinds: &[_] = if class.hist(true) == class.hist(false) { &[false] } else { &[false, true] };
        for &waited in kinds {
            if let Some(latency) = totals.latency(class, waited) {
                let mut words = words.clone();
                words.push((SYSCALL_KIND, if waited { "wait" } else { "work" }));
                tell(MetricId::SyscallDuration, words, Value::Histogram(latency));
            }
        }
    }
    // Where calls are not observed there is nothing to say of them, not even 0.
    if totals.calls.iter().all(|&calls| calls == 0) {
        return;
    }
    tell(MetricId::SyscallRestarts, Vec::new(), Value::Sum(totals.restarts));
    if totals.observed {
        tell(MetricId::SyscallTimed, Vec::new(), Value::Current(1u64.checked_shl(totals.k).unwrap_or(u64::MAX)));
    }
    tell(MetricId::FileRead, Vec::new(), Value::Sum(totals.file_bytes_read));
    tell(MetricId::Loss, vec![(LOSS_CAUSE, lost_cause().0)], Value::Sum(totals.lost_state));
}

fn threads(role: &'static str, of_role: &RoleTotals, tell: &mut dyn FnMut(MetricId, Words, Value<'_>)) {
    // Nor of threads that nobody saw leave a CPU.
    if of_role.counters.iter().all(|&counter| counter == 0) {
        return;
    }
    let role = (THREAD_ROLE, role);
    tell(MetricId::CpuRunDelay, vec![role], Value::Histogram(&of_role.run_delay));
    tell(MetricId::CpuBlocked, vec![role], Value::Histogram(&of_role.blocked));
    for counter in Counter::ALL {
        let (metric, kind) = match counter {
            Counter::Voluntary => (MetricId::CpuSwitches, Some((SWITCH_TYPE, "voluntary"))),
            Counter::Involuntary => (MetricId::CpuSwitches, Some((SWITCH_TYPE, "involuntary"))),
            Counter::Migrations => (MetricId::CpuMigrations, None),
            Counter::MajorFaults => (MetricId::PagingFaults, Some((PAGING_FAULT, "major"))),
            Counter::StorageRead => (MetricId::StorageIo, Some((DISK_DIRECTION, "read"))),
            Counter::StorageWritten => (MetricId::StorageIo, Some((DISK_DIRECTION, "write"))),
        };
        let words = kind.into_iter().chain([role]).collect();
        tell(metric, words, Value::Sum(of_role.counters[counter as usize]));
    }
}

fn disk(direction: &'static str, totals: &DiskTotals, tell: &mut dyn FnMut(MetricId, Words, Value<'_>)) {
    let words = || vec![(DISK_DIRECTION, direction)];
    if totals.requests != 0 {
        tell(MetricId::DiskIo, words(), Value::Sum(totals.bytes));
        tell(MetricId::DiskErrors, words(), Value::Sum(totals.errors));
        tell(MetricId::DiskDuration, words(), Value::Histogram(&totals.latency));
    }
}
