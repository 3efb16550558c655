"""What runs in the sandbox: a script of the standard library alone, which imports, locks itself in, and runs code.

It reads JSON from standard input: a token, the exercise, its solution, its tests. It answers on standard output with
lines that begin with the token, so that what the code itself prints there is none.

The lock is a filter of system calls (seccomp) that the kernel keeps to whatever the code does. Code may compute, have
memory, read the clock, draw random numbers and end. It may not open a file, make a socket or a process, send a signal,
or do any of the other things that the kernel offers: the kernel kills it at the attempt. A list of what is allowed is
short and can be read; one of what is forbidden would be out of date with the next kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.machinery
import io
import json
import os
import re
import resource
import signal
import struct
import sys
import time

#: What code may import: the parts of the standard library that need nothing but memory. What it names of them is
#: imported before the lock is closed, and nothing is found afterwards.
MODULES = (
    "abc", "argparse", "array", "ast", "base64", "binascii", "bisect", "builtins", "calendar", "cmath", "collections",
    "collections.abc", "colorsys", "contextlib", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib",
    "doctest", "enum", "fractions", "functools", "graphlib", "hashlib", "heapq", "html", "html.parser", "io",
    "itertools", "json", "keyword", "locale", "logging", "math", "numbers", "operator", "os", "os.path", "pathlib",
    "pprint", "queue", "random", "re", "reprlib", "secrets", "statistics", "string", "struct", "sys", "textwrap",
    "threading", "time", "timeit", "tokenize", "traceback", "types", "typing", "unicodedata", "unittest",
    "urllib.parse", "uuid", "warnings", "weakref", "zlib",
)  # fmt: skip
#: What these import themselves when it is first needed: any of them, and those that a word stands for.
_LATER = (
    "copy", "encodings.ascii", "encodings.cp1252", "encodings.latin_1", "encodings.utf_16", "encodings.utf_32",
    "encodings.utf_8_sig", "heapq", "linecache", "tracemalloc", "unicodedata", "warnings",
)  # fmt: skip
_LATER_BY_WORD = {
    "idna": ("encodings.idna",), "logging": ("ast", "pickle", "traceback"), "singledispatch": ("typing", "weakref"),
    "singledispatchmethod": ("typing", "weakref"), "strptime": ("_strptime",), "timeit": ("ast", "traceback"),
    "traceback": ("ast",), "unittest": ("ast", "difflib", "pprint", "traceback"),
    "uuid": ("hashlib", "platform", "random"),
}  # fmt: skip
# By machine: what the kernel calls it, and its numbers of the system calls that are allowed. Those for waiting come
# back at once: alone in its process, code waits for nothing that could happen.
_ALLOWED = (
    "read", "write", "close", "mmap", "mprotect", "munmap", "mremap", "brk", "madvise", "rt_sigaction",
    "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "sched_yield", "getpid", "gettid", "gettimeofday",
    "clock_gettime", "clock_getres", "getrandom", "restart_syscall", "rseq", "exit", "exit_group",
)  # fmt: skip
_AT_ONCE = ("nanosleep", "clock_nanosleep", "futex")
_MACHINES = {
    "x86_64": (0xC000003E, {
        "read": 0, "write": 1, "close": 3, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13,
        "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35,
        "getpid": 39, "exit": 60, "gettimeofday": 96, "sigaltstack": 131, "gettid": 186, "futex": 202,
        "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231,
        "getrandom": 318, "rseq": 334,
    }),
    "aarch64": (0xC00000B7, {
        "close": 57, "read": 63, "write": 64, "exit": 93, "exit_group": 94, "futex": 98, "nanosleep": 101,
        "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "sched_yield": 124, "restart_syscall": 128,
        "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "gettimeofday": 169,
        "getpid": 172, "gettid": 178, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226,
        "madvise": 233, "getrandom": 278, "rseq": 293,
    }),
}  # fmt: skip
MACHINES = tuple(_MACHINES)

# linux/filter.h, linux/seccomp.h, linux/prctl.h
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _MACHINE_AT = 0, 4
_KILL, _ALLOW, _NOTHING_DONE = 0x80000000, 0x7FFF0000, 0x00050000
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 1, 22, 38, 2


def program(machine: str) -> bytes:
    """The filter in the kernel's form: eight bytes an instruction. The first that fits decides, and the last kills."""
    name, numbers = _MACHINES[machine]

    def step(code: int, value: int, otherwise: int = 0) -> bytes:
        return struct.pack("=HBBI", code, 0, otherwise, value)

    steps = [step(_LOAD, _MACHINE_AT), step(_JUMP_IF_EQUAL, name, 1), step(_LOAD, _NUMBER_AT)]
    # Where it is not the machine, the load of its number is jumped over; so what follows compares the machine, which
    # is no number of a system call, and the end kills.
    for call in (*_ALLOWED, *_AT_ONCE):
        steps += [step(_JUMP_IF_EQUAL, numbers[call], 1), step(_RETURN, _NOTHING_DONE if call in _AT_ONCE else _ALLOW)]
    return b"".join([*steps, step(_RETURN, _KILL)])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def lock() -> None:
    """Close the lock for good; `OSError` where the kernel has none."""
    steps = program(os.uname().machine)
    filtered = _Program(len(steps) // 8, steps)
    for name in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):  # not what keeps code in, but a second bar
        resource.setrlimit(name, (0, 0))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _FILTER, ctypes.addressof(filtered))


