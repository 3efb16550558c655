"""The processes that `LocalEngine` works with: copies of this one where that is safe, else new ones."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from importlib import import_module
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pebble import ProcessPool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from multiprocessing.process import BaseProcess


def pool(workers: int, modules: Iterable[str] = ()) -> ProcessPool:
    """A pool of so many workers, which start when `active` is asked for.

    A copy has all that this process has imported. So `modules`, what the work needs, are imported first where workers
    are copies: a second that else each of them takes.
    """
    if may_be_copied():
        for module in modules:
            import_module(module)
        gc.freeze()  # looking for garbage among what is there would write to memory that is shared
    return ProcessPool(max_workers=workers, context=_Context(), initializer=_prepare, initargs=(os.getpid(),))


def may_be_copied() -> bool:
    """Whether a copy of this process is as good as a new one: it has one thread, and no connection that both would use.

    A lock that another thread holds would be held in the copy for ever. False where the system does not tell.
    """
    own = Path("/proc/self")
    try:
        return len(list(own.glob("task/*"))) == 1 and not any(map(_is_socket, own.glob("fd/*")))
    except OSError:
        return False


def _is_socket(handle: Path) -> bool:
    try:
        return str(handle.readlink()).startswith("socket:")
    except FileNotFoundError:  # it was there to list the others
        return False


class _Context(SpawnContext):
    """How processes start: what they share suits new ones, since one that replaces another is never a copy."""

    def Process(self, *args: Any, **named: Any) -> BaseProcess:  # type: ignore[override]  # noqa: N802
        kind = "fork" if may_be_copied() else "spawn"
        process: BaseProcess = multiprocessing.get_context(kind).Process(*args, **named)  # type: ignore[attr-defined]
        return process


def _prepare(parent: int) -> None:
    """One thread a library, Ctrl-C left to the parent, and an end when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import pyarrow as pa  # noqa: PLC0415  # in the worker alone

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def end_with(parent: int) -> None:
    """Look five times a second whether the parent is there, and end this process when it is not."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
