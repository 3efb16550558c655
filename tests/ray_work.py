"""What tasks of test_ray.py do, in a module that nodes can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from curation.errors import InputError


def square(number: int) -> int:
    """Later ones are done sooner."""
    time.sleep(0.01 * (number % 3))
    return number * number


def where(_: Any) -> str:
    """The node of the task."""
    import ray  # noqa: PLC0415  # an extra

    return str(ray.get_runtime_context().get_node_id())


def threads(_: Any) -> int:
    """How many threads Arrow may use."""
    return int(pa.cpu_count())


def fail_at_three(number: int) -> int:
    """An error with a remedy and a note for one of them."""
    if number == 3:
        error = InputError("three is wrong", remedy="take four")
        error.add_note("said where it was raised")
        raise error
    return number


class Odd(Exception):  # noqa: N818
    """Cannot be pickled."""

    def __reduce__(self) -> NoReturn:
        raise TypeError


def fail_oddly(_: Any) -> NoReturn:
    """An error that cannot be sent."""
    raise Odd("odd")


def talk(name: str) -> str:
    """Print to both."""
    print(f"hello {name}")
    print("beware", file=sys.stderr)
    return name


def die_once(path: str) -> str:
    """Killed the first time that it is called for a path."""
    if not Path(path).exists():
        Path(path).write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return Path(path).name


def die(name: str) -> str:
    """Killed on one of them."""
    if name == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def sleep(seconds: float) -> float:
    """Hold the interpreter's lock as a loop in C would, then come back."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1_000_000))
    return seconds


def tell(folder: str) -> None:
    """Write this process's id and wait."""
    Path(folder, str(os.getpid())).write_text("")
    time.sleep(60)


@dataclass(frozen=True)
class OneProcess:
    """A place that only the process that made it sees."""

    pid: int

    def __str__(self) -> str:
        return "/data/work"

    def write(self, name: str, data: bytes) -> None:
        """Nothing: there is nothing to write to."""

    def exists(self, name: str) -> bool:
        """Whether this is that process."""
        return os.getpid() == self.pid

    def remove(self, name: str) -> None:
        """Nothing."""


def burn(seconds: float) -> None:
    """Take so many seconds of the processor."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def read_zeros(count: int) -> int:
    """Read so many bytes."""
    with Path("/dev/zero").open("rb") as zeros:
        return len(zeros.read(count))
