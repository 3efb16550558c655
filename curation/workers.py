"""The processes that `LocalEngine` works with: copies of this one where that is safe, else new ones."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pebble import ProcessPool

from curation import heap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.process import BaseProcess

#: Calls in calls that the work in a worker may make: what Python allows a program by itself.
_DEEPEST = 1000
#: Seconds after which a worker that has nothing to do gives back memory.
_IDLE = 0.5


def pool(workers: int, modules: Iterable[str] = ()) -> ProcessPool:
    """A pool of so many workers, which `start` starts.

    A copy has all that this process has imported. So `modules`, what the work needs, are imported first where workers
    are copies: a second that else each of them takes.
    """
    if may_be_copied():
        for module in modules:
            import_module(module)
    return ProcessPool(max_workers=workers, context=_Context(), initializer=_prepare, initargs=(os.getpid(),))


def start(processes: ProcessPool) -> None:
    """Start its workers, if they do not run; raises `RuntimeError` where that fails."""
    if not processes.active:
        raise RuntimeError("the pool is broken")


def may_be_copied() -> bool:
    """Whether a copy of this process is as good as a new one: it has one thread, and no connection that both would use.

    A lock that another thread holds would be held in the copy for ever. What it was given as input and output may be a
    connection: a new process has it too. False where the system does not tell.
    """
    own = Path("/proc/self")
    try:
        opened = [handle for handle in own.glob("fd/*") if int(handle.name) > 2]
        return len(list(own.glob("task/*"))) == 1 and not any(map(_is_socket, opened))
    except OSError:
        return False


def _is_socket(handle: Path) -> bool:
    try:
        return str(handle.readlink()).startswith("socket:")
    except FileNotFoundError:  # it was there to list the others
        return False


class _Context(SpawnContext):
    """How processes start: what they share suits new ones, since the pool has threads when one replaces another."""

    def Process(self, *args: Any, **named: Any) -> BaseProcess:  # type: ignore[override]  # noqa: N802
        kind = "fork" if may_be_copied() else "spawn"
        process: BaseProcess = multiprocessing.get_context(kind).Process(*args, **named)  # type: ignore[attr-defined]
        return process


def _prepare(parent: int) -> None:
    """One thread a library, Ctrl-C left to the parent, and an end when the parent is gone.

    What a copy has of its parent makes no difference to the work: how often garbage is looked for, among what, and how
    deep calls may go, on which it depends which documents nest too deep.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(700, 10, 10)
    gc.freeze()
    sys.setrecursionlimit(sys.getrecursionlimit() + _DEEPEST - _calls_left())
    import pyarrow as pa  # noqa: PLC0415  # in the worker alone

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    threading.Thread(target=look_after, args=(parent,), daemon=True).start()


@dataclass(slots=True)
class _State:
    """How far large pages are asked for (an address), and when this worker was done with an item (`time.monotonic`)."""

    large_to: int = sys.maxsize
    #: None while it is at work, and when it has given back.
    idle_since: float | None = None


_state = _State()
#: Held while memory is given back and asked for, by the work or by the thread that looks after this process.
_turning = threading.Lock()


@contextmanager
def at_work() -> Iterator[None]:
    """Do an item. The memory that it took stays for the next; a worker that waits gives it back: others may need it."""
    with _turning:
        _state.idle_since = None
        if heap.end() < _state.large_to:  # not yet, or the heap has become smaller
            _state.large_to = heap.ask_for_large_pages()
    try:
        yield
    finally:
        _state.idle_since = time.monotonic()


def _give_back_if_idle() -> None:
    with _turning:
        if _state.idle_since is not None and time.monotonic() - _state.idle_since > _IDLE:
            import pyarrow as pa  # noqa: PLC0415  # in the worker alone

            pa.default_memory_pool().release_unused()
            heap.trim()
            _state.idle_since = None


def _calls_left() -> int:
    try:
        return 1 + _calls_left()
    except RecursionError:
        return 0


def look_after(parent: int) -> None:
    """Five times a second: end this process when its parent is gone, and give back memory when there is no work."""
    while os.getppid() == parent:
        time.sleep(0.2)
        with suppress(MemoryError):
            _give_back_if_idle()
    os._exit(1)
