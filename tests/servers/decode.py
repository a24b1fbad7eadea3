"""An inference server whose tokens are computed on a GPU. It needs PyTorch and nothing else beyond Python's own library."""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from decoder import Decoder
from shapes import APIS, refusal


def events(shape, decoder):
    yield from shape.opening()
    for number in range(shape.tokens):
        decoder.step()
        yield shape.content(number)
    yield from shape.closing()


def sse(event):
    name, data = event
    head = f"event: {name}\n" if name else ""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return f"{head}data: {text}\n\n".encode()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    decoder = None

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kind = APIS.get(self.path)
        if not hasattr(kind, "content") or kind.media != "text/event-stream" or not body.get("stream"):
            self.whole(400, refusal(400))
            return
        shape = kind(body)
        self.send_response(200)
        self.send_header("content-type", shape.media)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events(shape, self.decoder):
            self.chunk(sse(event))
        self.chunk(b"")

    def whole(self, status, answer):
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def chunk(self, data):
        """One write, so that an event leaves in one segment."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    Handler.decoder = Decoder()
    server = Server((options.host, 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
