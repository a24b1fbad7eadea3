//! What can be shed, in which order, and what is in force. The order is a table: `docs/governor.md` shows it.

/// A part of what the agent does that it can do without. Counts and metrics of requests are no such part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// When each token of a request passed.
    TokenTimelines,
    /// How long system calls took; they stay counted.
    SyscallClocks,
    /// The scheduler's books.
    Scheduler,
    /// System calls altogether.
    Syscalls,
    /// Spans of requests that went well.
    Spans,
    /// Spans and log records that wait for a receiver.
    Backlog,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::TokenTimelines, Self::SyscallClocks, Self::Scheduler, Self::Syscalls, Self::Spans, Self::Backlog];

    /// `inferscope.agent.detail`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TokenTimelines => "token_timelines",
            Self::SyscallClocks => "syscall_clocks",
            Self::Scheduler => "scheduler",
            Self::Syscalls => "syscalls",
            Self::Spans => "spans",
            Self::Backlog => "backlog",
        }
    }
}

/// What is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detail {
    /// Tokens are told one by one.
    pub token_timelines: bool,
    /// One system call in 2^k is timed.
    pub syscall_clocks: u32,
    /// The scheduler is watched.
    pub scheduler: bool,
    /// System calls are watched.
    pub syscalls: bool,
    /// Every finished request becomes a span; else those alone that failed.
    pub spans: bool,
    /// Spans and log records may fill one in 2^k parts of their queues. That of metrics is never touched.
    pub backlog: u32,
}

impl Detail {
    /// Everything there is.
    pub const FULL: Self =
        Self { token_timelines: true, syscall_clocks: 0, scheduler: true, syscalls: true, spans: true, backlog: 0 };

    /// True where something of `part` is shed.
    pub fn lacks(&self, part: Part) -> bool {
        match part {
            Part::TokenTimelines => !self.token_timelines,
            Part::SyscallClocks => self.syscall_clocks > 0,
            Part::Scheduler => !self.scheduler,
            Part::Syscalls => !self.syscalls,
            Part::Spans => !self.spans,
            Part::Backlog => self.backlog > 0,
        }
    }

    /// The same with one rung more shed.
    pub(super) fn without(mut self, rung: &Rung) -> Self {
        (rung.shed)(&mut self);
        self
    }
}

impl Default for Detail {
    fn default() -> Self {
        Self::FULL
    }
}

/// One thing to shed.
#[derive(Debug)]
pub struct Rung {
    /// Of which part.
    pub part: Part,
    /// What no longer happens, for people.
    pub loses: &'static str,
    shed: fn(&mut Detail),
}

/// What is shed to save CPU, first things first.
pub static FOR_CPU: [Rung; 6] = [
    Rung {
        part: Part::TokenTimelines,
        loses: "timelines of single tokens",
        shed: |detail| detail.token_timelines = false,
    },
    Rung {
        part: Part::SyscallClocks,
        loses: "clocks on seven of eight system calls",
        shed: |detail| detail.syscall_clocks = 3,
    },
    Rung {
        part: Part::SyscallClocks,
        loses: "clocks on 63 of 64 system calls",
        shed: |detail| detail.syscall_clocks = 6,
    },
    Rung { part: Part::Scheduler, loses: "the scheduler", shed: |detail| detail.scheduler = false },
    Rung { part: Part::Syscalls, loses: "system calls", shed: |detail| detail.syscalls = false },
    Rung { part: Part::Spans, loses: SPANS, shed: |detail| detail.spans = false },
];

/// What is shed to save memory, first things first: what waits for a receiver that is away is the largest, and old.
pub static FOR_MEMORY: [Rung; 2] = [
    Rung {
        part: Part::Backlog,
        loses: "the oldest spans and log records that wait, beyond a quarter of their queues",
        shed: |detail| detail.backlog = 2,
    },
    Rung { part: Part::Spans, loses: SPANS, shed: |detail| detail.spans = false },
];

/// What is shed where threads spin, out of turn: nothing before it in the order would spare them anything.
pub static FOR_SPINNERS: [Rung; 1] =
    [Rung { part: Part::Syscalls, loses: "system calls", shed: |detail| detail.syscalls = false }];

const SPANS: &str = "spans of requests that went well";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_published_one() {
        let order = |rungs: &[Rung]| rungs.iter().map(|rung| rung.part).collect::<Vec<_>>();
        let cpu = order(&FOR_CPU);
        assert!(cpu.is_sorted(), "parts stand in the order in which they are shed: {cpu:?}");
        assert_eq!(order(&FOR_MEMORY), [Part::Backlog, Part::Spans]);
    }

    #[test]
    fn every_rung_takes_something_of_its_part_and_of_no_other() {
        for rungs in [&FOR_CPU[..], &FOR_MEMORY, &FOR_SPINNERS] {
            let mut detail = Detail::FULL;
            for rung in rungs {
                let less = detail.without(rung);
                assert_ne!(less, detail, "{rung:?}");
                assert!(less.lacks(rung.part));
                for other in Part::ALL.into_iter().filter(|other| *other != rung.part) {
                    assert_eq!(less.lacks(other), detail.lacks(other), "{rung:?} {other:?}");
                }
                detail = less;
            }
        }
    }
}
