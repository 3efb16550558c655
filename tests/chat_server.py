"""A server on this machine that speaks the OpenAI protocol, and fails as real ones do; not a test itself."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """What the server does with one request."""

    text: str = ""
    finish_reason: str | None = "stop"
    usage: tuple[int, int] | None = (100, 20)
    status: int = 200
    headers: dict = field(default_factory=dict)
    body: bytes | None = None  #: instead of an answer
    wait: float = 0.0
    cut_at: int | None = None  #: bytes after which the connection is closed
    refusal: str | None = None


def refused(status, text="no", **headers):
    """An answer with an error's status."""
    body = json.dumps({"error": {"message": text}}).encode()
    return Reply(status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


class ChatServer(ThreadingHTTPServer):
    """`answer(body, count)` is what it does with a request, which it was sent `count` times before."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.bodies, self.headers, self.times = [], [], []
        self.at_once = self.most_at_once = 0
        self.tokens = [0, 0]
        self.lock = threading.Lock()

    @property
    def url(self):
        """What stands in a recipe."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        """A client that is gone is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = {name: value for name, value in body.items() if not name.startswith("stream")}
        with server.lock:
            count = server.bodies.count(asked)
            server.bodies.append(asked)
            server.headers.append(dict(self.headers))
            server.times.append(time.monotonic())
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            assert self.path == "/v1/chat/completions"
            reply = server.answer(asked, count)
            time.sleep(reply.wait)
        finally:
            with server.lock:
                server.at_once -= 1
        is_stream = body.get("stream", False) and reply.body is None
        data = reply.body if reply.body is not None else (_events(reply) if is_stream else _object(reply))
        if reply.status == 200 and reply.usage:
            with server.lock:
                server.tokens = [have + more for have, more in zip(server.tokens, reply.usage, strict=True)]
        self.send_response(reply.status)
        self.send_header("Content-Type", "text/event-stream" if is_stream else "application/json")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if is_stream:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: reply.cut_at])
        if is_stream or reply.cut_at is not None:
            self.close_connection = True

    def log_message(self, *args):
        pass


def _usage(reply):
    return reply.usage and {"prompt_tokens": reply.usage[0], "completion_tokens": reply.usage[1]}


def _object(reply):
    message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": _usage(reply)}).encode()


def _events(reply):
    deltas = [{"role": "assistant", "content": ""}]
    size = max(7, len(reply.text) // 1_000)
    deltas += [{"content": reply.text[start : start + size]} for start in range(0, len(reply.text), size)]
    if reply.refusal:
        deltas.append({"refusal": reply.refusal})
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reply.finish_reason}]})
    chunks.append({"choices": [], "usage": _usage(reply)})
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


@contextmanager
def serving(answer):
    """A server that answers like this, until the block ends."""
    server = ChatServer(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
