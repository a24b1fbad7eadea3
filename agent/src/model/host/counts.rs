//! The host's part of a workload: from totals to what is new.

use std::collections::BTreeMap;

use super::reading::Reading;
use super::series::{self, Value, Words};
use super::totals::Totals;
use crate::model::attr::{Attributes, PRESSURE_KIND, PRESSURE_RESOURCE};
use crate::model::batch::{Data, Point};
use crate::model::histogram::{Histogram, grown};
use crate::model::host::EventKind;
use crate::model::metrics::MetricId;

/// What the host has done for a workload: since the last flush (delta), or since it is watched (cumulative).
#[derive(Debug, Default)]
pub(in crate::model) struct HostCounts {
    totals: Totals,
    /// Where the next delta begins; nothing where cumulative.
    told: BTreeMap<(MetricId, Words), Told>,
    files: [Grown; FILES.len()],
    memory: Option<u64>,
    memory_limit: Option<u64>,
    /// The quota was used up in the interval before.
    throttled: bool,
    /// Kills that a record told of, since the files were last read.
    kills: u64,
}

#[derive(Debug)]
enum Told {
    Sum(u64),
    Histogram(Histogram),
}

/// A counter that began before the workload was watched, and may begin anew.
#[derive(Clone, Copy, Debug, Default)]
struct Grown {
    last: Option<u64>,
    sum: u64,
}

impl Grown {
    /// Takes the counter as it is now, and answers its growth. What is not told has not changed.
    fn set(&mut self, now: Option<u64>) -> u64 {
        let growth = now.zip(self.last).map_or(0, |(now, last)| grown(now, last));
        self.last = now.or(self.last);
        self.sum += growth;
        growth
    }
}

/// A counter of cgroup files.
struct File {
    metric: MetricId,
    words: &'static [(&'static str, &'static str)],
    /// Its value is a time, in nanoseconds.
    time: bool,
    value: fn(&Reading) -> Option<u64>,
}

const fn count(metric: MetricId, value: fn(&Reading) -> Option<u64>) -> File {
    File { metric, words: &[], time: false, value }
}

const fn time(metric: MetricId, value: fn(&Reading) -> Option<u64>) -> File {
    File { metric, words: &[], time: true, value }
}

const fn stalled(words: &'static [(&'static str, &'static str)], value: fn(&Reading) -> Option<u64>) -> File {
    File { metric: MetricId::PressureTime, words, time: true, value }
}

const THROTTLED: usize = 2;
const OOM_KILLS: usize = 5;
const FILES: [File; 11] = [
    time(MetricId::CpuTime, |reading| reading.cpu_nanos),
    count(MetricId::CpuPeriods, |reading| reading.throttle.map(|throttle| throttle.periods)),
    count(MetricId::CpuThrottledPeriods, |reading| reading.throttle.map(|throttle| throttle.throttled)),
    time(MetricId::CpuThrottledTime, |reading| reading.throttle.map(|throttle| throttle.nanos)),
    count(MetricId::MemoryLimitHits, |reading| reading.memory_limit_hits),
    count(MetricId::OomKills, |reading| reading.oom_kills),
    stalled(&[(PRESSURE_RESOURCE, "cpu"), (PRESSURE_KIND, "some")], |reading| nanos(reading.pressure.cpu_some)),
    stalled(&[(PRESSURE_RESOURCE, "memory"), (PRESSURE_KIND, "some")], |reading| nanos(reading.pressure.memory_some)),
    stalled(&[(PRESSURE_RESOURCE, "memory"), (PRESSURE_KIND, "full")], |reading| nanos(reading.pressure.memory_full)),
    stalled(&[(PRESSURE_RESOURCE, "io"), (PRESSURE_KIND, "some")], |reading| nanos(reading.pressure.io_some)),
    stalled(&[(PRESSURE_RESOURCE, "io"), (PRESSURE_KIND, "full")], |reading| nanos(reading.pressure.io_full)),
];

fn nanos(micros: Option<u64>) -> Option<u64> {
    micros.map(|micros| micros * 1000)
}

