"""A release is read in one order, shared by any number of readers, and taken up again at the very row."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import ReleaseError, UsageError
from curation.releases import Reader, Release, named, open  # noqa: A004  # as its users import it
from curation.storage import open_storage

if TYPE_CHECKING:
    from s3_servers import S3Server

    from curation.storage import Storage

ROOT = Path(__file__).parent.parent
VERSION = "2026.01.01"
#: Rows of the shards of the release that most tests read; one of them has none.
SHARDS = (40, 3, 0, 25, 31, 1, 17)


def publish(storage: Storage, rows: tuple[int, ...] = SHARDS, version: str = VERSION, name: str = "book") -> Release:
    """A release whose rows are numbered from 0, in row groups of 7."""
    release = Release(storage, name, version)
    shards, number = [], 0
    for index, count in enumerate(rows):
        numbers = range(number, number + count)
        number += count
        table = pa.table({"id": pa.array([f"{n:05}" for n in numbers], pa.string()),
                          "text": pa.array([f"text {n} of {version}" for n in numbers], pa.string()),
                          "tokens": pa.array([n % 5 for n in numbers], pa.int64())})  # fmt: skip
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, row_group_size=7)
        data = sink.getvalue().to_pybytes()
        path = f"data/train-{index:05d}.parquet"
        storage.write(f"{release.folder}/{path}", data)
        tokens = sum(table["tokens"].to_pylist())
        shards.append({"path": path, "rows": count, "tokens": tokens, "bytes": len(data),
                       "sha256": hashlib.sha256(data).hexdigest()})  # fmt: skip
    manifest = {"name": name, "version": version, "fingerprint": f"{version} {rows}", "shards": shards}
    data = json.dumps(manifest).encode()
    storage.write(f"{release.folder}/claim.json", b"{}")
    storage.write(f"{release.folder}/manifest.json", data)
    entry = {"version": version, "manifest_sha256": hashlib.sha256(data).hexdigest()}
    storage.write(f"{name}/latest.json", json.dumps(entry).encode())
    return release


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a release of seven shards."""
    folder = tmp_path_factory.mktemp("to")
    publish(open_storage(str(folder)))
    return f"{folder}/book@{VERSION}"


def numbers(rows: Any) -> list[int]:
    """The rows by their numbers."""
    return [int(row["id"]) for row in rows]


ALL = list(range(sum(SHARDS)))

# what is read


def test_rows_come_in_the_release_s_order(place: str) -> None:
    """All columns or those asked for, as dictionaries; again from the beginning once all are read."""
    reader = open(place)
    assert len(reader) == len(ALL)
    rows = list(reader)
    assert numbers(rows) == ALL
    assert rows[41] == {"id": "00041", "text": f"text 41 of {VERSION}", "tokens": 1}
    assert numbers(reader) == ALL
    assert next(open(place, columns=["tokens", "id"])) == {"tokens": 0, "id": "00000"}
    assert numbers(islice(reader, 5)) + numbers(reader) == ALL


