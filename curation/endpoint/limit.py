"""How many requests a server gets at once: more while all goes well, fewer when it has had enough.

Until it is lowered for the first time each answer makes room for one more, which doubles the limit in a round; then it
is halved. From then on it moves in each round by half of its distance from where the server had enough, one at least:
ever slower up to there, ever faster beyond. When the server has had enough again it is lowered by a quarter. That is
binary increase and multiplicative decrease, as in BIC (Xu, Harfoush and Rhee 2004): the limit stays near what the
server bears, and nobody needs to know how much that is.

A server that refuses nothing takes longer when it has too much to do. How long it takes when it has not is seen with
half as many, every so often, as BBR does (Cardwell et al. 2016); where answers take much longer than that no more are
tried.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

#: Where it begins.
FIRST = 4
#: What is left of the limit where the server has had enough: the first time, and later.
_FIRST_LEFT, _LEFT = 0.5, 0.75
#: Answers of which a mean is taken at least, since lengths differ, and so do times: until it is first lowered, later.
_FIRST_ROUND, _ROUND = 16, 50
#: After so many rounds one is with half as many requests.
_HALF = 25
#: No more requests are tried while the mean is more than this many times that of few, and fewer beyond the second.
_SLOWER, _MUCH_SLOWER = 1.5, 1.8
#: Fewer requests did not help where the mean is still this much of what it was: then it is not they that take long.
_HELPED = 0.9


@dataclass
class Limit:
    """How many requests may be under way, `allowed`, at most `most`; `resumes` is when a pause ends."""

    most: int
    allowed: float = 0.0
    resumes: float = 0.0
    _lowered: float | None = None
    _enough: float = 0.0
    _grows: bool = True
    #: Of the round: its number, how many answers it has, those that came and their seconds, which count if they were
    #: asked for since then, and whether it is with half.
    _rounds: int = 0
    _size: float = _FIRST_ROUND
    _answers: int = 0
    _seconds: float = 0.0
    _since: float = 0.0
    _is_half: bool = False
    #: How long answers take where the server has little to do, and how long they took before it was given less.
    _least: float | None = None
    _before: float = math.inf

    def __post_init__(self) -> None:
        self.allowed, self._enough = float(min(FIRST, self.most)), float(self.most)

    def pause(self, seconds: float) -> None:
        """Let nobody begin for so long."""
        self.resumes = max(self.resumes, time.monotonic() + seconds)

    def restart(self) -> None:
        """Begin anew with one request, as after a time in which there was no server."""
        new = Limit(self.most, resumes=self.resumes)
        new.allowed = 1.0
        vars(self).update(vars(new))

    def lower(self, began: float) -> None:
        """The server refused, or did not come back in time: fewer at once, down to one.

        `began` is when the request went out, by `time.monotonic`: all that were under way when the limit was lowered
        tell of the same moment, and lower it once.
        """
        if self._lowered is None or began >= self._lowered:
            self._enough = self.allowed
            self.allowed = max(1.0, self.allowed * (_FIRST_LEFT if self._lowered is None else _LEFT))
            self._lowered = time.monotonic()

    def answered(self, began: float) -> None:
        """An answer came: more at once, unless answers take longer than they need."""
        if began >= self._since:
            self._seconds += time.monotonic() - began
            self._answers += 1
        if self._answers >= self._size:
            self._end_round()
        if self._grows:
            a_round = self.allowed if self._lowered is None else max(1.0, abs(self._enough - self.allowed) / 2)
            self.allowed = min(float(self.most), self.allowed + a_round / self.allowed)

    def _end_round(self) -> None:
        """See how long answers took, and what that says of those that come."""
        mean, now = self._seconds / self._answers, time.monotonic()
        self._seconds, self._answers = 0.0, 0
        self._rounds += 1
        self._least = mean if self._least is None or self._is_half else min(self._least, mean)
        is_much = mean > _MUCH_SLOWER * self._least
        if is_much and mean > _HELPED * self._before:
            self._least, is_much = mean, False
        self._before = mean if is_much else math.inf
        self._grows, self._is_half = mean <= _SLOWER * self._least, False
        if is_much:
            self.lower(now)
            self._since = now + mean  # until then answers tell of what was, and of its rest
        elif self._rounds % _HALF == 0 and self.allowed > 1:
            self._enough, self.allowed = self.allowed, max(1.0, self.allowed / 2)
            self._grows, self._is_half, self._since = False, True, now + mean
        self._size = max(_FIRST_ROUND if self._lowered is None else _ROUND, self.allowed)
