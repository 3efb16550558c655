"""forget: documents leave the latest release, every later run and, if asked, all that earlier runs made.

What was asked for reaches every copy of the same text and all that was written from it. Tombstones are set first, so a
run that begins meanwhile honours them or does not publish; then the latest release is derived anew, and whatever else
is to go goes. Each step can be killed and is done again by the same command.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from curation import tombstones
from curation.dataset import fingerprint
from curation.derived import Held, derive, held, texts_of
from curation.endpoint.ledger import Ledger
from curation.errors import ReleaseError, UsageError
from curation.pull import parts_there
from curation.query import open_views
from curation.releases import Release, latest, releases
from curation.releases.life import pins, remove
from curation.run import release_place, workspace, workspace_id
from curation.tombstones import FORGOTTEN, Tombstones, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from curation.dataset import Part, Workspace
    from curation.engine import Engine
    from curation.recipe import Recipe
    from curation.storage import Storage

#: The format of a certificate.
FORMAT = 1
#: Why a document is forgotten.
ASKED, COPY, NEAR, WRITTEN = "asked", "same text", "near-duplicate", "written from it"
#: The key of `meta` that names the documents, by id or URI, that another was written from.
LINEAGE = "written_from"
#: Characters of a text's beginning by which a request to an endpoint is known to hold it.
_HEAD = 200
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be forgotten: ids and URIs, and a predicate over the columns of the last run; and how far that goes.

    `near` takes near-duplicates too; `purge` also removes earlier releases that hold any of it, what the workspace has
    of it, and answers of endpoints; `dry` changes nothing.
    """

    wanted: tuple[str, ...]
    where: str | None
    reason: str
    near: bool = False
    purge: bool = False
    dry: bool = False

    @property
    def request(self) -> str:
        """What the same question has in common with itself when it is asked again."""
        return fingerprint("forget", sorted(self.wanted), self.where, self.near)[:12]

    @property
    def ids(self) -> set[str]:
        """Those of `wanted` that are ids."""
        return {one for one in self.wanted if _ID.fullmatch(one)}

    @property
    def uris(self) -> set[str]:
        """Those of `wanted` that are URIs."""
        return set(self.wanted) - self.ids


@dataclass(slots=True)
class _Found:
    """The documents by id with why they go; of each the texts that are known, hashed, with their bytes."""

    why: dict[str, str] = field(default_factory=dict)
    texts: dict[str, dict[str, int]] = field(default_factory=dict)
    heads: set[str] = field(default_factory=set)
    origins: list[dict[str, str]] = field(default_factory=list)
    near_left: list[str] = field(default_factory=list)
    tokens: set[int] = field(default_factory=set)

    def add(self, ids: Iterable[str], why: str) -> list[str]:
        """Take these for forgotten; those that were not yet."""
        new = [one for one in dict.fromkeys(ids) if one not in self.why]
        self.why |= dict.fromkeys(new, why)
        return new

    def add_text(self, document: str, text: str) -> None:
        """Note a text of a document."""
        self.texts.setdefault(document, {})[digest(text)] = len(text.encode())
        self.heads.add(text.strip()[:_HEAD])


def forget(recipe: Recipe, asked: Asked, engine: Engine) -> dict[str, Any]:
    """Forget what was asked for; the certificate, which also lies in `TO/NAME/certificates/`.

    Raises `UsageError` where no document is meant, `ReleaseError` where a release that is to be purged is pinned.
    """
    if not asked.wanted and asked.where is None:
        raise UsageError("nothing is named that is to be forgotten", remedy="name ids or URIs, or give --where SQL")
    work, _ = workspace(recipe)
    storage = release_place(recipe)
    storage.refuse_races()
    with work.storage.lock() as confirm:
        parts = list(parts_there(recipe, work))
        known = tombstones.rows(storage, recipe.name)
        found = _Found()
        found.add((row["id"] for row in known if row["id"] and row["request"] == asked.request), ASKED)
        if parts:
            _in_workspace(recipe, work, parts, asked, found)
        finished = [one for one in releases(storage, recipe.name) if one.manifest() is not None]
        holding = _in_releases(finished, asked, found)
        is_known = any(row["request"] == asked.request for row in known)
        if not found.why and not is_known:
            what = f"where {asked.where}" if asked.where else ", ".join(asked.wanted)
            raise UsageError(
                f"no document is meant by {what}",
                remedy=f"look for it: curate sql {recipe.shown} \"select id, uri from documents where uri like '%…%'\"",
            )
        return _Forgetting(recipe, work, storage, asked, found, engine, confirm).do(holding)


