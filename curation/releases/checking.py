"""Whether a release is what its manifest says, and which documents stand where in it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation import tokenised
from curation.errors import ReleaseError
from curation.releases.place import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.releases.place import Release


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
    entry = parsed(pointer, "latest.json") if pointer else {}
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
