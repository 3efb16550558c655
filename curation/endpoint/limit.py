"""How many requests a server gets at once: more while all goes well, half as many when it has had enough.

Additive increase, multiplicative decrease, as TCP does it (Chiu and Jain 1989): the share that many clients get of one
server comes out fair, and nobody needs to know how large the server is. Until it is lowered for the first time each
answer makes room for one more, which doubles the limit in a round.
"""

from __future__ import annotations

import time

#: Where it begins.
FIRST = 4
#: Of the seconds that a request takes, the share of the newest in the mean, and how much the best mean is let grow.
_NEWEST, _DRIFT = 0.2, 1.01
#: No more requests are tried while the mean is this many times the best, and fewer where it is twice as many.
_SLOWER = 2.0


class Limit:
    """How many requests may be under way, `allowed`, at most `most`; `resumes` is when a pause ends."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.allowed = float(min(FIRST, most))
        self.resumes = 0.0
        self._lowered: float | None = None
        self._mean = self._best = 0.0

    def pause(self, seconds: float) -> None:
        """Let nobody begin for so long."""
        self.resumes = max(self.resumes, time.monotonic() + seconds)

    def restart(self) -> None:
        """Begin anew with one request, as after a time in which there was no server."""
        self.allowed, self._lowered = 1.0, None
        self._mean = self._best = 0.0

    def lower(self, began: float, factor: float = 0.5) -> None:
        """The server refused, or did not come back in time: fewer at once, down to one.

        `began` is when the request went out, by `time.monotonic`: all that were under way when the limit was lowered
        tell of the same moment, and lower it once.
        """
        if self._lowered is None or began >= self._lowered:
            self.allowed = max(1.0, self.allowed * factor)
            self._lowered = time.monotonic()

    def answered(self, began: float) -> None:
        """An answer came: more at once, unless answers take longer and longer."""
        seconds = time.monotonic() - began
        self._mean = seconds if not self._mean else (1 - _NEWEST) * self._mean + _NEWEST * seconds
        self._best = min(self._best * _DRIFT, self._mean) if self._best else self._mean
        if self._mean > 2 * _SLOWER * self._best:
            self.lower(began, 0.75)
        elif self._mean <= _SLOWER * self._best:
            self.allowed = min(float(self.most), self.allowed + (1 / self.allowed if self._lowered is not None else 1))
