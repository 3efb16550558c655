"""How fast an endpoint is asked, with its ledger: `python -m benchmarks.endpoint [--requests 6000] [throughput …]`.

The server is `tests/chat_server.py`, a process of its own. Sections, all unless some are named:

`throughput`  requests a second against a server that answers at once, streaming and not, and the memory that each
              answer leaves behind
`clients`     what aiohttp and httpx do without ledger, limit and budget
`limit`       200 ms for an answer, and a server that refuses or slows down beyond so many at once: how many are under
              way, and how much of what the server could give is had
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx

from curation.endpoint.client import Endpoint
from curation.endpoint.ledger import Ledger
from curation.endpoint.service import Request, Server, Service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

SERVER = Path(__file__).parents[1] / "tests" / "chat_server.py"
#: A prompt of a textbook is about so long, in bytes.
PROMPT = 1_500
LATENCY = 0.2
CONCURRENCY = 64
BODY = {"model": "m", "messages": [{"role": "user", "content": "x" * PROMPT}], "max_tokens": 400, "stream": True}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endpoint", description=(__doc__ or "").split(":")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="throughput, clients, limit")
    parser.add_argument("--requests", type=int, default=6_000)
    options = parser.parse_args()
    sections = options.sections or ["throughput", "clients", "limit"]
    print(f"load {os.getloadavg()[0]:.1f}")
    if "throughput" in sections:
        _throughput(options.requests)
    if "clients" in sections:
        _clients(options.requests)
    if "limit" in sections:
        _limit(options.requests)


def _throughput(requests: int) -> None:
    print("                     a second  a second of processor  answers of the server  bytes an answer")
    for stream in (False, True):
        with _serving() as url:
            told = _asked(Service("bench", (Server(url),), "m", concurrency=CONCURRENCY, stream=stream), requests)
        print(
            f"{'streaming' if stream else 'not streaming':18} {requests / told['seconds']:10.0f} "
            f"{requests / told['processor']:22.0f} {told['server']['requests']:22,} {told['bytes']:16.0f}"
        )


def _clients(requests: int) -> None:
    print("                     a second  a second of processor")
    for name, client in (("aiohttp", _by_aiohttp), ("httpx", _by_httpx)):
        with _serving() as url:
            began, worked = time.perf_counter(), time.process_time()
            asyncio.run(client(f"{url}/chat/completions", requests))
            seconds, processor = time.perf_counter() - began, time.process_time() - worked
        print(f"{name:18} {requests / seconds:10.0f} {requests / processor:22.0f}")


async def _by_aiohttp(url: str, requests: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask() -> None:
            async with session.post(url, json=BODY) as response:
                await response.read()

        await _together(ask, requests)


async def _by_httpx(url: str, requests: int) -> None:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as session:

        async def ask() -> None:
            await session.post(url, json=BODY)

        await _together(ask, requests)


async def _together(ask: Callable[[], Awaitable[None]], requests: int) -> None:
    """Ask so often, as many at a time as elsewhere here."""
    waiting = iter(range(requests))

    async def work() -> None:
        for _ in waiting:
            await ask()

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


def _limit(requests: int) -> None:
    print("capacity  beyond   a second  of what it could give  at once at most  refused")
    for beyond in ("refuse", "slow"):
        for capacity in (8, 32, 128):
            number = min(requests, capacity * 100)
            with _serving(
                "--latency", str(LATENCY), "--capacity", str(capacity), "--beyond", beyond, "--words", "20"
            ) as url:
                told = _asked(Service("bench", (Server(url),), "m", concurrency=512, attempts=50, stream=False), number)
            rate, server = number / told["seconds"], told["server"]
            print(
                f"{capacity:8} {beyond:>7} {rate:10.0f} {rate * LATENCY / capacity:23.0%} "
                f"{server['most_at_once']:16} {server['statuses'].get('429', 0):8}"
            )


@contextmanager
def _serving(*options: str) -> Iterator[str]:
    """The address of a server, which ends with the block."""
    command = [sys.executable, str(SERVER), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def _asked(service: Service, number: int) -> dict[str, Any]:
    """What it takes to ask so many requests with a new ledger, without opening and closing that."""
    requests = [Request((("user", f"{n} {'x' * PROMPT}"),), 400) for n in range(number)]

    async def ask(ledger: Ledger) -> dict[str, Any]:
        async with Endpoint(service, ledger, [None]) as endpoint:
            waiting = iter(requests)

            async def work() -> None:
                for request in waiting:
                    await endpoint.ask(request)

            began, worked, held = time.perf_counter(), time.process_time(), _resident()
            await asyncio.gather(*(work() for _ in range(service.concurrency)))
            return {
                "seconds": time.perf_counter() - began, "processor": time.process_time() - worked,
                "bytes": (_resident() - held) / number,
            }  # fmt: skip

    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger") as ledger:
        told = asyncio.run(ask(ledger))
        with urllib.request.urlopen(service.servers[0].url.replace("/v1", "/counts")) as counts:  # noqa: S310
            return told | {"server": json.load(counts)}


def _resident() -> int:
    """The bytes that this process has in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
