"""Files appear whole or not at all, claims have one winner, locks end with their holder; inputs keep their names."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation.errors import CurationError, InputError, RecipeError, StorageError
from curation.inputs import HashIndex, Input, find_inputs, sha256
from curation.storage import open_storage
from curation.storage.folder import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.storage import Storage

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty storage whose folder is not there yet."""
    return open_storage("store", tmp_path)


def everything(storage: Storage) -> list[str]:
    """Every file below the root, half-written ones too."""
    return sorted(str(path.relative_to(storage.root)) for path in Path(storage.root).rglob("*") if path.is_file())


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs this code with `storage` at its first argument."""
    head = "import sys, os, time\nfrom curation.inputs import *\nfrom curation.storage import *\n"
    head += "storage = open_storage(sys.argv[1])\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *arguments], env=ENVIRONMENT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """The process, gone when the block is."""
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_place_is_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative places are taken from the base, ~ is the home, other schemes are refused with what to do."""
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(open_storage("a/../b", tmp_path)) == f"{tmp_path}/b"
    assert str(open_storage("~/x", tmp_path)) == "/home/someone/x"
    with pytest.raises(RecipeError, match=r"a place is a local path or s3://"):
        open_storage("gs://bucket/prefix", tmp_path)


def test_what_is_not_there_reads_as_nothing(storage: Storage) -> None:
    """No file, no folder, a file where a folder should be: None, no file, no error."""
    storage.write("file", b"")
    assert storage.read("none") is None
    assert storage.read("file/below") is None
    assert not storage.exists("none")
    assert (storage.files("none"), storage.folders("none")) == ([], [])
    storage.remove("none")
    with pytest.raises(StorageError, match="No such file"), storage.reading("none"):
        pass


def test_files_are_listed_sorted_without_half_written_ones(storage: Storage) -> None:
    """A listing shows finished files with their sizes."""
    for name in ("b/2", "b/1", "a", f"b/3{TEMPORARY}"):
        storage.write(name, b"xy")
    assert [(file.path, file.size) for file in storage.files()] == [("a", 2), ("b/1", 2), ("b/2", 2)]
    assert [file.path for file in storage.files("b")] == ["b/1", "b/2"]
    assert storage.folders() == ["b"]


def test_a_file_appears_when_the_block_ends_well(storage: Storage) -> None:
    """Before the end there is no file of that name, afterwards there is the whole."""
    with storage.writing("a/b") as stream:
        stream.write(b"half")
        assert not storage.exists("a/b")
        assert storage.files() == []
        stream.write(b" and half")
    assert storage.read("a/b") == b"half and half"
    assert everything(storage) == ["a/b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_appears_when_the_block_fails(storage: Storage, error: type[BaseException]) -> None:
    """What was there stays as it was, nothing half-written is left, and the error is the one that was raised."""
    storage.write("a", b"before")
    with pytest.raises(error), storage.writing("a") as stream:  # noqa: PT012
        stream.write(b"after")
        raise error
    assert storage.read("a") == b"before"
    assert everything(storage) == ["a"]


@pytest.mark.parametrize("action", ["storage.write('big', b'x' * 50_000)", "storage.create('big', b'x' * 50_000)",
                                    "storage.swap('big', b'x' * 50_000, None)"])  # fmt: skip
def test_a_file_that_is_too_large_for_the_disk(storage: Storage, action: str) -> None:
    """Where the system takes no more bytes, one StorageError says so and nothing is left behind."""
    code = f"""
import resource, signal
from curation.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    {action}
except StorageError as error:
    print(error.message)
"""
    out, err = python(code, storage.root).communicate()
    assert out.strip() == f"cannot write {storage.root}/big: File too large", err
    assert everything(storage) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; skips where it may not be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "curate-test", folder], check=False,
                          capture_output=True)  # fmt: skip
    if done.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_message_with_its_remedy(small_disk: Path) -> None:
    """ENOSPC says which file, and that finished parts are kept; those stay."""
    storage = open_storage(str(small_disk))
    storage.write("finished", b"x" * 10_000)
    with pytest.raises(StorageError, match=r"cannot write .*/next: No space left on device") as caught:
        storage.write("next", b"x" * 1_000_000)
    assert caught.value.remedy
    assert "finished parts are kept" in caught.value.remedy
    assert everything(storage) == ["finished"]


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    """A file where the folder should be: one StorageError for each way of writing."""
    (tmp_path / "file").write_text("")
    storage = open_storage("file", tmp_path)
    for action in (storage.write, storage.create):
        with pytest.raises(StorageError, match="cannot write"):
            action("a", b"")
    with pytest.raises(StorageError, match="cannot write"), storage.lock():
        pass


