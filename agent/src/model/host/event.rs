//! What happens to a workload on its host, and is told as a log record.

use std::sync::Arc;

use crate::model::attr::{self, Attributes, Value};
use crate::model::event::{Event, Kind, Severity, Subject};
use crate::model::request::Label;
use crate::model::workload::Workload;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// The kernel killed a process for want of memory.
    OomKill {
        /// The process, as the machine numbers it.
        process: u32,
        /// Its name.
        name: Label,
    },
    /// The kernel killed processes for want of memory, and which is not known.
    OomKills {
        /// How many.
        processes: u64,
    },
    /// The CPU quota was used up, and had not been in the interval before.
    Throttled {
        /// Periods of the quota in this interval in which it was used up.
        throttled: u64,
        /// Periods that passed.
        periods: u64,
        /// Nanoseconds for which tasks were held back.
        nanos: u64,
    },
}

/// Every kind of event.
pub static EVENTS: [Kind; 2] = [
    Kind {
        name: "inferscope.memory.oom_kill",
        severities: "ERROR",
        description: "The kernel killed a process of the workload for want of memory. Where it does not tell which, one \
            record tells how many.",
        attributes: &[attr::PROCESS_PID, attr::PROCESS_NAME, attr::PROCESSES],
    },
    Kind {
        name: "inferscope.cpu.throttled",
        severities: "WARN",
        description: "The workload used its CPU quota up and was held back, for the first time since an interval in which \
            it was not.",
        attributes: &[attr::THROTTLED_PERIODS, attr::PERIODS, attr::THROTTLED_TIME],
    },
];

impl EventKind {
    /// The log record of a workload to which this happened at `time`, in nanoseconds since the Unix epoch.
    pub fn record(&self, workload: &Arc<Workload>, time: u64) -> Event {
        let (kind, severity) = match self {
            Self::OomKill { .. } | Self::OomKills { .. } => (&EVENTS[0], Severity::Error),
            Self::Throttled { .. } => (&EVENTS[1], Severity::Warn),
        };
        Event {
            time,
            resource: Subject::Workload(Arc::clone(workload)),
            name: kind.name,
            severity,
            body: self.text(),
            attributes: self.attributes(),
        }
    }

    /// One line for people.
    pub fn text(&self) -> String {
        match self {
            Self::OomKill { process, name } => format!("killed for want of memory: {name} ({process})"),
            Self::OomKills { processes } => format!("killed for want of memory: {processes} processes"),
            Self::Throttled { throttled, periods, nanos } => {
                let seconds = *nanos as f64 / 1e9;
                format!("CPU quota used up in {throttled} of {periods} periods, {seconds:.3} s held back")
            }
        }
    }

    fn attributes(&self) -> Attributes {
        let int = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        match self {
            Self::OomKill { process, name } => {
                vec![(attr::PROCESS_PID, int((*process).into())), (attr::PROCESS_NAME, Label::clone(name).into())]
            }
            Self::OomKills { processes } => vec![(attr::PROCESSES, int(*processes))],
            Self::Throttled { throttled, periods, nanos } => vec![
                (attr::THROTTLED_PERIODS, int(*throttled)),
                (attr::PERIODS, int(*periods)),
                (attr::THROTTLED_TIME, Value::Seconds(*nanos)),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::workload::WorkloadId;

    #[test]
    fn records_have_the_attributes_of_their_row() {
        let workload = Workload::sample(WorkloadId(1));
        for kind in [
            EventKind::OomKill { process: 4711, name: "python3".into() },
            EventKind::OomKills { processes: 3 },
            EventKind::Throttled { throttled: 9, periods: 100, nanos: 1_250_000_000 },
        ] {
            let record = kind.record(&workload, 5);
            let row = EVENTS.iter().find(|row| row.name == record.name).unwrap();
            assert!(!record.attributes.is_empty());
            for (key, _) in record.attributes {
                assert!(row.attributes.contains(&key), "{key}");
            }
        }
    }
}
