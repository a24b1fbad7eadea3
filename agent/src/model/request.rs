//! A finished request, as the wire told it. Holds no text of prompts or completions.

use std::sync::Arc;

use inferscope_common::exchange::Figures;
use inferscope_common::flow::{Endpoints, Role};

use crate::model::energy::Estimate;
use crate::model::workload::WorkloadId;

/// A string from the wire that passed the bounded set of its kind ([`crate::wire`]'s labels): few
/// distinct values, limited length.
pub type Label = Arc<str>;

/// What was asked for. Values with a name follow `gen_ai.operation.name`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Operation {
    /// Chat completion: `chat`.
    Chat,
    /// Plain completion: `text_completion`.
    TextCompletion,
    /// Embeddings: `embeddings`.
    Embeddings,
    /// Generation by an API that has no name of its own in the conventions: `generate_content`.
    GenerateContent,
    /// Tensor inference (KServe v2 `infer`): no `gen_ai` name, reported as `inferscope.infer`.
    Infer,
    /// Any other HTTP: reported as `http.server.request.duration` alone.
    Http,
}

/// How the tokens of a response were counted (`inferscope.token.source`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum TokenSource {
    /// The server's own `usage`.
    Usage,
    /// Events with content: close to tokens, never called that.
    Events,
}

/// How a request ended, and why, in few words.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// Answered with a status below 400 and complete.
    Ok,
    /// An HTTP status of 400 or more; the number is `error.type`.
    Status(u16),
    /// An error inside a stream whose status was 200; the label is the error's own type, bounded.
    Stream(Label),
    /// The client closed before the end.
    Aborted,
    /// The server closed, or the connection was reset, before the end.
    Broken,
}

/// A finished request. Durations are nanoseconds, instants nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Who served it or made it.
    pub workload: WorkloadId,
    /// The workload's part in it.
    pub role: Role,
    /// What was asked for.
    pub operation: Operation,
    /// `gen_ai.provider.name` by the API's shape (`openai`, `anthropic`, `ollama` …); `None` = unknown.
    pub provider: Option<&'static str>,
    /// Method, in the known set or `_OTHER`.
    pub method: &'static str,
    /// Version of HTTP that both sides speak (`network.protocol.version`); `None` where neither head was seen whole.
    pub version: Option<&'static str>,
    /// Low-cardinality path template, where known.
    pub route: Option<Label>,
    /// Status code; 0 where no response came.
    pub status: u16,
    /// The response came as events.
    pub streamed: bool,
    /// Model asked for.
    pub request_model: Option<Label>,
    /// Model that answered.
    pub response_model: Option<Label>,
    /// `max_tokens` or its like, where asked.
    pub max_tokens: Option<u32>,
    /// The server's id of the response (spans only: unbounded).
    pub response_id: Option<Box<str>>,
    /// Why generation ended.
    pub finish: Option<&'static str>,
    /// W3C `traceparent` of the request.
    pub parent: Option<Traceparent>,
    /// How it ended.
    pub outcome: Outcome,
    /// First byte of the request; `None` for one that began before the agent watched.
    pub started: Option<u64>,
    /// When it was over.
    pub ended: u64,
    /// Whole duration, to the last byte or the stream's own end.
    pub duration: Option<u64>,
    /// Time to the first event with content.
    pub time_to_first_token: Option<u64>,
    /// (duration − TTFT) / (output tokens − 1), for streams that ended well with two tokens or more.
    pub time_per_output_token: Option<u64>,
    /// Input tokens by `usage`.
    pub input_tokens: Option<u64>,
    /// Output tokens, counted as `token_source` says.
    pub output_tokens: Option<u64>,
    /// How `output_tokens` came about.
    pub token_source: TokenSource,
    /// What it is estimated to have used of GPUs; not known before its workload's energy is.
    pub energy: Option<Estimate>,
    /// What was metered in the kernel.
    pub figures: Figures,
    /// Between whom.
    pub endpoints: Endpoints,
}

impl Request {
    /// Whether its outcome is an answer that is no error: a 4xx of other HTTP than generative AI tells of who asked, and an
    /// HTTP server is not to blame for it.
    pub fn is_blameless(&self) -> bool {
        let plain = self.role == Role::Server && self.operation == Operation::Http;
        plain && matches!(self.outcome, Outcome::Status(400..=499))
    }

    /// A request that went well at `ended`, of which nothing else is known: to be filled in.
    pub fn bare(workload: WorkloadId, role: Role, operation: Operation, ended: u64) -> Self {
        Self {
            workload,
            role,
            operation,
            provider: None,
            method: "_OTHER",
            version: None,
            route: None,
            status: 0,
            streamed: false,
            request_model: None,
            response_model: None,
            max_tokens: None,
            response_id: None,
            finish: None,
            parent: None,
            outcome: Outcome::Ok,
            started: None,
            ended,
            duration: None,
            time_to_first_token: None,
            time_per_output_token: None,
            input_tokens: None,
            output_tokens: None,
            token_source: TokenSource::Events,
            energy: None,
            figures: Figures::default(),
            endpoints: Endpoints::default(),
        }
    }
}

/// The parent that a request named in its `traceparent` header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traceparent {
    /// Trace id.
    pub trace_id: [u8; 16],
    /// Span id of the caller.
    pub span_id: [u8; 8],
    /// Flags; bit 0 = sampled.
    pub flags: u8,
}
