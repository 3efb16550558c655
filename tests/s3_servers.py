"""Real S3 servers on loopback for tests, moto and OpenStack Swift, and a proxy that makes either of them fail.

Fixtures: `moto` and `swift` give an `S3Server` with a fresh bucket, `s3` gives each of the two in turn. The servers
start when a test first asks for one and end with the session, also when pytest is killed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from http.client import HTTPConnection
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_buckets = itertools.count(1)


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where a server answers, who may use it, and a bucket that is there."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    region: str = "us-east-1"

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find the server, and nothing of the user's own AWS files."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, **config: Any) -> Any:
        """A client of boto3 for this server; `config` goes to botocore's `Config`."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(**config),
        )

    def with_bucket(self) -> S3Server:
        """The same server with a bucket that no other test has."""
        fresh = replace(self, bucket=f"test-{next(_buckets):04}")
        fresh.client().create_bucket(Bucket=fresh.bucket)
        return fresh


# ----------------------------------------------------------------------------------------------------------- processes

#: Runs before a server: the process ends when its standard input does, which the test process holds open.
_WATCH = """
import os, sys, threading
parent = os.dup(0)
threading.Thread(target=lambda: os.read(parent, 1) or os._exit(0), daemon=True).start()
"""

#: It asks the condition of a write and then writes, so that two threads may both find it true: here one at a time.
_MOTO = """
from moto.s3.responses import S3Response
from moto.server import main
put, alone = S3Response.put_object, threading.Lock()
def put_alone(response):
    with alone:
        return put(response)
S3Response.put_object = put_alone
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
"""

#: The place of swift.conf is a constant of the package, and a server becomes the user swift unless it is told not to.
_SWIFT = """
kind, folder = sys.argv[1:]
from swift.common import utils
utils.SWIFT_CONF_FILE = os.path.join(folder, "swift.conf")
utils.drop_privileges = lambda user: None
from importlib import import_module
from swift.common.wsgi import run_wsgi
module = import_module("swift.obj.server" if kind == "object" else f"swift.{kind}.server")
callback = getattr(module, "global_conf_callback", lambda conf, global_conf: None)
sys.exit(run_wsgi(os.path.join(folder, f"{kind}-server.conf"), f"{kind}-server", global_conf_callback=callback))
"""


#: `swift-ring-builder` three times three: 16 partitions, one copy, one device.
_SWIFT_RINGS = """
import contextlib, io, sys
from swift.cli.ringbuilder import main
device, *rings = sys.argv[1:]
for kind, port in (ring.split(":") for ring in rings):
    for step in (["create", "4", "1", "1"], ["add", f"r1z1-127.0.0.1:{port}/{device}", "1"], ["rebalance"]):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            try:
                main(["swift-ring-builder", f"{kind}.builder", *step])
            except SystemExit as end:
                if end.code:
                    sys.exit(said.getvalue())
"""


