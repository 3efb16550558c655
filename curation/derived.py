"""A release derived from another one: the same without some rows. Only the shards that held them are made anew."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation import __version__, tokenised
from curation.dataset import Dataset, Part, fingerprint
from curation.errors import ReleaseError
from curation.releases.claiming import claim, point
from curation.releases.reading import checked
from curation.report.card import card
from curation.tombstones import FORGOTTEN, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from curation.releases import Release
    from curation.tombstones import Tombstones

#: What a release may hold beside its shards; of anything else it is not known what of it would have to go.
_KNOWN = ("manifest.json", "README.md", "report.html", "claim.json", "tokenizer.json")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """Rows of a release that are forgotten: by shard (its path) their numbers, ascending, and what they are.

    `rows` has `id source group tokens shard row`, a row each.
    """

    places: Mapping[str, NDArray[np.int64]]
    rows: list[dict[str, Any]]

    @property
    def ids(self) -> list[str]:
        """The documents, each once."""
        return sorted({row["id"] for row in self.rows})


def held(release: Release, stones: Tombstones, tokens: frozenset[int] | None = frozenset()) -> Held:
    """What of a release is forgotten. Of its shards only columns are read, and the texts that may be.

    Those are the texts of rows with one of these numbers of tokens; None: all of them.
    """
    places: dict[str, NDArray[np.int64]] = {}
    rows: list[dict[str, Any]] = []
    for shard in (release.manifest() or {})["shards"]:
        found = []
        with _opened(release, shard["path"]) as file:
            start = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(
                    group, columns=["id", "uri", "source", "group", "tokens"], use_threads=False
                )
                mine = stones.named(table)
                if stones.texts:
                    may = np.ones(len(mine), np.bool_)
                    if tokens is not None:
                        may = pc.is_in(table["tokens"], pa.array(sorted(tokens), pa.int64())).to_numpy()
                    if (may & ~mine).any():
                        texts = file.read_row_group(group, columns=["text"], use_threads=False)["text"]
                        for row in np.flatnonzero(may & ~mine):
                            mine[row] = stones.holds_text(texts[int(row)].as_py())
                numbers = np.flatnonzero(mine)
                for number, row in zip(numbers, table.take(pa.array(numbers)).to_pylist(), strict=True):
                    del row["uri"]
                    rows.append({**row, "shard": shard["path"], "row": start + int(number)})
                found.append(numbers + start)
                start += table.num_rows
        if sum(map(len, found)):
            places[shard["path"]] = np.concatenate(found)
    return Held(places, rows)


def texts_of(release: Release, gone: Held) -> dict[str, list[str]]:
    """The texts of these rows as published, by document; of the shards only their row groups are read."""
    texts: dict[str, list[str]] = {}
    for path, numbers in gone.places.items():
        with _opened(release, path) as file:
            start = 0
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                low, high = np.searchsorted(numbers, [start, end])
                if low < high:
                    table = file.read_row_group(group, columns=["id", "text"], use_threads=False)
                    for row in table.take(pa.array(numbers[low:high] - start)).to_pylist():
                        texts.setdefault(row["id"], []).append(row["text"])
                start = end
    return texts


def _opened(release: Release, path: str) -> pq.ParquetFile:
    stream = release.storage.open(f"{release.folder}/{path}", from_end=True)
    if stream is None:
        raise ReleaseError(
            f"{release.path}/{path}: is missing", remedy="restore it from a copy, or remove that release"
        )
    return pq.ParquetFile(stream, pre_buffer=False)


def derive(base: Release, gone: Held, workspace: str, confirm: Callable[[], None]) -> Release:
    """Publish the release `base` without these rows, and point to it.

    A shard that held none is copied where it lies. One that did is checked, and written without them; where nothing is
    left of it, it is left out. Raises `ReleaseError` where `base` holds files of which it is not known what they say.
    """
    manifest = base.manifest() or {}
    _refuse_unknown(base, manifest)
    made_from = fingerprint(FORGOTTEN, manifest["fingerprint"], gone.ids)
    mine = {"fingerprint": made_from, "workspace": workspace}
    release = claim(base.storage, base.name, None, mine, base, confirm)
    base.storage.sweep(release.folder)
    if (data := release.storage.read(f"{release.folder}/manifest.json")) is None:
        shards = [_shard(base, release, shard, gone.places.get(shard["path"]), made_from)
                  for shard in manifest["shards"]]  # fmt: skip
        made = _manifest(base, manifest, release, gone, [shard for shard in shards if shard], made_from)
        if base.storage.exists(f"{base.folder}/tokenizer.json"):
            release.storage.copy(f"{base.folder}/tokenizer.json", f"{release.folder}/tokenizer.json")
        release.storage.write(f"{release.folder}/report.html", _report(base, made).encode())
        release.storage.write(f"{release.folder}/README.md", card(made, manifest).encode())
        data = json.dumps(made, indent=1, ensure_ascii=False).encode()
        confirm()
        if not release.storage.create(f"{release.folder}/manifest.json", data):
            raise ReleaseError(f"{release.path}: another run published it meanwhile", remedy="run again")
    point(release, data)
    return release


def _refuse_unknown(base: Release, manifest: Mapping[str, Any]) -> None:
    paths = [path for shard in manifest["shards"] for path, _ in _files(shard)]
    known = {f"{base.folder}/{name}" for name in (*_KNOWN, *paths)}
    for file in base.storage.files(base.folder):
        if file.path not in known:
            raise ReleaseError(
                f"{base.storage.path(file.path)}: this version cannot tell what of it is forgotten",
                remedy="publish anew without it: the tombstones are set, so curate run leaves out what is forgotten",
            )


def _files(shard: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The path and sha256 of each file of a shard: its Parquet, then its tokens and their index if there are any."""
    ids = shard.get("tokenised")
    beside = [(ids[f"{key}path"], ids[f"{key}sha256"]) for key in ("", "index_")] if ids else []
    return [(shard["path"], shard["sha256"]), *beside]


