"""S3 as a place for WORK, releases and inputs: promises that hold on a folder hold there, whatever the network does."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from s3_servers import Fault, FaultyProxy, S3Server, chance, hit

from curation import pipeline, releases
from curation import publish as publishing
from curation.dataset import Dataset, Part, connect
from curation.engine import LocalEngine
from curation.errors import CurationError, InputError, RecipeError, ReleaseError, StorageError
from curation.inputs import HashIndex, find_inputs, sha256
from curation.recipe import load
from curation.run import release_place
from curation.signals import SIGNALS, signal_name
from curation.storage import open_storage
from curation.storage.bucket import Bucket
from curation.storage.client import client
from curation.storage.file import TRIED
from curation.storage.lease import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from curation.run import Run
    from curation.storage import Storage

ROOT = Path(__file__).parent.parent


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[S3Server], str]:
    """A function that makes a server the one of this process, and tells the URL of its bucket."""

    def used(server: S3Server) -> str:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        return f"s3://{server.bucket}"

    return used


@pytest.fixture
def place(s3: S3Server, use: Callable[[S3Server], str]) -> Storage:
    """An empty place, on each server; Swift's conditional writes do not hold, so there we are the only writer."""
    return open_storage(f"{use(s3)}/some/where", single_writer=True)


def content(storage: Storage, folder: str = "") -> dict[str, bytes | None]:
    """Every file and what it holds."""
    return {file.path: storage.read(file.path) for file in storage.files(folder)}


# ------------------------------------------------------------------------------------------------------------- a place


def test_places_are_urls(use: Callable[[S3Server], str]) -> None:
    """A bucket, or a bucket and a prefix; anything else is refused with how to write it."""
    use(S3Server("http://127.0.0.1:9", "a", "b", "bucket"))
    assert str(open_storage("s3://bucket")) == "s3://bucket"
    assert open_storage("s3://bucket/a/b/").path("c") == "s3://bucket/a/b/c"
    assert open_storage("s3://bucket").path("c") == "s3://bucket/c"
    for wrong in ("s3://", "s3://b", "s3:///a", "s3://bucket/../a", "s3://bucket/a//b", "s3://bucket/./a"):
        with pytest.raises(RecipeError, match="not a place in S3"):
            open_storage(wrong)


def test_files_of_a_place(place: Storage) -> None:
    """Written, read, listed, replaced and removed; what is not there reads as nothing."""
    assert not place.is_used()
    assert (place.read("none"), place.open("none"), place.exists("none")) == (None, None, False)
    assert (place.files(), place.folders()) == ([], [])
    place.remove("none")
    place.write("a/b/one", b"1")
    place.write("a/two", b"22")
    place.write("ab", b"")
    assert [(file.path, file.size) for file in place.files()] == [("a/b/one", 1), ("a/two", 2), ("ab", 0)]
    assert [file.path for file in place.files("a")] == ["a/b/one", "a/two"]
    assert (place.folders(), place.folders("a")) == (["a"], ["b"])
    place.write("a/two", b"2")
    assert content(place, "a") == {"a/b/one": b"1", "a/two": b"2"}
    assert place.is_used()
    place.remove("a")
    assert [file.path for file in place.files()] == ["ab"]
    with pytest.raises(StorageError, match="there is no such object"), place.reading("none"):
        pass


