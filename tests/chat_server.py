"""A server on this machine that speaks the OpenAI protocol, and fails as real ones do; not a test itself.

It is made of one loop and no thread for each connection, so that it costs a client little of the processor. Benchmarks
run it as a process of its own: `python tests/chat_server.py --latency 0.2 --capacity 32` prints its address and answers
until its input ends; `GET /counts` says what it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus


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
    hangs: bool = False  #: nothing comes
    drips: float | None = None  #: seconds between two bytes


def refused(status, text="no", **headers):
    """An answer with an error's status."""
    body = json.dumps({"error": {"message": text}}).encode()
    return Reply(status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


class ChatServer:
    """`answer(body, count)` is what it does with a request, which it was sent `count` times before.

    It keeps what it was sent, unless `keeps` is false: then it counts alone.
    """

    def __init__(self, answer, *, keeps=True):
        self.answer, self.keeps = answer, keeps
        self.bodies, self.headers, self.times = [], [], []
        self.seen = Counter()
        self.requests = self.at_once = self.most_at_once = 0
        self.statuses = Counter()
        self.tokens = [0, 0]
        self.lock = threading.RLock()

    @property
    def url(self):
        """What stands in a recipe."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def listen(self, port=0):
        """The listening server of asyncio."""
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: _Connection(self, loop), "127.0.0.1", port, backlog=1024)
        self.port = listening.sockets[0].getsockname()[1]
        return listening

    def take(self, data, headers):
        """What is answered to a request, and whether as a stream."""
        body = json.loads(data)
        asked = {name: value for name, value in body.items() if not name.startswith("stream")}
        with self.lock:
            count = 0
            if self.keeps:
                key = json.dumps(asked, sort_keys=True)
                count = self.seen[key]
                self.seen[key] += 1
                self.bodies.append(asked)
                self.headers.append(headers)
                self.times.append(time.monotonic())
            self.requests += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        return self.answer(asked, count), body.get("stream", False)

    def leave(self):
        """A request is answered, or its client is gone."""
        with self.lock:
            self.at_once -= 1

    def count(self, reply):
        """An answer goes out."""
        with self.lock:
            self.statuses[reply.status] += 1
            if reply.status == HTTPStatus.OK and reply.usage:
                self.tokens = [have + more for have, more in zip(self.tokens, reply.usage, strict=True)]


class _Connection(asyncio.Protocol):
    def __init__(self, server, loop):
        self.server, self.loop = server, loop
        self.buffer = bytearray()
        self.timer = None
        self.is_busy = False

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        if self.timer is not None:
            self.timer.cancel()
        if self.is_busy:
            self.is_busy = False
            self.server.leave()

    def data_received(self, data):
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.title(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("Content-Length", 0))
        if len(self.buffer) < end + 4 + length:
            return
        body = bytes(self.buffer[end + 4 : end + 4 + length])
        del self.buffer[: end + 4 + length]
        if first.startswith("GET /counts "):
            self.write(200, "application/json", json.dumps(_counts(self.server)).encode())
            return
        assert first.startswith("POST /v1/chat/completions "), first
        self.is_busy = True
        reply, is_stream = self.server.take(body, headers)
        if reply.hangs:
            return
        if reply.wait:
            self.timer = self.loop.call_later(reply.wait, self.reply, reply, is_stream)
        else:
            self.reply(reply, is_stream)

    def reply(self, reply, is_stream):
        self.is_busy = False
        self.server.leave()
        self.server.count(reply)
        is_stream = is_stream and reply.body is None
        data = reply.body if reply.body is not None else (_events(reply) if is_stream else _object(reply))
        kind = "text/event-stream" if is_stream else "application/json"
        if reply.drips is not None:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\n" % kind.encode())
            self.drip(data, reply.drips)
            return
        self.write(reply.status, kind, data, reply.headers, cut_at=reply.cut_at, is_chunked=is_stream)

    def drip(self, data, seconds):
        self.transport.write(data[:1])
        self.timer = self.loop.call_later(seconds, self.drip, data[1:], seconds)

    def write(self, status, kind, data, headers=None, *, cut_at=None, is_chunked=False):
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {kind}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines.append("Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(data)}")
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        sent = data[:cut_at]
        if is_chunked:
            sent = b"%x\r\n%b\r\n" % (len(sent), sent) + (b"0\r\n\r\n" if cut_at is None else b"")
        self.transport.write(head + sent)
        if cut_at is not None:
            self.transport.close()


def _counts(server):
    return {"requests": server.requests, "most_at_once": server.most_at_once, "statuses": dict(server.statuses)}


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
    """A server that answers like this, until the block ends; its loop runs in a thread."""
    server, is_up = ChatServer(answer), threading.Event()
    loop = asyncio.new_event_loop()

    async def serve():
        server.stop = asyncio.Event()
        async with await server.listen():
            is_up.set()
            await server.stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    is_up.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(server.stop.set)
        thread.join()
        loop.close()


def main():
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(prog="python tests/chat_server.py", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until an answer")
    parser.add_argument("--capacity", type=int, default=10**9, help="requests that it bears at once")
    parser.add_argument("--beyond", choices=["refuse", "slow"], default="refuse", help="what it does with more")
    parser.add_argument("--words", type=int, default=200, help="of an answer")
    options = parser.parse_args()

    def answer(_, count):
        if server.at_once > options.capacity and options.beyond == "refuse":
            return crowded
        wait = options.latency * max(1.0, server.at_once / options.capacity)
        return right if wait == options.latency else Reply(text, wait=wait)

    text, crowded = "word " * options.words, refused(429, "too many")
    right = Reply(text, wait=options.latency)
    server = ChatServer(answer, keeps=False)
    asyncio.run(_until_input_ends(server))


async def _until_input_ends(server):
    async with await server.listen():
        print(server.url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    main()