def test_a_copy_is_another_name_of_the_same_file(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of what was there; where there are no such names, a file of its own; nothing half written is left."""
    storage.write("a/x", b"x")
    storage.write("b/z", b"z")
    storage.copy("a/x", "b/y")
    storage.copy("a/x", "b/y")
    storage.copy("a/x", "b/z")
    assert Path(storage.path("a/x")).samefile(storage.path("b/y"))

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "no links here")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        storage.copy("a/x", "c/y")
    assert not Path(storage.path("a/x")).samefile(storage.path("c/y"))
    storage.remove("a")
    assert [storage.read(name) for name in ("b/y", "b/z", "c/y")] == [b"x"] * 3
    assert [path.name for path in Path(str(storage)).rglob("*.tmp")] == []
    with pytest.raises(StorageError, match="cannot copy"):
        storage.copy("a/x", "b/y")


def test_create_writes_once(storage: Storage) -> None:
    """The second to create a file is told so, and changes nothing."""
    assert storage.create("a/claim", b"first")
    assert not storage.create("a/claim", b"second")
    assert storage.read("a/claim") == b"first"
    assert everything(storage) == ["a/claim"]


def test_of_many_processes_one_creates(storage: Storage) -> None:
    """Of eight processes that try fifty names at the same time, one has each."""
    code = """
print("ready", flush=True); sys.stdin.readline()
print(*[number for number in range(50) if storage.create(f"claims/{number}", sys.argv[2].encode())])
"""
    processes = [python(code, storage.root, str(number)) for number in range(8)]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [process.communicate()[0].split() for process in processes]
    assert sorted(int(number) for mine in won for number in mine) == list(range(50))
    for process, mine in enumerate(won):
        assert all(storage.read(f"claims/{number}") == str(process).encode() for number in mine)
    assert len(everything(storage)) == 50


def test_of_many_threads_one_creates(storage: Storage) -> None:
    """Of sixteen threads of one process that try at the same time, one is told True, and its bytes are there."""
    barrier = threading.Barrier(16)
    for name in map(str, range(20)):
        won: list[int] = []

        def claim(number: int, name: str = name, won: list[int] = won) -> None:
            barrier.wait()
            if storage.create(name, str(number).encode() * 10_000):
                won.append(number)

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert storage.read(name) == str(won[0]).encode() * 10_000


def test_swap_replaces_what_was_expected(storage: Storage) -> None:
    """A swap happens when the file holds what the caller saw, or nothing where it saw nothing."""
    assert storage.swap("latest", b"1", None)
    assert not storage.swap("latest", b"2", None)
    assert not storage.swap("latest", b"2", b"0")
    assert storage.read("latest") == b"1"
    assert storage.swap("latest", b"2", b"1")
    assert storage.read("latest") == b"2"
    assert not storage.swap("none", b"2", b"1")


def test_swaps_of_many_threads_lose_nothing(storage: Storage) -> None:
    """Eight threads that each count up ten times reach eighty."""
    storage.write("count", b"0")

    def count() -> None:
        for _ in range(10):
            while not storage.swap("count", str(int(now := storage.read("count") or b"0") + 1).encode(), now):
                pass

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.read("count") == b"80"


HOLD = "with storage.lock():\n    print('held', flush=True)\n    time.sleep(60)"


def test_a_lock_that_another_process_holds_is_refused(storage: Storage) -> None:
    """A second run in the same folder is told so at once, and what to do."""
    with ended(python(HOLD, storage.root)) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="another run is using this folder") as caught, storage.lock():
            pass
        assert caught.value.remedy
        assert "--work" in caught.value.remedy
        with open_storage(f"{storage.root}/below").lock():  # another folder is another lock
            pass


def test_a_killed_holder_gives_the_lock_back(storage: Storage) -> None:
    """No lock is left by a process that was killed."""
    with ended(python(HOLD, storage.root)) as holder:
        assert holder.stdout
        holder.stdout.readline()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with storage.lock():
            pass
    assert everything(storage) == []


COPY = """with storage.lock():
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


def test_a_copy_of_the_holder_holds_nothing(storage: Storage) -> None:
    """A worker that is a copy of its parent may outlive it for a moment: the lock goes back with the parent."""
    with ended(python(COPY, storage.root)) as holder:
        assert holder.stdout
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(StorageError, match="another run is using this folder"), storage.lock():
                pass
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            os.kill(child, 0)  # it lives
            with storage.lock():
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_ends_with_its_block(storage: Storage) -> None:
    """Also when the block fails."""
    with suppress(ValueError), storage.lock():
        raise ValueError
    with storage.lock():
        pass


def test_sweep_removes_what_a_killed_process_left(storage: Storage) -> None:
    """A process killed while writing leaves a file that no listing shows and that sweep removes."""
    code = "with storage.writing('a/b') as stream:\n    stream.write(b'x' * 99_999); stream.flush()\n"
    code += "    print('writing', flush=True)\n    time.sleep(60)"
    storage.write("a/whole", b"")
    with ended(python(code, storage.root)) as writer:
        assert writer.stdout
        writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert len(everything(storage)) == 2
    assert [file.path for file in storage.files()] == ["a/whole"]
    storage.sweep("elsewhere")
    assert len(everything(storage)) == 2
    storage.sweep()
    assert everything(storage) == ["a/whole"]


def test_remove_takes_a_file_or_a_folder(storage: Storage, tmp_path: Path) -> None:
    """A folder goes with all in it; a link goes, and not what it points to."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("")
    storage.write("a/b/c", b"")
    storage.write("a/d", b"")
    (Path(storage.root) / "link").symlink_to(tmp_path / "kept")
    storage.remove("a/d")
    assert everything(storage)[:1] == ["a/b/c"]
    storage.remove("a")
    storage.remove("link")
    assert list(Path(storage.root).iterdir()) == []
    assert (tmp_path / "kept" / "file").exists()


# inputs


def files(folder: Path, *names: str) -> None:
    """Make these files, each holding its name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def names(folder: Path, *patterns: str) -> list[str]:
    """The names of the inputs that the patterns give."""
    return [file.name for file in find_inputs(patterns, folder)]


def test_globs_files_and_folders(tmp_path: Path) -> None:
    """A pattern, a file, a folder with all below it but what is hidden; each file once, sorted by name."""
    files(tmp_path, "d/b.txt", "d/a.txt", "d/e/c.txt", "d/e/f.md", "d/.hidden", "d/.git/config")
    assert names(tmp_path, "d") == ["a.txt", "b.txt", "e/c.txt", "e/f.md"]
    assert names(tmp_path, "d/*.txt") == ["a.txt", "b.txt"]
    assert names(tmp_path, "d/**/*.txt") == ["a.txt", "b.txt", "e/c.txt"]
    assert names(tmp_path, "d/[ab].txt", "d/a.txt") == ["a.txt", "b.txt"]
    assert names(tmp_path, str(tmp_path / "d/e/c.txt")) == ["c.txt"]
    found = find_inputs(["d/a.txt"], tmp_path)
    file = tmp_path / "d/a.txt"
    assert found == [Input(str(file), "a.txt", 7, file.stat().st_mtime_ns)]
    with found[0].open() as stream:
        assert stream.read() == b"d/a.txt"


def test_names_do_not_change_when_files_appear_or_the_folder_moves(tmp_path: Path) -> None:
    """What a file is called depends on the patterns alone, so its part keeps its name."""
    patterns = ("d/**/*.txt", "d/notes")
    files(tmp_path, "d/x/y/a.txt", "d/notes/n.md")
    before = names(tmp_path, *patterns)
    assert before == ["notes/n.md", "x/y/a.txt"]
    files(tmp_path, "d/b.txt", "d/x/c.txt", "d/notes/deep/m.md", "e/other.txt")
    assert set(before) < set(names(tmp_path, *patterns))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "d").rename(tmp_path / "elsewhere" / "d")
    assert set(before) < set(names(tmp_path / "elsewhere", *patterns))


