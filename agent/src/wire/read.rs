//! Fills in a [`Request`] from the pieces of an exchange and its summary.

use inferscope_common::flow::{Role, Summary};
use inferscope_common::head::Content;

use crate::model::request::{Label, Operation, Outcome, Request, TokenSource};
use crate::wire::answered::Answered;
use crate::wire::api::{self, APIS};
use crate::wire::asked::Asked;
use crate::wire::assembler::{Names, Open};
use crate::wire::head::{RequestHead, ResponseHead};
use crate::wire::judge::{self, End, Tokens};
use crate::wire::labels::{Labels, OTHER};

/// Longest response id that is kept, in bytes.
const LONGEST_ID: usize = 128;

/// What the head says of the request, as far as it was seen.
struct Subject<'a> {
    method: &'static str,
    route: Option<Label>,
    operation: Operation,
    provider: Option<&'static str>,
    /// Several servers have this endpoint: the request's fields tell which.
    shared: bool,
    path_model: Option<&'a str>,
}

pub(super) fn request(
    names: &mut Names,
    routes: &[Label],
    open: &mut Open,
    role: Role,
    closed: u64,
    summary: &Summary,
) -> Request {
    open.request.sort();
    open.response.sort();
    let mut head = RequestHead::parse(open.request.beginning().bytes);
    if let Some(start) = head.as_ref().and_then(|head| head.framing.chunks()) {
        open.request.dechunk(start);
        head = RequestHead::parse(open.request.beginning().bytes);
    }
    let ResponseHead { version, framing } = ResponseHead::parse(open.response.beginning().bytes);
    if let Some(start) = framing.chunks() {
        open.response.dechunk(start);
    }
    let (request, response) = (&open.request, &open.response);
    let figures = &summary.figures;
    let end = judge::end(figures, role);
    let mut subject = subject(head.as_ref(), routes);
    let asked = match &head {
        Some(head) if subject.operation != Operation::Http => Asked::read(request, head.framing),
        _ => Asked::default(),
    };
    let content = Content::from_number(figures.content);
    let answered = match (subject.operation, &head) {
        (Operation::Http, Some(_)) => Answered::default(),
        _ => Answered::read(response, framing, content, end == End::Stream),
    };
    if head.is_none() {
        unseen(&mut subject, &answered);
    }
    let times = judge::times(figures, end, closed);
    let streamed = judge::is_stream(figures) || figures.status == 0 && asked.stream == Some(true);
    let tokens = if judge::is_stream(figures) { judge::stream_tokens(figures, end) } else { body_tokens(&answered) };
    let accepted = (1..400).contains(&figures.status);
    let model = asked.model.or(subject.path_model.map(str::as_bytes));
    Request {
        workload: names.workload,
        role,
        operation: subject.operation,
        provider: subject.provider.or(if subject.shared { asked.provider } else { None }),
        method: subject.method,
        version: spoken(head.as_ref().and_then(|head| head.version), version),
        route: subject.route,
        status: figures.status,
        streamed,
        request_model: model.map(|name| label(&mut names.models, name, accepted)),
        response_model: answered.model.map(|name| label(&mut names.models, name, accepted)),
        max_tokens: asked.max_tokens,
        response_id: answered.id.and_then(id),
        finish: judge::finish(figures.finish).or(answered.finish.map(judge::finish_of)),
        parent: head.and_then(|head| head.parent),
        outcome: outcome(end, &answered, &mut names.errors),
        started: times.started,
        ended: times.ended,
        duration: times.duration,
        time_to_first_token: times.first_token,
        time_per_output_token: judge::per_token(figures, end, &times, &tokens, asked.choices.unwrap_or(1)),
        input_tokens: tokens.input,
        output_tokens: tokens.output,
        token_source: tokens.source,
        energy: None,
        figures: *figures,
        endpoints: summary.endpoints,
    }
}

/// What two sides speak that name these versions: the lower one. Later versions sort behind earlier ones.
fn spoken(request: Option<&'static str>, response: Option<&'static str>) -> Option<&'static str> {
    request.into_iter().chain(response).min()
}

fn subject<'a>(head: Option<&RequestHead<'a>>, routes: &[Label]) -> Subject<'a> {
    let http = Subject {
        method: OTHER,
        route: None,
        operation: Operation::Http,
        provider: None,
        shared: false,
        path_model: None,
    };
    let Some(head) = head else { return http };
    let http = Subject { method: head.method, ..http };
    let Some((index, model)) = api::find(head.path) else { return http };
    let route = routes.get(index).cloned();
    let api = &APIS[index];
    if head.method != "POST" || api.operation == Operation::Http {
        return Subject { route, ..http };
    }
    let (operation, provider, shared) = (api.operation, api.provider, api.route == api::SHARED);
    Subject { method: head.method, route, operation, provider, shared, path_model: model }
}

/// The request passed before anybody watched: its response tells what it was.
fn unseen(subject: &mut Subject<'_>, answered: &Answered<'_>) {
    let (operation, provider) = match answered.object {
        Some(b"chat.completion" | b"chat.completion.chunk") => (Operation::Chat, "openai"),
        Some(b"text_completion") => (Operation::TextCompletion, "openai"),
        Some(b"message" | b"message_start") => (Operation::Chat, "anthropic"),
        Some(b"response" | b"response.created") => (Operation::Chat, "openai"),
        _ => return,
    };
    subject.operation = operation;
    subject.provider = Some(provider);
}

fn body_tokens(answered: &Answered<'_>) -> Tokens {
    let source = if answered.output_tokens.is_some() { TokenSource::Usage } else { TokenSource::Events };
    Tokens { input: answered.input_tokens, output: answered.output_tokens, source }
}

fn outcome(end: End, answered: &Answered<'_>, errors: &mut Labels) -> Outcome {
    match end {
        End::Well => Outcome::Ok,
        End::Status(status) => Outcome::Status(status),
        End::Stream => Outcome::Stream(match answered.error {
            Some(kind) => errors.intern(kind),
            None => errors.other(),
        }),
        End::Aborted => Outcome::Aborted,
        End::Broken => Outcome::Broken,
    }
}

/// A label of a JSON string. Names that the server refused take no room among the labels.
fn label(labels: &mut Labels, text: &[u8], accepted: bool) -> Label {
    let unescaped = text.contains(&b'\\').then(|| unescape(text));
    let text = unescaped.as_deref().unwrap_or(text);
    if accepted { labels.intern(text) } else { labels.find(text) }
}

/// Some encoders escape slashes. Other escapes stay as they are: no model's name has them.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' || rest.peek() != Some(&b'/') {
            plain.push(byte);
        }
    }
    plain
}

/// An id is a short word; anything else is not kept.
fn id(text: &[u8]) -> Option<Box<str>> {
    let is_word = text.len() <= LONGEST_ID && text.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    std::str::from_utf8(text).ok().filter(|_| is_word).map(Box::from)
}
