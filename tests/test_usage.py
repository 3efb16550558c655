"""What a run takes: seconds of processor and bytes, of this process, of workers, of S3, and in run.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from curation import pipeline
from curation.engine import LocalEngine
from curation.storage import open_storage
from curation.storage.client import client, passed
from curation.storage.traffic import traffic
from curation.usage import counts_bytes, own_usage, usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_servers import S3Server

    from curation.run import Run
    from curation.storage import Storage

pytestmark = pytest.mark.skipif(not counts_bytes(), reason="this system counts no bytes")

MANY = 20_000_000
#: What else a process may read and write meanwhile.
OTHER = 2_000_000


def put(place: Storage) -> int:
    """Write a file; its size."""
    place.write("file", b"x" * MANY)
    return MANY


def get(place: Storage) -> int:
    """Read it."""
    return len(place.read("file") or b"")


def test_bytes_of_files_are_counted(tmp_path: Path) -> None:
    """Of this process, and of workers, while they are there and after."""
    place = open_storage(str(tmp_path))
    before = own_usage()
    assert put(place) == get(place)
    used = own_usage() - before
    assert MANY <= used.read < MANY + OTHER
    assert MANY <= used.written < MANY + OTHER
    with LocalEngine(1) as engine:
        engine.map(get, [place], label="begin")
        first = engine.usage()
        assert engine.map(put, [place, place], label="put") == [MANY, MANY]
        used = engine.usage() - first
        assert used.read < OTHER
        assert 2 * MANY <= used.written < 2 * MANY + OTHER
        engine.map(get, [place], label="get")
        used = engine.usage() - first
        assert MANY <= used.read < MANY + OTHER
    assert engine.usage().written - first.written >= 2 * MANY, "what a worker took is not lost with it"


def taken(place: Storage) -> tuple[int, int]:
    """The bytes that it takes this process to get the file and to put it again, once each way of doing so."""
    before = own_usage()
    for _ in range(2):
        place.write("file", place.read("file") or b"")
    with place.reading("file") as source, place.writing("copy") as target:
        target.write(source.read())
    used = own_usage() - before
    return used.read, used.written


def test_bytes_of_s3_are_counted(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, though the kernel does not see them; those of a worker come back with its answer.

    What `writing` spools is a file, written and read.
    """
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    place = open_storage(f"s3://{moto.bucket}/usage")
    put(place)
    with LocalEngine(1) as engine:
        for read, written in (taken(place), *engine.map(taken, [place], label="taken")):
            assert 4 * MANY <= read < 4 * MANY + OTHER
            assert 4 * MANY <= written < 4 * MANY + OTHER
        seen_in_workers_alone = engine.usage() - usage()
        assert 3 * MANY - OTHER < seen_in_workers_alone.read <= 3 * MANY  # asking reads a little too
        assert seen_in_workers_alone.written == 3 * MANY
    unencrypted = traffic()
    monkeypatch.setattr(client().meta, "_endpoint_url", "https://s3.example")
    passed(received=1, sent=1)
    assert traffic() == unencrypted, "the kernel counts those"


def test_run_json_says_what_each_stage_took(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Seconds, processor, and bytes: of an input twice, since it is hashed, and of what is written."""
    tiny({"web": [{"text": "a few words"}]}, until="measure")  # a worker that starts reads what it imports
    text = "".join(f"word{number} " for number in range(300_000))
    state = tiny({"web": [{"text": text}]}, until="measure")
    stages = json.loads(state.work.storage.read("run.json") or b"")["stages"]
    assert list(stages) == ["pull", "measure"]
    (part,) = state.parts
    size = (tmp_path / "web.jsonl").stat().st_size
    written = len(state.work.storage.read(state.work.documents.path(part)) or b"")
    assert 2 * size <= stages["pull"]["read_bytes"] < 2 * size + OTHER
    assert written <= stages["pull"]["written_bytes"] < written + OTHER
    assert stages["measure"]["read_bytes"] >= written
    assert all(stage["processor_seconds"] > 0 for stage in stages.values())


def test_a_stage_that_fails_has_taken_something_too(tiny: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """And where the system counts no bytes, null is said, not 0."""
    monkeypatch.setattr(pipeline, "counts_bytes", lambda: False)
    kept: list[Any] = []

    def fail(run: Run) -> dict[str, Any]:
        kept.append(run)
        raise ValueError

    fail.__name__ = "measure"
    monkeypatch.setattr(pipeline, "STAGES", (pipeline.pull, fail))
    with pytest.raises(ValueError, match=r"^$"):
        tiny({"web": [{"text": "a b c"}]})
    stages = json.loads(kept[0].work.storage.read("run.json"))["stages"]
    assert stages["measure"]["state"] == "failed"
    assert stages["measure"]["seconds"] >= 0
    assert stages["pull"]["read_bytes"] is None
    assert stages["pull"]["written_bytes"] is None