def test_a_release_is_named_in_several_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and version, by its own folder, by what holds it; relative paths too."""
    storage = open_storage(str(tmp_path / "to"))
    publish(storage, (1,))
    newest = publish(storage, (2,), "2026.01.01.2")
    monkeypatch.chdir(tmp_path)
    for written in (f"to/book@{VERSION}", f"to/book/{VERSION}", f"{tmp_path}/to/book/{VERSION}/"):
        assert len(open(written)) == 1, written
    for written in ("to/book@latest", "to/book", "to", f"{tmp_path}/to", "to/book@2026.01.01.2"):
        assert len(open(written)) == 2, written
    monkeypatch.chdir(tmp_path / "to")
    assert named(f"book@{VERSION}").version == VERSION
    assert named(".") == named("book") == newest
    monkeypatch.chdir(tmp_path / "to/book")
    assert named(".") == newest
    assert named(VERSION).version == VERSION
    for wrong, words in (("nowhere/book@latest", "no such folder"), ("nowhere", "no such folder"),
                         (f"{tmp_path}/to/book@2026.02.02", "no finished release 2026.02.02"),
                         (f"{tmp_path}/to/other@2026.02.02", "there are book")):  # fmt: skip
        with pytest.raises((UsageError, ReleaseError), match=words):
            open(wrong)


def test_what_cannot_be_read_is_one_message(place: str) -> None:
    """A column, a rank or a number of epochs that there is not."""
    with pytest.raises(UsageError, match="no column 'words'") as caught:
        next(open(place, columns=["words"]))
    assert "id, text, tokens" in str(caught.value.remedy)
    for wrong in ({"rank": 2, "ranks": 2}, {"rank": -1}, {"epochs": 0}):
        with pytest.raises(UsageError):
            open(place, **wrong)


# the order


@pytest.mark.parametrize("ranks", [1, 2, 5, 8, 200])
def test_readers_share_the_rows_evenly(place: str, ranks: int) -> None:
    """Their rows one behind the other are the release's; none has more than one row more than another."""
    shares = [numbers(open(place, rank=rank, ranks=ranks)) for rank in range(ranks)]
    assert [number for share in shares for number in share] == ALL
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [len(open(place, rank=rank, ranks=ranks)) for rank in range(ranks)] == [len(share) for share in shares]


def test_workers_of_ranks_share_what_their_rank_has(place: str) -> None:
    """Splitting twice is splitting by the product."""
    split = [open(place, rank=rank, ranks=2).split(worker, 3) for rank in range(2) for worker in range(3)]
    assert [numbers(reader) for reader in split] == [numbers(open(place, rank=n, ranks=6)) for n in range(6)]
    begun = open(place)
    next(begun)
    with pytest.raises(UsageError, match="has begun"):
        begun.split(0, 2)


def test_a_seed_draws_the_order_of_the_shards_for_each_epoch(place: str) -> None:
    """Each epoch holds every row once, shards whole and in another order; the same seed gives the same."""
    rows = numbers(open(place, shuffle=3, epochs=3))
    epochs = [rows[start : start + len(ALL)] for start in range(0, len(rows), len(ALL))]
    assert [sorted(epoch) for epoch in epochs] == [ALL] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert rows == numbers(open(place, shuffle=3, epochs=3)) != numbers(open(place, shuffle=4, epochs=3))
    assert sum(after != before + 1 for before, after in zip(epochs[0], epochs[0][1:], strict=False)) <= len(SHARDS)
    endless = numbers(islice(open(place, shuffle=3, epochs=None), 4 * len(ALL)))
    assert endless[: len(rows)] == rows


# going on

SPLITS = st.integers(1, 6)


@settings(max_examples=20, deadline=None)
@given(st.data(), SPLITS, st.sampled_from([None, 5]), st.integers(1, 3))
def test_readers_go_on_at_the_very_row(place: str, data: st.DataObject, ranks: int, shuffle: int | None,
                                       epochs: int) -> None:  # fmt: skip
    """What came before a stop and what comes after it is what comes without one, for each reader."""
    for rank in range(ranks):
        options: dict[str, Any] = {"rank": rank, "ranks": ranks, "shuffle": shuffle, "epochs": epochs}
        whole = numbers(open(place, **options))
        stop = data.draw(st.integers(0, len(whole)))
        reader = open(place, **options)
        before = numbers(islice(reader, stop))
        state = json.loads(json.dumps(reader.state_dict()))
        after = open(place, **options)
        after.load_state_dict(state)
        assert before + numbers(after) == whole
        assert numbers(after) == whole


