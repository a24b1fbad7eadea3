// What each API answers, before anybody paces or frames it. An event is [name or null, data].

import { randomUUID } from "node:crypto";

const WORDS = [" The", " quick", " answer", " is", " written", " one", " token", " at", " a", " time", ".", " And"];
const DONE = [null, "[DONE]"];

function mostTokens(body) {
  return body.max_tokens ?? body.max_completion_tokens ?? body.max_output_tokens ?? body.options?.num_predict ?? 16;
}

class Shape {
  prefix = "id";
  media = "text/event-stream";

  constructor(body) {
    const pace = body.pace ?? {};
    this.unique = randomUUID().replaceAll("-", "");
    this.model = body.model ?? "none";
    this.tokens = mostTokens(body);
    this.promptTokens = pace.prompt_tokens ?? 17;
    this.text = pace.text;
    this.role = pace.role ?? true;
    this.usageAsked = body.stream_options?.include_usage ?? false;
    this.now = Math.floor(Date.now() / 1000);
  }

  get id() {
    return `${this.prefix}-${this.unique}`;
  }

  word(number) {
    return this.text ?? WORDS[number % WORDS.length];
  }

  words() {
    return Array.from({ length: this.tokens }, (_, number) => this.word(number)).join("");
  }

  opening() {
    return [];
  }

  failure() {
    const error = { message: "the engine died", type: "InternalServerError", param: null, code: 500 };
    return [[null, { error }], DONE];
  }
}

class Chat extends Shape {
  prefix = "chatcmpl";

  base(choices, object = "chat.completion.chunk") {
    return { id: this.id, object, created: this.now, model: this.model, choices };
  }

  choice(delta, finish_reason = null) {
    return [null, this.base([{ index: 0, delta, logprobs: null, finish_reason }])];
  }

  opening() {
    return this.role ? [this.choice({ role: "assistant", content: "" })] : [];
  }

  content(number) {
    return this.choice({ content: this.word(number) });
  }

  usage() {
    const total_tokens = this.promptTokens + this.tokens;
    return { prompt_tokens: this.promptTokens, total_tokens, completion_tokens: this.tokens };
  }

  closing() {
    const usage = this.usageAsked ? [[null, { ...this.base([]), usage: this.usage() }]] : [];
    return [this.choice({}, "stop"), ...usage, DONE];
  }

  whole() {
    const message = { role: "assistant", content: this.words() };
    const choice = { index: 0, message, logprobs: null, finish_reason: "stop" };
    return { ...this.base([choice], "chat.completion"), usage: this.usage() };
  }
}

class Completion extends Chat {
  prefix = "cmpl";

  base(choices) {
    return super.base(choices, "text_completion");
  }

  choice(text, finish_reason = null) {
    return [null, this.base([{ index: 0, text, logprobs: null, finish_reason }])];
  }

  opening() {
    return [];
  }

  content(number) {
    return this.choice(this.word(number));
  }

  closing() {
    const usage = this.usageAsked ? [[null, { ...this.base([]), usage: this.usage() }]] : [];
    return [this.choice("", "stop"), ...usage, DONE];
  }

  whole() {
    const choice = { index: 0, text: this.words(), logprobs: null, finish_reason: "stop" };
    return { ...this.base([choice]), usage: this.usage() };
  }
}

class Embeddings extends Shape {
  prefix = "embd";

  whole() {
    const embedding = Array.from({ length: 768 }, (_, number) => 0.001 * (number % 97));
    const data = [{ index: 0, object: "embedding", embedding }];
    const usage = { prompt_tokens: this.promptTokens, total_tokens: this.promptTokens, completion_tokens: 0 };
    return { id: this.id, object: "list", created: this.now, model: this.model, data, usage };
  }
}

class Responses extends Shape {
  prefix = "resp";

  state(status) {
    const done = status === "completed";
    const part = { type: "output_text", text: this.words(), annotations: [] };
    const message = { type: "message", id: "msg_0", role: "assistant", status, content: [part] };
    return {
      id: this.id,
      object: "response",
      created_at: this.now,
      status,
      model: this.model,
      error: null,
      output: done ? [message] : [],
      usage: done ? this.usage() : null,
    };
  }

  usage() {
    const total_tokens = this.promptTokens + this.tokens;
    return { input_tokens: this.promptTokens, output_tokens: this.tokens, total_tokens };
  }

  event(type, rest, sequence_number = 0) {
    return [type, { type, sequence_number, ...rest }];
  }

  opening() {
    return [this.event("response.created", { response: this.state("in_progress") })];
  }

  content(number) {
    const place = { item_id: "msg_0", output_index: 0, content_index: 0 };
    return this.event("response.output_text.delta", { ...place, delta: this.word(number) }, number + 1);
  }

  closing() {
    return [this.event("response.completed", { response: this.state("completed") }, this.tokens + 1)];
  }

  failure() {
    return [this.event("error", { code: "server_error", message: "the engine died", param: null }, this.tokens)];
  }

  whole() {
    return this.state("completed");
  }
}

class Messages extends Shape {
  prefix = "msg";

  message(content, stop_reason, output_tokens) {
    const usage = { input_tokens: this.promptTokens, output_tokens };
    const head = { id: this.id, type: "message", role: "assistant", content, model: this.model };
    return { ...head, stop_reason, stop_sequence: null, usage };
  }

  event(type, rest) {
    return [type, { type, ...rest }];
  }

  opening() {
    return [
      this.event("message_start", { message: this.message([], null, 1) }),
      this.event("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
      this.event("ping", {}),
    ];
  }

  content(number) {
    return this.event("content_block_delta", { index: 0, delta: { type: "text_delta", text: this.word(number) } });
  }

  closing() {
    const delta = { stop_reason: "end_turn", stop_sequence: null };
    return [
      this.event("content_block_stop", { index: 0 }),
      this.event("message_delta", { delta, usage: { output_tokens: this.tokens } }),
      this.event("message_stop", {}),
    ];
  }

  failure() {
    return [this.event("error", { error: { type: "overloaded_error", message: "the engine died" } })];
  }

  whole() {
    return this.message([{ type: "text", text: this.words() }], "end_turn", this.tokens);
  }
}

class Ollama extends Shape {
  media = "application/x-ndjson";

  line(content, done) {
    const created_at = "2026-01-01T00:00:00.000000Z";
    return { model: this.model, created_at, message: { role: "assistant", content }, done };
  }

  content(number) {
    return [null, this.line(this.word(number), false)];
  }

  last(content) {
    const counts = { prompt_eval_count: this.promptTokens, eval_count: this.tokens };
    const times = { total_duration: 1, load_duration: 1, prompt_eval_duration: 1, eval_duration: 1 };
    return { ...this.line(content, true), done_reason: "stop", ...times, ...counts };
  }

  closing() {
    return [[null, this.last("")]];
  }

  failure() {
    return [[null, { error: "the engine died" }]];
  }

  whole() {
    return this.last(this.words());
  }
}

export const APIS = {
  "/v1/chat/completions": Chat,
  "/v1/completions": Completion,
  "/v1/embeddings": Embeddings,
  "/v1/responses": Responses,
  "/v1/messages": Messages,
  "/api/chat": Ollama,
};

// An error before any stream.
export function refusal(code) {
  const kinds = { 400: "BadRequestError", 401: "AuthenticationError", 503: "ServiceUnavailableError" };
  return { error: { message: "refused as asked", type: kinds[code] ?? "Error", param: null, code } };
}
