"""An inference server to be observed: Starlette on uvicorn, paced as each request asks.

`pace` in a request's body:
  first_ms       before the first content               token_ms    between contents
  comments       keep-alive comments before the first content, and one between contents
  role           false: no role-only first event        text        every token's text
  per_write      events in one write                    split       writes for one event
  status         an error instead of the answer         error_after, die_after   contents before it
  gzip           a compressed response                  prompt_tokens
"""

import argparse
import asyncio
import json
import socket
import zlib

import uvicorn
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from shapes import APIS, refusal

SPLIT_SECONDS = 0.001


def compact(data):
    return data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))


# Each writes an event as its style does; `None` is a keep-alive comment.


def sse(event):
    if event is None:
        return b": keep-alive\n\n"
    name, data = event
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {compact(data)}\n\n".encode()


def crlf(event):
    if event is None:
        return ServerSentEvent(comment="keep-alive").encode()
    name, data = event
    return ServerSentEvent(compact(data), event=name).encode()


def ndjson(event):
    return f"{compact(event[1])}\n".encode()


async def paced(shape, pace, encode):
    """The stream's writes, each when it is due."""
    for event in shape.opening():
        yield encode(event)
    comments = pace.get("comments", 0)
    for _ in range(comments):
        await asyncio.sleep(pace.get("first_ms", 0) / 1000 / (comments + 1))
        yield encode(None)
    await asyncio.sleep(pace.get("first_ms", 0) / 1000 / (comments + 1))
    per_write, held = pace.get("per_write", 1), []
    for number in range(shape.tokens):
        if number == pace.get("error_after"):
            for event in shape.failure():
                yield encode(event)
            return
        if number == pace.get("die_after"):
            raise ConnectionAbortedError("died as asked")
        held.append(encode(shape.content(number)))
        if len(held) == per_write or number + 1 == shape.tokens:
            async for piece in split(b"".join(held), pace.get("split", 1)):
                yield piece
            held = []
        if number + 1 < shape.tokens:
            await asyncio.sleep(pace.get("token_ms", 0) / 1000)
            if comments:
                yield encode(None)
    for event in shape.closing():
        yield encode(event)


async def split(text, pieces):
    size = -(-len(text) // pieces)
    for begin in range(0, len(text), size):
        if begin:
            await asyncio.sleep(SPLIT_SECONDS)
        yield text[begin : begin + size]


async def gzipped(writes):
    gzip = zlib.compressobj(wbits=31)
    async for piece in writes:
        yield gzip.compress(piece) + gzip.flush(zlib.Z_SYNC_FLUSH)
    yield gzip.flush()


def endpoint(style, kind):
    async def answer(request):
        if request.headers.get("authorization") == "Bearer refused":
            return JSONResponse(refusal(401), 401)
        body = await request.json()
        pace = body.get("pace") or {}
        if "status" in pace:
            await asyncio.sleep(pace.get("first_ms", 0) / 1000)
            return JSONResponse(refusal(pace["status"]), pace["status"])
        shape = kind(body)
        streams_by_default = shape.media == "application/x-ndjson"
        if not hasattr(shape, "content") or not body.get("stream", streams_by_default):
            await asyncio.sleep(pace.get("first_ms", 0) / 1000)
            return whole(shape, pace)
        if streams_by_default:
            return StreamingResponse(paced(shape, pace, ndjson), media_type=shape.media)
        if style == "sse-starlette":
            return EventSourceResponse(paced(shape, pace, crlf), ping=1)
        if pace.get("gzip"):
            headers = {"content-encoding": "gzip"}
            return StreamingResponse(gzipped(paced(shape, pace, sse)), media_type=shape.media, headers=headers)
        return StreamingResponse(paced(shape, pace, sse), media_type=shape.media)

    return answer


def whole(shape, pace):
    if not pace.get("gzip"):
        return JSONResponse(shape.whole())
    gzip = zlib.compressobj(wbits=31)
    text = gzip.compress(compact(shape.whole()).encode()) + gzip.flush()
    return Response(text, media_type="application/json", headers={"content-encoding": "gzip"})


async def health(_request):
    return Response(status_code=200)


async def page(_request):
    return HTMLResponse("<!doctype html><title>A page</title><p>Nothing to infer here.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--http", choices=["httptools", "h11"], default="httptools")
    parser.add_argument("--style", choices=["starlette", "sse-starlette"], default="starlette")
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    routes = [Route(path, endpoint(options.style, kind), methods=["POST"]) for path, kind in APIS.items()]
    app = Starlette(routes=[*routes, Route("/health", health), Route("/", page)])
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only for sockets whose protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind((options.host, 0))
    listener.listen(512)
    config = uvicorn.Config(app, loop=options.loop, http=options.http, log_level="warning", access_log=False)
    # Longer than any pause between two requests of a test.
    config.timeout_keep_alive = 60
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
