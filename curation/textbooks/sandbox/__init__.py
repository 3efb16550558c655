"""Running code that a language model wrote, in a process that can do nothing but compute.

The process is a Python of its own, without the environment, which locks itself in before it sees the code: `child.py`
says how. Here it is started, watched, and ended. What it can do to this machine is take `CPU_SECONDS` of one core and
`MEMORY` bytes. What it can do to itself is say that it passed: the code shares its process with what runs the tests.
So an outcome is as honest as the code: a check of what a model means well.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from curation.errors import UsageError
from curation.textbooks.sandbox import child

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Raised when the same code has another outcome.
VERSION = 1
#: Seconds of CPU, and bytes of memory, that code may take.
CPU_SECONDS, MEMORY = 10, 512 * 1024 * 1024
#: Bytes that are read of what it prints past its own output, and seconds after which it is ended in any case: it can
#: wait only for itself, so it is CPU time that ends it before.
_OUTPUT, _SECONDS = 4096, 60.0
#: Its whole environment. Sets have one order, and the zone is read from no file.
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "TZ": "UTC0", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Exercise:
    """Code to run: a function with its docstring, its solution, its tests, and the docstring's text with examples."""

    exercise: str
    solution: str
    tests: str
    examples: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: `passed`, `idle_tests`, `failed_tests`, `over_limits` or `forbidden_calls`; and of what.

    Tests are idle that pass without the solution too.
    """

    name: str
    detail: str = ""


def refuse_none() -> None:
    """Raise `UsageError` where there is no sandbox: on another system, or where the kernel does not do as it says."""
    if why := fault():
        raise UsageError(
            f"code cannot be run here: {why}",
            remedy="run_code = false in the recipe's source, or a Linux on x86-64 or arm64 whose containers let "
            "programs lock themselves in (seccomp)",
        )


@cache
def fault() -> str | None:
    """Why there is no sandbox; None where there is one: it was tried with code that computes, and code that opens."""
    if sys.platform != "linux" or os.uname().machine not in child.MACHINES:
        return f"the sandbox needs Linux on {' or '.join(child.MACHINES)}"
    for solution, expected in (("def f(): return 1", "passed"), ("open('/dev/null')", "forbidden_calls")):
        found = run(Exercise("def f(): ...", solution, "assert f() == 1", ""))
        if found.name != expected:
            return f"the sandbox does not hold: {expected} was expected, {found.name} {found.detail} came"
    return None


def run_all(exercises: Sequence[Exercise]) -> list[Outcome]:
    """The outcome of each, some at a time."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:  # which wait for processes
        return list(threads.map(run, exercises))


def run(exercise: Exercise) -> Outcome:
    """The outcome of code. Nothing of it is run in this process, and none of its processes is left."""
    token = secrets.token_hex(16)
    asked = {"token": token, "exercise": exercise.exercise, "solution": exercise.solution, "tests": exercise.tests,
             "examples": exercise.examples}  # fmt: skip
    bounds = map(str, (CPU_SECONDS, MEMORY, os.getpid()))
    process = subprocess.Popen(  # noqa: S603  # this Python, and a file of this project
        [sys.executable, "-s", "-P", "-S", "-B", str(Path(child.__file__)), *bounds],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_ENVIRONMENT, cwd="/",
        start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            said, is_in_time = _talk(process, json.dumps(asked).encode())
        finally:
            process.kill()
            process.wait()
    if not is_in_time:
        return Outcome("over_limits", "output" if len(said) > _OUTPUT else "time")
    return _outcome(process.returncode, _lines(said, token))


def _talk(process: subprocess.Popen[bytes], asked: bytes) -> tuple[bytes, bool]:
    """What the process printed until it ended; and whether it ended, or had to be stopped for its output or its time.

    It reads everything before it writes anything.
    """
    if process.stdin is None or process.stdout is None:
        return b"", True
    with suppress(BrokenPipeError):
        process.stdin.write(asked)
        process.stdin.close()
    said, until = b"", time.monotonic() + _SECONDS
    while len(said) <= _OUTPUT:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return said, False
        more = os.read(process.stdout.fileno(), _OUTPUT)
        if not more:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
                return said, True
            return said, False
        said += more
    return said, False


def _lines(said: bytes, token: str) -> list[str]:
    lines = said.decode("utf-8", "replace").splitlines()
    return [line.removeprefix(token).strip() for line in lines if line.startswith(token)]


def _outcome(status: int, lines: list[str]) -> Outcome:
    """What an exit status (a signal is below 0) and the lines of the child mean."""
    if not lines:
        by = {
            -signal.SIGSYS: Outcome("forbidden_calls"), -signal.SIGXCPU: Outcome("over_limits", "time"),
            -signal.SIGKILL: Outcome("over_limits", "time"), -signal.SIGSEGV: Outcome("over_limits", "stack"),
        }  # fmt: skip
        return by.get(status, Outcome("failed_tests", f"it ended with status {status}"))
    if lines[0] == "MemoryError":
        return Outcome("over_limits", "memory")
    if lines[0] != "passed":
        return Outcome("failed_tests", lines[0][:100])
    return Outcome("idle_tests") if lines[1:2] == ["without: passed"] else Outcome("passed")
