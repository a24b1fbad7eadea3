//! What is told of the host, against what was counted.

use std::collections::{BTreeMap, HashMap};

use inferscope_common::hist;
use inferscope_common::sched::{Counter, Role};
use inferscope_common::syscall::Class;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::Histogram;
use crate::model::attr::Attributes;
use crate::model::batch::{Data, Point};
use crate::model::host::EventKind;
use crate::model::metrics::MetricId;

type Key = (MetricId, Attributes);

fn told(counts: &mut HostCounts, delta: bool) -> BTreeMap<Key, Data> {
    let mut points = Vec::new();
    counts.collect(delta, &mut points);
    let told: BTreeMap<Key, Data> =
        points.iter().cloned().map(|Point { metric, attributes, data }| ((metric, attributes), data)).collect();
    assert_eq!(told.len(), points.len(), "no series twice");
    told
}

/// What happened in an interval: calls by class with what each took, and faults by role.
type Interval = (Vec<(u8, bool, u64)>, Vec<(u8, u16)>);

fn interval() -> impl Strategy<Value = Interval> {
    (vec((0..9u8, any::<bool>(), 0..1u64 << 36), 0..40), vec((0..8u8, any::<u16>()), 0..6))
}

fn happen(totals: &mut Totals, (calls, faults): &Interval) {
    for &(class, waited, nanos) in calls {
        let class = Class::ALL[class as usize];
        totals.calls[class as usize] += 1;
        totals.errors[class as usize] += nanos % 2;
        if let Some(place) = class.hist(waited) {
            // As the kernel half counts.
            let slot = hist::slot(nanos);
            let of = &mut totals.latencies[place];
            let (first, counts) = of.slots();
            let before = slot.checked_sub(first).and_then(|at| counts.get(at)).copied().unwrap_or(0) as u32;
            let sum = of.sum() + nanos;
            of.follow(std::iter::once((slot, before + 1)), sum);
        }
    }
    for &(role, faults) in faults {
        let role = totals.roles[Role::ALL[role as usize] as usize].get_or_insert_default();
        role.counters[Counter::MajorFaults as usize] += u64::from(faults);
    }
}

proptest! {
    #[test]
    fn deltas_add_up_to_what_is_cumulative(intervals in vec(interval(), 1..6)) {
        let (mut delta, mut cumulative) = (HostCounts::default(), HostCounts::default());
        let (mut sums, mut histograms) = (HashMap::<Key, u64>::new(), HashMap::<Key, Histogram>::new());
        let mut last = BTreeMap::new();
        for interval in &intervals {
            happen(delta.totals(), interval);
            happen(cumulative.totals(), interval);
            for (key, data) in told(&mut delta, true) {
                match data {
                    Data::Sum(sum) => *sums.entry(key).or_default() += sum,
                    Data::Histogram(histogram) => histograms.entry(key).or_default().merge(&histogram),
                    Data::Current(_) | Data::Seconds(_) | Data::Real(_) => {}
                }
            }
            last = told(&mut cumulative, false);
        }
        for (key, data) in last {
            match data {
                Data::Sum(sum) => prop_assert_eq!(sums.remove(&key).unwrap_or(0), sum, "{:?}", key),
                Data::Histogram(histogram) => {
                    let added = histograms.remove(&key).unwrap_or_default();
                    prop_assert_eq!((added.slots(), added.sum()), (histogram.slots(), histogram.sum()), "{:?}", key);
                }
                Data::Current(_) | Data::Seconds(_) | Data::Real(_) => {}
            }
        }
        prop_assert!(sums.is_empty() && histograms.is_empty(), "{:?} {:?}", sums, histograms);
        let calls: usize = intervals.iter().map(|(calls, _)| calls.len()).sum();
        prop_assert_eq!(cumulative.totals().calls.iter().sum::<u64>(), calls as u64);
    }
}

fn reading(throttled: u64, kills: u64) -> Reading {
    Reading {
        cpu_nanos: Some(5_000_000_000 + throttled),
        throttle: Some(Throttle { periods: 10 * throttled, throttled, nanos: 1000 * throttled }),
        memory: Some(1 << 20),
        oom_kills: Some(kills),
        ..Reading::default()
    }
}