def _prctl(option: int, *given: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, *(ctypes.c_ulong(value) for value in (*given, 0, 0, 0)[:4])):
        raise OSError(ctypes.get_errno(), "prctl")


def bound(cpu_seconds: int, memory: int, parent: int) -> None:
    """Bound what this process may take (memory in bytes), and let it end with the one that started it."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        sys.exit(1)
    for name, most in (
        (resource.RLIMIT_CPU, cpu_seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(name, (most, most))


class _Nowhere:
    """What standard output is to the code: it takes everything and keeps nothing."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def tried(exercise: str, solution: str, tests: str, examples: str) -> str:
    """What went wrong, or passed."""
    namespace: dict[str, object] = {"__name__": "exercise", "__builtins__": __builtins__}
    try:
        for code, name in ((exercise, "exercise"), (solution, "solution"), (tests, "tests")):
            exec(compile(code, f"<{name}>", "exec", dont_inherit=True), namespace)  # noqa: S102  # what this is for
        if examples and not _hold(examples, namespace):
            return "an example in the docstring"
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit too: code that leaves has not passed
        return type(error).__name__
    return "passed"


def _hold(examples: str, namespace: dict[str, object]) -> bool:
    """Whether the examples show what they say. doctest's own runner has a debugger, which opens files."""
    import doctest  # noqa: PLC0415  # a tenth of a second; imported before the lock where there are examples
    import traceback  # noqa: PLC0415

    for example in doctest.DocTestParser().get_examples(examples):
        shown, flags = io.StringIO(), sum(flag for flag, is_on in example.options.items() if is_on)
        expected = example.want
        try:
            with contextlib.redirect_stdout(shown):
                exec(compile(example.source, "<example>", "single", dont_inherit=True), namespace)  # noqa: S102
            found = shown.getvalue()
        except MemoryError:
            raise
        except BaseException as error:  # noqa: BLE001
            if example.exc_msg is None:
                return False
            expected, found = example.exc_msg, "".join(traceback.format_exception_only(error))
        if not doctest.OutputChecker().check_output(expected, found, flags):
            return False
    return True


def main() -> None:
    """Import, lock, run, and say what came of it; then whether the tests pass without the solution as well."""
    bound(*map(int, sys.argv[1:4]))
    asked = json.loads(sys.stdin.buffer.read())
    token, parts = asked["token"], [asked[name] for name in ("exercise", "solution", "tests", "examples")]
    named = set(re.findall(r"\w+", " ".join(parts)))
    wanted = [name for name in MODULES if name.partition(".")[0] in named]
    wanted += [*_LATER, *(name for word, names in _LATER_BY_WORD.items() if word in named for name in names)]
    for name in [*wanted, "doctest"] if parts[3] else wanted:
        with contextlib.suppress(ImportError):  # one that this Python was built without
            importlib.import_module(name)
    time.localtime()  # reads the zone, once
    if "random" in sys.modules:
        sys.modules["random"].seed(0)
    sys.path.clear()
    sys.meta_path.remove(importlib.machinery.PathFinder)  # what is built in stays; nothing is looked for in files
    sys.path_importer_cache.clear()
    sys.stdin = io.StringIO()
    sys.stdout = sys.stderr = _Nowhere()
    say, leave, no_memory = os.write, os._exit, f"{token} MemoryError\n".encode()
    lock()
    try:
        say(1, f"{token} {tried(*parts)}\n".encode())
        parts[1] = parts[3] = ""
        say(1, f"{token} without: {tried(*parts)}\n".encode())
    except MemoryError:
        say(1, no_memory)
    leave(0)


if __name__ == "__main__":
    main()
