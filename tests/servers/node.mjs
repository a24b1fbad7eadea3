// An inference server to be observed: Node's http module, paced as each request asks (see app.py).

import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { APIS, refusal } from "./shapes.mjs";

const SPLIT_MS = 1;

// Node writes what one turn of its loop wrote together; a write of its own needs a turn of its own.
const turn = () => new Promise((done) => setImmediate(done));

function sse([name, data]) {
  const text = typeof data === "string" ? data : JSON.stringify(data);
  return `${name ? `event: ${name}\n` : ""}data: ${text}\n\n`;
}

function ndjson([, data]) {
  return `${JSON.stringify(data)}\n`;
}

async function* split(text, pieces) {
  const size = Math.ceil(text.length / pieces);
  for (let begin = 0; begin < text.length; begin += size) {
    if (begin) await sleep(SPLIT_MS);
    yield text.slice(begin, begin + size);
  }
}

// The stream's writes, each when it is due.
async function* paced(shape, pace, encode) {
  for (const event of shape.opening()) yield encode(event);
  const { first_ms = 0, token_ms = 0, comments = 0, per_write = 1 } = pace;
  for (let comment = 0; comment < comments; comment += 1) {
    await sleep(first_ms / (comments + 1));
    yield ": keep-alive\n\n";
  }
  if (first_ms) await sleep(first_ms / (comments + 1));
  let held = [];
  for (let number = 0; number < shape.tokens; number += 1) {
    if (number === pace.error_after) {
      for (const event of shape.failure()) yield encode(event);
      return;
    }
    if (number === pace.die_after) throw new Error("died as asked");
    held.push(encode(shape.content(number)));
    const last = number + 1 === shape.tokens;
    if (held.length === per_write || last) {
      yield* split(held.join(""), pace.split ?? 1);
      held = [];
    }
    if (!last && token_ms) await sleep(token_ms);
    if (!last && comments) yield ": keep-alive\n\n";
  }
  for (const event of shape.closing()) yield encode(event);
}

async function body(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return JSON.parse(Buffer.concat(pieces).toString());
}

function json(response, status, data, gzip = false) {
  const plain = Buffer.from(JSON.stringify(data));
  const text = gzip ? gzipSync(plain) : plain;
  const headers = { "content-type": "application/json", "content-length": text.length };
  response.writeHead(status, gzip ? { ...headers, "content-encoding": "gzip" } : headers);
  response.end(text);
}

async function generate(request, response, Kind) {
  if (request.headers.authorization === "Bearer refused") return json(response, 401, refusal(401));
  const asked = await body(request);
  const pace = asked.pace ?? {};
  if (pace.status) {
    await sleep(pace.first_ms ?? 0);
    return json(response, pace.status, refusal(pace.status));
  }
  const shape = new Kind(asked);
  const lines = shape.media === "application/x-ndjson";
  if (!shape.content || !(asked.stream ?? lines)) {
    await sleep(pace.first_ms ?? 0);
    return json(response, 200, shape.whole(), pace.gzip);
  }
  response.writeHead(200, { "content-type": shape.media, "cache-control": "no-cache" });
  try {
    for await (const piece of paced(shape, pace, lines ? ndjson : sse)) {
      response.write(piece);
      await turn();
    }
    response.end();
  } catch {
    response.destroy();
  }
}

const server = http.createServer((request, response) => {
  const path = request.url.split("?")[0];
  if (request.method === "POST" && APIS[path]) {
    generate(request, response, APIS[path]).catch(() => response.destroy());
  } else if (path === "/health") {
    response.writeHead(200).end();
  } else if (path === "/") {
    response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>A page</title>");
  } else {
    response.writeHead(404).end();
  }
});

// Longer than any pause between two requests of a test.
server.keepAliveTimeout = 60_000;
const host = process.argv[2] ?? "127.0.0.1";
server.listen(0, host, 512, () => console.log(server.address().port));
