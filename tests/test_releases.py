"""Releases are listed by age, found by name, and anything that is not as the manifest says is found."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import ReleaseError
from curation.releases import Release, find, latest, names, order, releases, verify, where_is
from curation.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_servers import S3Server

    from curation.storage import Storage


def publish(storage: Storage, name: str, version: str, shards: int = 2) -> Release:
    """A small release, written by hand."""
    release = Release(storage, name, version)
    entries = []
    for index in range(shards):
        path = f"data/train-{index:05d}.parquet"
        table = pa.table({"id": [f"{index}a", f"{index}b"], "text": ["x", "y"], "tokens": [1 + index, 2]})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        data = sink.getvalue().to_pybytes()
        storage.write(f"{release.folder}/{path}", data)
        entries.append(
            {
                "path": path,
                "rows": 2,
                "tokens": 3 + index,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
    manifest = {
        "version": version, "shards": entries, "documents": 5, "rows": 2 * shards,
        "tokens": sum(e["tokens"] for e in entries),
        "bytes": sum(e["bytes"] for e in entries),
        "groups": [{"name": "a", "documents": 2}, {"name": "b", "documents": 3}],
        "sources": [{"name": "s", "documents": 9, "errors": 1, "dropped": 2, "duplicates": 2, "kept": 4}],
    }  # fmt: skip
    write(release, manifest)
    return release


def write(release: Release, manifest: dict[str, Any], *, point: bool = True) -> None:
    """The manifest, and the pointer to it."""
    data = json.dumps(manifest).encode()
    release.storage.write(f"{release.folder}/manifest.json", data)
    if point:
        entry = {"version": release.version, "manifest_sha256": hashlib.sha256(data).hexdigest()}
        release.storage.write(f"{release.name}/latest.json", json.dumps(entry).encode())


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty place for releases."""
    return open_storage("to", tmp_path)


@pytest.fixture
def release(storage: Storage) -> Release:
    """A release of two shards."""
    return publish(storage, "book", "2026.01.01")


# verify


def test_a_whole_release_has_no_fault(release: Release) -> None:
    """Nothing to say."""
    assert verify(release) == []


def flip(release: Release) -> str:
    """Change one byte in the middle of a shard."""
    name = f"{release.folder}/data/train-00001.parquet"
    data = bytearray(release.storage.read(name) or b"")
    data[len(data) // 2] ^= 1
    release.storage.write(name, bytes(data))
    return "data/train-00001.parquet: its sha256 is not the manifest's"


def lose(release: Release) -> str:
    """Remove a shard."""
    release.storage.remove(f"{release.folder}/data/train-00000.parquet")
    return "data/train-00000.parquet: missing"


def add(release: Release) -> str:
    """Put a shard there that is not in the manifest."""
    release.storage.write(f"{release.folder}/data/train-00002.parquet", b"")
    return "data/train-00002.parquet: not in the manifest"


def cut_short(release: Release) -> str:
    """Cut a shard."""
    name = f"{release.folder}/data/train-00000.parquet"
    release.storage.write(name, (release.storage.read(name) or b"")[:-10])
    return "data/train-00000.parquet: its sha256 is not the manifest's"


DAMAGES = [flip, lose, add, cut_short]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_found(release: Release, damage: Callable[[Release], str]) -> None:
    """By its name and what is wrong with it, and nothing else is."""
    fault = damage(release)
    assert verify(release) == [fault]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_in_s3_is_found(
    moto: S3Server, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Release], str]
) -> None:
    """As in a folder."""
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    release = publish(open_storage(f"s3://{moto.bucket}/to"), "book", "2026.01.01")
    assert verify(release) == []
    fault = damage(release)
    assert verify(release) == [fault]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda manifest: manifest.update(rows=5), "manifest.json: rows of the shards add up to 4, not to 5"),
        (lambda manifest: manifest.update(documents=4), "manifest.json: documents of the groups are 5, not 4"),
        (lambda manifest: manifest.update(tokens=8), "manifest.json: tokens of the shards add up to 7, not to 8"),
        (lambda manifest: manifest.update(bytes=1), "manifest.json: bytes of the shards add up to"),
        (lambda manifest: manifest["sources"][0].update(kept=5), "source s: [1, 2, 2, 5] do not add up to 9"),
        (lambda manifest: manifest["shards"][0].update(rows=3), "data/train-00000.parquet: 2 rows, not 3"),
        (lambda manifest: manifest["shards"][1].update(tokens=3), "data/train-00001.parquet: 4 tokens, not 3"),
        (lambda manifest: manifest["shards"][1].update(bytes=3), "bytes"),
        (lambda manifest: manifest["shards"][1].update(sha256="0"), "its sha256 is not the manifest's"),
        (lambda manifest: manifest["shards"].pop(), "data/train-00001.parquet: not in the manifest"),
    ],
)  # fmt: skip
def test_counts_that_are_wrong_are_found(release: Release, change: Callable[[Any], Any], fault: str) -> None:
    """In the manifest against itself, and against the shards."""
    manifest: Any = release.manifest()
    change(manifest)
    write(release, manifest)
    assert any(fault in found for found in verify(release))


