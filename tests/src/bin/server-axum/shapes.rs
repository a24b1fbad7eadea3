//! What each API answers, before anybody paces it.

use std::time::{SystemTime, UNIX_EPOCH};

use inferscope_tests::ask::{Api, Pace};
use serde_json::{Value, json};
use uuid::Uuid;

const WORDS: [&str; 10] = [" The", " quick", " answer", " is", " written", " one", " token", " at", " a", " time"];
const DONE: &str = "data: [DONE]\n\n";

/// The answer of one API to one request.
pub(crate) struct Shape {
    api: Api,
    id: String,
    model: Value,
    created: u64,
    pub(crate) tokens: u32,
    prompt_tokens: u32,
    usage_asked: bool,
    role: bool,
    text: Option<String>,
}

impl Shape {
    pub(crate) fn new(api: Api, body: &Value, pace: &Pace) -> Self {
        let prefix = match api {
            Api::Chat => "chatcmpl",
            Api::Completion => "cmpl",
            Api::Embeddings => "embd",
            Api::Responses => "resp",
            Api::Messages => "msg",
            Api::Ollama => "",
        };
        let limits = ["/max_tokens", "/max_completion_tokens", "/max_output_tokens", "/options/num_predict"];
        let tokens = limits.iter().find_map(|limit| body.pointer(limit)?.as_u64()).unwrap_or(16);
        Self {
            api,
            id: format!("{prefix}-{}", Uuid::new_v4().simple()),
            model: body["model"].clone(),
            created: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
            prompt_tokens: pace.prompt_tokens.unwrap_or(17),
            usage_asked: body["stream_options"]["include_usage"] == true,
            role: pace.role.unwrap_or(true),
            text: pace.text.clone(),
        }
    }

    fn word(&self, number: u32) -> &str {
        self.text.as_deref().unwrap_or(WORDS[number as usize % WORDS.len()])
    }

    fn words(&self) -> String {
        (0..self.tokens).map(|number| self.word(number)).collect()
    }

    fn frame(&self, data: &Value) -> String {
        match (self.api, data["type"].as_str()) {
            (Api::Ollama, _) => format!("{data}\n"),
            (_, Some(name)) => format!("event: {name}\ndata: {data}\n\n"),
            (_, None) => format!("data: {data}\n\n"),
        }
    }

    /// Events before any content.
    pub(crate) fn opening(&self) -> Vec<String> {
        let events = match self.api {
            Api::Chat if self.role => vec![self.choice(json!({ "role": "assistant", "content": "" }), Value::Null)],
            Api::Responses => {
                vec![json!({ "type": "response.created", "sequence_number": 0, "response": self.state(false) })]
            }
            Api::Messages => vec![
                json!({ "type": "message_start", "message": self.message(json!([]), Value::Null, 1) }),
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                json!({ "type": "ping" }),
            ],
            _ => Vec::new(),
        };
        events.iter().map(|event| self.frame(event)).collect()
    }

