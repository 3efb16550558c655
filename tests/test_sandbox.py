"""Code that a model wrote and that is run: what it may do, what it may not, and what is said of it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_textbooks import answer, good, request

from curation.errors import RecipeError, StorageError, UsageError
from curation.recipe import load
from curation.storage.journal import lines
from curation.textbooks import checking, sandbox
from curation.textbooks.outcomes import Outcomes
from curation.textbooks.sandbox import Exercise, Outcome, child

pytestmark = pytest.mark.skipif(sandbox.fault() is not None, reason=f"no sandbox here: {sandbox.fault()}")

ASKED = '''def double(number):
    """Twice the number.

    >>> double(1)
    2
    """
    ...
'''
RIGHT = "def double(number):\n    return 2 * number\n"
TESTS = "assert double(2) == 4\nassert double(-1) == -2\n"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """A second is enough for what never ends."""
    monkeypatch.setattr(sandbox, "CPU_SECONDS", 1)


def ran(solution, tests=TESTS, examples=">>> double(1)\n2\n"):
    """What comes of a solution."""
    return sandbox.run(Exercise(ASKED, solution, tests, examples))


def test_what_is_right_passes():
    """Solution, tests and examples; it may use what the standard library has for computing, and need not wait."""
    assert ran(RIGHT) == Outcome("passed")
    uses = [f"import {name}" for name in ("math", "re", "random", "json", "datetime", "collections", "dataclasses")]
    uses += ["from __future__ import annotations", "datetime.datetime.now().strftime('%c')", "print('x' * 10**6)",
             "datetime.datetime.strptime('2026-01-02', '%Y-%m-%d')", "import time", "time.sleep(10**6)",
             "random.random(), math.pi, re.sub('a', 'b', 'c')", "collections.Counter('aab').most_common(1)",
             "import functools, uuid, traceback, warnings", "functools.singledispatch(len)", "uuid.uuid4()",
             "warnings.warn('mind')", "uuid.uuid5(uuid.NAMESPACE_URL, 'x')", "'x'.encode('utf-16'), '\\N{EM DASH}'",
             "try:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.format_exc()", "import decimal",
             "decimal.Decimal(1) / 3"]  # fmt: skip
    uses = sorted(uses, key=lambda line: "__future__" not in line)
    began = time.monotonic()
    assert ran("\n".join([*uses, RIGHT])) == Outcome("passed")
    assert time.monotonic() - began < 60  # it did not sleep


def test_what_is_wrong_is_said():
    """Wrong results, errors, wrong examples, and tests that nothing could fail."""
    assert ran("def double(number):\n    return number\n") == Outcome("failed_tests", "AssertionError")
    assert ran("def double(number):\n    return nubmer\n") == Outcome("failed_tests", "NameError")
    assert ran(RIGHT, examples=">>> double(1)\n3\n") == Outcome("failed_tests", "an example in the docstring")
    error = "def double(number):\n    if number > 9:\n        raise ValueError('too large')\n    return 2 * number\n"
    shown = ">>> double(10)\nTraceback (most recent call last):\nValueError: too large\n"
    assert ran(error, examples=shown) == Outcome("passed")
    assert ran(RIGHT, examples=shown) == Outcome("failed_tests", "an example in the docstring")
    assert ran(RIGHT, "assert callable(double)\ndouble(1)\n") == Outcome("idle_tests")
    assert ran("import sys\nsys.exit(0)").name == "failed_tests"
    assert ran("import no_such_package").detail == "ModuleNotFoundError"


#: What a solution might try, with the place MADE to write to and the file SECRET to read; and what is said of it.
ATTACKS = {
    "forks": ("import os\nos.fork()", "forbidden_calls"),
    "forks without end": ("import os\nwhile True:\n    os.fork()", "forbidden_calls"),
    "starts a thread": ("import threading\nthreading.Thread(target=print).start()", "forbidden_calls"),
    "starts a shell": ("import os\nos.system('echo x > MADE')", "forbidden_calls"),
    "becomes a shell": ("import os\nos.execv('/bin/sh', ['sh', '-c', 'echo x > MADE'])", "forbidden_calls"),
    "imports what starts processes": ("import subprocess", "failed_tests"),
    "writes": ("open('MADE', 'w').write('x')", "forbidden_calls"),
    "writes, and says nothing of it": (
        "try:\n    open('MADE', 'w')\nexcept BaseException:\n    pass", "forbidden_calls"),
    "makes a folder": ("import os\nos.mkdir('MADE')", "forbidden_calls"),
    "removes": ("import os\nos.unlink('SECRET')", "forbidden_calls"),
    "reads": ("open('SECRET').read()", "forbidden_calls"),
    "reads /etc/passwd": ("open('/etc/passwd').read()", "forbidden_calls"),
    "looks around": ("import os\nos.listdir('/')", "forbidden_calls"),
    "reads its parent's environment": (
        "import os\nopen('/proc/PARENT/environ').read()", "forbidden_calls"),
    "has a key in its own environment": ("import os\nassert 'API_KEY' not in os.environ", "passed"),
    "reads its parent's memory": (
        "import ctypes\nctypes.CDLL(None).process_vm_readv(PARENT, 0, 0, 0, 0, 0)", "forbidden_calls"),
    "imports what connects": ("import socket", "failed_tests"),
    "connects, in C": ("import ctypes\nctypes.CDLL(None).socket(2, 1, 0)", "forbidden_calls"),
    "calls the kernel itself": ("import ctypes\nctypes.CDLL(None).syscall(SOCKET, 2, 1, 0)", "forbidden_calls"),
    "takes off the lock": ("import ctypes\nctypes.CDLL(None).prctl(22, 0, 0, 0, 0)", "forbidden_calls"),
    "raises its limits": (
        "import ctypes\nctypes.CDLL(None).setrlimit(0, b'\\xff' * 16)", "forbidden_calls"),
    "kills its parent": ("import os\nos.kill(PARENT, 9)", "forbidden_calls"),
    "never ends": ("while True:\n    pass", "over_limits"),
    "never ends, and is deaf to signals": (
        "import signal\nsignal.signal(24, lambda *_: None)\nwhile True:\n    pass", "over_limits"),
    "waits for itself": ("import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()", "over_limits"),
    "counts beyond all limits": ("10 ** 10 ** 9", "over_limits"),
    "fills the memory": ("rows = []\nwhile True:\n    rows.append('x' * 10**6)", "over_limits"),
    "fills the memory at once": ("'x' * 10**11", "over_limits"),
    "prints without end": ("import os\nwhile True:\n    os.write(1, b'x' * 65536)", "over_limits"),
    "says that it passed": ("import os\nos.write(1, b'passed\\n' * 9)\nos._exit(0)", "failed_tests"),
    "recurses": ("def double(number):\n    return double(number)", "failed_tests"),
    "crashes": ("import ctypes\nctypes.string_at(1)", "over_limits"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_comes_to_nothing_and_is_reported(name, tmp_path, monkeypatch):
    """Nothing is made, changed or left running, this process is alive, and the outcome says what it was."""
    code, expected = ATTACKS[name]
    made, secret = tmp_path / "made", tmp_path / "secret"
    secret.write_text("secret")
    monkeypatch.setenv("API_KEY", "sk-secret")
    numbers = {"x86_64": "41", "aarch64": "198"}
    for word, value in (("MADE", made), ("SECRET", secret), ("PARENT", os.getpid()),
                        ("SOCKET", numbers[platform.machine()])):  # fmt: skip
        code = code.replace(word, str(value))
    assert ran(f"{RIGHT}{code}\n").name == expected
    assert not made.exists()
    assert secret.read_text() == "secret"
    assert children() == set()


def children():
    """The processes of the sandbox that are there."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        status = (path.parent / "stat").read_text().rpartition(")")[2].split() if words[0] else []
        if os.fsencode(child.__file__) in words and status[1:2] == [str(os.getpid())]:
            found.add(path.parent.name)
    return found


