"""A release appears at once and is never changed: claims, the shuffle, the pointer, and finishing what was killed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from curation import publish as module
from curation import releases
from curation.errors import ReleaseError
from curation.publish import shuffle_key, workspace_id
from curation.releases import Release, claiming, verify
from curation.storage import open_storage
from curation.storage.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.run import Run
    from curation.storage import Storage

ROWS = [{"text": f"Document number {number} says {'something ' * number}", "uri": f"u{number}"} for number in range(12)]
DAY = "2026.01.31"
HEAD = "[dedup]\nenabled = false\n"
RELEASE = HEAD + '[release]\nversion = "2026.01.01"\n'


class Killed(BaseException):
    """What ends a run in the middle here."""


@pytest.fixture(autouse=True)
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is always the same day, whenever the tests run."""
    monkeypatch.setattr(claiming, "today", lambda: DAY)


@pytest.fixture
def to(tmp_path: Path) -> Storage:
    """Where releases go."""
    return open_storage("releases", tmp_path)


def files(to: Storage, version: str) -> dict[str, bytes]:
    """Every file of a release but the claim."""
    folder = Path(to.path(f"tiny/{version}"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.name != "claim.json"}  # fmt: skip


def content(to: Storage, version: str) -> dict[str, bytes]:
    """Shards and manifest without its time."""
    made = files(to, version)
    manifest = json.loads(made["manifest.json"])
    del manifest["created_at"]
    shards = {name: data for name, data in made.items() if name.startswith("data/")}
    return {**shards, "manifest.json": json.dumps(manifest).encode()}


def shard_rows(to: Storage, version: str) -> list[dict[str, Any]]:
    """The rows of a release in the order of its shards."""
    manifest = Release(to, "tiny", version).manifest() or {}
    tables = [pq.read_table(to.path(f"tiny/{version}/{shard['path']}")) for shard in manifest["shards"]]
    return [row for table in tables for row in table.to_pylist()]


def killed_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """End the next run when storage is about to write, create or swap this file."""

    def stop(action: Any) -> Any:
        def checked(self: Folder, path: str, *rest: Any) -> Any:
            if path.endswith(name):
                raise Killed
            return action(self, path, *rest)

        return checked

    for action in ("write", "create", "swap"):
        monkeypatch.setattr(Folder, action, stop(getattr(Folder, action)))


# what a release holds


def test_a_release_is_whole(tiny: Callable[..., Run], to: Storage) -> None:
    """Shards, manifest, card, report and pointer; each document once, texts as they were; verify finds nothing."""
    run = tiny({"s": ROWS}, RELEASE)
    assert run.figures["publish"]["published"]
    assert set(files(to, "2026.01.01")) == {"data/train-00000.parquet", "manifest.json", "README.md", "report.html"}
    release = Release(to, "tiny", "2026.01.01")
    manifest = release.manifest() or {}
    assert verify(release) == []
    found = shard_rows(to, "2026.01.01")
    assert {row["uri"]: row["text"] for row in found} == {row["uri"]: row["text"] for row in ROWS}
    assert (manifest["format"], manifest["documents"], manifest["previous"]) == (1, 12, None)
    assert manifest["tokens"] == sum(row["tokens"] for row in found) == sum(-(-len(row["text"]) // 4) for row in ROWS)
    assert releases.latest(to, "tiny") == release
    assert set(found[0]) == {"id", "text", "source", "group", "uri", "title", "license", "created_at", "tokens"}


def test_rows_are_shuffled_by_seed_and_copies_are_apart(tiny: Callable[..., Run], to: Storage) -> None:
    """The order is that of each copy's key, over all shards; another seed is another order of the same rows."""
    more = HEAD + (
        '[blend]\ntokens = 100_000\n[[blend.group]]\nname = "all"\nwhere = "true"\nshare = 1.0\nmax_copies = 3\n'
        '[release]\nshard_bytes = 600\ncolumns = ["word_count"]\n'
    )
    tiny({"s": ROWS}, more, "release.version=2026.01.01")
    tiny({"s": ROWS}, more, "release.version=2026.01.02", "seed=5")
    first, second = shard_rows(to, "2026.01.01"), shard_rows(to, "2026.01.02")
    for seed, found in ((0, first), (5, second)):
        assert Counter(row["uri"] for row in found) == dict.fromkeys((row["uri"] for row in ROWS), 3)
        keys = [{shuffle_key(seed, row["id"], copy) for copy in range(3)} for row in found]
        ordered = sorted({key for each in keys for key in each})
        assert all(key in each for key, each in zip(ordered, keys, strict=True))
        assert all(row["word_count"] == len(row["text"].split()) for row in found)
    assert [row["uri"] for row in first] != [row["uri"] for row in second]
    for version in ("2026.01.01", "2026.01.02"):
        manifest = Release(to, "tiny", version).manifest() or {}
        assert len(manifest["shards"]) > 3
        assert verify(Release(to, "tiny", version)) == []


def test_keys_are_spread_over_64_bits() -> None:
    """Fixed for all time: releases of the same recipe must be the same."""
    assert shuffle_key(7, "a", 1) == int(hashlib.blake2b(b"7:a:1", digest_size=8).hexdigest(), 16)
    keys = [shuffle_key(0, f"d{number}", 0) for number in range(4_000)]
    shards = Counter(key * 4 >> 64 for key in keys)
    assert set(shards) == {0, 1, 2, 3}
    assert all(900 < count < 1_100 for count in shards.values())


def test_an_empty_blend_is_not_published(tiny: Callable[..., Run], to: Storage) -> None:
    """Nothing kept: no release, none claimed, and the last one stays the latest; the report is there to look at."""
    tiny({"s": ROWS}, HEAD)
    with pytest.raises(ReleaseError, match="nothing to publish") as caught:
        tiny({"s": ROWS}, HEAD + '[rules]\nall = "true"\n')
    assert "curate rules " in (caught.value.remedy or "")
    assert to.folders("tiny") == [DAY]
    assert verify(Release(to, "tiny", DAY)) == []


# versions


def test_the_same_again_publishes_nothing(tiny: Callable[..., Run], to: Storage) -> None:
    """With or without a version; nothing on disk changes."""
    tiny({"s": ROWS}, HEAD)
    before = files(to, DAY)
    for overrides in ((), (f"release.version={DAY}",)):
        run = tiny({"s": ROWS}, HEAD, *overrides)
        assert run.figures["publish"] == {"published": False, "release": to.path(f"tiny/{DAY}"), "version": DAY}
    assert files(to, DAY) == before
    assert to.folders("tiny") == [DAY]


def test_a_second_release_of_a_day_has_a_number(tiny: Callable[..., Run], to: Storage) -> None:
    """And names the one before."""
    for seed in (0, 1, 2):
        tiny({"s": ROWS}, HEAD, f"seed={seed}")
    assert [release.version for release in releases.releases(to, "tiny")] == [DAY, f"{DAY}.2", f"{DAY}.3"]
    assert [(release.manifest() or {})["previous"] for release in releases.releases(to, "tiny")] == [
        None,
        DAY,
        f"{DAY}.2",
    ]
    newest = releases.latest(to, "tiny")
    assert newest
    assert newest.version == f"{DAY}.3"


def test_a_version_that_is_taken_is_refused(tiny: Callable[..., Run], to: Storage) -> None:
    """By a release of something else: one message, and the release is as it was."""
    tiny({"s": ROWS}, RELEASE)
    before = files(to, "2026.01.01")
    with pytest.raises(ReleaseError, match=r"tiny/2026\.01\.01: this version is taken") as caught:
        tiny({"s": ROWS}, RELEASE, "seed=1")
    assert caught.value.remedy
    assert "release.version" in caught.value.remedy
    assert files(to, "2026.01.01") == before


def test_an_older_version_than_the_latest_can_be_published(tiny: Callable[..., Run], to: Storage) -> None:
    """When the recipe says so; the pointer stays at the newer, and again it publishes nothing."""
    newer = tiny({"s": ROWS}, RELEASE).figures["publish"]["version"]
    assert tiny({"s": ROWS}, HEAD, "release.version=2025.01.01", "seed=1").figures["publish"]["published"]
    newest = releases.latest(to, "tiny")
    assert newest
    assert newest.version == newer
    assert not tiny({"s": ROWS}, HEAD, "release.version=2025.01.01", "seed=1").figures["publish"]["published"]


# killed and resumed


@pytest.mark.parametrize("place", ["report.html", "README.md", "manifest.json", "latest.json"])
def test_a_killed_publish_is_finished_by_the_next_run(
    tiny: Callable[..., Run], to: Storage, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whatever was about to be written, nothing is visible before, and the rerun makes the same release."""
    tiny({"s": ROWS}, HEAD, "release.to=whole")
    whole = content(open_storage("whole", Path(to.root).parent), DAY)
    with monkeypatch.context() as patch:
        killed_at(patch, f"{DAY}/{place}" if place != "latest.json" else place)
        with pytest.raises(Killed):
            tiny({"s": ROWS}, HEAD)
    assert releases.latest(to, "tiny") is None
    with pytest.raises(ReleaseError):
        releases.find(to, "tiny")
    run = tiny({"s": ROWS}, HEAD)
    assert run.figures["publish"]["published"]
    assert run.figures["publish"]["version"] == DAY
    assert run.figures["publish"]["rows"] == 12
    assert to.folders("tiny") == [DAY]
    assert content(to, DAY) == whole
    assert verify(Release(to, "tiny", DAY)) == []
    assert not tiny({"s": ROWS}, HEAD).figures["publish"]["published"]


def test_a_claim_that_was_abandoned_is_removed(
    tiny: Callable[..., Run], to: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publish killed, then another recipe: the half release goes, and its version is used."""
    with monkeypatch.context() as patch:
        killed_at(patch, f"{DAY}/manifest.json")
        with pytest.raises(Killed):
            tiny({"s": ROWS}, HEAD)
    assert to.exists(f"tiny/{DAY}/data/train-00000.parquet")
    run = tiny({"s": ROWS[:5]}, HEAD)
    assert run.figures["publish"]["version"] == DAY
    assert to.folders("tiny") == [DAY]
    assert len(shard_rows(to, DAY)) == 5


def test_what_a_killed_removal_left_is_no_part_of_a_release(tiny: Callable[..., Run], to: Storage) -> None:
    """The claim was removed and shards were not: whoever claims the version begins anew."""
    to.write(f"tiny/{DAY}/data/train-00007.parquet", b"left over")
    assert tiny({"s": ROWS}, HEAD).figures["publish"]["version"] == DAY
    assert verify(Release(to, "tiny", DAY)) == []


def test_a_claim_of_another_workspace_is_left(tiny: Callable[..., Run], to: Storage) -> None:
    """Someone else is publishing: their version is theirs, finished or not."""
    claim = json.dumps({"fingerprint": "0" * 32, "workspace": "another"}).encode()
    assert to.create(f"tiny/{DAY}/claim.json", claim)
    to.write(f"tiny/{DAY}/data/train-00000.parquet", b"half")
    run = tiny({"s": ROWS}, HEAD)
    assert run.figures["publish"]["version"] == f"{DAY}.2"
    assert to.read(f"tiny/{DAY}/claim.json") == claim
    assert to.read(f"tiny/{DAY}/data/train-00000.parquet") == b"half"
    with pytest.raises(ReleaseError, match="another workspace began this version"):
        tiny({"s": ROWS}, HEAD, f"release.version={DAY}", "seed=1")


def test_two_workspaces_at_once_have_two_versions(
    tiny: Callable[..., Run], to: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one writes its shards another publishes: both are whole, and the pointer ends at the newer."""
    inner: list[str] = []
    shards = module._shards

    def meanwhile(run: Run, release: Release, made_from: str) -> Any:
        monkeypatch.setattr(module, "_shards", shards)
        other = tiny({"s": ROWS}, HEAD, "work=elsewhere", "seed=1")
        inner.append(other.figures["publish"]["version"])
        return shards(run, release, made_from)

    monkeypatch.setattr(module, "_shards", meanwhile)
    run = tiny({"s": ROWS}, HEAD)
    assert (run.figures["publish"]["version"], inner) == (DAY, [f"{DAY}.2"])
    for version in (DAY, f"{DAY}.2"):
        assert verify(Release(to, "tiny", version)) == []
    newest = releases.latest(to, "tiny")
    assert newest
    assert newest.version == f"{DAY}.2"


def test_a_workspace_knows_itself(tiny: Callable[..., Run]) -> None:
    """Its id is made once, and no two are the same."""
    ids = [
        workspace_id(tiny({"s": ROWS}, HEAD, f"work={place}", until="pull").work.storage)
        for place in ("one", "one", "two")
    ]
    assert ids[0] == ids[1] != ids[2]
