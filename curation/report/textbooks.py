"""What the page says of documents that a model wrote: what was taken of its answers, and how much texts differ."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from curation.report.drawing import percent
from curation.textbooks.diversity import OPENING, diversity
from curation.textbooks.readability import grade

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curation.recipe import Source
    from curation.run import Run

#: Of so many row groups of a source texts are read, the first, and so many texts at most.
GROUPS, TEXTS = 8, 2_000


def textbooks(run: Run) -> list[dict[str, Any]]:
    """For each source of textbooks its answers by kind, its audiences, and the figures of its texts."""
    return [_source(run, source) for source in run.recipe.source if source.endpoint is not None]


def _source(run: Run, source: Source) -> dict[str, Any]:
    records = (run.figures.get("pull", {}).get("records") or {}).get(source.name, {})
    rows = _rows(run, source)
    audiences: dict[str, list[str]] = {}
    for row in rows:
        audiences.setdefault(json.loads(row["meta"]).get("audience", ""), []).append(row["text"])
    found = asdict(diversity([row["text"] for row in rows]))
    return {
        "name": source.name, "kinds": _kinds(records), "missing": records.get("missing", 0), "opening_words": OPENING,
        "audiences": [{"name": name, "texts": len(texts), "grade": grade(texts)}
                      for name, texts in sorted(audiences.items())],
        "figures": found,
        "novelty": [{"share": share, "width": percent(round(share * 10_000), 10_000)} for share in found["novelty"]],
    }  # fmt: skip


def _kinds(records: Mapping[str, int]) -> list[dict[str, Any]]:
    """For each kind how many answers were taken, and of the others how many for which reason."""
    kinds: dict[str, dict[str, Any]] = {}
    for name, count in sorted(records.items()):
        kind, _, reason = name.partition(": ")
        if kind in ("missing", "damaged"):
            continue
        row = kinds.setdefault(kind, {"name": kind, "answers": 0, "taken": 0, "refused": {}})
        row["answers"] += count
        if reason:
            row["refused"][reason] = count
        else:
            row["taken"] += count
    return list(kinds.values())


def _rows(run: Run, source: Source) -> list[dict[str, Any]]:
    """Text and meta of the first documents, in the order in which they were written."""
    rows: list[dict[str, Any]] = []
    groups = GROUPS
    for part in run.parts:
        if part.source != source.name:
            continue
        chosen = range(min(groups, len(run.work.documents.groups(part, "text"))))
        groups -= len(chosen)
        rows += [row for row in run.work.documents.read_groups(part, chosen, ["text", "meta"]).to_pylist()
                 if row["text"]]  # fmt: skip
        if len(rows) >= TEXTS or not groups:
            break
    return rows[:TEXTS]