@dataclass(frozen=True, slots=True)
class _Forgetting:
    """What is to be forgotten, and where."""

    recipe: Recipe
    work: Workspace
    storage: Storage
    asked: Asked
    found: _Found
    engine: Engine
    confirm: Callable[[], None]

    def do(self, holding: dict[Release, Held]) -> dict[str, Any]:
        """Set the tombstones, publish, purge; what was done."""
        asked, newest = self.asked, latest(self.storage, self.recipe.name)
        if asked.purge:
            self._refuse_pinned(holding)
        at = datetime.now(UTC)
        done: dict[str, Any] = {
            "format": FORMAT,
            "name": self.recipe.name,
            "request": asked.request,
            "at": at.isoformat(timespec="seconds"),
            "reason": asked.reason,
            "asked": {
                "ids": sorted(asked.ids), "uris_sha256": sorted(map(digest, asked.uris)),
                "where_sha256": None if asked.where is None else digest(asked.where),
                "near": asked.near, "purge": asked.purge, "dry": asked.dry,
            },
            "documents": [{"id": one, "why": why} for one, why in sorted(self.found.why.items())],
            "near_duplicates_left": self.found.near_left,
            "inputs": self.found.origins,
        }  # fmt: skip
        done["tombstones"] = 0 if asked.dry else tombstones.add(self.storage, self.recipe.name, self._stones(at))
        done["published"] = self._publish(newest, holding, done)
        done["releases"] = self._earlier(holding)
        done["ledger_answers"] = self._ledgers()
        done["workspace"] = self._workspace()
        if not asked.dry:
            name = f"{self.recipe.name}/certificates/{at:%Y%m%dT%H%M%S}.{at.microsecond:06}Z-{asked.request}.json"
            self.storage.write(name, json.dumps(done, indent=1, ensure_ascii=False).encode())
            done["certificate"] = self.storage.path(name)
        return done

    def _stones(self, at: datetime) -> list[dict[str, Any]]:
        said = {"reason": self.asked.reason, "at": at, "request": self.asked.request}
        nothing = {"id": None, "uri_sha256": None, "text_sha256": None, "text_bytes": None}
        stones = [{**nothing, "uri_sha256": digest(uri), "why": ASKED, **said} for uri in sorted(self.asked.uris)]
        for document, why in sorted(self.found.why.items()):
            its = {**nothing, "id": document, "why": why, **said}
            texts = self.found.texts.get(document, {}).items()
            stones += [{**its, "text_sha256": sha256, "text_bytes": size} for sha256, size in texts] or [its]
        return stones

    def _refuse_pinned(self, holding: dict[Release, Held]) -> None:
        pinned = pins(self.storage, self.recipe.name)
        for release in holding:
            if release.version in pinned:
                raise ReleaseError(
                    f"{release.path}: holds it and is pinned: {pinned[release.version]['why']}",
                    remedy=f"take the pin away: curate releases pin {self.recipe.shown} {release.version} --remove; or "
                    "forget without --purge",
                )

    def _publish(self, newest: Release | None, holding: dict[Release, Held], done: dict[str, Any]) -> Any:
        gone = holding.get(newest) if newest else None
        if newest is None or gone is None:
            return None
        told = {"from": newest.version, "documents": len(gone.ids), "rows": len(gone.rows),
                "shards_rewritten": sorted(gone.places),
                "shards_copied": len((newest.manifest() or {})["shards"]) - len(gone.places)}  # fmt: skip
        if done["asked"]["dry"]:
            return {"version": None, **told}
        release = derive(newest, gone, workspace_id(self.work.storage), self.confirm)
        return {"version": release.version, **told}

    def _earlier(self, holding: dict[Release, Held]) -> list[dict[str, Any]]:
        """The releases that hold it, and whether they still do."""
        entries = []
        for release, gone in holding.items():
            if self.asked.purge and not self.asked.dry:
                remove(release, f"held what was forgotten: {self.asked.reason}")
            state = "removed" if self.asked.purge and not self.asked.dry else "holds it"
            entries.append({"version": release.version, "documents": len(gone.ids), "rows": len(gone.rows),
                            "state": state})  # fmt: skip
        return entries

    def _ledgers(self) -> int | None:
        """How many requests and answers of endpoints were removed, None where they were left."""
        if not self.asked.purge or self.asked.dry:
            return None
        count = 0
        for name in self.recipe.endpoint:
            folder = self.recipe.ledger(name)
            if folder.is_dir():
                with Ledger(folder) as ledger:
                    count += ledger.forget(sorted(self.found.heads))
        return count

    def _workspace(self) -> dict[str, Any]:
        """What the workspace had of it and has no more, or has until the next run."""
        parts = parts_there(self.recipe, self.work)
        if not self.asked.purge or self.asked.dry or not parts:
            return {"parts": [], "state": "holds it until the next run" if parts else "nothing was run there"}
        stones = tombstones.read(self.storage, self.recipe.name)
        made = tombstones.apply(self.work, parts, stones, self.engine)
        changed = [part for part in parts if parts[part].fingerprint != made[part].fingerprint]
        work = self.work
        sidecars = [*map(work.signal, work.signals), *work.corpus.values(), work.hits, work.verdicts, work.groups,
                    work.blend]  # fmt: skip
        for part in changed:
            for dataset in sidecars:
                work.storage.remove(dataset.path(part))
        for name in ("report.html", "shuffle"):
            work.storage.remove(name)
        work.storage.sweep()
        return {"parts": [str(part) for part in changed], "state": "removed"}


