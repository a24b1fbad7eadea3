//! The words that mean something in an inference server's JSON, looked up by hash.
//!
//! Source: the wire formats of OpenAI (chat, completions, responses), Anthropic, Ollama, TGI, SGLang,
//! llama.cpp and Triton. One row here teaches both the kernel and the agent a word.

/// What a JSON key announces about its value.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    Unknown,
    /// Generated text, where it is a string that is not empty.
    Content,
    /// Tool calls, where they are an array that is not empty.
    Tools,
    /// Number of tokens by the server's own `usage`.
    InputTokens,
    OutputTokens,
    /// The same by a server's timings, which may leave cached tokens out: only where nothing better comes.
    InputTokensTimed,
    OutputTokensTimed,
    /// An error, unless null.
    Error,
    /// The stream's end, where true.
    Done,
    /// The kind of an event: see [`Value`].
    Type,
    /// Why generation ended, where it is a string.
    Finish,
    /// The stream's end, where it is a string.
    Whole,
}

/// What a string means as the value of [`Key::Type`] or [`Key::Finish`], or as the name of an event.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Unknown,
    /// This event ends the stream.
    Terminal,
    /// This event ends the stream: the answer is complete.
    Completed,
    /// This event ends the stream: the answer was cut short.
    Incomplete,
    /// This event ends the stream with an error.
    Failed,
    /// This event is an error.
    Error,
    /// This event repeats content that earlier events carried.
    Repeats,
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
}

const WORDS: &[(&str, Key, Value)] = &[
    ("content", Key::Content, Value::Unknown),
    ("text", Key::Content, Value::Unknown),
    ("reasoning", Key::Content, Value::Unknown),
    ("reasoning_content", Key::Content, Value::Unknown),
    ("refusal", Key::Content, Value::ContentFilter),
    ("thinking", Key::Content, Value::Unknown),
    ("partial_json", Key::Content, Value::Unknown),
    ("delta", Key::Content, Value::Unknown),
    ("response", Key::Content, Value::Unknown),
    ("text_output", Key::Content, Value::Unknown),
    ("tool_calls", Key::Tools, Value::ToolCalls),
    ("prompt_tokens", Key::InputTokens, Value::Unknown),
    ("input_tokens", Key::InputTokens, Value::Unknown),
    ("input_length", Key::InputTokens, Value::Unknown),
    ("prompt_eval_count", Key::InputTokens, Value::Unknown),
    ("completion_tokens", Key::OutputTokens, Value::Unknown),
    ("output_tokens", Key::OutputTokens, Value::Unknown),
    ("eval_count", Key::OutputTokens, Value::Unknown),
    ("generated_tokens", Key::OutputTokens, Value::Unknown),
    ("prompt_n", Key::InputTokensTimed, Value::Unknown),
    ("tokens_evaluated", Key::InputTokens, Value::Unknown),
    ("predicted_n", Key::OutputTokensTimed, Value::Unknown),
    ("tokens_predicted", Key::OutputTokens, Value::Unknown),
    ("error", Key::Error, Value::Error),
    ("done", Key::Done, Value::Unknown),
    ("stop", Key::Done, Value::Stop),
    ("generated_text", Key::Whole, Value::Unknown),
    ("type", Key::Type, Value::Unknown),
    ("finish_reason", Key::Finish, Value::Unknown),
    ("stop_reason", Key::Finish, Value::Unknown),
    ("done_reason", Key::Finish, Value::Unknown),
    ("stop_type", Key::Finish, Value::Unknown),
    ("message_stop", Key::Unknown, Value::Terminal),
    ("response.completed", Key::Unknown, Value::Completed),
    ("response.incomplete", Key::Unknown, Value::Incomplete),
    ("response.failed", Key::Unknown, Value::Failed),
    ("response.output_text.done", Key::Unknown, Value::Repeats),
    ("response.reasoning_text.done", Key::Unknown, Value::Repeats),
    ("response.reasoning_summary_text.done", Key::Unknown, Value::Repeats),
    ("response.refusal.done", Key::Unknown, Value::Repeats),
    ("response.content_part.done", Key::Unknown, Value::Repeats),
    ("response.output_item.done", Key::Unknown, Value::Repeats),
    ("response.created", Key::Unknown, Value::Repeats),
    ("response.in_progress", Key::Unknown, Value::Repeats),
    ("eos_token", Key::Unknown, Value::Stop),
    ("end_turn", Key::Unknown, Value::Stop),
    ("stop_sequence", Key::Unknown, Value::Stop),
    ("eos", Key::Unknown, Value::Stop),
    ("word", Key::Unknown, Value::Stop),
    ("limit", Key::Unknown, Value::Length),
    ("length", Key::Unknown, Value::Length),
    ("max_tokens", Key::Unknown, Value::Length),
    ("tool_use", Key::Unknown, Value::ToolCalls),
    ("function_call", Key::Unknown, Value::ToolCalls),
    ("content_filter", Key::Unknown, Value::ContentFilter),
];

/// FNV-1a, 64 bits: one multiplication a byte.
pub(crate) const SEED: u64 = 0xcbf2_9ce4_8422_2325;

#[inline(always)]
pub(crate) const fn hash(state: u64, byte: u8) -> u64 {
    (state ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

pub(crate) const fn hash_of(word: &str) -> u64 {
    let (mut state, mut i) = (SEED, 0);
    while i < word.len() {
        state = hash(state, word.as_bytes()[i]);
        i += 1;
    }
    state
}

const SLOTS: usize = 512;

#[derive(Clone, Copy)]
struct Row {
    hash: u64,
    key: Key,
    value: Value,
}

const EMPTY: Row = Row { hash: 0, key: Key::Unknown, value: Value::Unknown };

#[inline(always)]
const fn place(hash: u64, multiplier: u64) -> usize {
    (hash.wrapping_mul(multiplier) >> 55) as usize & (SLOTS - 1)
}

/// The first odd multiplier under which no two words share a place.
const MULTIPLIER: u64 = {
    let mut multiplier = 0x9e37_79b9_7f4a_7c15_u64;
    loop {
        let mut taken = [false; SLOTS];
        let (mut i, mut fits) = (0, true);
        while i < WORDS.len() {
            let at = place(hash_of(WORDS[i].0), multiplier);
            fits &= !taken[at];
            taken[at] = true;
            i += 1;
        }
        if fits {
            break multiplier;
        }
        multiplier = multiplier.wrapping_mul(0xd134_2543_de82_ef95) | 1;
    }
};

static TABLE: [Row; SLOTS] = {
    let mut table = [EMPTY; SLOTS];
    let mut i = 0;
    while i < WORDS.len() {
        let (word, key, value) = WORDS[i];
        table[place(hash_of(word), MULTIPLIER)] = Row { hash: hash_of(word), key, value };
        i += 1;
    }
    table
};

#[inline(always)]
pub(crate) fn key(hash: u64) -> Key {
    let row = &TABLE[place(hash, MULTIPLIER)];
    if row.hash == hash { row.key } else { Key::Unknown }
}

#[inline(always)]
pub(crate) fn value(hash: u64) -> Value {
    let row = &TABLE[place(hash, MULTIPLIER)];
    if row.hash == hash { row.value } else { Value::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_and_no_other() {
        for &(word, k, v) in WORDS {
            assert_eq!((key(hash_of(word)), value(hash_of(word))), (k, v), "{word}");
        }
        assert_eq!(key(hash_of("contents")), Key::Unknown);
        assert_eq!(value(hash_of("")), Value::Unknown);
    }
}
