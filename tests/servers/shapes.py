"""What each API answers, before anybody paces or frames it.

An event is a pair of its name (or None) and its data (an object, or a plain word).
"""

import time
import uuid

WORDS = [" The", " quick", " answer", " is", " written", " one", " token", " at", " a", " time", ".", " And", " so", " on"]
DONE = (None, "[DONE]")


class Shape:
    """A response of one API to one request."""

    prefix = "id"
    media = "text/event-stream"

    def __init__(self, body):
        pace = body.get("pace") or {}
        self.id = f"{self.prefix}-{uuid.uuid4().hex}"
        self.model = body.get("model", "none")
        self.tokens = most_tokens(body)
        self.prompt_tokens = pace.get("prompt_tokens", 17)
        self.text = pace.get("text")
        self.role = pace.get("role", True)
        self.usage_asked = bool((body.get("stream_options") or {}).get("include_usage"))
        self.now = int(time.time())

    def word(self, number):
        return self.text or WORDS[number % len(WORDS)]

    def words(self):
        return "".join(self.word(number) for number in range(self.tokens))

    def opening(self):
        return []

    def failure(self):
        error = {"message": "the engine died", "type": "InternalServerError", "param": None, "code": 500}
        return [(None, {"error": error}), DONE]


def most_tokens(body):
    for key in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        if key in body:
            return body[key]
    return (body.get("options") or {}).get("num_predict", 16)


class Chat(Shape):
    prefix = "chatcmpl"
    kind = "chat.completion"

    def base(self, choices, kind=".chunk"):
        head = {"id": self.id, "object": self.kind + kind, "created": self.now, "model": self.model}
        return head | {"choices": choices}

    def choice(self, delta, finish=None):
        return (None, self.base([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]))

    def opening(self):
        return [self.choice({"role": "assistant", "content": ""})] if self.role else []

    def content(self, number):
        return self.choice({"content": self.word(number)})

    def usage(self):
        total = self.prompt_tokens + self.tokens
        return {"prompt_tokens": self.prompt_tokens, "total_tokens": total, "completion_tokens": self.tokens}

    def closing(self):
        usage = [(None, self.base([]) | {"usage": self.usage()})] if self.usage_asked else []
        return [self.choice({}, "stop"), *usage, DONE]

    def whole(self):
        message = {"role": "assistant", "content": self.words()}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return self.base([choice], "") | {"usage": self.usage()}


class Completion(Chat):
    prefix = "cmpl"
    kind = "text_completion"

    def base(self, choices, kind=""):
        return super().base(choices, "")

    def choice(self, text, finish=None):
        return (None, self.base([{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]))

    def opening(self):
        return []

    def content(self, number):
        return self.choice(self.word(number))

    def closing(self):
        usage = [(None, self.base([]) | {"usage": self.usage()})] if self.usage_asked else []
        return [self.choice("", "stop"), *usage, DONE]

    def whole(self):
        choice = {"index": 0, "text": self.words(), "logprobs": None, "finish_reason": "stop"}
        return self.base([choice]) | {"usage": self.usage()}


class Embeddings(Shape):
    prefix = "embd"

    def whole(self):
        vector = [round(0.001 * (number % 97), 6) for number in range(768)]
        data = [{"index": 0, "object": "embedding", "embedding": vector}]
        usage = {"prompt_tokens": self.prompt_tokens, "total_tokens": self.prompt_tokens}
        head = {"id": self.id, "object": "list", "created": self.now, "model": self.model}
        return head | {"data": data, "usage": usage | {"completion_tokens": 0}}


class Responses(Shape):
    prefix = "resp"

    def state(self, status):
        head = {"id": self.id, "object": "response", "created_at": self.now, "status": status, "model": self.model}
        part = {"type": "output_text", "text": self.words(), "annotations": []}
        message = {"type": "message", "id": "msg_0", "role": "assistant", "status": status, "content": [part]}
        done = status == "completed"
        return head | {
            "error": None,
            "output": [message] if done else [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": self.usage() if done else None,
        }

    def usage(self):
        return {
            "input_tokens": self.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.prompt_tokens + self.tokens,
        }

    def event(self, name, rest, number=0):
        return (name, {"type": name, "sequence_number": number} | rest)

    def opening(self):
        return [
            self.event("response.created", {"response": self.state("in_progress")}),
            self.event("response.in_progress", {"response": self.state("in_progress")}, 1),
        ]

    def content(self, number):
        place = {"item_id": "msg_0", "output_index": 0, "content_index": 0, "logprobs": []}
        return self.event("response.output_text.delta", place | {"delta": self.word(number)}, number + 2)

    def closing(self):
        return [self.event("response.completed", {"response": self.state("completed")}, self.tokens + 2)]

    def failure(self):
        rest = {"code": "server_error", "message": "the engine died", "param": None}
        return [self.event("error", rest, self.tokens)]

    def whole(self):
        return self.state("completed")


class Messages(Shape):
    prefix = "msg"

    def message(self, content, reason, output):
        usage = {"input_tokens": self.prompt_tokens, "output_tokens": output}
        head = {"id": self.id, "type": "message", "role": "assistant", "content": content, "model": self.model}
        return head | {"stop_reason": reason, "stop_sequence": None, "usage": usage}

    def opening(self):
        block = {"type": "text", "text": ""}
        return [
            ("message_start", {"type": "message_start", "message": self.message([], None, 1)}),
            ("content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}),
            ("ping", {"type": "ping"}),
        ]

    def content(self, number):
        delta = {"type": "text_delta", "text": self.word(number)}
        return ("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})

    def closing(self):
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        usage = {"output_tokens": self.tokens}
        return [
            ("content_block_stop", {"type": "content_block_stop", "index": 0}),
            ("message_delta", {"type": "message_delta", "delta": delta, "usage": usage}),
            ("message_stop", {"type": "message_stop"}),
        ]

    def failure(self):
        error = {"type": "overloaded_error", "message": "the engine died"}
        return [("error", {"type": "error", "error": error})]

    def whole(self):
        return self.message([{"type": "text", "text": self.words()}], "end_turn", self.tokens)


class Ollama(Shape):
    """NDJSON: one object a line. Ollama gives its responses no id."""

    media = "application/x-ndjson"

    def line(self, content, done):
        head = {"model": self.model, "created_at": "2026-01-01T00:00:00.000000Z"}
        return head | {"message": {"role": "assistant", "content": content}, "done": done}

    def content(self, number):
        return (None, self.line(self.word(number), False))

    def last(self, content):
        counts = {"prompt_eval_count": self.prompt_tokens, "eval_count": self.tokens}
        times = {"total_duration": 1, "load_duration": 1, "prompt_eval_duration": 1, "eval_duration": 1}
        return self.line(content, True) | {"done_reason": "stop"} | times | counts

    def closing(self):
        return [(None, self.last(""))]

    def failure(self):
        return [(None, {"error": "the engine died"})]

    def whole(self):
        return self.last(self.words())


APIS = {
    "/v1/chat/completions": Chat,
    "/v1/completions": Completion,
    "/v1/embeddings": Embeddings,
    "/v1/responses": Responses,
    "/v1/messages": Messages,
    "/api/chat": Ollama,
}


def refusal(status):
    """An error before any stream."""
    kind = {400: "BadRequestError", 401: "AuthenticationError", 503: "ServiceUnavailableError"}.get(status, "Error")
    return {"error": {"message": "refused as asked", "type": kind, "param": None, "code": status}}
