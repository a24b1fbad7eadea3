//! The rules that turn what was metered of an exchange into the facts of a request.

use inferscope_common::exchange::{
    CLOSED_HERE, CLOSED_THERE, COMPLETE, COUNTED, FAILED, Figures, HOLES, JOINED, RESET, TERMINATED,
};
use inferscope_common::flow::Role;
use inferscope_common::head::Content;
use inferscope_common::json::Finish;

use crate::model::request::TokenSource;

/// How an exchange ended, before labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// As its framing or its stream says.
    Well,
    /// With a status of 400 or more.
    Status(u16),
    /// With an error inside a stream.
    Stream,
    /// The asking side closed.
    Aborted,
    /// The answering side closed, or nobody knows.
    Broken,
}

/// Judges the end of an exchange.
pub fn end(figures: &Figures, role: Role) -> End {
    let has = |flag: u16| figures.flags & flag != 0;
    if figures.status >= 400 {
        return End::Status(figures.status);
    }
    if has(FAILED) {
        return End::Stream;
    }
    if has(COMPLETE | TERMINATED) {
        return End::Well;
    }
    let (client, server) = match role {
        Role::Server => (CLOSED_THERE, CLOSED_HERE),
        Role::Client => (CLOSED_HERE, CLOSED_THERE),
    };
    // A server that notices the client's close closes too: the client's counts.
    if has(client) || has(RESET) && !has(server) { End::Aborted } else { End::Broken }
}

/// When things happened. Instants and durations in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// First byte of the request, where it was seen.
    pub started: Option<u64>,
    /// When the exchange was over.
    pub ended: u64,
    /// From `started` to `ended`.
    pub duration: Option<u64>,
    /// From `started` to the first event with content.
    pub first_token: Option<u64>,
}

/// Reads the times. `closed`: when the exchange's end was noticed, which counts where it never came to one of its own.
pub fn times(figures: &Figures, end: End, closed: u64) -> Times {
    let started = (figures.flags & JOINED == 0 && figures.request_first != 0).then_some(figures.request_first);
    let own = if figures.terminal != 0 { figures.terminal } else { figures.last };
    let cut = matches!(end, End::Aborted | End::Broken);
    let ended = if cut || own == 0 { closed.max(own) } else { own };
    let since = |instant: u64| started.map(|first| instant.saturating_sub(first));
    let first_token = if figures.first_content == 0 { None } else { since(figures.first_content) };
    Times { started, ended, duration: since(ended), first_token }
}

/// Tokens, and whose count they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tokens {
    /// Input tokens by the server.
    pub input: Option<u64>,
    /// Output tokens as `source` says.
    pub output: Option<u64>,
    /// Whose count `output` is.
    pub source: TokenSource,
}

/// Tokens of a stream: the server's own count, else events with content.
pub fn stream_tokens(figures: &Figures, end: End) -> Tokens {
    let events = u64::from(figures.events);
    let counted = figures.flags & COUNTED != 0;
    let (input, output) = (u64::from(figures.input_tokens), u64::from(figures.output_tokens));
    let input = (counted && input > 0).then_some(input);
    // A count that was given at the start of a stream says nothing of one that was cut short.
    let final_count = end == End::Well || output >= events;
    if counted && final_count && (output > 0 || events == 0) {
        return Tokens { input, output: Some(output), source: TokenSource::Usage };
    }
    Tokens { input, output: (events > 0).then_some(events), source: TokenSource::Events }
}

/// (duration − TTFT) / (n − 1), for a stream that ended well. Not for several answers at once, whose
/// tokens interleave, nor for a count that is known to be too low.
pub fn per_token(figures: &Figures, end: End, times: &Times, tokens: &Tokens, choices: u32) -> Option<u64> {
    let short = tokens.source == TokenSource::Events && figures.flags & HOLES != 0;
    if end != End::Well || choices > 1 || short {
        return None;
    }
    let rest = times.duration?.checked_sub(times.first_token?)?;
    let tokens = tokens.output?.checked_sub(1).filter(|&more| more > 0)?;
    Some(rest / tokens)
}

/// True for a response that came as events.
pub fn is_stream(figures: &Figures) -> bool {
    Content::from_number(figures.content).is_stream()
}

/// Why generation ended, in the fewest words that fit all servers.
pub fn finish(number: u8) -> Option<&'static str> {
    const WORDS: [(Finish, &str); 5] = [
        (Finish::Stop, "stop"),
        (Finish::Length, "length"),
        (Finish::ToolCalls, "tool_calls"),
        (Finish::ContentFilter, "content_filter"),
        (Finish::Other, "other"),
    ];
    WORDS.into_iter().find(|(finish, _)| *finish as u8 == number).map(|(_, word)| word)
}

/// The same from a server's own word.
pub fn finish_of(word: &[u8]) -> &'static str {
    match word {
        b"stop" | b"end_turn" | b"stop_sequence" | b"eos_token" | b"eos" | b"word" | b"completed" => "stop",
        b"length" | b"max_tokens" | b"limit" | b"max_output_tokens" => "length",
        b"tool_calls" | b"tool_use" | b"function_call" => "tool_calls",
        b"content_filter" | b"refusal" => "content_filter",
        _ => "other",
    }
}