def _shard(
    base: Release, release: Release, shard: dict[str, Any], rows: NDArray[np.int64] | None, made_from: str
) -> dict[str, Any] | None:
    """A shard as it stands in the derived release; None where nothing is left of it."""
    path = shard["path"]
    target = f"{release.folder}/{path}"
    if rows is None:
        for name, _ in reversed(_files(shard)):
            if not release.storage.exists(f"{release.folder}/{name}"):
                release.storage.copy(f"{base.folder}/{name}", f"{release.folder}/{name}")
        return shard
    if len(rows) == shard["rows"]:
        return None
    part = Part(*path.removesuffix(".parquet").split("/", 1))
    with checked(base, shard) as stream, pq.ParquetFile(stream, pre_buffer=False) as file:
        dataset = Dataset(release.storage, release.folder, file.schema_arrow.remove_metadata())
        mine = fingerprint(made_from, path)
        if not dataset.is_made(part, mine):
            keep = np.ones(shard["rows"], np.bool_)
            keep[rows] = False
            _cut_tokens(base, release, shard, rows)
            with dataset.writing(part, mine) as writer:
                start = 0
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, use_threads=False)
                    writer.write(table.filter(pa.array(keep[start : start + table.num_rows])))
                    start += table.num_rows
    sha256 = hashlib.sha256()
    with release.storage.reading(target) as written:
        while block := written.read(_BLOCK):
            sha256.update(block)
        size = written.tell()
    tokens = pc.sum(dataset.read(part, ["tokens"])["tokens"]).as_py() or 0
    entry = {"path": path, "rows": shard["rows"] - len(rows), "tokens": tokens, "bytes": size,
             "sha256": sha256.hexdigest()}  # fmt: skip
    if shard.get("tokenised"):
        entry["tokenised"] = tokenised.described(release.storage, release.folder, part.name)
    return entry


def _cut_tokens(base: Release, release: Release, shard: Mapping[str, Any], rows: NDArray[np.int64]) -> None:
    """Write the tokens of a shard, if it has any, without these rows."""
    if not shard.get("tokenised"):
        return
    ids, index = ({"path": path, "sha256": sha256} for path, sha256 in _files(shard)[1:])
    with checked(base, ids) as source, checked(base, index) as entries:
        with release.storage.writing(f"{release.folder}/{ids['path']}") as target:
            made = tokenised.without(source, entries.read(), rows, target)
        release.storage.write(f"{release.folder}/{index['path']}", made)


def _manifest(
    base: Release, manifest: Mapping[str, Any], release: Release, gone: Held, shards: list[dict[str, Any]],
    made_from: str,
) -> dict[str, Any]:  # fmt: skip
    """The manifest of what is left: documents that are gone were dropped, by the reason `forgotten`."""
    once = {row["id"]: row for row in gone.rows}.values()
    total = sum(shard["tokens"] for shard in shards)
    groups = []
    for group in manifest["groups"]:
        tokens = group["tokens"] - sum(row["tokens"] for row in gone.rows if row["group"] == group["name"])
        documents = group["documents"] - sum(row["group"] == group["name"] for row in once)
        share = round(tokens / total, 6) if total else 0.0
        groups.append({**group, "tokens": tokens, "documents": documents, "achieved_share": share})
    sources = []
    for source in manifest["sources"]:
        mine = [row for row in once if row["source"] == source["name"]]
        rows = [row for row in gone.rows if row["source"] == source["name"]]
        rules = Counter(source["rules"]) + Counter({FORGOTTEN: len(mine)} if mine else {})
        less = {"kept": len(mine), "released_documents": len(mine), "released_rows": len(rows),
                "kept_tokens": sum(row["tokens"] for row in mine),
                "released_tokens": sum(row["tokens"] for row in rows)}  # fmt: skip
        changed = {key: source[key] - count for key, count in less.items() if key in source}
        sources.append({**source, **changed, "dropped": source["dropped"] + len(mine), "rules": dict(rules)})
    rewritten = sorted(gone.places)
    return {
        **manifest,
        "version": release.version,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": made_from,
        "software": f"curate {__version__}",
        "documents": manifest["documents"] - len(gone.ids),
        "rows": sum(shard["rows"] for shard in shards),
        "tokens": total,
        "bytes": sum(shard["bytes"] for shard in shards),
        "shards": shards,
        "groups": groups,
        "sources": sources,
        "previous": base.version,
        "forgotten": manifest["forgotten"] + len(gone.ids),
        "derived": {
            "from": base.version,
            "manifest_sha256": digest((base.storage.read(f"{base.folder}/manifest.json") or b"").decode()),
            "documents": len(gone.ids),
            "rows": len(gone.rows),
            "shards_rewritten": rewritten,
            "shards_copied": len(manifest["shards"]) - len(rewritten),
        },
    }


def _report(base: Release, manifest: Mapping[str, Any]) -> str:
    """A page that says what this release is: that of its base may show texts that are forgotten."""
    derived = manifest["derived"]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>{escape(manifest['name'])} {escape(manifest['version'])}</title>"
        f"<p>This release is {escape(base.folder)} without {derived['documents']:,} documents that are forgotten: "
        f"{derived['rows']:,} rows. {len(derived['shards_rewritten']):,} shards were written anew, "
        f"{derived['shards_copied']:,} are the same.</p>"
        "<p>How the rest came about says the report of that release, as long as it is kept.</p></html>\n"
    )
