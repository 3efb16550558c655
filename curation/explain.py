"""Why a document was kept, dropped, taken for a copy, or could not be read: all that is known of it, in one record."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import against, releases
from curation import rules as ruling
from curation.dataset import connect
from curation.endpoint.ledger import Ledger
from curation.engine import LocalEngine
from curation.errors import CurationError, RecipeError, StorageError, UsageError
from curation.judge import fate_of, hits_from, verdicts_from
from curation.measure import signals_from
from curation.progress import Silent
from curation.pull import parts_there
from curation.run import Run, release_place, workspace

if TYPE_CHECKING:
    from curation.dataset import Dataset, Part, Workspace
    from curation.recipe import Recipe

#: Documents with one URI that are explained at most.
MOST = 20
#: Characters of text shown.
PREVIEW = 300

_NO_RULE = {
    ruling.UNREADABLE: "the record could not be read",
    ruling.EMPTY: "there is no text",
    ruling.FORGOTTEN: "it is forgotten, and its text is gone: curate forget",
    ruling.EMPTY_AFTER_EDIT: "the edits leave no text",
}


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that hit a document: its predicate, where it comes from, and the values it looked at."""

    rule: str
    predicate: str
    origin: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of a document.

    `document` holds the columns of `documents`, `text` a beginning of it; `signals` what was measured, by signal;
    `fate` is error, dropped, duplicate or kept; `survivor` the kept copy of a duplicate, or the document in the entry
    `against` of `dedup.against` that it is a copy of; `copies` what went because this one stays; `shards` where it
    stands in the latest release. `prompt` are the messages that a model answered with it, each a role and a content,
    and `seed` what is known of the document that they ask to rewrite.
    """

    document: dict[str, Any]
    part: str
    row: int
    signals: dict[str, dict[str, Any]]
    fate: str
    hits: list[Hit]
    similarity: float | None
    survivor: dict[str, Any] | None
    copies: list[dict[str, Any]]
    blend: dict[str, Any] | None
    release: str | None
    shards: list[dict[str, Any]]
    prompt: list[dict[str, str]] | None
    seed: dict[str, Any] | None


def explain(recipe: Recipe, wanted: str) -> list[Explanation]:
    """The documents with this id (or the beginning of it, six digits at least) or this URI.

    Raises `UsageError` when there is none, `StorageError` when nothing was run yet.
    """
    work, _ = workspace(recipe)
    parts = parts_of_run(recipe, work)
    found = find(recipe, work, parts, wanted)
    return [_explained(recipe, work, parts, part, document) for part, document in found[:MOST]]


def is_judged(recipe: Recipe) -> bool:
    """Whether the verdicts there are those of this recipe: of its rules, signals and copies. Reads footers alone.

    They are not where the recipe was changed since its last run (it may even be wrong now), or that did not come to its
    verdicts.
    """
    work, signals = workspace(recipe)
    try:
        ruling.check(recipe, work)
    except RecipeError:
        return False
    run = Run(recipe, work, signals, LocalEngine(1), Silent(), lambda: None, parts_there(recipe, work))
    try:
        run.against = against.parts_there(recipe, work)
        run.signals_from = signals_from(run)
        hits = hits_from(run)
        return not work.hits.not_made(hits) and not work.verdicts.not_made(verdicts_from(run, hits))
    except CurationError:  # what it is to be compared with, or what is released, is not there as it was
        return False


def parts_of_run(recipe: Recipe, work: Workspace) -> list[Part]:
    """The parts of documents that the last run made; `StorageError` where there was none."""
    parts = list(parts_there(recipe, work))
    if not parts:
        raise StorageError(
            f"{work.storage}: nothing was run here yet", remedy=f"run it first: curate run {recipe.shown}"
        )
    return parts


def find(recipe: Recipe, work: Workspace, parts: list[Part], wanted: str) -> list[tuple[Part, str]]:
    """The documents with this id (or the beginning of it, six digits at least) or this URI, each with its part.

    Raises `UsageError` where there is none.
    """
    names = work.documents.files(parts, ["id", "uri"])
    scan = work.documents.scan(parts, ["id", "uri"])
    condition = (pc.field("id") == wanted) | (pc.field("uri") == wanted)
    if len(wanted) >= 6 and set(wanted) <= set("0123456789abcdef"):
        condition |= pc.starts_with(pc.field("id"), wanted)
    table = scan.to_table(columns=["id", "__filename"], filter=condition)
    rows = zip(table["__filename"].to_pylist(), table["id"].to_pylist(), strict=True)
    found = sorted((names[file], document) for file, document in rows)
    if not found:
        raise UsageError(
            f"no document has the id or URI {wanted!r}",
            remedy=f"look for it: curate sql {recipe.shown} \"select id, uri from documents where uri like '%…%'\"",
        )
    return found


def _explained(recipe: Recipe, work: Workspace, parts: list[Part], part: Part, document: str) -> Explanation:
    row = work.documents.read(part, ["id"])["id"].to_pylist().index(document)
    columns = work.documents.read(part).slice(row, 1).to_pylist()[0]
    text = columns.pop("text")
    columns["text"] = None if text is None else text[:PREVIEW] + ("…" if len(text) > PREVIEW else "")
    signals: dict[str, dict[str, Any]] = {}
    sidecars = {name: work.signal(name) for name in work.signals}
    for name, sidecar in [*sidecars.items(), *(("corpus", dataset) for dataset in work.corpus.values())]:
        values = _row(sidecar, part, row, document)
        if values is not None:
            signals.setdefault(name, {}).update({key: value for key, value in values.items() if key != "id"})
    flat = {**columns, **{key: value for values in signals.values() for key, value in values.items()}}
    verdict = _row(work.verdicts, part, row, document)
    reasons = verdict["reasons"] if verdict else []
    rules = {rule.name: rule for rule in ruling.rules_of(recipe)}
    hits = []
    for reason in reasons:
        rule = rules.get(reason)
        used = ruling.columns_in(rule.predicate, work) if rule else []
        hits.append(Hit(
            reason, rule.predicate if rule else "", rule.origin if rule else _NO_RULE.get(reason, "not in this recipe"),
            {name: flat.get(name) for name in used},
        ))  # fmt: skip
    release, shards = _shards(recipe, document)
    return Explanation(
        document=columns,
        part=str(part),
        row=row,
        signals=signals,
        fate=fate_of(reasons, verdict["duplicate_of"]) if verdict else "not judged yet",
        hits=hits,
        similarity=verdict["similarity"] if verdict else None,
        survivor=_survivor(recipe, work, parts, verdict) if verdict and verdict["duplicate_of"] else None,
        copies=_copies(work, parts, document) if verdict else [],
        blend=_row(work.blend, part, row, document),
        release=release,
        shards=shards,
        prompt=_prompt(recipe, columns),
        seed=_seed(work, parts, columns),
    )


def _prompt(recipe: Recipe, document: dict[str, Any]) -> list[dict[str, str]] | None:
    """What a model was sent for a document that it wrote, as its ledger has it; None where that is not there."""
    endpoint = next((source.endpoint for source in recipe.source if source.name == document["source"]), None)
    if endpoint is None or not document["origin"].startswith("prompt:"):
        return None
    with suppress(CurationError), Ledger(recipe.ledger(endpoint)) as ledger:  # which another process may hold
        body = ledger.request(document["origin"].removeprefix("prompt:"))
        return body["messages"] if body else None
    return None


def _seed(work: Workspace, parts: list[Part], document: dict[str, Any]) -> dict[str, Any] | None:
    """The document that a model was asked to rewrite, where the last run has it."""
    if not document["origin"].startswith("prompt:"):
        return None
    seeds = json.loads(document["meta"]).get("written_from")
    return next(iter(_brief(work, parts, seeds)), None) if seeds else None


def _row(sidecar: Dataset, part: Part, row: int, document: str) -> dict[str, Any] | None:
    """What a sidecar says of a document; None where it was not made yet, or not since the documents changed."""
    if sidecar.footer(part) is None:
        return None
    values = sidecar.read(part).slice(row, 1).to_pylist()
    return values[0] if values and values[0]["id"] == document else None


def _survivor(recipe: Recipe, work: Workspace, parts: list[Part], verdict: dict[str, Any]) -> dict[str, Any]:
    """The document that another is a copy of, in the run or outside of it: what is known of it."""
    document, entry = verdict["duplicate_of"], verdict["duplicate_in"]
    if entry is None:
        return {**_brief(work, parts, [document])[0], "against": None}
    uri = None
    with suppress(CurationError, ValueError):  # what it was compared with may be gone since
        number = recipe.dedup.against.index(entry)
        *_, uri = against.look_up(work, against.parts_there(recipe, work), number, document)
    return {"id": document, "source": None, "uri": uri, "origin": None, "against": entry}


def _brief(work: Workspace, parts: list[Part], ids: list[str]) -> list[dict[str, Any]]:
    scan = work.documents.scan(parts, ["id", "source", "uri", "origin"])
    table = scan.to_table(filter=pc.field("id").isin(pa.array(ids, pa.string())))
    found: list[dict[str, Any]] = sorted(table.to_pylist(), key=lambda row: ids.index(row["id"]))
    return found


def _copies(work: Workspace, parts: list[Part], document: str) -> list[dict[str, Any]]:
    connection = connect(work)
    judged = [part for part in parts if work.verdicts.footer(part) is not None]
    connection.register("verdicts", work.verdicts.scan(judged))
    rows = connection.execute(
        """
        SELECT id, similarity FROM verdicts WHERE duplicate_of = ? AND duplicate_in IS NULL
        ORDER BY similarity DESC, id
        """,
        [document],
    ).fetchall()
    similarity = {row[0]: round(row[1], 4) for row in rows}
    return [{**entry, "similarity": similarity[entry["id"]]} for entry in _brief(work, parts, [row[0] for row in rows])]


def _shards(recipe: Recipe, document: str) -> tuple[str | None, list[dict[str, Any]]]:
    release = releases.latest(release_place(recipe), recipe.name)
    manifest = release.manifest() if release else None
    if release is None or manifest is None:
        return None, []
    return release.version, releases.where_is(release, manifest, document)
