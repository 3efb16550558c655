"""Memory in pages of 2 MB, where the kernel gives them to programs that ask."""

from __future__ import annotations

import ctypes

#: Bytes of a large page, and of what is asked for in them: more than a worker that measures holds of texts.
_PAGE, _HEAP = 2 * 1024**2, 256 * 1024**2
# Of <malloc.h> and <sys/mman.h>: the same for all processors.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _MOST_MAPPED = -1, -3, -4, 65_536
_MADV_HUGEPAGE = 14


def ask_for_large_pages() -> None:
    """Have what this process takes next, 256 MB of it, in large pages where the C library and the kernel know of such.

    A worker takes gigabytes in pieces of some megabytes, one after another, and each page of 4 KB that it touches is a
    fault. A page is given when it is first written to: what is reserved here are addresses, not memory. The GNU C
    library does the like for a process that is started with `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`.
    """
    try:
        library = ctypes.CDLL(None)
        for name, result, *arguments in (
            ("mallopt", ctypes.c_int, ctypes.c_int, ctypes.c_int),
            ("sbrk", ctypes.c_void_p, ctypes.c_ssize_t),
            ("malloc", ctypes.c_void_p, ctypes.c_size_t),
            ("free", None, ctypes.c_void_p),
            ("madvise", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):  # no such library
        return
    library.mallopt(_M_TRIM_THRESHOLD, _HEAP)  # what is free at the end of the heap stays there
    library.mallopt(_M_MMAP_THRESHOLD, _HEAP // 8)  # what is as large as this has a place of its own
    library.mallopt(_M_MMAP_MAX, 0)  # but for this
    start = library.sbrk(0)
    library.free(library.malloc(_HEAP - _PAGE))
    end = library.sbrk(0)
    library.mallopt(_M_MMAP_MAX, _MOST_MAPPED)
    start = -(-start // _PAGE) * _PAGE
    if end > start:
        library.madvise(start, (end - start) // _PAGE * _PAGE, _MADV_HUGEPAGE)