impl HostCounts {
    /// The probes' totals, to be brought up to date.
    pub(in crate::model) fn totals(&mut self) -> &mut Totals {
        &mut self.totals
    }

    /// Takes note that a kill was told of.
    pub(in crate::model) fn killed(&mut self) {
        self.kills += 1;
    }

    /// Takes cgroup files as they are now; the first ones are where counting begins. Answers what began meanwhile.
    pub(in crate::model) fn files(&mut self, reading: &Reading) -> Vec<EventKind> {
        let mut growth = [0; FILES.len()];
        for ((file, state), growth) in FILES.iter().zip(&mut self.files).zip(&mut growth) {
            *growth = state.set((file.value)(reading));
        }
        (self.memory, self.memory_limit) = (reading.memory, reading.memory_limit);
        let mut events = Vec::new();
        let [_, periods, throttled, nanos, ..] = growth;
        if throttled > 0 && !self.throttled {
            events.push(EventKind::Throttled { throttled, periods, nanos });
        }
        self.throttled = growth[THROTTLED] > 0;
        // Kernels without the hook, and rings that were full, leave the files' count alone.
        let unseen = growth[OOM_KILLS].saturating_sub(std::mem::take(&mut self.kills));
        if unseen > 0 {
            events.push(EventKind::OomKills { processes: unseen });
        }
        events
    }

    /// Appends the points of what has grown; of everything where not `delta`.
    pub(in crate::model) fn collect(&mut self, delta: bool, points: &mut Vec<Point>) {
        let Self { totals, told, .. } = self;
        series::each(totals, &mut |metric, words, value| {
            if let Some(data) = news(told, metric, &words, value, delta) {
                points.push(Point { metric, attributes: attributes(&words), data });
            }
        });
        for (file, state) in FILES.iter().zip(&mut self.files) {
            if state.last.is_some() && (state.sum != 0 || !delta) {
                let data = if file.time { Data::Seconds(state.sum) } else { Data::Sum(state.sum) };
                points.push(Point { metric: file.metric, attributes: attributes(file.words), data });
            }
            if delta {
                state.sum = 0;
            }
        }
        for (metric, bytes) in [(MetricId::MemoryUsage, self.memory), (MetricId::MemoryLimit, self.memory_limit)] {
            if let Some(bytes) = bytes {
                points.push(Point { metric, attributes: Vec::new(), data: current(bytes) });
            }
        }
    }
}

/// What is to be told of a series. Counters of which nothing is new are left out of a delta, empty histograms always.
fn news(
    told: &mut BTreeMap<(MetricId, Words), Told>,
    metric: MetricId,
    words: &Words,
    value: Value<'_>,
    delta: bool,
) -> Option<Data> {
    match value {
        Value::Current(value) => Some(current(value)),
        Value::Histogram(histogram) if histogram.count() == 0 => None,
        Value::Sum(sum) if !delta => Some(Data::Sum(sum)),
        Value::Histogram(histogram) if !delta => Some(Data::Histogram(histogram.clone())),
        Value::Sum(sum) => {
            let last = told.entry((metric, words.clone())).or_insert(Told::Sum(0));
            let Told::Sum(before) = std::mem::replace(last, Told::Sum(sum)) else { return None };
            Some(Data::Sum(grown(sum, before))).filter(|data| *data != Data::Sum(0))
        }
        Value::Histogram(histogram) => {
            let last = told.entry((metric, words.clone())).or_insert_with(|| Told::Histogram(Histogram::default()));
            let Told::Histogram(before) = last else { return None };
            let growth = histogram.since(before);
            before.clone_from(histogram);
            (growth.count() != 0).then_some(Data::Histogram(growth))
        }
    }
}

fn current(value: u64) -> Data {
    Data::Current(i64::try_from(value).unwrap_or(i64::MAX))
}

fn attributes(words: &[(&'static str, &'static str)]) -> Attributes {
    words.iter().map(|&(key, word)| (key, word.into())).collect()
}
