"""The only concurrency: one function mapped over items by local processes; `ray_engine` does the same on a cluster.

A function that is mapped is a module-level function of one item; it reads and writes parts and returns something
small. It may run twice for the same item, so what it writes appears whole or not at all.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from pebble import ProcessExpired

from curation import workers as processes
from curation.errors import WorkerError
from curation.progress import Progress, Silent
from curation.storage.traffic import traffic
from curation.usage import Usage, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from pebble import ProcessPool

    from curation.storage import Storage

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Seconds after which the work on one item is taken for hung. It fails the run, after one more try; it never decides
#: what becomes of a document.
ITEM_SECONDS = 3600.0
#: Bytes a second that an item of many bytes makes at the least: it may take longer than `ITEM_SECONDS` in proportion.
_SLOWEST = 20_000


class Engine(Protocol):
    """What stages fan out through: processes of this machine, or the nodes of a cluster."""

    #: The cores of this machine that the run may use.
    workers: int
    progress: Progress

    def __enter__(self) -> Self:
        """The engine itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers."""

    def use(self, places: Iterable[Storage]) -> None:
        """Work in these places; `WorkerError` where a worker sees others there."""

    def preload(self, *modules: str) -> None:
        """Say what work will import, so that it is imported once where workers are copies of this process."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        label: str,
        sizes: Sequence[int] | None = None,
        unit: str = "parts",
        little: bool = False,
    ) -> list[Result]:
        """`[function(item) for item in items]`, in that order, made by the workers."""

    def everywhere(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, label: str, little: bool = False
    ) -> list[Result]:
        """What the function gives for each item on each machine."""

    def usage(self) -> Usage:
        """What this process and the workers have taken so far."""


