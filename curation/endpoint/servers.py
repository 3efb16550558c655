"""Which server a request goes to: the one that has least to do for its weight, of those that have room and are there.

A server that cannot be reached, or fails again and again, is left out for a while that doubles each time; then one
request tries it. Where all are left out all are tried, so that a single server is never given up here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from curation.endpoint.limit import Limit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from curation.endpoint.service import Server

#: Failures without an answer between them after which a server is left out.
ENOUGH = 5
#: Seconds for which it is left out at first, and at most.
FIRST_ABSENCE, LONGEST_ABSENCE = 5.0, 120.0


class Place:
    """A server as it goes: what it has to do, and whether it is there."""

    def __init__(self, server: Server, key: str | None, most: int) -> None:
        self.server, self.key = server, key
        self.proxy = _proxy(server.url)
        self.limit = Limit(most)
        self.busy = 0
        self.returns = 0.0
        self._failed = 0
        self._absence = FIRST_ABSENCE

    def answered(self, began: float) -> None:
        """It answered a request that went out then."""
        self.limit.answered(began)
        self._failed, self._absence = 0, FIRST_ABSENCE

    def failed(self, *, is_away: bool) -> None:
        """It did not answer, or there is nothing there."""
        self._failed += 1
        if (is_away or self._failed >= ENOUGH) and time.monotonic() >= self.returns:
            self.leave_out(self._absence)
            self._absence = min(LONGEST_ABSENCE, 2 * self._absence)

    def leave_out(self, seconds: float) -> None:
        """Ask others for so long."""
        self.returns = time.monotonic() + seconds
        self.limit.restart()
        self._failed = ENOUGH - 1  # then one more failure is enough

    @property
    def has_room(self) -> bool:
        """Whether it may get a request now."""
        return self.busy < int(self.limit.allowed) and self.limit.resumes <= time.monotonic()


class Servers:
    """The servers of an endpoint, which get `most` requests at once between them; first come, first served."""

    def __init__(self, places: list[Place], most: int) -> None:
        self.places, self.most = places, most
        self._waiting: deque[asyncio.Future[Place]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """A server that has room for a request, which it holds until the block ends."""
        coming = asyncio.get_running_loop().create_future()
        self._waiting.append(coming)
        self._serve()
        try:
            place = await coming
        except BaseException:
            if coming.done() and not coming.cancelled():
                self._leave(coming.result())
            raise
        try:
            yield place
        finally:
            self._leave(place)

    def others(self, place: Place) -> bool:
        """Whether another server is there."""
        return any(other is not place and other.returns <= time.monotonic() for other in self.places)

    def _leave(self, place: Place) -> None:
        place.busy -= 1
        self._serve()

    def _serve(self) -> None:
        """Give what room there is to those who wait; look again when a pause or an absence ends."""
        while self._waiting and (place := self._best()) is not None:
            coming = self._waiting.popleft()
            if not coming.done():
                place.busy += 1
                coming.set_result(place)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        if self._waiting and (ends := [end for end in self._ends() if end > now]):
            self._timer = asyncio.get_running_loop().call_later(min(ends) - now, self._serve)

    def _best(self) -> Place | None:
        if sum(place.busy for place in self.places) >= self.most:
            return None
        now = time.monotonic()
        there = [place for place in self.places if place.returns <= now] or self.places
        free = [place for place in there if place.has_room]
        return min(free, key=lambda place: (place.busy + 1) / place.server.weight, default=None)

    def _ends(self) -> list[float]:
        return [end for place in self.places for end in (place.limit.resumes, place.returns)]


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for an address (https_proxy, no_proxy …)."""
    place = urlsplit(url)
    return None if proxy_bypass(place.netloc) else getproxies().get(place.scheme)
