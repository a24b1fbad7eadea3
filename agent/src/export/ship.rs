//! Takes payloads from a queue, one after the other, and delivers them: the retries of OTLP's contract.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::export::answer::Answer;
use crate::export::backoff::Backoff;
use crate::export::queue::{Flight, Queue};
use crate::export::report::Report;
use crate::export::stats::LossCause;
use crate::export::transport::Transport;

/// Delivers one signal. In order, and one request at a time: a receiver that comes back is not overrun.
#[derive(Debug)]
pub(super) struct Shipper {
    pub(super) queue: Arc<Queue>,
    pub(super) transport: Transport,
    pub(super) backoff: Backoff,
    pub(super) report: Report,
    /// Becomes true when the agent is to stop.
    pub(super) closing: watch::Receiver<bool>,
}

impl Shipper {
    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        while let Some(flight) = self.queue.take().await {
            let answer = self.transport.send(&flight.payload).await;
            self.settle(flight, answer).await;
        }
    }

    async fn settle(&mut self, flight: Flight, answer: Answer) {
        let stats = self.queue.stats();
        let (items, encoded) = (flight.payload.items, flight.payload.encoded as u64);
        match answer {
            Answer::Retry { after, why } => {
                // Back to its place first: while it waits it is the oldest, and the first to go.
                drop(flight);
                stats.add_retry();
                let wait = self.backoff.wait(after);
                self.report.failed(&why, wait, self.queue.len());
                self.pause(wait, after.is_some()).await;
                return;
            }
            Answer::Accepted { rejected, warned } => {
                stats.add_delivered(items - rejected, encoded);
                stats.add_lost(LossCause::Rejected, rejected);
                if rejected > 0 || warned {
                    self.report.rejected(rejected);
                }
            }
            Answer::Refused(why) => {
                stats.add_lost(LossCause::Refused, items);
                self.report.refused(Some(&why), items);
            }
            Answer::TooLarge => {
                stats.add_lost(LossCause::Answer, items);
                self.report.refused(None, items);
            }
        }
        flight.settle();
        self.backoff.reset();
        self.report.answered(self.queue.len());
    }

    /// Waits. When the agent is to stop, only as long as the receiver itself asked for.
    async fn pause(&mut self, wait: Duration, asked: bool) {
        let closing = &mut self.closing;
        let hurry = !asked && !*closing.borrow();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // A sender that is gone closes, too.
            _ = closing.wait_for(|&closing| closing), if hurry => {}
        }
    }
}
