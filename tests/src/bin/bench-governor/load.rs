//! What the watched cgroups do: requests in one, system calls and switches in the other.

use std::time::Duration;

use anyhow::{Context, Result};
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::clients::{Client, Job, Running};
use inferscope_tests::host::load::{Load, binary};
use inferscope_tests::servers::{Kind, Server};

/// Tokens of a stream.
const TOKENS: u32 = 5;
/// Calls that a thread makes at once.
const BURST: u32 = 10;

/// Where loads run.
pub(crate) struct Stage {
    pub(crate) server: Server,
    /// Of the class `other` nothing but the load makes calls in here; a server would.
    pub(crate) calls: Cgroup,
}

impl Stage {
    pub(crate) fn set() -> Result<Self> {
        Ok(Self { server: Server::start(Kind::Axum)?, calls: Cgroup::create("calls")? })
    }
}

/// A load under way.
pub(crate) struct Work {
    requests: Running,
    calls: Load,
}

/// What was done, by those who did it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, serde::Serialize)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    pub(crate) tokens: u64,
    /// Of the class `other`.
    pub(crate) calls: u64,
}

impl Work {
    /// So many streams at the same time, and as many threads that make calls and sleep, for some time.
    pub(crate) fn start(stage: &Stage, streams: u32, lasts: Duration) -> Result<Self> {
        let [threads, millis, burst] = [streams.into(), lasts.as_millis(), BURST.into()].map(|word| word.to_string());
        let mut calls = Load::start(&binary("syscall-load"), &["bursts", &threads, &millis, &burst], &[&stage.calls])?;
        let ask = Ask::stream(Api::Chat, TOKENS).paced(5.0, 1.0);
        let requests = Client::Hyper.start(&stage.server, vec![Job::new(&ask, 1_000_000, streams)], None)?;
        calls.go()?;
        Ok(Self { requests, calls })
    }

    /// Requests that have ended.
    pub(crate) fn requests(&self) -> usize {
        self.requests.done()
    }

    /// Waits until it has done what it is for.
    pub(crate) fn end(mut self) -> Result<Done> {
        let calls = self.calls.done()?.parse().context("no number of calls")?;
        self.calls.end()?;
        let seen = self.requests.stop()?;
        let tokens = seen.iter().filter_map(|seen| seen.tokens).sum();
        Ok(Done { requests: seen.len() as u64, tokens, calls })
    }
}

impl std::ops::AddAssign for Done {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.tokens += other.tokens;
        self.calls += other.calls;
    }
}