@settings(max_examples=20, deadline=None)
@given(st.data(), st.lists(SPLITS, min_size=2, max_size=4), st.sampled_from([None, 5]), st.integers(1, 3))
def test_another_number_of_readers_shares_what_is_left(
    place: str, data: st.DataObject, jobs: list[int], shuffle: int | None, epochs: int
) -> None:
    """However often it changes: each row comes once an epoch, and what is left comes in its order."""
    in_order = numbers(open(place, shuffle=shuffle, epochs=epochs))
    given_rows: Counter[int] = Counter()
    states: list[Any] = []
    for job, ranks in enumerate(jobs):
        came: list[list[int]] = []
        after: list[Any] = []
        for rank in range(ranks):
            reader = open(place, rank=rank, ranks=ranks, shuffle=shuffle, epochs=epochs)
            if states:
                reader.load_state_dict(states)
            is_last = job == len(jobs) - 1
            came.append(numbers(islice(reader, None if is_last else data.draw(st.integers(0, 60)))))
            after.append(reader.state_dict())
        given_rows.update(number for rows in came for number in rows)
        states = json.loads(json.dumps(after))
    assert given_rows == dict.fromkeys(ALL, epochs)
    if epochs == 1:  # the last job's rows one behind the other
        rest = [number for rows in came for number in rows]
        assert rest == [number for number in in_order if number in set(rest)]


#: A training job that says for each row what it was and where its reader is, until it is killed.
JOB = """
import json, random, sys
from curation.releases import open
place, ranks, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
readers = [open(place, rank=rank, ranks=ranks) for rank in range(ranks)]
draw = random.Random(seed)
while readers:
    reader = draw.choice(readers)
    row = next(reader, None)
    if row is None:
        readers.remove(reader)
    else:
        print(json.dumps([row["id"], reader.rank, reader.state_dict()]), flush=True)
"""


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_a_killed_job_goes_on_at_the_very_row(place: str, ranks: int) -> None:
    """With `kill -9` at a random row: the rows and their order are right, with as many readers and with others."""
    seed = random.SystemRandom().randrange(10**6)
    stop = 1 + seed % (len(ALL) - 1)
    with subprocess.Popen([sys.executable, "-c", JOB, place, str(ranks), str(seed)], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}) as job:  # fmt: skip
        assert job.stdout
        lines = list(islice(job.stdout, stop))
        job.kill()
        assert job.wait() == -signal.SIGKILL or stop == len(ALL)
    before: list[list[int]] = [[] for _ in range(ranks)]
    states = [open(place, rank=rank, ranks=ranks).state_dict() for rank in range(ranks)]
    for document, rank, state in map(json.loads, lines):
        before[rank].append(int(document))
        states[rank] = state
    rest = []
    for rank in range(ranks):
        reader = open(place, rank=rank, ranks=ranks)
        reader.load_state_dict(states[rank])
        rest.append(numbers(reader))
    whole = [number for one, other in zip(before, rest, strict=True) for number in one + other]
    assert whole == ALL, f"seed {seed}"
    for others in (1, 2, 5):
        shared = []
        for rank in range(others):
            reader = open(place, rank=rank, ranks=others)
            reader.load_state_dict(states)
            shared.append(numbers(reader))
        assert [n for rows in shared for n in rows] == [n for rows in rest for n in rows], f"seed {seed}"


def test_a_state_that_does_not_fit_is_refused(place: str, tmp_path: Path) -> None:
    """That of another release, seed, format or reader, and some of the readers' states but not all."""
    publish(open_storage(str(tmp_path)), SHARDS, "2026.01.02")
    state = open(place).state_dict()
    with pytest.raises(ReleaseError, match=rf"the state is of book@{VERSION}, made from something else") as caught:
        open(f"{tmp_path}/book").load_state_dict(state)
    assert f"book@{VERSION}" in str(caught.value.remedy)
    for reader, wrong, words in (
        (open(place, shuffle=1), state, "shuffle=None"),
        (open(place), state | {"format": 9}, "of format 1"),
        (open(place), {}, "no state of a reader"),
        (open(place, rank=1, ranks=2), [open(place, rank=0, ranks=2).state_dict()], "that of reader 0 of 2"),
        (open(place), [open(place, rank=n, ranks=3).state_dict() for n in (0, 1)], "0 of 3, 1 of 3"),
        (open(place), [], "reader none"),
    ):
        with pytest.raises(UsageError, match=words):
            reader.load_state_dict(wrong)


# shards are checked


