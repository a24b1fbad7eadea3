//! What a client asks for, and how the server is to pace its answer. One server serves every scenario.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An API that the servers speak.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// OpenAI chat completions.
    Chat,
    /// OpenAI completions.
    Completion,
    /// OpenAI embeddings: never streamed.
    Embeddings,
    /// OpenAI responses.
    Responses,
    /// Anthropic messages.
    Messages,
    /// Ollama chat: NDJSON, streamed unless asked otherwise.
    Ollama,
}

impl Api {
    /// Every API.
    pub const ALL: [Self; 6] =
        [Self::Chat, Self::Completion, Self::Embeddings, Self::Responses, Self::Messages, Self::Ollama];

    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completion => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::Ollama => "/api/chat",
        }
    }
}

/// How the server answers; times in milliseconds. What is `None` is left to the server: at once, whole, well.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// Before the first content, or before a body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<f64>,
    /// Between two contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ms: Option<f64>,
    /// Comments before the first content; with any, one follows each content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comments: Option<u32>,
    /// False: no event that holds a role alone comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<bool>,
    /// Events with content in one write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_write: Option<u32>,
    /// Writes for one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<u32>,
    /// An error with this status instead of an answer, at the first content's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Contents before an error inside the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_after: Option<u32>,
    /// Contents before the server breaks the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub die_after: Option<u32>,
    /// Compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gzip: Option<bool>,
    /// Input tokens that `usage` tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u32>,
    /// The text of every token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// One request.
#[derive(Clone, PartialEq, Debug)]
pub struct Ask {
    /// Of which API.
    pub api: Api,
    /// Model's name.
    pub model: String,
    /// Answer by events.
    pub stream: bool,
    /// Ask for `usage` in a stream (OpenAI's chat and completions alone need to be asked).
    pub usage: bool,
    /// Tokens of the answer.
    pub tokens: u32,
    /// The prompt.
    pub prompt: String,
    /// How to answer.
    pub pace: Pace,
}

/// A model's name as long as they are.
pub const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";

impl Ask {
    /// A streamed request for `tokens` tokens, with usage.
    pub fn stream(api: Api, tokens: u32) -> Self {
        let prompt = "Why is the sky blue?".to_owned();
        Self { api, model: MODEL.to_owned(), stream: true, usage: true, tokens, prompt, pace: Pace::default() }
    }

    /// A request for one body.
    pub fn whole(api: Api, tokens: u32) -> Self {
        Self { stream: false, ..Self::stream(api, tokens) }
    }

    /// The same, paced: milliseconds before the first content and between two.
    pub fn paced(mut self, first_ms: f64, token_ms: f64) -> Self {
        self.pace.first_ms = Some(first_ms);
        self.pace.token_ms = Some(token_ms);
        self
    }

    /// The same, with a change to its pace.
    pub fn with(mut self, change: impl FnOnce(&mut Pace)) -> Self {
        change(&mut self.pace);
        self
    }

    /// The request's body.
    pub fn body(&self) -> Value {
        let Self { api, model, stream, usage, tokens, prompt, pace } = self;
        let messages = json!([{ "role": "user", "content": prompt }]);
        let mut body = match api {
            Api::Chat => json!({ "model": model, "messages": messages, "max_tokens": tokens }),
            Api::Messages => json!({ "model": model, "messages": messages, "max_tokens": tokens }),
            Api::Completion => json!({ "model": model, "prompt": prompt, "max_tokens": tokens }),
            Api::Embeddings => json!({ "model": model, "input": prompt }),
            Api::Responses => json!({ "model": model, "input": prompt, "max_output_tokens": tokens }),
            Api::Ollama => json!({ "model": model, "messages": messages, "options": { "num_predict": tokens } }),
        };
        if *api != Api::Embeddings {
            body["stream"] = (*stream).into();
        }
        if *stream && *usage && matches!(api, Api::Chat | Api::Completion) {
            body["stream_options"] = json!({ "include_usage": true });
        }
        body["pace"] = json!(pace);
        body
    }
}