@contextmanager
def _server(code: str, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that runs `code`, writes to `log`, and is gone afterwards."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", _WATCH + code, *arguments], stdin=subprocess.PIPE, stdout=out, stderr=out, cwd="/"
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def _free_ports(count: int) -> list[int]:
    """Ports on which nothing listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _await_answer(port: int, path: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    """Return when a GET is answered below 500; fail with the end of the log where the process dies before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the server ended with status {process.returncode}:\n{log.read_text()[-3000:]}")
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        with suppress(OSError), closing(connection):
            connection.request("GET", path)
            if connection.getresponse().status < 500:
                return
        time.sleep(0.05)
    pytest.fail(f"the server did not answer on port {port} within {seconds:.0f} s:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto, which keeps everything in memory and answers as S3 does."""
    pytest.importorskip("moto", reason="moto is not installed: pip install 'moto[server,s3]'")
    log = tmp_path_factory.mktemp("moto") / "log"
    (port,) = _free_ports(1)
    with _server(_MOTO, str(port), log=log) as process:
        _await_answer(port, "/moto-api/", process, log)
        yield S3Server(f"http://127.0.0.1:{port}", "test", "testing", "")


#: One device, one copy, no memcached; `slo`, `dlo` and `copy` are what multipart uploads and copies are made of.
_SWIFT_PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
""" + "".join(
    f"[filter:{name}]\nuse = egg:swift#{name}\n"
    for name in ("catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "copy", "slo", "dlo")
)


def _configure_swift(folder: Path, ports: dict[str, int]) -> None:
    """Write the settings and rings of a Swift that consists of one folder."""
    device = folder / "devices" / "d1"
    device.mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    for kind, port in ports.items():
        (folder / f"{kind}-server.conf").write_text(
            f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\n"
            f"swift_dir = {folder}\ndevices = {device.parent}\nmount_check = false\ndisable_fallocate = true\n"
            "fallocate_reserve = 0\n"
            + (
                _SWIFT_PROXY
                if kind == "proxy"
                else f"[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n"
            )
        )
    rings = [f"{kind}:{port}" for kind, port in ports.items() if kind != "proxy"]
    subprocess.run([sys.executable, "-c", _SWIFT_RINGS, device.name, *rings], cwd=folder, check=True)


@pytest.fixture(scope="session")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """OpenStack Swift with its S3 middleware: four servers over one folder."""
    if find_spec("swift") is None:
        pytest.skip("OpenStack Swift is not installed: pip install swift")
    folder = tmp_path_factory.mktemp("swift")
    kinds = ("account", "container", "object", "proxy")
    ports = dict(zip(kinds, _free_ports(len(kinds)), strict=True))
    _configure_swift(folder, ports)
    with ExitStack() as stack:
        logs = {kind: folder / f"{kind}.log" for kind in kinds}
        processes = {kind: stack.enter_context(_server(_SWIFT, kind, str(folder), log=logs[kind])) for kind in kinds}
        for kind in kinds:
            _await_answer(ports[kind], "/healthcheck", processes[kind], logs[kind])
        yield S3Server(f"http://127.0.0.1:{ports['proxy']}", "test:tester", "testing", "")


@pytest.fixture
def moto(moto_server: S3Server) -> S3Server:
    """Moto with a fresh bucket."""
    return moto_server.with_bucket()


@pytest.fixture
def swift(swift_server: S3Server) -> S3Server:
    """Swift with a fresh bucket."""
    return swift_server.with_bucket()


@pytest.fixture(params=["moto", "swift"])
def s3(request: pytest.FixtureRequest) -> S3Server:
    """Each of the servers in turn, with a fresh bucket."""
    return request.getfixturevalue(request.param)


# -------------------------------------------------------------------------------------------------------------- faults


class Fault(StrEnum):
    """What may happen to a request."""

    INTERNAL_ERROR = "500"
    UNAVAILABLE = "503"
    SLOW_DOWN = "slow_down"  #: 503 with the code SlowDown, as S3 throttles
    TOO_MANY = "429"  #: as Ceph and Google throttle
    CUT_BEFORE = "cut_before"  #: the connection ends before the server saw the request
    CUT_REQUEST = (
        "cut_request"  #: half of the request's body reaches the server; without a body, half of its first line
    )
    CUT_RESPONSE = "cut_response"  #: the whole length is announced, half of it comes; without a body, half a line
    LOSE_RESPONSE = "lose_response"  #: the server did the work, and nobody hears of it
    DELAY = "delay"  #: 0.2 s late


#: The status, and the code in the XML body, of the faults that are an answer.
_ANSWERS = {
    Fault.INTERNAL_ERROR: ("500 Internal Server Error", "InternalError"),
    Fault.UNAVAILABLE: ("503 Service Unavailable", "ServiceUnavailable"),
    Fault.SLOW_DOWN: ("503 Slow Down", "SlowDown"),
    Fault.TOO_MANY: ("429 Too Many Requests", "TooManyRequests"),
}

#: Says what befalls a request, given its method, its target (path and query as sent) and how many of these came before.
Plan: TypeAlias = Callable[[str, str, int], Fault | None]


def chance(rate: float, seed: int = 0, kinds: Iterable[Fault] = Fault, at_most: int = 2) -> Plan:
    """A plan by which `rate` of the requests fail, each kind alike, and the same request no more than `at_most` times.

    What befalls a request depends on itself alone and not on the order in which threads come.

    >>> plan = chance(0.5, seed=1)
    >>> [str(plan("GET", "/bucket/a", n) or "-") for n in range(6)]
    ['slow_down', '-', '429', '-', '-', '-']
    """
    faults = tuple(kinds)

    def plan(method: str, target: str, n: int) -> Fault | None:
        if sum(_drawn(seed, method, target, i) < rate for i in range(n)) >= at_most:
            return None
        drawn = _drawn(seed, method, target, n)
        return faults[int(drawn / rate * len(faults))] if drawn < rate else None

    return plan


def _drawn(seed: int, *what: object) -> float:
    """A number from 0 to below 1 that `what` alone decides."""
    return int.from_bytes(hashlib.sha256(repr((seed, what)).encode()).digest()[:6]) / 2**48


def hit(fault: Fault, method: str = "", pattern: str = "", times: int = 1) -> Plan:
    """A plan by which the first `times` requests of this method ("" is any) whose target has `pattern` meet `fault`."""
    left = itertools.count(times, -1)

    def plan(met: str, target: str, n: int) -> Fault | None:
        return fault if method in {"", met} and re.search(pattern, target) and next(left) > 0 else None

    return plan


class FaultyProxy:
    """A proxy before an S3 server that makes requests fail as `plan` says; `plan` may be set anew at any time.

    `with FaultyProxy(server, chance(0.2)) as proxy:` and then `proxy.server` instead of `server`. Heads and bodies are
    passed on as they came, Host included, so that signatures stay valid; the server hears of each request on a
    connection of its own.
    """

    def __init__(self, upstream: S3Server, plan: Plan = lambda method, target, n: None) -> None:
        self.plan = plan
        #: Called with what befell a request once it has, while the client still waits.
        self.struck: Callable[[Fault], None] = lambda fault: None
        #: Every request: method, target, what befell it.
        self.log: list[tuple[str, str, Fault | None]] = []
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._upstream = (urlsplit(upstream.endpoint).hostname, urlsplit(upstream.endpoint).port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.server = replace(upstream, endpoint=f"http://127.0.0.1:{self._listener.getsockname()[1]}")

    @property
    def faults(self) -> Counter[Fault]:
        """How often each fault happened."""
        return Counter(fault for _, _, fault in list(self.log) if fault)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            for connection in (self._listener, *self._connections):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # shut down
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._converse, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    @contextmanager
    def _shut_down_in_the_end(self, connection: socket.socket) -> Iterator[IO[bytes]]:
        """What comes in on a connection, which closes afterwards, and earlier if the proxy ends."""
        with connection, connection.makefile("rb") as incoming:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
            try:
                yield incoming
            finally:
                with self._lock:
                    self._connections.discard(connection)

    def _converse(self, client: socket.socket) -> None:
        """Answer the requests of one connection until it ends or is cut."""
        with suppress(OSError, EOFError), self._shut_down_in_the_end(client) as incoming:
            while self._exchange(client, incoming):
                pass

    def _exchange(self, client: socket.socket, incoming: IO[bytes]) -> bool:
        """Pass one request on and its answer back; True where the connection can take another."""
        request = _Message(incoming)
        method, target, _ = request.start.split(" ", 2)
        with self._lock:
            fault = self.plan(method, target, self._seen[method, target])
            self._seen[method, target] += 1
            self.log.append((method, target, fault))
        lasts = self._carry_out(request, client, fault)
        if fault:
            self.struck(fault)
        return lasts

    def _carry_out(self, request: _Message, client: socket.socket, fault: Fault | None) -> bool:
        """The rest of `_exchange`."""
        if fault in _ANSWERS:
            if not request.waits:
                deque(request.body(), maxlen=0)
            client.sendall(_answer(*_ANSWERS[fault], with_body=not request.start.startswith("HEAD ")))
            return not request.waits
        if fault is Fault.CUT_BEFORE:
            return False
        if fault is Fault.DELAY:
            time.sleep(0.2)
        server = socket.create_connection(self._upstream)
        with self._shut_down_in_the_end(server) as answering:
            if fault is not Fault.CUT_REQUEST:
                return self._forward(request, client, server, answering, fault)
            if request.waits:
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            for piece in request.half():
                server.sendall(piece)
            return False

    @staticmethod
    def _forward(
        request: _Message, client: socket.socket, server: socket.socket, answering: IO[bytes], fault: Fault | None
    ) -> bool:
        """Pass a whole request on and its answer back; True where the connection can take another."""
        method = request.start.split(" ")[0]
        server.sendall(request.head)
        answer = None
        # A server that never says «continue» gets the body after a second, as from any client.
        if request.waits and select.select([server], [], [], 1)[0]:
            answer = _Message(answering, method)
            if answer.status != 100:
                _relay(answer, client, fault)
                return False
            client.sendall(answer.head)
        for piece in request.body():
            # A server may answer and close before it has read all; its answer is still there to be read.
            with suppress(ConnectionError):
                server.sendall(piece)
        while answer is None or answer.status == 100:
            answer = _Message(answering, method)
        return _relay(answer, client, fault)


def _relay(answer: _Message, client: socket.socket, fault: Fault | None) -> bool:
    """Pass an answer on; True where the connection can take another request."""
    if fault is Fault.LOSE_RESPONSE:
        deque(answer.body(), maxlen=0)
        return False
    if fault is Fault.CUT_RESPONSE:
        client.sendall(b"".join(answer.half()))
        return False
    client.sendall(answer.head)
    for piece in answer.body():
        client.sendall(piece)
    return answer.framing != "close" and answer.fields.get("connection", "").lower() != "close"


class _Message:
    """The head of a request, or of the answer to a request by `method`; the body is still to come."""

    def __init__(self, source: IO[bytes], method: str = "") -> None:
        self._source = source
        lines = []
        while (line := source.readline()) != b"\r\n":
            if not line:
                raise EOFError
            lines.append(line)
        self.head = b"".join([*lines, b"\r\n"])
        self.start, *fields = (line.decode("latin-1").strip() for line in lines)
        self.fields = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        self.status = int(self.start.split()[1]) if self.start.startswith("HTTP/") else None
        self.waits = self.fields.get("expect", "").lower() == "100-continue"
        self.length = int(self.fields.get("content-length", 0))
        # The answer to HEAD announces a length that never comes; an answer without one ends with its connection.
        if method == "HEAD" or self.status in {100, 204, 304}:
            self.framing = "none"
        elif self.fields.get("transfer-encoding", "").lower() == "chunked":
            self.framing = "chunked"
        elif self.status is None or "content-length" in self.fields:
            self.framing = "length" if self.length else "none"
        else:
            self.framing = "close"

    def body(self) -> Iterator[bytes]:
        """The body's bytes, the framing of a chunked one among them."""
        if self.framing == "chunked":
            yield from self._chunks()
        elif self.framing == "length":
            yield from self._exactly(self.length)
        elif self.framing == "close":
            yield from iter(lambda: self._source.read(_PIECE), b"")

    def half(self) -> Iterator[bytes]:
        """The head and half of the body, of a chunked one at most 64 KiB; without a body half of the first line."""
        # Python's http.client takes a head that ends too early for a whole one, but not a first line.
        if self.framing == "none":
            yield self.head[: len(self.start) // 2]
        else:
            yield self.head
            yield from self._exactly(self.length // 2) if self.length else itertools.islice(self.body(), 2)

    def _chunks(self) -> Iterator[bytes]:
        size = -1
        while size:
            line = self._source.readline()
            if not line:
                raise EOFError
            size = int(line.split(b";")[0], 16)
            yield line
            yield from self._exactly(size + len(b"\r\n")) if size else ()
        while line not in {b"\r\n", b""}:  # what trails the last chunk
            line = self._source.readline()
            yield line

    def _exactly(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._source.read(min(left, _PIECE))
            if not piece:
                raise EOFError
            left -= len(piece)
            yield piece


#: Bytes that are passed on at a time.
_PIECE = 1 << 16


def _answer(status: str, code: str, *, with_body: bool) -> bytes:
    """An answer of S3 that says `code`."""
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>made to fail</Message></Error>"
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body * with_body).encode()
