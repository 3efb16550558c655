"""One function mapped over items by processes: results in order, errors with their item, no process left behind."""

from __future__ import annotations

import importlib
import os
import platform
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import heap, workers
from curation.engine import LocalEngine, chunks
from curation.errors import InputError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent

#: What the workers run; in a module of its own so that they can import it.
WORK = '''
import json, os, signal, sys, time
from pathlib import Path
from curation.errors import InputError


def shout(item):
    time.sleep(0.02 * (item % 3))
    return item * item


def fail(item):
    if item == 3:
        raise InputError("three is wrong", remedy="take four")
    return item


def fail_oddly(item):
    raise KeyError(item)


def die_once(item):
    """Killed the first time it is called for a path."""
    path = Path(item)
    if not path.exists():
        path.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


class DeadlyOnce:
    """Kills the process that first receives it, before that could say what it works on."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return die_once, (self.path,)


class Deadly(DeadlyOnce):
    """Kills any process that receives it."""

    def __reduce__(self):
        return leave, (self.path,)


def same(item):
    return item


def die_then_fail(item):
    die_once(item)
    raise InputError("wrong")


def die(item):
    if item == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def leave(item):
    os._exit(7)


def sleep(item):
    time.sleep(item)
    return item


def tell(item):
    """Write this process's id and wait."""
    Path(item, str(os.getpid())).write_text("")
    time.sleep(60)


def die_then_sleep(item):
    """Killed the first time; then write its id and wait."""
    path = Path(item, "died")
    if not path.exists():
        path.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    path.unlink()
    tell(item)


def write_slowly_or_fail(item):
    """Of a folder and a name: fail once the other one writes, or write until killed."""
    folder, name = item
    if name == "fails":
        while not (Path(folder) / "begun").exists():
            time.sleep(0.01)
        raise InputError("wrong")
    while True:
        (Path(folder) / "begun").write_text(str(time.monotonic()))


def large(item):
    return b"x" * item


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


KNOWN = "of the module"


def deepest(item):
    """How deep a list may nest that JSON is read from, and whether this is a copy; as `known`, killed for a path."""
    if isinstance(item, str):
        die_once(item)
    least, most = 1, 5000
    while most - least > 1:
        middle = (least + most) // 2
        try:
            json.loads("[" * middle + "]" * middle)
            least = middle
        except RecursionError:
            most = middle
    return "copy" if KNOWN == "of the parent" else "new", least


def known(item):
    """What a copy of the parent has and a new process has not; the first time it is called for a path, killed."""
    if isinstance(item, str):
        die_once(item)
    return KNOWN, "colorsys" in sys.modules


def held(item):
    """This process, and its memory while it holds so many MB more and after it has left them."""
    pieces = [bytearray(2**20) for _ in range(item)]
    before = memory()
    del pieces
    return os.getpid(), before, memory()


def memory(item=None):
    """MB that this process has, and MB of its heap for which large pages are asked."""
    resident = asked = size = 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *values = line.split()
        if name == "Rss:":
            resident += int(values[0])
        elif name == "Size:":
            size = int(values[0])
        elif name == "VmFlags:":
            asked += size * (is_heap and "hg" in values)
        elif "-" in name:
            is_heap = values[-1] == "[heap]"
    return resident // 1024, asked // 1024


def threads(item):
    import pyarrow as pa
    return pa.cpu_count(), signal.getsignal(signal.SIGINT) == signal.SIG_IGN
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the workers' module lies."""
    folder = tmp_path_factory.mktemp("engine")
    (folder / "engine_work.py").write_text(WORK)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def work(folder: Path) -> Any:
    """The workers' module."""
    return importlib.import_module("engine_work")


@pytest.fixture(scope="module")
def local(work: Any) -> Iterator[LocalEngine]:
    """An engine whose workers find the module."""
    with LocalEngine(2) as engine:
        yield engine


class Counted:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, label: str, total: int, unit: str) -> None:
        """Remember."""
        self.told.append((label, total, unit))

    def advance(self, amount: int) -> None:
        """Remember."""
        self.told.append(amount)

    def stop(self) -> None:
        """Remember."""
        self.told.append("stop")

    def line(self, text: str) -> None:
        """Nothing to remember."""


def test_results_come_in_the_order_of_the_items(local: LocalEngine, work: Any) -> None:
    """Whichever is done first."""
    assert local.map(work.shout, range(40), label="squares") == [item * item for item in range(40)]


def test_no_items_start_no_worker(work: Any) -> None:
    """An empty map is an empty list, and costs nothing."""
    with LocalEngine(2) as engine:
        assert engine.map(work.shout, [], label="nothing") == []
        assert engine._pool is None


def test_large_results_come_back(local: LocalEngine, work: Any) -> None:
    """More than a pipe holds."""
    assert [len(data) for data in local.map(work.large, [3_000_000, 5], label="large")] == [3_000_000, 5]


def test_workers_use_one_thread_and_leave_ctrl_c_to_the_parent(local: LocalEngine, work: Any) -> None:
    """A worker is one core's work."""
    assert local.map(work.threads, [0], label="threads") == [(1, True)]


def test_an_error_comes_back_with_its_item(local: LocalEngine, work: Any) -> None:
    """The error is the one that was raised, with its remedy, and a note that names the item; the engine goes on."""
    with pytest.raises(InputError, match="three is wrong") as caught:
        local.map(work.fail, range(5), label="count")
    assert caught.value.remedy == "take four"
    assert "while count was working on 3" in caught.value.__notes__
    with pytest.raises(KeyError) as other:
        local.map(work.fail_oddly, ["k"], label="odd")
    assert "while odd was working on k" in other.value.__notes__
    assert local.map(work.shout, [2], label="again") == [4]


def test_after_an_error_no_worker_is_at_work(local: LocalEngine, work: Any, tmp_path: Path) -> None:
    """Who cleans up after an error is not written to meanwhile."""
    items = [(str(tmp_path), "writes"), (str(tmp_path), "fails")]
    with pytest.raises(InputError):
        local.map(work.write_slowly_or_fail, items, label="write")
    (tmp_path / "begun").unlink()
    time.sleep(0.1)
    assert not list(tmp_path.iterdir())


def test_progress_adds_up(work: Any, local: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said to be done is the whole in the end."""
    progress = Counted()
    monkeypatch.setattr(local, "progress", progress)
    local.map(work.shout, [1, 2, 3], label="squares", sizes=[10, 20, 30], unit="B")
    assert progress.told[0] == ("squares", 60, "B")
    assert sorted(progress.told[1:-1]) == [10, 20, 30]
    assert progress.told[-1] == "stop"
    with pytest.raises(InputError):
        local.map(work.fail, [3], label="count")
    assert progress.told[-1] == "stop"


def test_a_worker_killed_once_is_tried_again(local: LocalEngine, work: Any, tmp_path: Path) -> None:
    """The memory killer took a worker: its item is done once more, the others are not lost."""
    items = [str(tmp_path / name) for name in "abcd"]
    for name in "bcd":
        (tmp_path / name).write_text("")
    assert local.map(work.die_once, items, label="files") == ["a", "b", "c", "d"]


def test_workers_that_die_before_they_say_what_they_do(work: Any, tmp_path: Path) -> None:
    """The pool breaks then, and a new one takes its place; no item is lost, and the deadly one is named."""
    items = [work.DeadlyOnce(str(tmp_path / "a")), *range(9)]
    with LocalEngine(1) as engine:
        assert engine.map(work.same, items, label="files") == ["a", *range(9)]
        with pytest.raises(WorkerError, match=r"files: the worker process died twice on .*Deadly"):
            engine.map(work.same, [1, work.Deadly("b"), 2], label="files")
        assert engine.map(work.same, [1, 2], label="files") == [1, 2]


def test_an_error_of_the_second_try_names_its_item_too(local: LocalEngine, work: Any, tmp_path: Path) -> None:
    """An error is told with its item whichever try raised it."""
    item = str(tmp_path / "a")
    with pytest.raises(InputError, match="wrong") as caught:
        local.map(work.die_then_fail, [item], label="files")
    assert caught.value.__notes__ == [f"while files was working on {item}"]


def test_a_worker_killed_twice_names_its_item(local: LocalEngine, work: Any) -> None:
    """The item on which workers die ends the run with one message."""
    with pytest.raises(WorkerError, match=r"parts: the worker process died twice \(SIGKILL\) on bad") as caught:
        local.map(work.die, ["a", "bad", "b"], label="parts")
    assert caught.value.remedy
    assert "--workers" in caught.value.remedy
    with pytest.raises(WorkerError, match=r"died twice \(exit status 7\) on x"):
        local.map(work.leave, ["x"], label="parts")
    assert local.map(work.shout, [2], label="again") == [4]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
def test_the_work_of_workers_is_counted(work: Any) -> None:
    """Seconds of processor: of workers that live, and after they ended."""
    with LocalEngine(2) as engine:
        engine.map(work.burn, [0, 0], label="begin")
        before = engine.usage()
        engine.map(work.burn, [0.4, 0.4], label="burn")
        assert 0.7 < (alive := (engine.usage() - before).processor) < 3
    assert (engine.usage() - before).processor >= alive - 0.1


def test_an_item_that_does_not_come_back_is_named(work: Any) -> None:
    """After the time limit and one more try."""
    with LocalEngine(1, item_seconds=0.5) as engine:
        began = time.monotonic()
        with pytest.raises(WorkerError, match=r"naps: no answer within .* s, twice, on 30"):
            engine.map(work.sleep, [0, 30], label="naps")
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("seconds", [1, 0.25, 3600])
def test_a_time_limit_is_told_as_it_is(seconds: float) -> None:
    """The limit can be chosen."""
    assert LocalEngine(1, item_seconds=seconds).item_seconds == seconds


def test_workers_are_as_many_as_asked_or_as_cores() -> None:
    """Left out, one for each core that this process may use."""
    assert LocalEngine(3).workers == 3
    assert LocalEngine().workers == len(os.sched_getaffinity(0))


MAIN = """
import sys
from curation.engine import LocalEngine
import engine_work
if __name__ == "__main__":
    try:
        with LocalEngine(2) as engine:
            engine.map(getattr(engine_work, sys.argv[2]), [sys.argv[1]] * int(sys.argv[3]), label="long")
    except KeyboardInterrupt:
        print("stopped")
"""


COPIES = """
import socket, sys, threading, time
from pathlib import Path
from curation.engine import LocalEngine
import engine_work
if __name__ == "__main__":
    engine_work.KNOWN = "of the parent"
    if sys.argv[1] == "thread":
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    if sys.argv[1] == "socket":
        used = socket.socket()
    with LocalEngine(1) as engine:
        engine.preload("colorsys")
        items = [sys.argv[2], 0] if sys.argv[1] == "killed" else [0]
        for answer in engine.map(engine_work.known, items, label="known"):
            print(*answer)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see threads")
@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("alone", ["of the parent True"]), ("thread", ["of the module False"]), ("socket", ["of the module False"]),
        ("killed", ["of the module False"] * 2),
    ],
)  # fmt: skip
def test_workers_are_copies_of_a_process_that_is_alone(
    folder: Path, tmp_path: Path, state: str, told: list[str]
) -> None:
    """They have what it imported, unless a thread or a connection of it forbids that; who replaces one is new."""
    (folder / "engine_copies.py").write_text(COPIES)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"}
    done = subprocess.run(
        [sys.executable, folder / "engine_copies.py", state, tmp_path / "died"], env=environment, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == told


MEMORY = """
import os
import time
from pathlib import Path
from curation import heap, workers
from curation.engine import LocalEngine
import engine_work

workers._IDLE = 3  # longer than a machine with much to do lets a worker wait between two items


def waiting(worker, most):
    end = time.monotonic() + 30
    while True:
        pages = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
        found = pages * os.sysconf("SC_PAGE_SIZE") // 2**20
        if found < most or time.monotonic() > end:
            return found
        time.sleep(0.1)


if __name__ == "__main__":
    with LocalEngine(1) as engine:
        (before,) = engine.map(engine_work.memory, [0], label="memory")
        ((worker, held, left),) = engine.map(engine_work.held, [100], label="held")
        (kept,) = engine.map(engine_work.memory, [0], label="memory")
        waits = []
        for _ in range(2):
            waits.append(waiting(worker, before[0] + 40))
            ((_, again, _),) = engine.map(engine_work.held, [100], label="held")
        engine.map(engine_work.held, [600], label="held")  # more than may be free at the end of the heap
        (after,) = engine.map(engine_work.memory, [0], label="memory")
    print(*before, *held, *left, *kept, *again, *after, *waits)
"""


def gives_large_pages() -> bool:
    """Whether programs of this machine can ask for them: the kernel has them, and the C library is GNU's."""
    kernel = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return platform.libc_ver()[0] == "glibc" and kernel.exists()


@pytest.mark.skipif(not gives_large_pages(), reason="needs the GNU C library and a kernel with large pages")
@pytest.mark.parametrize("pool", ["system", "mimalloc"])
def test_memory_is_asked_for_in_large_pages_and_given_back(folder: Path, pool: str) -> None:
    """What an item left stays for the next one, of the same work or other; a worker that waits gives it back."""
    (folder / "engine_memory.py").write_text(MEMORY)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "ARROW_DEFAULT_MEMORY_POOL": pool}
    for name in heap.SETTLED:
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, folder / "engine_memory.py"], env=environment, text=True, capture_output=True, check=True
    )
    told = list(map(int, done.stdout.split()))
    before, held, left, kept, again, _ = told[:12:2]
    assert min(told[1:12:2]) > 200
    assert min(held, again) - before > 80
    assert held - left < 20
    assert left - kept < 20
    assert max(told[12:]) - before < 40


DEEP = """
import sys, threading, time
from curation.engine import LocalEngine
import engine_work
def below(depth, work):
    return below(depth - 1, work) if depth else work()
if __name__ == "__main__":
    engine_work.KNOWN = "of the parent"
    with LocalEngine(1) as engine:  # called from far down
        print(*below(40, lambda: engine.map(engine_work.deepest, [0], label="deep"))[0])
    with LocalEngine(1) as engine:  # killed, and replaced by a new one
        print(*engine.map(engine_work.deepest, [sys.argv[1], 0], label="deep")[1])
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    with LocalEngine(1) as engine:
        print(*engine.map(engine_work.deepest, [0], label="deep")[0])
"""

WATCHED = """
import sys
from curation import heap, workers
from curation.cli import main
start = workers._Context.Process
def told(self, *args, **named):
    process = start(self, *args, **named)
    print("started", type(process).__name__, "numba" in sys.modules, file=sys.stderr)
    return process
workers._Context.Process = told
if __name__ == "__main__":
    main()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see threads")
@pytest.mark.parametrize("terminal", [False, True])
def test_the_workers_of_the_command_are_copies(sample: Path, tmp_path: Path, terminal: bool) -> None:
    """No library that it imports starts a thread, nothing that it reads before leaves one, nor does a bar."""
    (tmp_path / "watched.py").write_text(WATCHED)
    command = [sys.executable, str(tmp_path / "watched.py"), "run", str(sample), "--work", str(tmp_path / "work"),
               "--workers", "2", "--until", "measure"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    reading, writing = pty.openpty() if terminal else os.pipe()
    with socket.socket() as standard:  # the input may be one
        done = subprocess.Popen(command, env=environment, stdin=standard, stdout=subprocess.DEVNULL, stderr=writing)
    os.close(writing)
    said = b""
    with suppress(OSError):  # a terminal that is gone is an error
        while some := os.read(reading, 1 << 16):
            said += some
    os.close(reading)
    assert done.wait() == 0, said
    assert re.findall(r"started (\w+) (\w+)", said.decode()) == [("ForkProcess", "True")] * 2


def test_a_pool_that_starts_in_part_is_made_anew(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one of several processes does not start, none of that pool is left to wait for work."""
    begin, calls = workers._Context.Process, []

    def scarce(*args: Any, **named: Any) -> Any:
        calls.append(None)
        if len(calls) == 2:
            raise BlockingIOError("no more processes")
        return begin(*args, **named)

    monkeypatch.setattr(workers._Context, "Process", scarce)
    with LocalEngine(2) as engine:
        assert engine.map(work.shout, range(9), label="work") == [item * item for item in range(9)]
        assert len(calls) == 4


def test_how_deep_calls_may_go_is_the_same_in_a_copy(folder: Path, tmp_path: Path) -> None:
    """A document that nests too deep is one for every worker."""
    (folder / "engine_deep.py").write_text(DEEP)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"}
    command = [sys.executable, str(folder / "engine_deep.py"), str(tmp_path / "died")]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
    copied, new, alone = (line.split() for line in done.stdout.splitlines())
    assert (copied[0], new[0]) == ("copy", "new")
    assert copied[1] == new[1] == alone[1]


def started(
    folder: Path, place: Path, function: str, items: int, workers: int
) -> tuple[subprocess.Popen[str], set[int]]:
    """A process that maps, and the ids of its workers, once they are all at it."""
    (folder / "engine_main.py").write_text(MAIN)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"}
    process = subprocess.Popen(
        [sys.executable, folder / "engine_main.py", place, function, str(items)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    ids: set[int] = set()
    end = time.monotonic() + 30
    while len(ids) < workers and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
        ids = {int(path.name) for path in place.iterdir() if path.name.isdigit()}
    assert len(ids) == workers, process.communicate()
    return process, ids


def alive(ids: set[int]) -> set[int]:
    """Those of the processes that still run."""
    running = set()
    for number in ids:
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                running.add(number)
    return running


def children(number: int) -> set[int]:
    """Every process below this one."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == number:
                found |= {int(path.parent.name), *children(int(path.parent.name))}
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
@pytest.mark.parametrize(("function", "items", "workers"), [("tell", 5, 2), ("die_then_sleep", 1, 1)])
def test_ctrl_c_ends_within_two_seconds(folder: Path, tmp_path: Path, function: str, items: int, workers: int) -> None:
    """An interrupt ends the workers too, also when an item is being tried once more."""
    process, ids = started(folder, tmp_path, function, items, workers)
    ids |= children(process.pid)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert time.monotonic() - began < 2
    assert (out, err) == ("stopped\n", "")
    while alive(ids) and time.monotonic() - began < 2:
        time.sleep(0.05)
    assert alive(ids) == set()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
def test_workers_end_when_the_parent_is_killed(folder: Path, tmp_path: Path) -> None:
    """Nobody is left to write into a workspace whose run was killed."""
    process, ids = started(folder, tmp_path, "tell", 5, 2)
    ids |= children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    began = time.monotonic()
    while alive(ids) and time.monotonic() - began < 3:
        time.sleep(0.05)
    assert alive(ids) == set()
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    process.stderr.close()


@given(
    st.lists(st.integers(0, 50), max_size=40), st.integers(1, 100), st.integers(1, 9),
)  # fmt: skip
def test_chunks_are_runs_within_bounds(sizes: list[int], most: int, count: int) -> None:
    """Every item once, in order; no run above the bounds but one of a large item; no two that fit in one."""
    items = list(range(len(sizes)))
    runs = chunks(items, sizes, most, count=count)
    assert [item for run in runs for item in run] == items
    for run in runs:
        assert len(run) <= count
        assert len(run) == 1 or sum(sizes[item] for item in run) <= most
    for run, following in pairwise(runs):
        assert len(run) == count or sum(sizes[item] for item in run) + sizes[following[0]] > most