def test_nothing_is_imported_or_run_in_this_process(tmp_path):
    """The code of an answer is parsed here, and run in a child alone; also where it would be run by being parsed."""
    made = tmp_path / "made"
    before = set(sys.modules)
    text = good(request("code_exercise")).replace("## Tests", f"```python\nopen({str(made)!r}, 'w')\n```\n\n## Tests")
    checker = checking.Checker(outcomes=Outcomes(tmp_path))
    one = request("code_exercise")
    assert checker.faults([one], [answer(text)], [checking.parsed(text)]) == ["forbidden_calls"]
    assert not made.exists()
    assert not {name for name in set(sys.modules) - before if name.startswith("exercise")}


def test_a_killed_run_leaves_no_code_running():
    """Code ends with the process that started it, even where that has no time to end it."""
    program = ("import sys\nfrom curation.textbooks import sandbox\nsandbox.CPU_SECONDS = 100\n"
               "print('up', flush=True)\nsandbox.run(sandbox.Exercise('', 'while True: pass', '', ''))")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    found = set()
    until = time.monotonic() + 60
    while not found and time.monotonic() < until:
        found = of_parent(process.pid)
        time.sleep(0.02)
    process.kill()
    process.communicate()
    while any(map(is_running, found)) and time.monotonic() < until:
        time.sleep(0.02)
    assert found
    assert not any(map(is_running, found))


