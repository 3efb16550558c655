"""A file as a listing shows it."""

from __future__ import annotations

from dataclasses import dataclass

#: What is written to try a place out begins so, and is nobody's.
TRIED = ".curate-tried"


@dataclass(frozen=True, slots=True)
class File:
    """`path` is relative to the storage's root; `size` is in bytes.

    `changed` differs when the file was changed: the time of that in nanoseconds, or its ETag.
    """

    path: str
    size: int
    changed: int | str
