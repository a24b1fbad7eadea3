//! How far a workload is: its output tokens so far, and the time that its requests were under way.

use inferscope_common::exchange::ENCODED_BODY;

use crate::bpf::Steps;
use crate::model::request::{Request, TokenSource};

/// Events after which older requests weigh half as much in the tokens of an event.
const MEMORY: u64 = 1 << 20;

/// Output tokens of one workload as they come, and its time under way. Events are what is seen while a stream
/// runs; how many tokens an event holds is learnt from streams that ended with a count of the server's own.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    last: Option<Steps>,
    tokens: u64,
    /// Nanoseconds, added up over requests.
    busy: u64,
    active: u64,
    /// Of finished streams: tokens, and events.
    streams: (u64, u64),
    /// Since the last step: tokens that did not stream, time under way of finished requests, and how many of these
    /// began before it.
    plain: u64,
    finished: u64,
    carried: u64,
}

impl Progress {
    /// Takes a finished request; `since` is when the last step was, in monotonic time.
    pub(super) fn request(&mut self, request: &Request, since: u64) {
        let (tokens, events) = (request.output_tokens.unwrap_or(0), u64::from(request.figures.events));
        let counts_events = request.streamed && request.figures.flags & ENCODED_BODY == 0;
        if !counts_events {
            self.plain += tokens;
        } else if request.token_source == TokenSource::Usage && tokens > 0 && events > 0 {
            self.streams.0 += tokens;
            self.streams.1 += events;
            if self.streams.1 > MEMORY {
                self.streams = (self.streams.0 / 2, self.streams.1 / 2);
            }
        }
        if let Some(started) = request.started {
            self.finished += request.ended.saturating_sub(started.max(since));
            self.carried += u64::from(started < since);
        }
    }

    /// A step of `nanos`, at the end of which the workload is so far.
    pub(super) fn advance(&mut self, now: Steps, nanos: u64) {
        let plain = std::mem::take(&mut self.plain);
        let (finished, carried) = (std::mem::take(&mut self.finished), std::mem::take(&mut self.carried));
        let Some(before) = self.last.replace(now) else { return };
        let events = now.events.wrapping_sub(before.events);
        self.tokens += plain + self.tokens_of(events.into());
        let (begun, ended) = (now.begun.wrapping_sub(before.begun), now.ended.wrapping_sub(before.ended));
        let active = (self.active + begun).saturating_sub(ended);
        let stayed = self.active.saturating_sub(carried).min(active);
        // Those that are new came at any time of the step.
        self.busy += finished + stayed * nanos + (active - stayed) * nanos / 2;
        self.active = active;
    }

    /// Output tokens so far.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Time under way so far, added up over requests, in nanoseconds.
    pub(super) fn busy(&self) -> u64 {
        self.busy
    }

    fn tokens_of(&self, events: u64) -> u64 {
        match self.streams {
            (tokens, of) if of > 0 => {
                (u128::from(events) * u128::from(tokens) / u128::from(of)).min(u128::from(u64::MAX)) as u64
            }
            _ => events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::Operation;
    use crate::model::workload::WorkloadId;
    use inferscope_common::exchange::Figures;
    use inferscope_common::flow::Role;

    const SECOND: u64 = 1_000_000_000;

    fn steps(events: u32, begun: u64, ended: u64) -> Steps {
        Steps { events, begun, ended }
    }

    fn request(streamed: bool, tokens: u64, events: u32, started: u64, ended: u64) -> Request {
        Request {
            status: 200,
            streamed,
            started: Some(started),
            duration: Some(ended - started),
            output_tokens: Some(tokens),
            token_source: TokenSource::Usage,
            figures: Figures { events, ..Figures::default() },
            ..Request::bare(WorkloadId(1), Role::Server, Operation::Chat, ended)
        }
    }

    #[test]
    fn events_are_tokens_until_streams_tell_better() {
        let mut progress = Progress::default();
        progress.advance(steps(1_000, 5, 5), SECOND);
        progress.advance(steps(1_100, 5, 5), SECOND);
        assert_eq!(progress.tokens(), 100);
        progress.request(&request(true, 400, 100, SECOND, 2 * SECOND), SECOND);
        progress.advance(steps(1_150, 5, 5), SECOND);
        assert_eq!(progress.tokens(), 100 + 200, "four tokens in each event");
        progress.request(&request(false, 7, 0, 2 * SECOND, 3 * SECOND), 2 * SECOND);
        progress.advance(steps(1_150, 6, 6), SECOND);
        assert_eq!(progress.tokens(), 300 + 7);
    }

    #[test]
    fn time_under_way_adds_up_over_requests() {
        let mut progress = Progress::default();
        progress.advance(steps(0, 0, 0), SECOND);
        // Two begin, some time within the second; then both are there for a whole one; then one of them ends half-way.
        progress.advance(steps(0, 2, 0), SECOND);
        assert_eq!(progress.busy(), SECOND);
        progress.advance(steps(0, 2, 0), SECOND);
        assert_eq!(progress.busy(), 3 * SECOND);
        progress.request(&request(true, 10, 10, 0, 3 * SECOND + SECOND / 2), 3 * SECOND);
        progress.advance(steps(0, 2, 1), SECOND);
        assert_eq!(progress.busy(), 3 * SECOND + SECOND / 2 + SECOND);
    }
}