def is_running(pid):
    """Whether a process is there, and has not ended, though nobody has asked for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def of_parent(pid):
    """The children of a process."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if path.read_text().rpartition(")")[2].split()[1] == str(pid):
                found.add(path.parent.name)
        except OSError:
            continue
    return found


def test_the_filter_is_what_it_says():
    """Run by hand: each call that is allowed passes, every other number and every other machine is killed."""
    for machine in child.MACHINES:
        name, numbers = child._MACHINES[machine]
        assert set(numbers) == {*child._ALLOWED, *child._AT_ONCE}
        allowed = {numbers[call] for call in child._ALLOWED}
        at_once = {numbers[call] for call in child._AT_ONCE}
        steps = child.program(machine)
        for number in [*range(600), 0x40000000, 0x40000029, 2**32 - 1]:
            verdict = filtered(steps, number, name)
            expected = 0x7FFF0000 if number in allowed else 0x00050000 if number in at_once else 0x80000000
            assert verdict == expected, (machine, number)
            assert filtered(steps, number, 0x40000003) == 0x80000000


def filtered(steps, number, machine):
    """What a filter says of a call, by a plain interpreter of its few instructions."""
    data, held, place = {0: number, 4: machine}, 0, 0
    while True:
        code = int.from_bytes(steps[place : place + 2], sys.byteorder)
        same, other = steps[place + 2], steps[place + 3]
        value = int.from_bytes(steps[place + 4 : place + 8], sys.byteorder)
        place += 8
        if code == 0x20:
            held = data[value]
        elif code == 0x15:
            place += 8 * (same if held == value else other)
        else:
            assert code == 0x06
            return value


def test_what_was_run_is_not_run_again(tmp_path, monkeypatch):
    """Outcomes are kept beside the ledger, and are what they were where nothing can be run; new code cannot be."""
    exercises = [Exercise(ASKED, RIGHT, TESTS, ""), Exercise(ASKED, "def double(n): return n", TESTS, "")]
    first = Outcomes(tmp_path)
    found = first.of([*exercises, exercises[0]])
    first.close()
    assert [outcome.name for outcome in found] == ["passed", "failed_tests", "passed"]
    (path,) = (tmp_path / "outcomes").glob("*.jsonl")
    assert len(list(lines(path))) == 2
    monkeypatch.setattr(sandbox, "run", None)
    monkeypatch.setattr(sandbox, "fault", lambda: "no Linux")
    again = Outcomes(tmp_path)
    assert again.of(exercises) == found[:2]
    with pytest.raises(UsageError, match="code cannot be run here: no Linux"):
        again.of([Exercise(ASKED, RIGHT, TESTS + "\n", "")])
    with pytest.raises(UsageError, match="code cannot be run here: no Linux"):
        Outcomes(tmp_path / "other")
    path.write_text('{"key": "x"}\n')
    with pytest.raises(StorageError, match="damaged at byte 0"):
        Outcomes(tmp_path)


def test_a_sandbox_that_does_not_hold_is_none(monkeypatch):
    """On another system, and where code that opens a file is not killed, nothing is run."""
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    sandbox.fault.cache_clear()
    assert sandbox.fault() == "the sandbox needs Linux on x86_64 or aarch64"
    monkeypatch.undo()
    sandbox.fault.cache_clear()
    monkeypatch.setattr(sandbox, "run", lambda _: Outcome("passed"))
    assert sandbox.fault() == "the sandbox does not hold: forbidden_calls was expected, passed  came"
    monkeypatch.undo()
    sandbox.fault.cache_clear()
    assert sandbox.fault() is None


def test_the_recipe_asks_for_it(tmp_path):
    """It is off where nothing is said, and only textbooks have code to run."""
    text = 'name = "a"\n[[source]]\nname = "a"\nkind = "text"\npaths = ["x.txt"]\n'
    (tmp_path / "recipe.toml").write_text(text)
    assert load(tmp_path / "recipe.toml").source[0].run_code is False
    (tmp_path / "recipe.toml").write_text(text + "run_code = true\n")
    with pytest.raises(RecipeError) as caught:
        load(tmp_path / "recipe.toml")
    assert "source[0].run_code: only code of textbooks is run, not of text" in caught.value.message