fn of(told: &BTreeMap<Key, Data>, metric: MetricId) -> Option<&Data> {
    told.get(&(metric, Vec::new()))
}

#[test]
fn files_count_from_the_first_reading_on() {
    let mut counts = HostCounts::default();
    assert_eq!(counts.files(&reading(7, 3)), []);
    let first = told(&mut counts, false);
    assert_eq!(of(&first, MetricId::OomKills), Some(&Data::Sum(0)), "a zero to rise from");
    assert_eq!(of(&first, MetricId::CpuTime), Some(&Data::Seconds(0)));
    assert_eq!(of(&first, MetricId::MemoryUsage), Some(&Data::Current(1 << 20)));
    assert_eq!(of(&first, MetricId::MemoryLimit), None, "there is none");
    assert_eq!(of(&first, MetricId::MemoryLimitHits), None, "not told");
    counts.files(&reading(9, 3));
    assert_eq!(of(&told(&mut counts, false), MetricId::CpuThrottledTime), Some(&Data::Seconds(2000)));
    // A cgroup that has gone tells nothing, and has undone nothing.
    counts.files(&Reading::default());
    let gone = told(&mut counts, true);
    assert_eq!(of(&gone, MetricId::CpuThrottledPeriods), Some(&Data::Sum(2)));
    assert_eq!(of(&gone, MetricId::MemoryUsage), None);
    assert_eq!(of(&told(&mut counts, true), MetricId::CpuThrottledPeriods), None, "nothing new");
}

#[test]
fn throttling_is_told_once_until_it_has_ceased() {
    let mut counts = HostCounts::default();
    let mut begun = |throttled| counts.files(&reading(throttled, 0)).len();
    assert_eq!([4, 4, 6, 9, 9, 10].map(&mut begun), [0, 0, 1, 0, 0, 1]);
}

#[test]
fn kills_that_the_hook_told_of_are_not_told_again() {
    let mut counts = HostCounts::default();
    counts.files(&reading(0, 0));
    counts.killed();
    assert_eq!(counts.files(&reading(0, 1)), []);
    counts.killed();
    assert_eq!(counts.files(&reading(0, 4)), [EventKind::OomKills { processes: 2 }]);
    assert_eq!(counts.files(&reading(0, 4)), []);
}

#[test]
fn what_is_no_longer_observed_is_not_told_as_it_was_last() {
    let mut counts = HostCounts::default();
    happen(counts.totals(), &(vec![(Class::Poll as u8, true, 1000)], Vec::new()));
    counts.totals().asleep[Class::Poll as usize] = 3;
    let states = |told: &BTreeMap<Key, Data>| {
        let is_state = |metric: &MetricId| matches!(metric, MetricId::SyscallActive | MetricId::SyscallTimed);
        told.keys().filter(|(metric, _)| is_state(metric)).count()
    };
    let shed = told(&mut counts, false);
    assert_eq!(states(&shed), 0, "who knows how many sleep now?");
    assert_eq!(shed.keys().filter(|(metric, _)| *metric == MetricId::SyscallCalls).count(), 1, "calls stay counted");
    counts.totals().observed = true;
    assert_eq!(states(&told(&mut counts, false)), 2);
}

#[test]
fn series_have_the_attributes_of_their_rows() {
    let mut counts = HostCounts::default();
    counts.totals().observed = true;
    counts.files(&reading(1, 1));
    let calls = (0..9).flat_map(|class| [(class, false, 1000), (class, true, 1000)]).collect();
    happen(counts.totals(), &(calls, (0..8).map(|role| (role, 1)).collect()));
    for way in &mut counts.totals().disk {
        way.requests = 1;
        way.latency.record(5);
    }
    for (metric, attributes) in told(&mut counts, false).into_keys() {
        let row = metric.row();
        assert!(attributes.iter().all(|(key, _)| row.attributes.contains(key)), "{}: {attributes:?}", row.name);
    }
}
