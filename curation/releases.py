"""Releases: list, show, verify, open for reading. What makes them is publish."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation import tokenised
from curation.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.storage import Storage

VERSION_PATTERN = re.compile(r"(\d{4}\.\d{2}\.\d{2})(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Release:
    """A release's folder: `name/version` in a storage."""

    storage: Storage
    name: str
    version: str

    @property
    def folder(self) -> str:
        """Relative to the storage."""
        return f"{self.name}/{self.version}"

    @property
    def path(self) -> str:
        """Absolute."""
        return self.storage.path(self.folder)

    def manifest(self) -> dict[str, Any] | None:
        """What the release holds; None while it is not published."""
        data = self.storage.read(f"{self.folder}/manifest.json")
        return None if data is None else _json(data, f"{self.path}/manifest.json")

    def claim(self) -> dict[str, Any] | None:
        """Who began to publish it."""
        data = self.storage.read(f"{self.folder}/claim.json")
        return None if data is None else _json(data, f"{self.path}/claim.json")


def _json(data: bytes, path: str) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(data)
    except ValueError as error:
        raise ReleaseError(f"{path}: not JSON: {error}", remedy="restore that file from a copy") from error
    return value


def order(version: str) -> tuple[str, int]:
    """A key that sorts versions by age.

    >>> sorted(["2026.11.23.10", "2026.11.23", "2026.11.23.2"], key=order)
    ['2026.11.23', '2026.11.23.2', '2026.11.23.10']
    """
    found = VERSION_PATTERN.fullmatch(version)
    return (found.group(1), int(found.group(2) or 1)) if found else (version, 0)


def releases(storage: Storage, name: str) -> list[Release]:
    """Every version of a release, oldest first, unfinished ones included."""
    versions = [version for version in storage.folders(name) if VERSION_PATTERN.fullmatch(version)]
    return [Release(storage, name, version) for version in sorted(versions, key=order)]


def names(storage: Storage) -> list[str]:
    """The names that have releases here."""
    return [name for name in storage.folders() if releases(storage, name)]


def latest(storage: Storage, name: str) -> Release | None:
    """The release that `latest.json` points to."""
    data = storage.read(f"{name}/latest.json")
    if data is None:
        return None
    return Release(storage, name, _json(data, storage.path(f"{name}/latest.json"))["version"])


def find(storage: Storage, wanted: str | None) -> Release:
    """The release called `NAME`, `NAME/VERSION` or, where there is one name only, nothing.

    Raises `ReleaseError` when there is none.
    """
    known = names(storage)
    name, _, version = (wanted or "").partition("/")
    if not name and len(known) == 1:
        name = known[0]
    if not name or name not in known:
        there = f"there are {', '.join(known)}" if known else "there is no release"
        raise ReleaseError(f"{storage}: {there}", remedy="name one of them, as NAME or NAME/VERSION")
    versions = {one.version: one for one in releases(storage, name)}
    release = versions.get(version) if version else latest(storage, name)
    if release is None or release.manifest() is None:
        finished = [one.version for one in versions.values() if one.manifest() is not None]
        raise ReleaseError(
            f"{storage.path(name)}: no finished release {version or 'yet'}",
            remedy=f"there are {', '.join(finished)}" if finished else "publish one with `curate run`",
        )
    return release


def verify(release: Release) -> list[str]:
    """Everything in which the files differ from the manifest; empty when the release is whole."""
    manifest = release.manifest()
    if manifest is None:
        return ["manifest.json is missing: this release was never finished"]
    faults = []
    for shard in manifest["shards"]:
        faults += _shard_faults(release, shard)
    listed = {shard["path"] for shard in manifest["shards"]}
    for file in release.storage.files(f"{release.folder}/data"):
        path = file.path.removeprefix(f"{release.folder}/")
        if path not in listed:
            faults.append(f"{path}: not in the manifest")
    return [*faults, *tokenised.faults(release, manifest), *_sum_faults(manifest), *_pointer_faults(release)]


def _sum_faults(manifest: dict[str, Any]) -> list[str]:
    """Where the manifest's numbers do not add up."""
    faults = []
    for column in ("rows", "tokens", "bytes"):
        total = sum(shard[column] for shard in manifest["shards"])
        if total != manifest[column]:
            faults.append(f"manifest.json: {column} of the shards add up to {total:,}, not to {manifest[column]:,}")
    if (total := sum(group["documents"] for group in manifest["groups"])) != manifest["documents"]:
        faults.append(f"manifest.json: documents of the groups are {total:,}, not {manifest['documents']:,}")
    for source in manifest["sources"]:
        parts = [source[key] for key in ("errors", "dropped", "duplicates", "kept")]
        if sum(parts) != source["documents"]:
            faults.append(f"manifest.json: source {source['name']}: {parts} do not add up to {source['documents']:,}")
    return faults


def _pointer_faults(release: Release) -> list[str]:
    pointer = release.storage.read(f"{release.name}/latest.json")
    entry = _json(pointer, "latest.json") if pointer else {}
    data = release.storage.read(f"{release.folder}/manifest.json") or b""
    if entry.get("version") == release.version and entry["manifest_sha256"] != hashlib.sha256(data).hexdigest():
        return ["manifest.json: not the one that latest.json points to"]
    return []


def _shard_faults(release: Release, shard: dict[str, Any]) -> list[str]:
    path = shard["path"]
    name = f"{release.folder}/{path}"
    if not release.storage.exists(name):
        return [f"{path}: missing"]
    with release.storage.reading(name) as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != shard["sha256"]:
            return [f"{path}: its sha256 is not the manifest's"]
    with release.storage.reading(name) as stream:
        table = pq.read_table(stream, columns=["tokens"], use_threads=False, pre_buffer=False)
    faults = []
    if table.num_rows != shard["rows"]:
        faults.append(f"{path}: {table.num_rows:,} rows, not {shard['rows']:,}")
    if (tokens := sum(table["tokens"].to_pylist())) != shard["tokens"]:
        faults.append(f"{path}: {tokens:,} tokens, not {shard['tokens']:,}")
    return faults


def ids(release: Release) -> Iterator[pa.Array]:
    """The ids of the documents in a release, a row group of a shard at a time, with repetitions.

    Nothing else of the shards is read. Raises `ReleaseError` where one is missing or is none.
    """
    for shard in (release.manifest() or {})["shards"]:
        stream = release.storage.open(f"{release.folder}/{shard['path']}", from_end=True)
        if stream is None:
            raise _broken(release, f"{shard['path']} is missing")
        with stream:
            try:
                file = pq.ParquetFile(stream, pre_buffer=False)
                for group in range(file.num_row_groups):
                    yield file.read_row_group(group, columns=["id"], use_threads=False)["id"].combine_chunks()
            except (pa.ArrowException, OSError) as error:
                raise _broken(release, f"{shard['path']} cannot be read: {error}") from error


def _broken(release: Release, what: str) -> ReleaseError:
    return ReleaseError(
        f"{release.path}: {what}",
        remedy=f"see what else is wrong: curate releases verify {release.path}; restore the files from a copy",
    )


def where_is(release: Release, manifest: dict[str, Any], document: str) -> list[dict[str, Any]]:
    """The shards and rows in which a document stands."""
    found = []
    for shard in manifest["shards"]:
        with release.storage.reading(f"{release.folder}/{shard['path']}") as stream:
            ids = pq.read_table(stream, columns=["id"], use_threads=False, pre_buffer=False)["id"]
        found += [{"shard": shard["path"], "row": row} for row, one in enumerate(ids.to_pylist()) if one == document]
    return found
