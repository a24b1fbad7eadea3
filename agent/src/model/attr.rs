//! Attribute keys, and values that go with them.

use crate::model::request::Label;

/// `container.id`.
pub const CONTAINER_ID: &str = "container.id";
/// `error.type`.
pub const ERROR_TYPE: &str = "error.type";
/// `gen_ai.operation.name`.
pub const OPERATION: &str = "gen_ai.operation.name";
/// `gen_ai.provider.name`.
pub const PROVIDER: &str = "gen_ai.provider.name";
/// `gen_ai.request.model`.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// `gen_ai.response.model`.
pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
/// `gen_ai.token.type`: `input` or `output`.
pub const TOKEN_TYPE: &str = "gen_ai.token.type";
/// `http.request.method`.
pub const METHOD: &str = "http.request.method";
/// `http.response.status_code`.
pub const STATUS: &str = "http.response.status_code";
/// `http.route`.
pub const ROUTE: &str = "http.route";
/// `network.io.direction`: `receive` or `transmit`.
pub const IO_DIRECTION: &str = "network.io.direction";
/// `otel.metric.overflow`: the series that takes what found no series of its own.
pub const OVERFLOW: &str = "otel.metric.overflow";
/// `server.address`.
pub const SERVER_ADDRESS: &str = "server.address";
/// `server.port`.
pub const SERVER_PORT: &str = "server.port";
/// `url.scheme`.
pub const URL_SCHEME: &str = "url.scheme";
/// Why something was lost.
pub const LOSS_CAUSE: &str = "inferscope.loss.cause";
/// The workload's part in an exchange: `server` or `client`.
pub const ROLE: &str = "inferscope.role";
/// How output tokens were counted: `usage` or `events`.
pub const TOKEN_SOURCE: &str = "inferscope.token.source";
/// Which of the agent's signals an export carried: `metrics`, `traces` or `logs`.
pub const SIGNAL: &str = "inferscope.agent.signal";

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Value {
    /// A word of the conventions or of inferscope.
    Word(&'static str),
    /// A string from the wire or the host, out of a bounded set.
    Label(Label),
    /// A whole number.
    Int(i64),
    /// True or false.
    Bool(bool),
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<Label> for Value {
    fn from(label: Label) -> Self {
        Self::Label(label)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// Attributes of one series: few, each key once.
pub type Attributes = Vec<(&'static str, Value)>;