# Finding --------------------------------------------------------------------------------------------------------------


def _in_workspace(recipe: Recipe, work: Workspace, parts: list[Part], asked: Asked, found: _Found) -> None:
    connection = open_views(recipe, asked.where or "id")
    named = connection.execute(
        "SELECT id FROM documents WHERE list_contains(?, id) OR list_contains(?, uri) ORDER BY id",
        [sorted(asked.ids), sorted(asked.uris)],
    ).fetchall()
    found.add((one for (one,) in named), ASKED)
    if asked.where is not None:
        try:
            rows = connection.execute(f"SELECT id FROM corpus WHERE ({asked.where}\n) ORDER BY id").fetchall()
        except duckdb.Error as error:
            raise UsageError(
                f"--where: {str(error).splitlines()[0]}",
                remedy="write a condition as in a rule: curate signals lists the columns",
            ) from error
        found.add((one for (one,) in rows), ASKED)
    views = {name for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal")
             .fetchall()}  # fmt: skip
    new = list(found.why)
    while new:
        new = found.add(_same_text(connection, views, new), COPY) + found.add(_written_from(connection, found), WRITTEN)
    near = _near(connection, recipe, found) if recipe.dedup.enabled else []
    if asked.near:
        new = found.add(near, NEAR)
        found.add(_same_text(connection, views, new), COPY)
        found.add(_written_from(connection, found), WRITTEN)
    else:
        found.near_left = near
    _texts(work, parts, found)


def _same_text(connection: duckdb.DuckDBPyConnection, views: set[str], ids: list[str]) -> list[str]:
    """The documents whose text, normalised, is that of one of these."""
    if not {"signature", "length"} <= views:  # nothing was measured yet: pull knows them by their text
        return []
    rows = connection.execute(
        """
        WITH known AS (SELECT id, text_hash FROM signature JOIN length USING (id) WHERE byte_count > 0)
        SELECT id FROM known WHERE text_hash IN (SELECT text_hash FROM known WHERE list_contains(?, id)) ORDER BY id
        """,
        [ids],
    ).fetchall()
    return [one for (one,) in rows]


