//! What a request asks for, from as much of its body as was passed on.

use crate::wire::head::Framing;
use crate::wire::pieces::{Pieces, Run};
use crate::wire::scan::{Value, members, members_back};

/// The fields of a request that matter. Slices of the body: it has no `Debug`.
#[derive(Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Name of the model, escapes as they stand.
    pub model: Option<&'a [u8]>,
    /// Events are asked for.
    pub stream: Option<bool>,
    /// Most tokens to generate.
    pub max_tokens: Option<u32>,
    /// Answers to generate.
    pub choices: Option<u32>,
    /// The prompt is called `inputs` (TGI), or `text` or `input_ids` (SGLang), which tells them apart.
    pub provider: Option<&'static str>,
}

impl<'a> Asked<'a> {
    /// Reads a request's body forwards from its start, and backwards from its end where the middle is missing.
    pub fn read(pieces: &'a Pieces, framing: Framing) -> Self {
        let mut asked = Self::default();
        if framing.start == 0 || framing.encoded {
            return asked;
        }
        if members(after(pieces.beginning(), framing.start), |key, value| asked.take(key, value)) {
            return asked;
        }
        if let Some(end) = body_end(pieces, framing) {
            members_back(end, |depth, key, value| {
                if depth == 1 {
                    asked.take(key, value);
                }
            });
        }
        asked
    }

    fn take(&mut self, key: &'a [u8], value: Value<'a>) {
        match key {
            b"model" => self.model = self.model.or(value.string()),
            b"stream" => self.stream = self.stream.or(value.boolean()),
            b"max_tokens"
            | b"max_completion_tokens"
            | b"max_output_tokens"
            | b"max_new_tokens"
            | b"num_predict"
            | b"n_predict" => {
                self.max_tokens = self.max_tokens.or(small(value));
            }
            b"n" => self.choices = self.choices.or(small(value)),
            b"inputs" => self.provider = Some("tgi"),
            b"text" | b"input_ids" => self.provider = Some("sglang"),
            // Ollama, TGI and SGLang each wrap the sampling parameters.
            b"options" | b"parameters" | b"sampling_params" => {
                if let Some(text) = value.object() {
                    members(text, |key, value| {
                        if matches!(key, b"num_predict" | b"max_new_tokens") {
                            self.max_tokens = self.max_tokens.or(small(value));
                        }
                    });
                }
            }
            _ => {}
        }
    }
}

fn small(value: Value<'_>) -> Option<u32> {
    value.number().and_then(|number| number.try_into().ok())
}

/// What of a run lies behind `offset`.
pub fn after(run: Run<'_>, offset: u64) -> &[u8] {
    let skip = usize::try_from(offset.saturating_sub(run.offset)).unwrap_or(usize::MAX);
    run.bytes.get(skip..).unwrap_or_default()
}

/// The last stretch of a body, if it reaches to the body's end: only there may JSON be read backwards.
pub fn body_end(pieces: &Pieces, framing: Framing) -> Option<&[u8]> {
    let run = pieces.runs().next_back()?;
    let whole = framing.start.checked_add(framing.length.unwrap_or_default());
    let ends = if framing.chunked { pieces.ended() } else { framing.length.is_some() && Some(run.end()) == whole };
    ends.then(|| after(run, framing.start))
}
