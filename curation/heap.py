"""The heap of a process: asked for in pages of 2 MB, and given back. Both do nothing without the GNU C library."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

#: Bytes of a large page, and of the heap that is asked for in such pages: more than measuring takes of it.
_PAGE, _HEAP = 2 * 1024**2, 256 * 1024**2
# Of <malloc.h> and <sys/mman.h>, the same for all processors, and how much may be mapped if nobody says.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _MOST_MAPPED = -1, -3, -4, 65_536
_MADV_HUGEPAGE = 14
#: What is called, the type of its result, and those of its arguments.
_CALLED = (
    ("mallopt", ctypes.c_int, ctypes.c_int, ctypes.c_int),
    ("malloc_trim", ctypes.c_int, ctypes.c_size_t),
    ("sbrk", ctypes.c_void_p, ctypes.c_ssize_t),
    ("malloc", ctypes.c_void_p, ctypes.c_size_t),
    ("free", None, ctypes.c_void_p),
    ("madvise", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
)
#: With one of these in the environment somebody has settled how the heap grows.
SETTLED = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(None)
        for name, result, *arguments in _CALLED:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError, TypeError):  # another library, or another system
        return None
    return library


def end() -> int:
    """Where the heap ends now; 0 where that is not known."""
    library = _library()
    return 0 if library is None else int(library.sbrk(0) or 0)


def ask_for_large_pages() -> int:
    """Have the next 256 MB of the heap in pages of 2 MB, where the kernel gives such to programs that ask.

    Comes back with where the heap ends then: where it ends before that later, some of it was given back, by `trim` or
    since more than 256 MB were free at its end, and it must be asked for again. 0 where it cannot be asked for.

    A worker takes gigabytes in pieces of some megabytes, one after another, and each page of 4 KB that it touches is a
    fault. A page is given when it is first written to: what is asked for here are addresses. The GNU C library does
    the like by itself in a process that is started with `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`.
    """
    library = _library()
    if library is None or any(name in os.environ for name in SETTLED):
        return 0
    library.mallopt(_M_TRIM_THRESHOLD, _HEAP)  # so much may be free at its end, and stays there
    library.mallopt(_M_MMAP_THRESHOLD, _HEAP // 8)  # what is as large as this lies elsewhere
    library.mallopt(_M_MMAP_MAX, 0)  # but not the next piece, which is to come from the heap
    start = end()
    library.free(library.malloc(_HEAP - _PAGE))
    library.mallopt(_M_MMAP_MAX, _MOST_MAPPED)
    start = -(-start // _PAGE) * _PAGE
    if end() > start:
        library.madvise(start, (end() - start) // _PAGE * _PAGE, _MADV_HUGEPAGE)
    return end()


def trim() -> None:
    """Give free memory of the heap back to the system."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)
