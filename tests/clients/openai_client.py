"""The openai SDK as a client that says what it saw: takes a plan, prints a line of JSON for each exchange.

Three clocks for each event, all CLOCK_MONOTONIC in nanoseconds:
  socket  when the kernel received the bytes for this socket (SO_TIMESTAMPNS, read beside the bytes), which no delay
          of this process can move
  read    when the read of the socket returned
  seen    when the SDK's iterator handed the parsed event to its caller
The SDK reads in the thread that iterates, and only when it has no whole event left: the last read belongs to the
event that it hands out. The start is taken right before the request's first byte is written.
"""

import json
import signal
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpcore2
import httpx2
import openai
from httpcore2._backends.sync import SyncBackend, SyncStream

SO_TIMESTAMPNS = 35

here = threading.local()


def monotonic():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class Stream(SyncStream):
    """The SDK's own stream, but for the clocks."""

    def read(self, max_bytes, timeout=None):
        self._sock.settimeout(timeout)
        data, control, _, _ = self._sock.recvmsg(max_bytes, 64)
        read = monotonic()
        received = read
        for level, kind, stamp in control:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanos = struct.unpack("qq", stamp)
                ago = time.clock_gettime_ns(time.CLOCK_REALTIME) - (seconds * 1_000_000_000 + nanos)
                received = read - max(ago, 0)
        # The empty last chunk holds nothing of the answer.
        if data.strip() not in (b"", b"0"):
            here.last = (received, read)
        return data

    def write(self, buffer, timeout=None):
        if here.start is None:
            here.start = monotonic()
        super().write(buffer, timeout)


class Backend(SyncBackend):
    def connect_tcp(self, *args, **kwargs):
        stream = super().connect_tcp(*args, **kwargs)
        stream._sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        return Stream(stream._sock)


def client(transport, base):
    http = httpx2.Client(transport=transport)
    return openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0, timeout=60, http_client=http)


def metered(base):
    transport = httpx2.HTTPTransport()
    transport._pool = httpcore2.ConnectionPool(network_backend=Backend(), max_connections=None)
    return client(transport, base)


def create(sdk, api):
    return {
        "chat": sdk.chat.completions.create,
        "completion": sdk.completions.create,
        "embeddings": sdk.embeddings.create,
        "responses": sdk.responses.create,
    }[api]


def warm(api, body):
    """The SDK builds its parsers when it first needs them, for longer than a token takes: let it, without a server."""
    common = {"id": "x", "model": "x", "created": 0, "created_at": 0, "object": "x", "output": [], "data": []}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "input_tokens": 1, "output_tokens": 1}
    content = {"text": "x"} if api == "completion" else {"delta": {"content": "x"}, "message": {"content": "x"}}
    whole = common | {"choices": [{"index": 0, "finish_reason": "stop"} | content], "usage": usage}
    delta = {"type": "response.output_text.delta", "delta": "x"}
    events = [whole] if api != "responses" else [delta, {"type": "response.completed", "response": whole}]
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"

    def answer(_request):
        if body.get("stream"):
            return httpx2.Response(200, text=stream, headers={"content-type": "text/event-stream"})
        return httpx2.Response(200, json=whole)

    here.start, here.last = None, (0, 0)
    exchange(create(client(httpx2.MockTransport(answer), "http://warm"), api), body, {})


def has_content(event):
    kind = getattr(event, "type", None)
    if kind:
        return kind.endswith("_text.delta") and bool(event.delta)
    for choice in event.choices:
        delta = getattr(choice, "delta", None)
        if (delta.content if delta else choice.text):
            return True
    return False


def count(seen, usage):
    if usage:
        seen["tokens"] = getattr(usage, "completion_tokens", getattr(usage, "output_tokens", None))
        seen["prompt_tokens"] = getattr(usage, "prompt_tokens", getattr(usage, "input_tokens", None))


def take(seen, event):
    response = getattr(event, "response", event)
    seen["id"] = seen["id"] or getattr(response, "id", None)
    count(seen, getattr(response, "usage", None))
    if has_content(event):
        seen["events"] += 1
        if seen["events"] == 1:
            seen["first_socket_ns"], seen["first_read_ns"] = here.last
            seen["first_seen_ns"] = monotonic()


def exchange(call, body, pace):
    here.start, here.last = None, (0, 0)
    seen = {"id": None, "status": 200, "events": 0}
    try:
        answer = call(**body, extra_body={"pace": pace})
        if body.get("stream"):
            for event in answer:
                take(seen, event)
        else:
            seen["id"] = getattr(answer, "id", None)
            count(seen, answer.usage)
    except openai.APIStatusError as error:
        seen["status"], seen["error"] = error.status_code, str(error.body)
    except (openai.APIError, httpx2.HTTPError) as error:
        seen["error"] = str(error)
    seen["start_ns"], seen["end_seen_ns"] = here.start or 0, monotonic()
    seen["end_socket_ns"], seen["end_read_ns"] = here.last
    return seen


def work(job, number, share, stopping):
    """One thread's requests, one after the other."""
    call = job["call"]
    for _ in range(share):
        if stopping.is_set():
            return
        print(json.dumps(exchange(call, job["body"], job["pace"]) | {"job": number}) + "\n", end="", flush=True)


def main():
    plan = json.loads(sys.argv[1])
    sdk, stopping = metered(plan["base"]), threading.Event()
    # What is under way is finished.
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    for job in plan["jobs"]:
        if job["api"] == "embeddings":
            job["body"]["encoding_format"] = "float"
        job["pace"], job["call"] = job["body"].pop("pace", {}), create(sdk, job["api"])
        warm(job["api"], job["body"])
    for number, job in enumerate(plan["jobs"]):
        requests, workers = job["requests"], job["concurrency"]
        with ThreadPoolExecutor(workers) as pool:
            shares = [requests // workers + (worker < requests % workers) for worker in range(workers)]
            for done in [pool.submit(work, job, number, share, stopping) for share in shares]:
                done.result()


if __name__ == "__main__":
    main()