def test_names_with_the_marks_of_patterns(tmp_path: Path) -> None:
    """A file or folder that is there under just this name is meant, whatever marks the name holds."""
    files(tmp_path, "a[1].txt", "d [old]/x.txt", "a1.txt")
    assert names(tmp_path, "a[1].txt") == ["a[1].txt"]
    assert names(tmp_path, "d [old]") == ["x.txt"]
    assert names(tmp_path, "d [old]/x.txt") == ["x.txt"]


def test_environment_variables_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set is put in; one that is not is named with how to set it."""
    files(tmp_path, "d/a.txt")
    monkeypatch.setenv("PLACE", str(tmp_path / "d"))
    monkeypatch.delenv("NO_PLACE", raising=False)
    assert names(Path("/"), "$PLACE/*.txt", "${PLACE}/a.txt") == ["a.txt"]
    for pattern in ("$NO_PLACE/*.txt", "${NO_PLACE}/a.txt"):
        with pytest.raises(InputError, match="the environment variable NO_PLACE is not set") as caught:
            names(tmp_path, pattern)
        assert caught.value.remedy == "set it: export NO_PLACE=/a/folder"


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("none.txt", "there is no such file"), ("d/*.md", "no file matches"), ("none/*.md", "no file matches"),
     ("empty", "the folder holds no file"), ("d/a.txt/b", "there is no such file"), ("a\0b", "there is no such file")],
)  # fmt: skip
def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path, pattern: str, words: str) -> None:
    """Also when others match: a source never lacks files silently."""
    files(tmp_path, "d/a.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=words) as caught:
        names(tmp_path, "d/*.txt", pattern)
    assert caught.value.message.startswith(pattern)
    assert caught.value.remedy


def test_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    """A broken link in a folder is named; it is an input that cannot be read."""
    files(tmp_path, "d/a.txt")
    (tmp_path / "d" / "broken").symlink_to(tmp_path / "gone")
    for pattern in ("d", "d/*"):
        with pytest.raises(InputError, match="d/broken: cannot be read: No such file"):
            names(tmp_path, pattern)


AS_ANOTHER = """
from curation.errors import CurationError
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
for pattern in sys.argv[2:]:
    try:
        print([file.name for file in find_inputs([pattern], storage.root)])
    except CurationError as error:
        print(error.message)
