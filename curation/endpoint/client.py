"""Asking an OpenAI-compatible endpoint: each request once, as many at a time as it bears, and never above the budget.

The key comes from an environment variable, goes into one header, and is taken out of whatever the server sends back.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from curation.endpoint.budget import Budget
from curation.endpoint.reply import Reply, UnreadableError, read
from curation.endpoint.servers import Place, Servers
from curation.endpoint.service import Answer, Cost, key_of
from curation.endpoint.syncing import Syncing
from curation.errors import EndpointError, UsageError

try:
    import aiohttp
    import stamina
    from stamina.instrumentation import set_on_retry_hooks
except ImportError as error:
    raise UsageError("asking an endpoint needs aiohttp and stamina", remedy="pip install 'curate[llm]'") from error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from curation.endpoint.ledger import Ledger, Reserved
    from curation.endpoint.service import Request, Service

#: A refused request is sent again after half a second, then twice as long each time up to a minute, each with jitter.
FIRST_WAIT, LONGEST_WAIT, JITTER = 0.5, 60.0, 0.5
#: Seconds that a server may ask to wait before it counts as closed.
PATIENCE = 600.0
#: Characters from which a key is taken out of what comes back; shorter ones are words like EMPTY, for one's own server.
SECRET = 12
#: Bytes of a body: for each token of the answer (in a stream each comes in an event of some 300), and besides.
_BYTES_A_TOKEN, _BYTES_BESIDES = 2_048, 65_536
#: Answers that say that asking again helps: timeout, conflict, too many, and all that are the server's fault.
_AGAIN = {408, 409, 429}
#: Answers that say that nothing will work as it is now: not this request alone.
_HOPELESS = {401: "the key is not accepted", 402: "the account is empty", 403: "the key may not do this",
             404: "there is no such address or model", 405: "this address takes no requests"}  # fmt: skip


class UnansweredError(EndpointError):
    """One request got no answer, though others may; `kind` says in a word why."""

    def __init__(self, message: str, kind: str, *, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.kind = kind


@dataclass(eq=False)
class _Failure(Exception):  # noqa: N818  # how one try ended, seen in this module alone
    """One try failed: what kind of failure it was, whether it can be tried again, and after which pause at least."""

    kind: str
    message: str
    is_final: bool = False
    is_hopeless: bool = False
    wait: float | None = None
    url: str = ""

    def __str__(self) -> str:
        return self.message


class Endpoint:
    """A service that can be asked, with a ledger, as an async context manager; `keys` are those of its servers."""

    def __init__(self, service: Service, ledger: Ledger, keys: Sequence[str | None]) -> None:
        self.service, self.ledger = service, ledger
        places = [Place(server, key, service.concurrency) for server, key in zip(service.servers, keys, strict=True)]
        self.servers = Servers(places, service.concurrency)
        #: Failures by kind, those that a further try made good too.
        self.failures: Counter[str] = Counter()
        self._secrets = [key for key in dict.fromkeys(keys) if key and len(key) >= SECRET]
        self._budget = Budget(service, ledger)
        self._on_disk = Syncing(ledger.sync)
        self._under_way: dict[str, asyncio.Future[Answer]] = {}
        self._held = AsyncExitStack()
        set_on_retry_hooks([])  # it would log each retry; they are counted in `failures` instead

    async def __aenter__(self) -> Self:
        service = self.service
        # Nothing is unpacked, so that a body's size is known; no cookie is kept; how many there are the servers say.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
            headers={"Accept-Encoding": "identity", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=service.connect_seconds, sock_read=service.read_seconds
            ),
        )  # fmt: skip
        await self._held.enter_async_context(self._session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._held.aclose()

    async def ask(self, request: Request) -> Answer:
        """The answer to a request: from the ledger where it was asked before, else from the server.

        Raises `UnansweredError` where this request gets no answer, `BudgetError` where it may cost too much, and
        `EndpointError` where no request would get one.
        """
        body = self.service.body(request)
        key = key_of(body)
        if (known := self.ledger.answer(key)) is not None:
            return known
        if (same := self._under_way.get(key)) is not None:
            return await asyncio.shield(same)
        coming = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._persist(request, body, key)
        except BaseException as error:
            coming.set_exception(error if isinstance(error, Exception) else EndpointError("the work was stopped"))
            coming.exception()  # nobody else may wait for it
            raise
        else:
            coming.set_result(answer)
            return answer
        finally:
            del self._under_way[key]

    def known(self, request: Request) -> Answer | None:
        """The answer that the ledger has."""
        return self.ledger.answer(key_of(self.service.body(request)))

    async def _persist(self, request: Request, body: dict[str, Any], key: str) -> Answer:
        """The answer of the first try that gets one."""
        tries = stamina.retry_context(
            on=_is_passing, attempts=self.service.attempts, timeout=None, wait_initial=FIRST_WAIT,
            wait_max=LONGEST_WAIT, wait_jitter=JITTER,
        )  # fmt: skip
        try:
            async for attempt in tries:
                with attempt:
                    return await self._try(request, body, key)
        except _Failure as failure:
            message = f"{failure.url}, model {self.service.model}: {failure}"
            if failure.is_hopeless:
                remedy = "look at `url`, `model` and `key` of this endpoint in the recipe"
                raise EndpointError(message, remedy=remedy) from failure
            raise UnansweredError(
                message, failure.kind, remedy="run the same command again later: nothing is asked twice"
            ) from failure
        raise AssertionError

    async def _try(self, request: Request, body: dict[str, Any], key: str) -> Answer:
        async with self.servers.place() as place:
            reserved = await self._budget.reserve(request, key, body)
            try:
                await self._on_disk()
                answer = await self._send_to(place, request, body, reserved)
            finally:
                await self._budget.give_back(reserved)
        await self._on_disk()  # while another request has the place
        return answer

    async def _send_to(self, place: Place, request: Request, body: dict[str, Any], reserved: Reserved) -> Answer:
        """The answer of this server, noted in the ledger, as is a failure."""
        began = time.monotonic()
        try:
            reply = await self._send(place, request, body)
            answer = self._answer(reply, reserved.most)
        except _Failure as failure:
            failure.url = place.server.url
            self.ledger.fail(reserved, self._cost_of(failure, reserved.most), str(failure))
            self._note(place, failure, began)
            raise
        place.answered(began)
        self._budget.settle(reserved, answer, place.server.url)
        return answer

    def _note(self, place: Place, failure: _Failure, began: float) -> None:
        """What a failure says of a server: that it is away, or has too much to do, or wants a pause."""
        self.failures[failure.kind] += 1
        if failure.kind in ("HTTP 429", "HTTP 503", "HTTP 529", "timeout"):
            place.limit.lower(began)
        if failure.wait is not None and failure.wait > PATIENCE:
            if self.servers.others(place):
                failure.is_final = failure.is_hopeless = False
                place.leave_out(failure.wait)
        elif failure.wait is not None and not failure.is_final:
            place.limit.pause(failure.wait)
        if not failure.is_final and failure.kind != "HTTP 429":
            place.failed(is_away=failure.kind == "no connection")

    def _cost_of(self, failure: _Failure, most: Cost) -> Cost:
        """What a failed try counts as: nothing where nothing went out, a request alone where the server refused it.

        Else it may have been worked on and billed, and counts as what it could cost.
        """
        if failure.kind == "no connection":
            return Cost()
        refused = failure.kind.startswith("HTTP ") and 300 <= int(failure.kind[5:]) < 500 and failure.kind != "HTTP 408"
        return Cost(requests=1) if refused else most

    async def _send(self, place: Place, request: Request, body: dict[str, Any]) -> Reply:
        service, server = self.service, place.server
        sent = {**body, "model": server.model or service.model}
        if service.stream:
            sent |= {"stream": True, "stream_options": {"include_usage": True}}
        headers = {"Authorization": f"Bearer {place.key}"} if place.key is not None else None
        try:
            async with (
                asyncio.timeout(service.total_seconds),
                self._session.post(
                    f"{server.url.rstrip('/')}/chat/completions", data=json.dumps(sent).encode(), headers=headers,
                    allow_redirects=False, proxy=place.proxy,
                ) as response,
            ):  # fmt: skip
                data = await self._body(response, _BYTES_BESIDES + _BYTES_A_TOKEN * request.max_tokens)
                for secret in self._secrets:
                    data = data.replace(secret.encode(), b"[key]")
                self._refuse_status(response, data)
                return read(data, response.headers.get("Content-Type", ""))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _Failure("no connection", f"no connection: {str(error) or 'timed out'}") from error
        except aiohttp.ServerTimeoutError as error:
            raise _Failure("timeout", f"nothing came for {service.read_seconds:g} s") from error
        except TimeoutError as error:
            raise _Failure("timeout", f"no whole answer within {service.total_seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise _Failure("cut", f"the answer was cut: {str(error) or type(error).__name__}") from error
        except UnreadableError as error:
            raise _Failure("unreadable", f"the answer cannot be read: {error}") from error

    async def _body(self, response: aiohttp.ClientResponse, most: int) -> bytes:
        """The whole body; one that is packed or larger than an answer can be is refused."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise _Failure("unreadable", "the answer is packed, though that was not asked for", is_final=True)
        data = bytearray()
        async for piece in response.content.iter_any():
            data += piece
            if len(data) > most:
                raise _Failure("too large", f"the answer is larger than {most:,} bytes", is_final=True)
        return bytes(data)

    def _refuse_status(self, response: aiohttp.ClientResponse, data: bytes) -> None:
        status = response.status
        if status == 200:
            return
        said = " ".join(data[:2_000].decode("utf-8", "replace").split())[:300]
        message = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        if status in _HOPELESS or status < 400:
            reason = _HOPELESS.get(status, "expected 200")
            raise _Failure(f"HTTP {status}", f"{reason} ({message})", is_final=True, is_hopeless=True)
        wait = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        if wait is not None and wait > PATIENCE:
            message += f"; it asks to come back in {wait:,.0f} s"
            raise _Failure(f"HTTP {status}", message, is_final=True, is_hopeless=True, wait=wait)
        is_final = status < 500 and status not in _AGAIN
        raise _Failure(f"HTTP {status}", message, is_final=is_final, wait=wait)

    def _answer(self, reply: Reply, most: Cost) -> Answer:
        """The answer with its cost; tokens that the server did not count are taken for the most there can be."""
        tokens = (reply.input_tokens, reply.output_tokens)
        cost = self.service.cost(*(
            bound if count is None else count
            for count, bound in zip(tokens, (most.input_tokens, most.output_tokens), strict=True)
        ))  # fmt: skip
        return Answer(self._safe(reply.text), self._safe(reply.finish_reason), cost)

    def _safe(self, text: str) -> str:
        """The text without a key, which a stream may have repeated in pieces."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text


def _is_passing(error: Exception) -> bool:
    return isinstance(error, _Failure) and not error.is_final


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds to wait, of a header `Retry-After` in seconds or with a date of HTTP; None where it says nothing.

    >>> retry_after("120", datetime(2026, 11, 26, tzinfo=UTC))
    120.0
    >>> retry_after("Thu, 26 Nov 2026 00:00:30 GMT", datetime(2026, 11, 26, tzinfo=UTC))
    30.0
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            at = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def keys_from(service: Service) -> list[str | None]:
    """The key of each server of a service, as `key_from` finds it."""
    return [key_from(server.variable, service.name) for server in service.servers]


def key_from(variable: str | None, name: str) -> str | None:
    """The key of the endpoint of this name: from the variable that the recipe names, else CURATE_ENDPOINT_NAME_KEY.

    None where the recipe names none and that one is not set: servers of one's own ask for none.
    Raises `UsageError` where the variable is not set, or holds what cannot stand in a header.
    """
    asked = variable or f"CURATE_ENDPOINT_{name.upper().replace('-', '_')}_KEY"
    key = os.environ.get(asked, "").strip()
    if not key and variable is None:
        return None
    if not key:
        raise UsageError(f"[endpoint.{name}]: the variable {asked} is not set", remedy=f"set it: export {asked}=…")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(f"[endpoint.{name}]: what {asked} holds is no key: it has white space or other signs in it",
                         remedy=f"set it anew: export {asked}=…")  # fmt: skip
    return key
