//! A stream's writes, each when it is due.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_stream::try_stream;
use bytes::Bytes;
use inferscope_tests::ask::Pace;
use tokio_stream::Stream;

use crate::shapes::Shape;

/// Between the pieces of an event.
const SPLIT: Duration = Duration::from_millis(1);
const COMMENT: &str = ": keep-alive\n\n";

pub(crate) fn stream(shape: Arc<Shape>, pace: Pace) -> impl Stream<Item = io::Result<Bytes>> + Send {
    try_stream! {
        for event in shape.opening() {
            yield event.into();
        }
        let comments = pace.comments.unwrap_or_default();
        let wait = milliseconds(pace.first_ms) / (comments + 1);
        for _ in 0..comments {
            tokio::time::sleep(wait).await;
            yield COMMENT.into();
        }
        pause(wait).await;
        let (per_write, mut held, mut text) = (pace.per_write.unwrap_or(1), 0, String::new());
        for number in 0..shape.tokens {
            if pace.error_after == Some(number) {
                for event in shape.failure() {
                    yield event.into();
                }
                return;
            }
            if pace.die_after == Some(number) {
                Err(io::Error::from(io::ErrorKind::ConnectionAborted))?;
            }
            text += &shape.content(number);
            held += 1;
            let last = number + 1 == shape.tokens;
            if held == per_write || last {
                for (piece, bytes) in split(&text, pace.split.unwrap_or(1)).enumerate() {
                    if piece > 0 {
                        tokio::time::sleep(SPLIT).await;
                    }
                    yield bytes;
                }
                (held, text) = (0, String::new());
            }
            if !last {
                pause(milliseconds(pace.token_ms)).await;
                if comments > 0 {
                    yield COMMENT.into();
                }
            }
        }
        for event in shape.closing() {
            yield event.into();
        }
    }
}

pub(crate) fn milliseconds(time: Option<f64>) -> Duration {
    Duration::from_secs_f64(time.unwrap_or_default() / 1000.0)
}

/// A timer of zero would still cost a tick of a millisecond.
pub(crate) async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn split(text: &str, pieces: u32) -> impl Iterator<Item = Bytes> {
    let size = text.len().div_ceil(pieces.max(1) as usize).max(1);
    let pieces: Vec<_> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
    pieces.into_iter()
}