def test_a_manifest_that_was_changed_is_found(release: Release) -> None:
    """The pointer holds its hash, while it points to it."""
    manifest = release.manifest() or {}
    write(release, manifest | {"tokenizer": "other"}, point=False)
    assert verify(release) == ["manifest.json: not the one that latest.json points to"]
    publish(release.storage, "book", "2026.01.02")
    assert verify(release) == []


def test_a_release_that_was_never_finished_is_said(storage: Storage) -> None:
    """Without a manifest there is nothing to compare with."""
    storage.write("book/2026.01.01/claim.json", b"{}")
    (fault,) = verify(Release(storage, "book", "2026.01.01"))
    assert "never finished" in fault


def test_a_manifest_that_is_no_json_is_one_message(release: Release) -> None:
    """With its path and a remedy."""
    release.storage.write(f"{release.folder}/manifest.json", b"{")
    with pytest.raises(ReleaseError, match=r"manifest\.json: not JSON") as caught:
        verify(release)
    assert caught.value.remedy


# list and find


def test_versions_are_listed_by_age(storage: Storage) -> None:
    """By day, then by number; folders that are no versions are none; unfinished ones are there."""
    for version in ("2026.01.02.10", "2026.01.02", "2025.12.31.3", "2026.01.02.2"):
        publish(storage, "book", version)
    storage.write("book/2026.01.03/claim.json", b"{}")
    storage.write("book/notes/readme.txt", b"")
    assert [release.version for release in releases(storage, "book")] == [
        "2025.12.31.3", "2026.01.02", "2026.01.02.2", "2026.01.02.10", "2026.01.03",
    ]  # fmt: skip
    assert releases(storage, "none") == []
    assert names(storage) == ["book"]


@given(st.lists(st.tuples(st.dates(), st.integers(1, 120)), max_size=8))
def test_the_order_of_versions_is_that_of_day_and_number(days: list[tuple[Any, int]]) -> None:
    """The first of a day has no number and counts as 1."""
    versions = {f"{day:%Y.%m.%d}".rjust(10, "0") + (f".{number}" if number > 1 else ""): (day, number)
                for day, number in days}  # fmt: skip
    assert [versions[version] for version in sorted(versions, key=order)] == sorted(set(days))


def test_a_release_is_found_by_name_and_version(storage: Storage) -> None:
    """The latest of a name, one version of it, or the only name there is."""
    first = publish(storage, "book", "2026.01.01")
    second = publish(storage, "book", "2026.01.02")
    assert find(storage, None) == find(storage, "book") == latest(storage, "book") == second
    assert find(storage, "book/2026.01.01") == first
    publish(storage, "code", "2026.01.01")
    with pytest.raises(ReleaseError, match="there are book, code"):
        find(storage, None)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [("none", "there are book"), ("book/2026.02.01", "no finished release 2026.02.01"),
     ("book/2026.01.03", "no finished release 2026.01.03"), ("book/../book/2026.01.01", "no finished release"),
     ("../to/book", "there are book")],
)  # fmt: skip
def test_a_release_that_is_not_there_is_one_message(storage: Storage, wanted: str, words: str) -> None:
    """With what there is; an unfinished one is not there, nor is another place."""
    publish(storage, "book", "2026.01.01")
    storage.write("book/2026.01.03/claim.json", b"{}")
    with pytest.raises(ReleaseError) as caught:
        find(storage, wanted)
    assert words in caught.value.message
    assert caught.value.remedy


def test_where_nothing_was_published(storage: Storage) -> None:
    """No folder at all, or one with nothing finished in it."""
    assert (names(storage), latest(storage, "book")) == ([], None)
    with pytest.raises(ReleaseError, match="there is no release"):
        find(storage, "book")
    storage.write("book/2026.01.03/claim.json", b"{}")
    with pytest.raises(ReleaseError, match="no finished release yet"):
        find(storage, "book")


def test_a_document_s_place_in_the_shards(release: Release) -> None:
    """Every row in which it stands."""
    manifest = release.manifest() or {}
    assert where_is(release, manifest, "1b") == [{"shard": "data/train-00001.parquet", "row": 1}]
    assert where_is(release, manifest, "none") == []