"""


def test_folders_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    """A folder that this user may not read is named, wherever it stands in the pattern."""
    files(tmp_path, "d/open/a.txt", "d/shut/b.txt", "d/shut/deep/c.txt")
    for path in (tmp_path, *tmp_path.parents):
        if os.getuid() == 0 and path != Path("/") and not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)
    (tmp_path / "d/shut").chmod(0)
    try:
        patterns = ["d", "d/*.txt", "d/shut", "d/shut/*.txt", "d/*", "d/*/*.txt", "d/**/*.txt", "d/shut/b.txt"]
        out, err = python(AS_ANOTHER, str(tmp_path), *patterns).communicate()
    finally:
        (tmp_path / "d/shut").chmod(0o755)
    shut = f"{tmp_path}/d/shut: the folder cannot be read"
    assert not err
    answers = dict(zip(patterns, out.splitlines(), strict=True))
    nothing = answers.pop("d/*.txt")
    assert nothing.startswith("d/*.txt: no file matches")
    assert answers == dict.fromkeys(answers, shut)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """What was found and is gone, or is shut, when it is opened."""
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Input(str(tmp_path / "gone"), "gone", 3, 0).open()


# hashes


def old(path: Path, data: bytes, age: float = 60) -> Input:
    """A file that was changed so many seconds ago."""
    path.write_bytes(data)
    then = time.time() - age
    os.utime(path, (then, then))
    return Input(str(path), path.name, len(data), path.stat().st_mtime_ns)


def test_hashes_are_remembered(storage: Storage, tmp_path: Path) -> None:
    """A file that was hashed is not hashed again by the next run, unless size or time changed."""
    file = old(tmp_path / "a", b"one")
    index = HashIndex(storage)
    assert index.get(file) is None
    assert sha256(file) == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    index.put(file, sha256(file))
    index.save([file])
    assert HashIndex(storage).get(file) == sha256(file)
    assert HashIndex(storage).get(old(tmp_path / "a", b"longer")) is None
    assert HashIndex(storage).get(old(tmp_path / "a", b"two", age=30)) is None


def test_a_file_that_just_changed_is_not_remembered(storage: Storage, tmp_path: Path) -> None:
    """It may change again within the resolution of its time."""
    file = old(tmp_path / "a", b"one", age=0.1)
    index = HashIndex(storage)
    index.put(file, sha256(file))
    assert index.get(file) is None


def test_the_index_forgets_files_that_are_no_inputs(storage: Storage, tmp_path: Path) -> None:
    """It holds the inputs of the last run and nothing more."""
    inputs = [old(tmp_path / name, b"x") for name in "ab"]
    index = HashIndex(storage)
    for file in inputs:
        index.put(file, sha256(file))
    index.save(inputs[:1])
    assert list(json.loads(storage.read("inputs.json") or b"")) == [inputs[0].path]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\x00", b"[]", b"null", b"3", b'{"PATH": 3}', b'{"PATH": {}}', b'{"PATH": null}',
                b'{"PATH": {"stat": 1}}', b"[" * 100_000]
)  # fmt: skip
def test_a_damaged_index_is_as_good_as_none(storage: Storage, tmp_path: Path, content: bytes) -> None:
    """Whatever lies in its place, files are hashed again."""
    file = old(tmp_path / "a", b"one")
    storage.write("inputs.json", content.replace(b"PATH", file.path.encode()))
    index = HashIndex(storage)
    assert index.get(file) is None
    index.put(file, "0")
    index.save([file])
    storage.remove("inputs.json")
    assert HashIndex(storage).get(file) is None


def test_errors_come_through_a_pickle_whole() -> None:
    """What a worker raises reaches the command line with its remedy."""
    error = pickle.loads(pickle.dumps(StorageError("what", remedy="do")))  # noqa: S301
    assert isinstance(error, CurationError)
    assert (type(error), error.message, error.remedy, str(error)) == (StorageError, "what", "do", "what")