    /// One event with content.
    pub(crate) fn content(&self, number: u32) -> String {
        let word = self.word(number);
        self.frame(&match self.api {
            Api::Completion => self.choice(json!(word), Value::Null),
            Api::Responses => json!({
                "type": "response.output_text.delta", "sequence_number": number + 1, "item_id": "msg_0",
                "output_index": 0, "content_index": 0, "delta": word,
            }),
            Api::Messages => json!({
                "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": word },
            }),
            Api::Ollama => self.line(word, false),
            Api::Chat | Api::Embeddings => self.choice(json!({ "content": word }), Value::Null),
        })
    }

    /// Events behind the last content.
    pub(crate) fn closing(&self) -> Vec<String> {
        let finish = |delta: Value| {
            let usage = self.usage_asked.then(|| with(self.base(json!([]), true), "usage", self.openai_usage()));
            std::iter::once(self.choice(delta, json!("stop"))).chain(usage).collect::<Vec<_>>()
        };
        let events = match self.api {
            Api::Chat => finish(json!({})),
            Api::Completion => finish(json!("")),
            Api::Responses => vec![
                json!({ "type": "response.completed", "sequence_number": self.tokens + 1, "response": self.state(true) }),
            ],
            Api::Messages => vec![
                json!({ "type": "content_block_stop", "index": 0 }),
                json!({
                    "type": "message_delta", "delta": { "stop_reason": "end_turn", "stop_sequence": null },
                    "usage": { "output_tokens": self.tokens },
                }),
                json!({ "type": "message_stop" }),
            ],
            Api::Ollama => vec![self.last("")],
            Api::Embeddings => Vec::new(),
        };
        let done = matches!(self.api, Api::Chat | Api::Completion).then(|| DONE.to_owned());
        events.iter().map(|event| self.frame(event)).chain(done).collect()
    }

    /// An error inside the stream.
    pub(crate) fn failure(&self) -> Vec<String> {
        let message = "the engine died";
        match self.api {
            Api::Responses => vec![self.frame(
                &json!({ "type": "error", "code": "server_error", "message": message, "sequence_number": self.tokens }),
            )],
            Api::Messages => {
                let error = json!({ "type": "overloaded_error", "message": message });
                vec![self.frame(&json!({ "type": "error", "error": error }))]
            }
            Api::Ollama => vec![self.frame(&json!({ "error": message }))],
            _ => {
                let error = json!({ "message": message, "type": "InternalServerError", "param": null, "code": 500 });
                vec![self.frame(&json!({ "error": error })), DONE.to_owned()]
            }
        }
    }

    /// The answer in one body.
    pub(crate) fn whole(&self) -> Value {
        let finish = |key: &str, value: Value| {
            let choice = with(json!({ "index": 0, "logprobs": null, "finish_reason": "stop" }), key, value);
            with(self.base(json!([choice]), false), "usage", self.openai_usage())
        };
        match self.api {
            Api::Chat => finish("message", json!({ "role": "assistant", "content": self.words() })),
            Api::Completion => finish("text", self.words().into()),
            Api::Embeddings => {
                let vector: Vec<f64> = (0..768).map(|number| 0.001 * f64::from(number % 97)).collect();
                let usage = json!({
                    "prompt_tokens": self.prompt_tokens, "total_tokens": self.prompt_tokens, "completion_tokens": 0,
                });
                json!({
                    "id": self.id, "object": "list", "created": self.created, "model": self.model,
                    "data": [{ "index": 0, "object": "embedding", "embedding": vector }], "usage": usage,
                })
            }
            Api::Responses => self.state(true),
            Api::Messages => {
                self.message(json!([{ "type": "text", "text": self.words() }]), json!("end_turn"), self.tokens)
            }
            Api::Ollama => self.last(&self.words()),
        }
    }

    fn base(&self, choices: Value, chunk: bool) -> Value {
        let object = match (self.api, chunk) {
            (Api::Completion, _) => "text_completion",
            (_, true) => "chat.completion.chunk",
            (_, false) => "chat.completion",
        };
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices,
        })
    }

    /// A chunk of chat or of a completion, whose content is a delta or a text.
    fn choice(&self, content: Value, finish: Value) -> Value {
        let key = if self.api == Api::Completion { "text" } else { "delta" };
        let choice = with(json!({ "index": 0, "logprobs": null, "finish_reason": finish }), key, content);
        self.base(json!([choice]), true)
    }

    fn openai_usage(&self) -> Value {
        let (input, output) = (self.prompt_tokens, self.tokens);
        json!({ "prompt_tokens": input, "total_tokens": input + output, "completion_tokens": output })
    }

    fn state(&self, done: bool) -> Value {
        let (input, output) = (self.prompt_tokens, self.tokens);
        let status = if done { "completed" } else { "in_progress" };
        let message = json!({
            "type": "message", "id": "msg_0", "role": "assistant", "status": status,
            "content": [{ "type": "output_text", "text": self.words(), "annotations": [] }],
        });
        json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "model": self.model,
            "error": null, "output": if done { json!([message]) } else { json!([]) },
            "usage": done.then(|| json!({
                "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            })),
        })
    }

    fn message(&self, content: Value, reason: Value, output: u32) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "content": content, "model": self.model,
            "stop_reason": reason, "stop_sequence": null,
            "usage": { "input_tokens": self.prompt_tokens, "output_tokens": output },
        })
    }

    fn line(&self, content: &str, done: bool) -> Value {
        json!({
            "model": self.model, "created_at": "2026-01-01T00:00:00.000000Z",
            "message": { "role": "assistant", "content": content }, "done": done,
        })
    }

    fn last(&self, content: &str) -> Value {
        let mut line = self.line(content, true);
        let counts = [
            ("done_reason", json!("stop")),
            ("total_duration", json!(1)),
            ("load_duration", json!(1)),
            ("prompt_eval_count", json!(self.prompt_tokens)),
            ("prompt_eval_duration", json!(1)),
            ("eval_count", json!(self.tokens)),
            ("eval_duration", json!(1)),
        ];
        for (key, value) in counts {
            line[key] = value;
        }
        line
    }
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}
