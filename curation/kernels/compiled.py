"""`kernel` and `helper`: how a function of this package becomes machine code, compiled once for an installation.

What was compiled lies in `__pycache__` beside the kernels, or in the user's cache where that cannot be written, in a
folder named after everything that it was compiled from: the sources of all kernels (numba by itself does not notice
that a helper in another module changed), numba's and Python's version. Processes that start together compile one after
another, so that each function is compiled by one of them and loaded by the others.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numba
from numba import types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Function = TypeVar("Function", bound="Callable[..., Any]")

_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False}


def array(kind: Any, dimensions: int = 1) -> Any:
    """The type of an array that a kernel only reads; any C-contiguous array of this kind may be given."""
    return types.Array(kind, dimensions, "C", readonly=True)


def out(kind: Any, dimensions: int = 1) -> Any:
    """The type of an array that a kernel writes to."""
    return types.Array(kind, dimensions, "C")


def kernel(signature: Any) -> Callable[[Function], Function]:
    """Compile a function for this signature, such as `types.void(array(types.uint8), out(types.int64))`.

    It runs without the GIL and checks no bounds. The first process of an installation compiles it, in seconds; any
    other loads it, in milliseconds.
    """

    def decorate(function: Function) -> Function:
        with _alone():
            numba.config.CACHE_DIR, before = str(folder()), numba.config.CACHE_DIR
            try:
                return numba.njit(signature, cache=True, **_OPTIONS)(function)
            finally:
                numba.config.CACHE_DIR = before

    return decorate


def helper(function: Function) -> Function:
    """Make a function callable from kernels, into which it is compiled."""
    return numba.njit(function, **_OPTIONS)


def is_compiled() -> bool:
    """Whether some process has compiled kernels of just this state before."""
    return any(folder().rglob("*.nbi"))


@cache
def folder() -> Path:
    """Where the compiled kernels of this state of the sources lie."""
    here = Path(__file__).parent
    state = blake2b(f"{sys.version} {numba.__version__}".encode(), digest_size=8)
    for source in sorted(here.glob("*.py")):
        state.update(source.name.encode() + b"\0" + source.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    for place in (here / "__pycache__", home / "curate"):
        mine = place / f"kernels-{state.hexdigest()}"
        with suppress(OSError):
            mine.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=mine):
                return mine
    return Path(tempfile.mkdtemp(prefix="curate-kernels-"))


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the folder, so that a process that comes meanwhile finds what this one compiles."""
    with (folder() / "lock").open("wb") as lock:
        with suppress(OSError):  # a file system without locks: then each compiles
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
