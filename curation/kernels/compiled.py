"""`kernel` and `helper`: how a function of this package becomes machine code, compiled once for an installation.

What was compiled lies in a folder named after everything that it was compiled from (`curation.kernels.place`), since
numba by itself does not notice that a helper in another module changed. Of processes that start together one compiles
a function while the others wait for it, and load it.
"""

from __future__ import annotations

import fcntl
import gc
import glob
import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.ma  # numba asks for it when it first sees an array: then each worker would import it

# Numba paints each guess at a type that fails, in the terminal's colours: a tenth of all compiling.
os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")
import numba
from numba import types
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys

from curation.kernels.place import folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

Function = TypeVar("Function", bound="Callable[..., Any]")


class _Cache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """Numba's, which loads what was compiled without a look at all that numba's types can do: a third of all loading.

    Whoever compiles looks.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for this signature, None where nothing was."""
        rtsys.initialize(target_context)  # compiled code refers to it
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


#: No wrapper for C, since none is called from there: it would be a tenth of all compiling.
_OPTIONS = {"no_cfunc_wrapper": True, "nogil": True, "error_model": "numpy", "boundscheck": False}


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
        with _alone(folder(), f"{function.__module__}.{function.__qualname__}"), _seldom_collected():
            numba.config.CACHE_DIR, before = str(folder()), numba.config.CACHE_DIR
            try:
                made = numba.njit(**_OPTIONS)(function)
                made._cache = _Cache(function)  # noqa: SLF001  # as its `enable_caching` does
                made.compile(signature)
                made.disable_compile()
            finally:
                numba.config.CACHE_DIR = before
            return made

    return decorate


def helper(function: Function) -> Function:
    """Make a function callable from kernels, into which it is compiled. It makes no array.

    So it need not count references to those that it is given, which would take longer than most helpers do. Python
    cannot call it: what that would take is a tenth of all compiling.
    """
    return numba.njit(function, _nrt=False, no_cpython_wrapper=True, **_OPTIONS)


def inlined(function: Function) -> Function:
    """Make a helper of a few instructions, copied to each place that calls it."""
    return numba.njit(function, _nrt=False, forceinline=True, no_cpython_wrapper=True, **_OPTIONS)


def kept(
    name: str, make: Callable[[], tuple[NDArray[Any], ...]], version: str | None = None
) -> tuple[NDArray[Any], ...]:
    """The arrays that `make` gives, made once for an installation, then read from beside the compiled kernels.

    They are mapped into memory, so that many processes hold them once. They may depend on nothing but `name` and
    `version`, which without one is the state of the kernels' sources and Python's version.
    """
    place = folder() if version is None else folder().parent
    stem = name if version is None else f"{name}-{version}"
    first = place / f"{stem}.0.npy"
    if not first.exists():
        with _alone(place, stem):
            if not first.exists():
                arrays = make()
                try:
                    for number in reversed(range(len(arrays))):  # where the first one is, all are
                        part = place / f"{stem}.part"
                        with part.open("wb") as file:
                            np.save(file, arrays[number])
                        part.replace(place / f"{stem}.{number}.npy")
                except OSError:  # no room: then each process makes its own
                    return arrays
    files = sorted(place.glob(f"{glob.escape(stem)}.[0-9].npy"))
    return tuple(np.load(file, mmap_mode="r").view(np.ndarray) for file in files)


@contextmanager
def _alone(place: Path, name: str) -> Iterator[None]:
    """Hold what has this name, so that a process that comes meanwhile finds what this one makes."""
    with ExitStack() as held:
        with suppress(OSError):  # a file system without locks, or no folder any more: then each compiles
            lock = held.enter_context((place / f"{name}.lock").open("wb"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Let garbage lie for longer: looking for it among the millions of objects is a tenth of all compiling."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], 200_000), 10, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