class LocalEngine:
    """Processes on this machine, started when first needed and kept until the end.

    With one worker everything still happens in a process of its own, so that a crash in a library is an error message.
    """

    def __init__(
        self, workers: int | None = None, progress: Progress | None = None, *, item_seconds: float = ITEM_SECONDS
    ) -> None:
        self.workers = workers or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers or 1
        self.progress = progress or Silent()
        self.item_seconds = item_seconds
        self._pool: ProcessPool | None = None
        self._modules: tuple[str, ...] = ()
        self._passed = Usage()  # between workers and S3

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None and kind is None:
            self._pool.close()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None
        self._stop()

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        label: str,
        sizes: Sequence[int] | None = None,
        unit: str = "parts",
        little: bool = False,
    ) -> list[Result]:
        """`[function(item) for item in items]`, in that order, made by the workers.

        `sizes` weighs the items for the progress shown. With `little` work, less than starting a worker takes, it is
        done in this process unless there are workers already. An item whose worker died or did not come back within
        `item_seconds` is tried once more, alone, after the others. Raises what the function raised, with the item in a
        note, and `WorkerError` naming the item whose worker died twice; no worker is at work any more then.
        """
        if not items or (little and self._pool is None):
            return [function(item) for item in items]
        weights = list(sizes) if sizes is not None else [1] * len(items)
        limits = [seconds_for(weight, unit, self.item_seconds) for weight in weights]
        results: dict[int, Result] = {}
        failed: list[int] = []
        waiting = deque(range(len(items)))
        running: dict[Future[tuple[Result, Usage]], int] = {}
        pool = self._opened()
        try:
            processes.start(pool)  # now, since a progress bar is a thread of its own
        except RuntimeError:  # it is tried again, and told, by `_schedule`
            self._stop()
        self.progress.start(label, sum(weights), unit)
        try:
            while waiting or running:
                while waiting and len(running) < 4 * self.workers:
                    index = waiting.popleft()
                    running[self._schedule(function, items[index], limits[index])] = index
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    index = running.pop(future)
                    if _is_lost(future):
                        failed.append(index)
                        continue
                    results[index] = self._answer(future, label, items[index])
                    self.progress.advance(weights[index])
            for index in failed:
                results[index] = self._once_more(function, items[index], label, limits[index])
                self.progress.advance(weights[index])
        except BaseException:
            self._stop()
            raise
        finally:
            self.progress.stop()
        return [results[index] for index in range(len(items))]

    def use(self, places: Iterable[Storage]) -> None:
        """Work in these places: the processes of one machine see the same there."""

    def preload(self, *modules: str) -> None:
        """Import these before the first worker starts, if it will be a copy of this process."""
        self._modules = modules

    def everywhere(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, label: str, little: bool = False
    ) -> list[Result]:
        """What the function gives for each item: there is one machine, and `little` work is done in this process."""
        return [function(item) for item in items] if little else self.map(function, items, label=label, unit="tasks")

    def usage(self) -> Usage:
        """What this process and its workers have taken so far."""
        return usage() + self._passed

    def _schedule(self, function: Callable[[Item], Result], item: Item, seconds: float) -> Future[tuple[Result, Usage]]:
        """The work on an item, in a new pool where there is none or the last one broke."""
        for _ in range(2):
            pool = self._opened()
            with suppress(RuntimeError):  # it broke: each of its items is lost
                return pool.schedule(_do, args=(function, item), timeout=seconds)
            self._stop()
        raise WorkerError("worker processes do not start", remedy="look whether the machine has memory left")

    def _opened(self) -> ProcessPool:
        """The pool; a new one where there is none."""
        if self._pool is None:
            self._pool = processes.pool(self.workers, self._modules)
        return self._pool

    def _stop(self) -> None:
        """Kill the workers, if there are any: what they were writing never gets its name."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None

    def _once_more(self, function: Callable[[Item], Result], item: Item, label: str, seconds: float) -> Result:
        pool = processes.pool(1)
        try:
            future = pool.schedule(_do, args=(function, item), timeout=seconds)
            if not _is_lost(future):
                result: Result = self._answer(future, label, item)
                return result
            error = future.exception()
            if isinstance(error, TimeoutError):
                raise WorkerError(
                    f"{label}: no answer within {seconds:.0f} s, twice, on {named(item)}",
                    remedy="look at that input; finished parts are kept",
                )
            raise WorkerError(
                f"{label}: the worker process died twice{_how(error)} on {named(item)}",
                remedy="SIGKILL usually means that memory ran out: use fewer --workers. "
                "Otherwise look at that input: finished parts are kept",
            )
        finally:
            pool.stop()  # type: ignore[no-untyped-call]  # at once, also when interrupted
            pool.join()

    def _answer(self, future: Future[tuple[Result, Usage]], label: str, item: object) -> Result:
        """What the function returned, or the error that it raised, with the item in a note."""
        try:
            answer, passed = future.result()
        except Exception as error:
            error.add_note(f"while {label} was working on {named(item)}")
            raise
        self._passed += passed
        return answer


def _do(function: Callable[[Item], Result], item: Item) -> tuple[Result, Usage]:
    """In a worker: what the function gives, and what passed between the worker and S3 that is seen only there."""
    before = traffic()
    with processes.at_work():
        answer = function(item)
    received, sent = traffic()
    return answer, Usage(0.0, received - before[0], sent - before[1])


def named(item: object) -> str:
    """The item, or the first of several and how many more.

    >>> named(["a", "b", "c"])
    'a and 2 more'
    """
    if not isinstance(item, list) or not item:
        return str(item)
    return str(item[0]) + (f" and {len(item) - 1} more" if len(item) > 1 else "")


def seconds_for(weight: int, unit: str, item_seconds: float) -> float:
    """The seconds that the work on an item may take: more for one of many bytes.

    >>> seconds_for(5, "parts", 3600), seconds_for(144_000_000, "B", 3600)
    (3600.0, 7200.0)
    """
    slow = _SLOWEST if unit == "B" else float("inf")
    return item_seconds * max(1.0, weight / (slow * ITEM_SECONDS))


def _how(error: BaseException | None) -> str:
    """How a process ended, in brackets; nothing where it did before it could say which item it had."""
    if not isinstance(error, ProcessExpired):
        return ""
    return f" ({signal.Signals(-error.exitcode).name if error.exitcode < 0 else f'exit status {error.exitcode}'})"


def _is_lost(future: Future[Any]) -> bool:
    """Whether the worker died or the pool ended its work: not an error, nor a time limit, of the function itself."""
    error = future.exception()
    return isinstance(error, (ProcessExpired, BrokenProcessPool)) or (
        isinstance(error, TimeoutError) and error.args[:1] == ("Task timeout",)
    )


def chunks(items: Sequence[Any], sizes: Sequence[int], most: int, *, count: int = 64) -> list[list[Any]]:
    """Consecutive runs of items of at most `most` bytes and `count` items together, for work on many small parts.

    >>> chunks("abcd", [5, 5, 1, 20], 10)
    [['a', 'b'], ['c'], ['d']]
    """
    runs: list[list[Any]] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        if runs and total + size <= most and len(runs[-1]) < count:
            runs[-1].append(item)
            total += size
        else:
            runs.append([item])
            total = size
    return runs
