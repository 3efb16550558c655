"""Answers to the requests of a plan: those that a ledger has, and the others from the endpoint, which is paid for them.

What a ledger has needs neither a key nor a server, nor the packages to ask one.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from curation.endpoint.ledger import Ledger
from curation.endpoint.service import Answer, Cost, key_of
from curation.errors import BudgetError, CurationError, EndpointError
from curation.progress import Progress, Silent

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from curation.endpoint.client import Endpoint, UnansweredError
    from curation.endpoint.service import Service
    from curation.textbooks.writing import Asked

#: How a request ends that never had an answer, though others had one: it is noted so, and never asked again.
UNANSWERED = "unanswered"
#: So many requests of a round without an answer, and none with one, say that it is the server, whatever the failure.
ENOUGH = 5
#: Failures that say more of the server than of the request: they are the request's only where others were answered.
_OF_THE_SERVER = ("no connection", "timeout", "HTTP 408", "HTTP 409", "HTTP 429", "HTTP 5")


@dataclass
class Asking:
    """A ledger that is held and, from the first request that it lacks on, its endpoint; a context manager.

    With `asks` false nothing is asked: what the ledger lacks is None. `out_of_budget` is what the endpoint's budget
    says of each kind of text for which there is no more.
    """

    service: Service
    folder: Path
    asks: bool = True
    progress: Progress = field(default_factory=Silent)
    out_of_budget: dict[str, BudgetError] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._held = ExitStack()
        self.ledger = self._held.enter_context(Ledger(self.folder))
        self._runner: asyncio.Runner | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, error, trace)

    def key(self, asked: Asked) -> str:
        """What the ledger knows a request by."""
        return key_of(self.service.body(asked.sent))

    def known(self, asked: list[Asked]) -> list[Answer | None]:
        """What the ledger has."""
        return [self.ledger.answer(self.key(one)) for one in asked]

    def answers(self, asked: list[Asked]) -> list[Answer | None]:
        """An answer to each request; None where the budget does not reach, or nothing is to be asked.

        Raises `EndpointError` where the server is away, or so ill that it answers none of them.
        """
        found = self.known(asked)
        if self.asks and None in found:
            runner, endpoint = self._open()
            runner.run(_Round(endpoint, asked, found, self).fill())
        return found

    def _open(self) -> tuple[asyncio.Runner, Endpoint]:
        """The endpoint, and the loop in which all of its requests go out."""
        from curation.endpoint.client import Endpoint, keys_from  # noqa: PLC0415  # needs aiohttp

        if self._runner is None:
            keys = keys_from(self.service)
            runner = self._held.enter_context(asyncio.Runner())
            self._endpoint = runner.run(Endpoint(self.service, self.ledger, keys).__aenter__())
            self._held.callback(lambda: runner.run(self._endpoint.__aexit__(None, None, None)))
            self._runner = runner
        return self._runner, self._endpoint


@dataclass
class _Round:
    """Requests of which some have no answer yet, and what came of asking for those."""

    endpoint: Endpoint
    asked: list[Asked]
    found: list[Answer | None]
    asking: Asking
    has_answers: bool = False
    unanswered: dict[int, UnansweredError] = field(default_factory=dict)
    failed: list[CurationError] = field(default_factory=list)

    async def fill(self) -> None:
        """Ask for what is not found yet, in the order of the requests, as many at a time as the endpoint allows."""
        missing = [number for number, answer in enumerate(self.found) if answer is None]
        waiting = iter(missing)

        async def work() -> None:
            for number in waiting:
                if self.failed:
                    return
                await self._ask(number)

        await asyncio.gather(*(work() for _ in range(min(self.endpoint.service.concurrency, len(missing)))))
        if self.failed:
            raise self.failed[0]
        self._settle()

    async def _ask(self, number: int) -> None:
        from curation.endpoint.client import UnansweredError  # noqa: PLC0415  # needs aiohttp

        try:
            self.found[number] = await self.endpoint.ask(self.asked[number].sent)
            self.has_answers = True
        except UnansweredError as error:
            self.unanswered[number] = error
            if error.kind == "no connection":
                self.failed.append(error)
            elif self.has_answers and not error.kind.startswith(_OF_THE_SERVER):
                self.found[number] = self._given_up(number)  # at once, so that no kill has it asked again
        except BudgetError as error:
            # The others are tried as well, so that the same ledger gives the same documents when it is read again.
            self.asking.out_of_budget[self.asked[number].request.kind] = error
        except CurationError as error:
            self.failed.append(error)

    def _settle(self) -> None:
        """Give those up that had no answer, unless it seems to be the server that has none for anybody."""
        unanswered, is_many = self.unanswered, len(self.unanswered) >= ENOUGH
        for number, error in sorted(unanswered.items()):
            if not self.has_answers and (is_many or error.kind.startswith(_OF_THE_SERVER)):
                raise EndpointError(
                    f"{len(unanswered):,} requests and no answer; the last: {error.message}",
                    remedy="see that the server is well, and run the same command again: nothing is asked twice",
                )
            if self.found[number] is None:
                self.found[number] = self._given_up(number)
        if unanswered:
            self.endpoint.ledger.sync()

    def _given_up(self, number: int) -> Answer:
        """Note that a request has no answer and will not be asked again: what it cost is in the ledger already."""
        asked, ledger = self.asked[number], self.endpoint.ledger
        body: dict[str, Any] = self.endpoint.service.body(asked.sent)
        answer = Answer("", UNANSWERED, Cost())
        ledger.settle(ledger.reserve(key_of(body), body, Cost(), asked.request.kind), answer)
        return answer