@pytest.mark.parametrize("size", [0, 1, 300_000, 40_000_000])
def test_a_file_of_any_size_comes_back(place: Storage, size: int) -> None:
    """Empty, small and sent in parts: read on, read at random and read from the end."""
    data = bytes(bytearray(hashlib.shake_128(b"x").digest(1_000_000)) * (size // 1_000_000 + 1))[:size]
    with place.writing("file") as stream:
        stream.write(data[: size // 2])
        stream.write(data[size // 2 :])
    with place.reading("file") as stream:
        assert stream.read() == data
    for from_end in (False, True):
        stream_of = place.open("file", from_end=from_end)
        assert stream_of is not None
        with stream_of as stream:
            for start in (size - 3, size // 2, 0, size // 3, size):
                stream.seek(max(0, start))
                assert stream.read(70_000) == data[max(0, start) :][:70_000]


def test_the_server_copies(place: Storage) -> None:
    """Small objects and those that were sent in parts; what is not there is one message."""
    for size in (0, 1000, 17 * 1024 * 1024):
        with place.writing("a") as stream:
            stream.write(b"ab" * (size // 2))
        place.copy("a", "b/c")
        assert place.read("b/c") == place.read("a")
    with pytest.raises(StorageError, match="no such object"):
        place.copy("nothing", "b/c")


def test_nothing_appears_when_the_block_fails(place: Storage) -> None:
    """No object, no half of one."""
    with suppress(ValueError), place.writing("file") as stream:
        stream.write(b"x" * 20_000_000)
        raise ValueError
    assert place.files() == []


def test_an_object_replaced_while_it_is_read_is_an_error(place: Storage) -> None:
    """Never the beginning of one and the end of another."""
    place.write("file", b"a" * 1_000_000)
    with place.reading("file") as stream:
        assert stream.read(10) == b"a" * 10
        place.write("file", b"b" * 1_000_000)
        with pytest.raises(StorageError, match="changed while it was being read"):
            stream.read()


def test_a_large_file_gets_through_a_bad_network(s3: S3Server, use: Callable[[S3Server], str]) -> None:
    """Sent in parts and read in ranges while every request fails the first time: the same bytes, no half left."""
    kinds = itertools.cycle(Fault)
    with FaultyProxy(s3, lambda _method, _target, n: None if n else next(kinds)) as proxy:
        place = open_storage(use(proxy.server))
        data = os.urandom(36_000_000)
        with place.writing("file") as stream:
            stream.write(data)
        with place.reading("file") as stream:
            assert stream.read() == data
        assert proxy.faults.total() >= 6
        place.sweep()
    assert not s3.client().list_multipart_uploads(Bucket=s3.bucket).get("Uploads")


def test_a_full_temporary_folder_is_one_message(
    place: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Which folder, for what, and the variable that names another."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(StorageError, match="No space left") as caught, place.writing("file"):
        pass
    assert "TMPDIR" in str(caught.value.remedy)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError), place.writing("file"):  # of the block, and no matter of this place
        (tmp_path / "none").read_bytes()


def test_create_and_swap_have_one_winner(moto: S3Server, use: Callable[[S3Server], str]) -> None:
    """Of eight threads one creates; of their swaps none is lost."""
    place = open_storage(use(moto))
    won: list[bool] = []

    def work(number: int) -> None:
        won.append(place.create("claim", str(number).encode()))
        for _ in range(5):
            while True:
                there = place.read("count")
                if place.swap("count", str(int(there or 0) + 1).encode(), there):
                    break

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 1
    assert place.read("count") == b"40"
    assert not place.swap("claim", b"new", None)
    assert not place.swap("claim", b"new", b"other")


def test_a_server_that_lets_several_win_is_refused(
    moto: S3Server, swift: S3Server, use: Callable[[S3Server], str]
) -> None:
    """Unless the user says that there is but one writer; a server that keeps its word is not refused."""
    open_storage(f"{use(moto)}/x").refuse_races()
    assert open_storage("s3://" + moto.bucket).files() == []  # what was tried is removed
    with pytest.raises(StorageError, match="two runs at once") as caught:
        open_storage(f"{use(swift)}/x").refuse_races()
    assert "--single-writer" in str(caught.value.remedy)
    open_storage(f"s3://{swift.bucket}/x", single_writer=True).refuse_races()


@pytest.mark.parametrize(
    ("pattern", "told"), [("If-None-Match", "does not know If-None-Match"), ("If-Match", "does not know If-Match")]
)
def test_a_server_without_conditional_writes_is_refused(
    moto: S3Server, use: Callable[[S3Server], str], monkeypatch: pytest.MonkeyPatch, pattern: str, told: str
) -> None:
    """One that answers 501, as Swift does to If-Match."""
    place = open_storage(use(moto))
    argument = pattern.replace("-", "")
    real = client().put_object

    def unknown(**asked: Any) -> Any:
        if argument in asked:
            raise ClientError({"Error": {"Code": "NotImplemented"}}, "PutObject")
        return real(**asked)

    monkeypatch.setattr(client(), "put_object", unknown)
    with pytest.raises(StorageError, match=told):
        place.refuse_races()
    assert not place.is_used()


def test_what_was_tried_makes_no_place_used(place: Storage) -> None:
    """A run that is killed while it tries out the server, or that begins at the same time, leaves nothing to refuse."""
    open_storage(str(place).rpartition("/")[0], single_writer=True).write(f"{TRIED}-1/new-0", b"")
    place.write(f"{TRIED}-doctor", b"")
    assert not place.is_used()


def test_a_scan_that_cannot_be_read_is_an_error_and_no_hang(place: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB reads copies that were fetched before, and a part that cannot be fetched is one message."""
    dataset = Dataset(place, "numbers", pa.schema([("number", pa.int64()), ("text", pa.string())]))
    parts = [Part("web", str(number)) for number in range(4)]
    for part in parts:
        dataset.write(part, pa.table({"number": range(10), "text": ["x"] * 10}), "made from this")
    connection = connect()
    connection.register("numbers", dataset.scan(parts, ["number"]))
    assert connection.execute("SELECT sum(number), count(*) FROM numbers").fetchall() == [(180, 40)]
    assert [name for name, *_ in connection.execute("FROM numbers LIMIT 0").description] == ["number"]
    place.remove(dataset.path(parts[2]))
    with pytest.raises(StorageError, match="missing or torn"):
        dataset.scan(parts, ["text"])


def test_halves_that_a_killed_process_left_are_aborted(s3: S3Server, place: Storage) -> None:
    """Only below the folder that is swept."""
    client = s3.client()
    for key in ("some/where/a/half", "some/where/b/half", "some/whereabouts/half"):
        upload = client.create_multipart_upload(Bucket=s3.bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=s3.bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 100)

    def halves() -> list[str]:
        return [one["Key"] for one in client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", ())]

    place.sweep("a")
    assert halves() == ["some/where/b/half", "some/whereabouts/half"]
    place.sweep()
    assert halves() == ["some/whereabouts/half"]


# -------------------------------------------------------------------------------------------------------------- leases

HOLD = """
import sys, time
from curation.signals import SIGNALS, signal_name
from curation.storage import open_storage
from curation.storage.bucket import Bucket
from curation.storage.client import client
from curation.storage.file import TRIED
with open_storage(sys.argv[1], single_writer=True).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a place."""
    with subprocess.Popen([sys.executable, "-c", HOLD, url], env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_place_is_held_by_one_process(place: Storage) -> None:
    """The second is told whose it is; a killed holder on this machine gives it back at once; a block always does."""
    with holder(str(place)) as process:
        told = f"another run is using this workspace: process {process.pid} on"
        with pytest.raises(StorageError, match=told) as caught, place.lock():
            pass
        assert "--work" in str(caught.value.remedy)
        process.kill()
        process.wait()
        with place.lock():
            assert not place.is_used()
    assert place.files() == []


def test_a_lease_of_another_machine_ends_when_it_is_not_renewed(
    place: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused while it is fresh, and taken over when it is stale; the one who lost it is told."""
    place.write(LEASE, json.dumps({"host": "elsewhere", "pid": 1, "id": "x", "beat": 1}).encode())
    with pytest.raises(StorageError, match="process 1 on elsewhere, last heard of"), place.lock():
        pass
    monkeypatch.setattr("curation.storage.lease.STALE", -1.0)
    with place.lock():
        pass
    monkeypatch.setattr("curation.storage.lease.RENEWED", 0.05)
    stolen = pytest.raises(StorageError, match="another run took this workspace over")
    with stolen, place.lock():
        place.write(LEASE, b'{"host": "elsewhere", "pid": 1}')
        threading.Event().wait(60)  # the main thread is interrupted
    assert place.read(LEASE) == b'{"host": "elsewhere", "pid": 1}'  # left to the one who has it


def test_a_lease_is_renewed(place: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a long run is not taken for dead."""
    monkeypatch.setattr("curation.storage.lease.RENEWED", 0.01)
    with place.lock():
        while json.loads(place.read(LEASE) or b"{}")["beat"] < 4:
            pass
    assert place.files() == []


def test_a_process_of_another_container_is_not_taken_for_dead(place: Storage) -> None:
    """Its number says nothing here, though the host has the same name."""
    place.write(
        LEASE, json.dumps({"machine": "another", "host": socket.gethostname(), "pid": 2**30, "id": "x"}).encode()
    )
    with pytest.raises(StorageError, match="another run is using this workspace"), place.lock():
        pass


def test_a_run_whose_lease_was_taken_publishes_nothing(
    moto: S3Server, use: Callable[[S3Server], str], tiny: Callable[..., Run], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Paused while another took the workspace over, it touches neither the other's claim nor the pointer."""
    url = use(moto)
    tiny({"web": ROWS}, until="pull")
    recipe = load(tmp_path / "recipe.toml", (f'work="{url}/work"', f'release.to="{url}/to"'))
    real = publishing._shards

    def paused(*arguments: Any) -> Any:
        shards = real(*arguments)
        open_storage(f"{url}/work").write(LEASE, b'{"id": "another"}')
        return shards

    monkeypatch.setattr(publishing, "_shards", paused)
    with pytest.raises(StorageError, match="another run took this workspace over"), LocalEngine(1) as engine:
        pipeline.run(recipe, engine)
    assert releases.latest(open_storage(f"{url}/to"), "tiny") is None
    (release,) = releases.releases(open_storage(f"{url}/to"), "tiny")
    assert release.manifest() is None


# -------------------------------------------------------------------------------------------------------------- inputs


def test_inputs_have_the_names_they_have_in_a_folder(
    moto: S3Server, use: Callable[[S3Server], str], tmp_path: Path
) -> None:
    """The same patterns find the same files, on a disk and in S3."""
    url = use(moto)
    names = ("crawl/a.gz", "crawl/b/c.gz", "crawl/b/.hidden.gz", "crawl/.git/x.gz", "crawl/b/d/e.gz", "crawl/[1].gz",
             "crawl/ü é.gz", "notes.txt", "crawling/f.gz")  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
        open_storage(url).write(name, name.encode())
    for patterns in (["crawl/*.gz"], ["crawl"], ["crawl/"], ["crawl/**/*.gz"], ["crawl/**"], ["notes.txt"], ["*/*.gz"],
                     ["crawl/?.gz", "notes.txt"], ["crawl/[ab].gz"], ["crawl/[!b].gz"], ["crawl/[[]1].gz"],
                     ["crawl*/f.gz"], ["crawl/b/c.gz", "crawl/b/d/e.gz"]):  # fmt: skip
        local = find_inputs(patterns, tmp_path)
        distant = find_inputs([f"{url}/{pattern}" for pattern in patterns], tmp_path)
        assert [(file.name, file.size) for file in distant] == [(file.name, file.size) for file in local], patterns
        assert [sha256(file) for file in distant] == [sha256(file) for file in local]
    rooted = find_inputs([f"{url}/crawl/b/*.gz"], tmp_path, root=f"{url}/crawl")
    assert [file.name for file in rooted] == ["b/c.gz"]


def test_inputs_in_s3_that_are_wrong_are_one_message(
    moto: S3Server, use: Callable[[S3Server], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing there, no bucket, beside a folder, of the run's own making, an unset variable, gone meanwhile."""
    url = use(moto)
    open_storage(url).write("work/x.txt", b"x")
    (tmp_path / "a.txt").write_text("a")
    monkeypatch.delenv("NOWHERE", raising=False)
    for patterns, words, without in (
        ([f"{url}/none/*.txt"], "nothing in the bucket matches", ()),
        (["s3://no-such-bucket-here/x"], "NoSuchBucket", ()),
        ([f"{url}/work/x.txt", "a.txt"], "a.txt: stands beside paths in S3", ()),
        ([f"{url}/work"], "of the run's own making", (f"{url}/work",)),
        ([f"{url}/$NOWHERE/*"], "the environment variable NOWHERE is not set", ()),
    ):
        with pytest.raises((InputError, StorageError), match=words):
            find_inputs(patterns, tmp_path, without=without)
    with pytest.raises(InputError, match="not below the source's root"):
        find_inputs([f"{url}/work/*.txt"], tmp_path, root=f"{url}/other")
    (file,) = find_inputs([f"{url}/work"], tmp_path)
    index = HashIndex(open_storage(str(tmp_path / "index")))
    index.put(file, "sum")
    assert index.get(file) == "sum"
    open_storage(url).write("work/x.txt", b"y")
    with pytest.raises(InputError, match="changed while it was being read"):
        sha256(file)
    (changed,) = find_inputs([f"{url}/work"], tmp_path)
    assert index.get(changed) is None
    open_storage(url).remove("work/x.txt")
    with pytest.raises(InputError, match="is gone"):
        changed.open()


def test_what_cannot_be_reached_is_one_message(
    moto: S3Server, use: Callable[[S3Server], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bucket, no server, no credentials: what, where, and what to do."""
    use(moto)
    with pytest.raises(StorageError, match="NoSuchBucket") as caught:
        open_storage("s3://no-such-bucket-here").write("x", b"")
    assert "make the bucket" in str(caught.value.remedy)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # where nothing listens: no minute of tries
    with pytest.raises(StorageError, match="Could not connect") as caught:
        open_storage("s3://bucket").read("x")
    assert "AWS_ENDPOINT_URL" in str(caught.value.remedy)
    use(moto)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StorageError, match="credentials") as caught:
        open_storage("s3://bucket").read("x")
    assert "AWS_PROFILE" in str(caught.value.remedy)


# ---------------------------------------------------------------------------------------------------------------- runs

#: Fewer sidecars than the sample has otherwise, for fewer requests.
LITTLE = ("rules.presets=[]", "edit.remove=[]", "rules.c4_curly_bracket='false'", *(
    f"signals.{signal_name(module)}.enabled=false"
    for module in SIGNALS if signal_name(module) not in ("length", "language", "education")
))  # fmt: skip


def published(storage: Storage, name: str) -> tuple[dict[str, bytes | None], dict[str, Any]]:
    """The shards, report and card of the latest release, and its manifest without the time; the release is whole."""
    release = releases.latest(storage, name)
    assert release is not None
    assert releases.verify(release) == []
    manifest = release.manifest() or {}
    del manifest["created_at"]
    files = {file.path: storage.read(file.path) for file in storage.files(release.folder)}
    return {path: data for path, data in files.items() if not path.endswith((".json", ".md"))}, manifest


@pytest.fixture(scope="session")
def expected(sample: Path, engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the sample gives in local folders."""
    folder = tmp_path_factory.mktemp("local")
    pipeline.run(load(sample, (*LITTLE, f'release.to="{folder}/to"'), work=str(folder / "work")), engine)
    return published(open_storage(str(folder / "to")), "quickstart")


def test_s3_gives_the_same_bytes_as_a_folder_whatever_fails(
    s3: S3Server, use: Callable[[S3Server], str], sample: Path, expected: Any
) -> None:
    """WORK and TO wholly there, and one request in twenty fails in one of the ways that requests fail."""
    with FaultyProxy(s3, chance(1 / 20)) as proxy:
        url = use(proxy.server)
        recipe = load(sample, (*LITTLE, f'release.to="{url}/to"', "single_writer=true"), work=f"{url}/work")
        with LocalEngine(2) as engine:  # whose workers see the environment as it is now
            state = pipeline.run(recipe, engine)
            again = pipeline.run(recipe, engine)
        assert published(open_storage(f"{url}/to"), "quickstart") == expected
        assert len(proxy.faults) >= 4
        assert open_storage(f"{url}/work").read(LEASE) is None
    assert state.figures["publish"]["release"].startswith(url)
    assert again.figures["publish"]["published"] is False


ROWS = [{"text": f"{word} " * 40 + str(number)} for number, word in enumerate(["tide", "quay", "mast", "reef"] * 10)]
#: The requests of a publishing that change something, in order, and what befalls the one at which the process dies.
MOMENTS = [
    (r"claim\.json", Fault.CUT_BEFORE),
    (r"claim\.json", Fault.LOSE_RESPONSE),
    (r"train-0000\d", Fault.CUT_BEFORE),
    (r"train-0000\d", Fault.CUT_REQUEST),
    (r"train-00001", Fault.LOSE_RESPONSE),
    (r"report\.html", Fault.LOSE_RESPONSE),
    (r"README\.md", Fault.CUT_REQUEST),
    (r"manifest\.json", Fault.CUT_BEFORE),
    (r"manifest\.json", Fault.LOSE_RESPONSE),
    (r"latest\.json", Fault.CUT_BEFORE),
    (r"latest\.json", Fault.LOSE_RESPONSE),
]


@pytest.mark.parametrize(("server", "moments"), [("moto", MOMENTS), ("swift", MOMENTS[1::3])])
def test_a_publisher_that_is_killed_leaves_nothing_wrong(
    server: str, moments: list[tuple[str, Fault]], use: Callable[[S3Server], str], tiny: Callable[..., Run],
    tmp_path: Path, request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """At each of eleven moments: no release that does not verify is ever seen, and the rerun ends it, the same."""
    more = '[release]\nshard_bytes = "1kB"\nversion = "2026.01.01"'
    tiny({"web": ROWS}, more)
    whole = published(open_storage(f"{tmp_path}/releases"), "tiny")
    with FaultyProxy(request.getfixturevalue(server)) as proxy, LocalEngine(2) as engine:
        url = use(proxy.server)
        for number, (pattern, fault) in enumerate(moments):
            to = open_storage(f"{url}/to{number}", single_writer=True)
            options = (f'release.to="{to}"', "single_writer=true")
            proxy.plan = hit(fault, "PUT", f"/to{number}/.*{pattern}")
            with subprocess.Popen(
                [sys.executable, "-m", "curation", "run", "recipe.toml", *(f"--set={option}" for option in options)],
                cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL,
            ) as process:  # fmt: skip
                proxy.struck = lambda _, process=process: process.kill()  # type: ignore[misc]
                assert process.wait(60) == -signal.SIGKILL
            time.sleep(0.4)  # its workers end with it
            for release in releases.releases(to, "tiny"):
                assert release.manifest() is None or releases.verify(release) == []
            seen = releases.latest(to, "tiny")
            assert (seen is not None) == ((pattern, fault) == MOMENTS[-1])
            pipeline.run(load(tmp_path / "recipe.toml", options), engine)
            assert published(to, "tiny") == whole
            assert not {file.path for file in to.files()} - {*whole[0], *KNOWN}


#: How often a publisher is killed at random: `CURATE_KILLS=20` is the long form.
KILLS = int(os.environ.get("CURATE_KILLS", "3"))


def test_a_publisher_that_is_killed_at_random_is_never_seen_half_done(
    moto: S3Server, use: Callable[[S3Server], str], tiny: Callable[..., Run], tmp_path: Path
) -> None:
    """While requests fail in all ways and a reader looks on: what it sees verifies, and the rerun ends it."""
    tiny({"web": ROWS}, '[release]\nshard_bytes = "1kB"\nversion = "2026.01.01"')
    whole = published(open_storage(f"{tmp_path}/releases"), "tiny")
    seed = random.SystemRandom().randrange(10**9)
    draw = random.Random(seed)  # noqa: S311
    with FaultyProxy(moto) as proxy, LocalEngine(2) as engine:
        url = use(proxy.server)

        def options(to: Storage) -> tuple[str, ...]:
            return (f'release.to="{to}"', "single_writer=true")

        first = open_storage(f"{url}/to", single_writer=True)
        pipeline.run(load(tmp_path / "recipe.toml", options(first)), engine)
        requests = len(proxy.log)
        assert requests > 20
        for number in range(KILLS):
            to = open_storage(f"{url}/to{number}", single_writer=True)
            arguments = [f"--set={option}" for option in options(to)]
            moment = draw.randrange(1, requests)
            faults, count = chance(1 / 10, seed + number), itertools.count(1)
            with subprocess.Popen(
                [sys.executable, "-m", "curation", "run", "recipe.toml", *arguments], cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL,
            ) as process:  # fmt: skip

                def plan(method: str, target: str, n: int, *, at: int = moment, one: Any = process,
                         faults: Any = faults, count: Any = count) -> Fault | None:  # fmt: skip
                    if next(count) == at:
                        one.kill()
                    return faults(method, target, n)

                proxy.plan = plan
                ended = threading.Event()
                wrong: list[str] = []
                reader = threading.Thread(target=_look_on, args=(moto, f"{url}/to{number}", ended, wrong))
                reader.start()
                status = process.wait(120)
                time.sleep(0.4)  # its workers end with it
                ended.set()
                reader.join()
            assert status in (-signal.SIGKILL, 0), f"seed {seed}, kill {number}"
            assert wrong == [], f"seed {seed}, kill {number}"
            proxy.plan = chance(1 / 10, seed + number)
            pipeline.run(load(tmp_path / "recipe.toml", options(to)), engine)
            assert published(to, "tiny") == whole, f"seed {seed}, kill {number}"


def _look_on(server: S3Server, place: str, ended: threading.Event, wrong: list[str]) -> None:
    """Look at every release that can be seen, past the proxy, until it is said to stop; note what is wrong."""
    client = server.client()
    bucket, _, prefix = place.removeprefix("s3://").partition("/")

    def read(key: str) -> bytes | None:
        try:
            return bytes(client.get_object(Bucket=bucket, Key=f"{prefix}/{key}")["Body"].read())
        except client.exceptions.NoSuchKey:
            return None

    while True:
        is_last = ended.is_set()
        pointer, manifest = read("tiny/latest.json"), read("tiny/2026.01.01/manifest.json")
        if pointer is not None:
            manifest = read("tiny/2026.01.01/manifest.json")
            if hashlib.sha256(manifest or b"").hexdigest() != json.loads(pointer)["manifest_sha256"]:
                wrong.append("the pointer is not to this manifest")
        shards = json.loads(manifest)["shards"] if manifest else []
        seen = {shard["path"]: hashlib.sha256(read(f"tiny/2026.01.01/{shard['path']}") or b"") for shard in shards}
        wrong += [shard["path"] for shard in shards if seen[shard["path"]].hexdigest() != shard["sha256"]]
        if is_last:
            return


def test_options_go_with_every_object(
    moto: S3Server, use: Callable[[S3Server], str], tiny: Callable[..., Run], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Encryption, access and class of storage: of a release, and of WORK; also of what is sent in parts or copied."""
    tiny({"web": ROWS}, until="pull")
    url = use(moto)
    with LocalEngine(2) as engine:

        def run(to: str, *options: str) -> Run:
            more = (f'release.to="{url}/{to}"', "release.version='2026.01.01'", *options)
            return pipeline.run(load(tmp_path / "recipe.toml", more, work=f"{url}/{to}-work"), engine)

        plain = run("to")
        other = run(
            "other", 'release.s3={ServerSideEncryption="AES256", StorageClass="STANDARD_IA", ACL="public-read"}',
            's3={ServerSideEncryption="aws:kms", SSEKMSKeyId="key-1"}',
        )  # fmt: skip
    made = [open_storage(f"{url}/{place}") for place in ("to", "other")]
    assert published(made[0], "tiny") == published(made[1], "tiny")  # no byte is another
    assert plain.recipe.semantic() == other.recipe.semantic()
    place = release_place(other.recipe)
    place.copy("tiny/2026.01.01/data/train-00000.parquet", "tiny/copy")
    monkeypatch.setattr("curation.storage.bucket.PART_BYTES", 5 * 1024 * 1024)
    with place.writing("tiny/large") as stream:
        stream.write(b"x" * (11 * 1024 * 1024))
    client = moto.client()
    names = [file.path for file in place.files()]
    kinds = {"claim.json", "manifest.json", "latest.json", "README.md", "report.html", "train-00000.parquet", "copy"}
    assert {name.rpartition("/")[2] for name in names} == {*kinds, "large"}
    for name in names:
        key = f"other/{name}"
        head = client.head_object(Bucket=moto.bucket, Key=key)
        assert (head["ServerSideEncryption"], head["StorageClass"]) == ("AES256", "STANDARD_IA"), name
        grants = client.get_object_acl(Bucket=moto.bucket, Key=key)["Grants"]
        assert any(grant["Permission"] == "READ" and grant["Grantee"].get("URI") for grant in grants), name
    for file in open_storage(f"{url}/other-work").files():
        head = client.head_object(Bucket=moto.bucket, Key=f"other-work/{file.path}")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "key-1"), file.path
    with pytest.raises(RecipeError, match=r"release\.s3\.Acl: .*ACL"):
        load(tmp_path / "recipe.toml", ('release.s3={Acl="private"}',))


#: What else lies in a place where one release was published.
KNOWN = {f"tiny/2026.01.01/{name}" for name in ("claim.json", "manifest.json", "README.md")} | {"tiny/latest.json"}


def test_of_two_publishers_one_wins(
    moto: S3Server, use: Callable[[S3Server], str], tiny: Callable[..., Run], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The same version asked for from two workspaces at the same moment: one release, one message."""
    url = use(moto)
    tiny({"web": ROWS}, until="pull")
    meet = threading.Barrier(2)
    create = Bucket.create

    def together(self: Any, name: str, data: bytes) -> bool:
        if name.endswith("claim.json"):
            meet.wait(60)
        return create(self, name, data)

    monkeypatch.setattr(Bucket, "create", together)
    ends: list[Any] = []

    def publish(number: int) -> None:
        options = (f'work="{tmp_path}/work{number}"', f'release.to="{url}/to"', "release.version='2026.01.01'")
        try:
            with LocalEngine(1) as engine:
                ends.append(pipeline.run(load(tmp_path / "recipe.toml", options), engine).figures["publish"]["version"])
        except CurationError as error:
            ends.append(error)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (message,) = [end for end in ends if end != "2026.01.01"]
    assert isinstance(message, ReleaseError)
    assert "2026.01.01: another workspace began this version" in str(message) or "this version is taken" in str(message)
    manifest = published(open_storage(f"{url}/to"), "tiny")[1]
    assert (manifest["version"], manifest["documents"]) == ("2026.01.01", len(ROWS))


def test_inputs_in_s3_give_the_same_documents(
    moto: S3Server, use: Callable[[S3Server], str], sample: Path, tmp_path: Path
) -> None:
    """A WARC, Markdown files and JSON lines, read from S3: the documents of the local files, id for id."""
    url = use(moto)
    for path in sorted((sample.parent / "sample").rglob("*")):
        if path.is_file():
            open_storage(url).write(str(path.relative_to(sample.parent)), path.read_bytes())
    distant = tmp_path / "recipe.toml"
    distant.write_text(sample.read_text().replace('"sample/', f'"{url}/sample/'))
    ids = []
    with LocalEngine(2) as engine:
        for recipe in (sample, distant):
            state = pipeline.run(load(recipe, LITTLE, work=str(tmp_path / recipe.parent.name)), engine, until="pull")
            ids.append([state.work.documents.read(part, ["id"])["id"].to_pylist() for part in state.parts])
            names = [(file["uri"], file["sha256"]) for file in state.inputs]
            ids.append(names)
    assert ids[0] == ids[2]
    assert ids[1] == ids[3]


def test_copies_are_private_and_gone_at_the_end(place: Storage) -> None:
    """What was fetched to be scanned lies where only this user can read it, and goes with the process."""
    place.write("x", b"")
    code = (
        "import os, stat, sys\nfrom pathlib import Path\nfrom curation.storage import open_storage\n"
        "scratch = Path(open_storage(sys.argv[1]).scratch)\nscratch.mkdir()\n"
        "print(scratch, oct(stat.S_IMODE(scratch.parent.stat().st_mode)))\n"
    )
    alone = {name: value for name, value in os.environ.items() if name != "CURATE_SCRATCH"}
    done = subprocess.run([sys.executable, "-c", code, str(place)], env={**alone, "PYTHONPATH": str(ROOT)}, text=True,
                          capture_output=True, check=True)  # fmt: skip
    folder, mode = done.stdout.split()
    assert mode == "0o700"
    assert not Path(folder).parent.exists()


def test_without_boto3_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    for name in [
        name for name in sys.modules if name.startswith(("boto3", "curation.storage.")) and "folder" not in name
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StorageError, match="boto3 is not installed") as caught:
        open_storage("s3://bucket/x")
    assert "curate[s3]" in str(caught.value.remedy)
