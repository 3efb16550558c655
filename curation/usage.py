"""What a run takes of its machines: seconds of processor, and bytes that its processes read and write.

Bytes are those of the system calls: of files, whether the disk or memory answers, of what is spilled, of pipes between
processes, and of S3. What is only mapped into memory is not among them.
"""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.storage.traffic import traffic

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def counts_bytes() -> bool:
    """Whether the system tells this process how many bytes it reads and writes: Linux does, if rights allow."""
    try:
        _bytes("self")
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of processor, and bytes read and written."""

    processor: float = 0.0
    read: int = 0
    written: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.processor + other.processor, self.read + other.read, self.written + other.written)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.processor - other.processor, self.read - other.read, self.written - other.written)


def usage() -> Usage:
    """What this process has taken so far, and its children but for what they exchanged with S3 unencrypted."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own_usage() + Usage(ended.ru_utime + ended.ru_stime)
    for listed in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread or a child has just ended
            for child in listed.read_text().split():
                ticks = sum(map(int, Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:15]))
                total += Usage(ticks / os.sysconf("SC_CLK_TCK"), *_bytes(child))
    return total


def own_usage() -> Usage:
    """What this process itself has taken so far, and the bytes of children that ended."""
    (received, sent), (read, written) = traffic(), _bytes("self") if counts_bytes() else (0, 0)
    return Usage(time.process_time(), read + received, written + sent)


def table(stages: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """What the stages of run.json took, in words: a head, a row for each, and one for all together.

    >>> table({"pull": {"seconds": 2.5, "processor_seconds": 4.0, "read_bytes": 123456789, "written_bytes": None}})[-1]
    ('all', '2.5', '4.0', '123.5', '-')
    """
    units = {"seconds": 1, "processor_seconds": 1, "read_bytes": 10**6, "written_bytes": 10**6}
    sums: dict[str, Any] = {}
    for key in units:
        values = [stage.get(key) for stage in stages.values()]
        sums[key] = None if None in values else sum(values)
    return [
        ("stage", "seconds", "of the processor", "MB read", "MB written"),
        *((name, *("-" if stage.get(key) is None else f"{stage[key] / unit:,.1f}" for key, unit in units.items()))
          for name, stage in [*stages.items(), ("all", sums)]),
    ]  # fmt: skip


def _bytes(process: str) -> tuple[int, int]:
    """Bytes that a process and its children that ended have read and written."""
    read, written = Path(f"/proc/{process}/io").read_text().splitlines()[:2]
    return int(read.removeprefix("rchar:")), int(written.removeprefix("wchar:"))