def _near(connection: duckdb.DuckDBPyConnection, recipe: Recipe, found: _Found) -> list[str]:
    """The documents that were verified similar to one that is forgotten, and are not."""
    rows = connection.execute(
        """
        SELECT DISTINCT id FROM (
            SELECT id_b AS id FROM pairs
            WHERE list_contains($ids, id_a) AND against IS NULL AND similarity >= $least
            UNION ALL
            SELECT id_a FROM pairs WHERE list_contains($ids, id_b) AND against IS NULL AND similarity >= $least
        ) WHERE NOT list_contains($ids, id) ORDER BY id
        """,
        {"ids": list(found.why), "least": recipe.dedup.similarity},
    ).fetchall()
    return [one for (one,) in rows]


def _written_from(connection: duckdb.DuckDBPyConnection, found: _Found) -> list[str]:
    """The documents whose `meta` names one of these in `written_from`, by its id or URI."""
    ids = list(found.why)
    uris = connection.execute(
        "SELECT uri FROM documents WHERE list_contains(?, id) AND uri IS NOT NULL", [ids]
    ).fetchall()
    known = {*ids, *(uri for (uri,) in uris)}
    rows = connection.execute(
        f"SELECT id, meta FROM documents WHERE meta LIKE '%\"{LINEAGE}\"%' ORDER BY id"
    ).fetchall()
    written = []
    for document, meta in rows:
        named: Any = []
        with suppress(ValueError):
            named = json.loads(meta).get(LINEAGE)
        if known & {one for one in (named if isinstance(named, list) else [named]) if isinstance(one, str)}:
            written.append(document)
    return written


def _texts(work: Workspace, parts: list[Part], found: _Found) -> None:
    """Note the texts of the documents that are forgotten, and where they came from."""
    wanted = pa.array(list(found.why), pa.string())
    for part in parts:
        rows = pc.indices_nonzero(pc.is_in(work.documents.read(part, ["id"])["id"], wanted)).to_numpy()
        if not len(rows):
            continue
        for table in work.documents.pick(part, rows.astype("int64"), ["id", "source", "origin", "text", "error"]):
            for row in table.to_pylist():
                if row["error"] != FORGOTTEN:
                    found.origins.append({"source": row["source"], "origin": row["origin"]})
                if row["text"]:
                    found.add_text(row["id"], row["text"])


def _in_releases(finished: list[Release], asked: Asked, found: _Found) -> dict[Release, Held]:
    """The releases that hold any of it, oldest first, with the rows; what they know by another id is found too."""
    by_name = Tombstones(frozenset({*found.why, *asked.ids}), frozenset(map(digest, asked.uris)))
    tokens: set[int] = set()
    for release in finished:
        gone = held(release, by_name)
        found.add(gone.ids, ASKED)
        tokens |= {row["tokens"] for row in gone.rows}
        for document, texts in texts_of(release, gone).items():
            for text in texts:
                found.add_text(document, text)
    sizes: dict[int, set[str]] = {}
    for texts_by_hash in found.texts.values():
        for sha256, size in texts_by_hash.items():
            sizes.setdefault(size, set()).add(sha256)
    stones = Tombstones(frozenset({*found.why, *asked.ids}), by_name.uris,
                        {size: frozenset(hashes) for size, hashes in sizes.items()})  # fmt: skip
    holding = {}
    for release in finished:
        gone = held(release, stones, _tokens(release, tokens, sizes))
        if gone.rows:
            found.add(gone.ids, COPY)
            holding[release] = gone
    return holding


def _tokens(release: Release, tokens: set[int], sizes: Iterable[int]) -> frozenset[int] | None:
    """How many tokens a text that is forgotten may have there; None where that cannot be told."""
    tokenizer = str((release.manifest() or {}).get("tokenizer", ""))
    if not tokenizer.startswith("bytes/"):
        return frozenset(tokens) if tokens else None
    most = int(tokenizer.removeprefix("bytes/"))
    return frozenset(tokens | {-(-size // most) for size in sizes})


def last_word(done: dict[str, Any]) -> str | None:
    """What is still to be done by a person; None where nothing is."""
    if done["asked"]["dry"]:
        return "nothing was changed; without --dry-run it is"
    if any(entry["state"] == "holds it" for entry in done["releases"]):
        return "earlier releases hold it: --purge removes them"
    return None


def refuse_no_reason(reason: str) -> None:
    """Raise `UsageError` for a reason that says nothing."""
    if not reason.strip():
        raise UsageError("--reason is empty", remedy="say why it is forgotten: the certificate keeps it")