def flip(storage: Storage, path: str) -> None:
    """Change one byte in the middle of a file."""
    data = bytearray(storage.read(path) or b"")
    data[len(data) // 2] ^= 1
    storage.write(path, bytes(data))


def damaged(storage: Storage, url: str) -> None:
    """Rows of the shards before a damaged or missing one come; of it none does, and it is named."""
    release = publish(storage)
    flip(storage, f"{release.folder}/data/train-00004.parquet")
    reader = open(url)
    came: list[int] = []
    with pytest.raises(ReleaseError, match=r"train-00004\.parquet: is not what the manifest says") as caught:
        came.extend(int(row["id"]) for row in reader)
    assert came == ALL[: sum(SHARDS[:4])]
    assert "curate releases verify" in str(caught.value.remedy)
    storage.remove(f"{release.folder}/data/train-00000.parquet")
    with pytest.raises(ReleaseError, match=r"train-00000\.parquet: is missing"):
        next(open(url))


def test_a_damaged_shard_is_named_and_never_read(tmp_path: Path) -> None:
    """In a folder."""
    damaged(open_storage(str(tmp_path)), f"{tmp_path}/book@{VERSION}")


@pytest.fixture
def in_s3(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in S3."""
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{moto.bucket}/to"


def test_a_release_in_s3_is_read_and_checked_alike(in_s3: str) -> None:
    """The same rows in the same order, one of the readers after a stop; a damaged shard is named."""
    publish(open_storage(in_s3))
    url = f"{in_s3}/book@{VERSION}"
    assert numbers(open(url)) == ALL
    first = open(url, rank=0, ranks=2)
    before = numbers(islice(first, 20))
    again = open(url, rank=0, ranks=2)
    again.load_state_dict(first.state_dict())
    assert before + numbers(again) + numbers(open(url, rank=1, ranks=2)) == ALL
    damaged(open_storage(in_s3), url)


@pytest.mark.parametrize("is_far", [False, True])
def test_memory_does_not_grow_with_a_shard(tmp_path: Path, request: pytest.FixtureRequest, is_far: bool) -> None:
    """A shard of 40 MB in row groups of 1 MB is read in a few of them, from S3 too."""
    storage = open_storage(request.getfixturevalue("in_s3") if is_far else str(tmp_path))
    release = Release(storage, "book", VERSION)
    draw = random.Random(1)  # noqa: S311
    name = f"{release.folder}/data/train-00000.parquet"
    with storage.writing(name) as stream, pq.ParquetWriter(stream, pa.schema([("text", pa.string())])) as writer:
        for _ in range(40):
            writer.write_table(pa.table({"text": [draw.randbytes(512).hex() for _ in range(1000)]}))
    digest = hashlib.sha256(storage.read(name) or b"").hexdigest()
    shards = [{"path": "data/train-00000.parquet", "rows": 40_000, "sha256": digest}]
    storage.write(f"{release.folder}/manifest.json", json.dumps({"fingerprint": "x", "shards": shards}).encode())
    before = pa.total_allocated_bytes()
    reader = Reader(release, release.manifest() or {}, None)
    tracemalloc.start()
    most = 0
    for count, _ in enumerate(reader):
        most = max(most, pa.total_allocated_bytes() - before) if count % 500 == 0 else most
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 39_999
    assert most < 8e6
    assert peak < 24e6  # of which 16 MB are two ranges of an object


# PyTorch


@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed: pip install torch torchdata")
@pytest.mark.parametrize("workers", [0, 2])
def test_pytorch_s_loader_goes_on(place: str, workers: int) -> None:
    """Its workers share the rows; after a stop the rest comes, as without one."""
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def loader() -> Any:
        reader = open(place, columns=["id"])
        return stateful.StatefulDataLoader(reader.for_pytorch(), batch_size=4, num_workers=workers)

    whole = [row for batch in loader() for row in batch["id"]]
    assert sorted(map(int, whole)) == ALL
    first = loader()
    before = [row for batch in islice(first, 9) for row in batch["id"]]
    state = first.state_dict()
    second = loader()
    second.load_state_dict(state)
    assert before + [row for batch in second for row in batch["id"]] == whole


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_pytorch_it_is_said(place: str) -> None:
    """With what to install."""
    with pytest.raises(UsageError, match="PyTorch is not installed"):
        open(place).for_pytorch()
