"""Exact counts of tokens, of texts as they are published: a sidecar, each kept document counted once.

A document that is not kept has no count until a run keeps it. Counts of documents that are no longer kept stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import rules as ruling
from curation import tokenizing
from curation.dataset import Part, Workspace, fingerprint
from curation.publish import published_texts

if TYPE_CHECKING:
    from curation.recipe import Recipe
    from curation.run import Run

#: Raised when the same text gets another count.
VERSION = 1


@dataclass(frozen=True, slots=True)
class CountTokens:
    """A part of which some kept documents are not counted yet."""

    work: Workspace
    recipe: Recipe
    part: Part
    made_from: str

    def __str__(self) -> str:
        return str(self.part)


def count_tokens(run: Run) -> dict[Part, str]:
    """Count what is not counted; for each part what its counts are made from. Nothing to do for an estimate."""
    made_from = counts_from(run)
    if not made_from:
        return {}
    run.work.tokens.keep_only(run.parts)
    undone = [CountTokens(run.work, run.recipe, part, made) for part, made in made_from.items()
              if _lacks(run.work, part, made)]  # fmt: skip
    sizes = [run.parts[task.part].notes["text_bytes"] for task in undone]
    run.engine.map(_count, undone, label="blend: tokens", sizes=sizes, unit="B")
    return made_from


def counts_from(run: Run) -> dict[Part, str]:
    """What each part's counts are made from: tokenizer, documents, edits and the spans of those; empty for an estimate.

    Raises `RecipeError` where the tokenizer is not there.
    """
    recipe, work = run.recipe, run.work
    if tokenizing.is_estimate(recipe.blend.tokenizer):
        return {}
    spans = [*recipe.edit.remove, *recipe.edit.replace, *ruling.columns_in(recipe.edit.where, work)]
    sidecars = {work.columns[name].name.removeprefix("signals/") for name in spans} - {"documents"}
    counted_by = [recipe.tokenizer_identity, tokenizing.software(), recipe.edit.model_dump(), recipe.seed]
    return {
        part: fingerprint(
            "tokens", VERSION, counted_by, footer.fingerprint,
            [run.signals_from[part][name] for name in sorted(sidecars)],
        )
        for part, footer in run.parts.items()
    }  # fmt: skip


def _lacks(work: Workspace, part: Part, made_from: str) -> bool:
    """Whether a kept document of the part has no count."""
    if not work.tokens.is_made(part, made_from):
        return True
    keep = work.verdicts.read(part, ["keep"])["keep"]
    counted = pc.is_valid(work.tokens.read(part, ["token_count"])["token_count"])
    return bool(pc.any(pc.and_not(keep, counted)).as_py())


def _count(task: CountTokens) -> None:
    work, recipe = task.work, task.recipe
    tokenizer = tokenizing.of(recipe)
    verdicts = work.verdicts.read(task.part, ["id", "keep"])
    keep = verdicts["keep"].to_numpy(zero_copy_only=False)
    counts = np.full(len(keep), -1, dtype=np.int64)
    if work.tokens.is_made(task.part, task.made_from):
        before = work.tokens.read(task.part, ["token_count"])["token_count"]
        counts = pc.fill_null(before, -1).to_numpy().copy()
    wanted = keep & (counts < 0)
    for rows, table in published_texts(work, recipe, task.part, wanted):
        counts[rows] = tokenizer.count(table["text"].to_pylist())
    found = pa.table({"id": verdicts["id"], "token_count": pa.array(counts, mask=counts < 0)})
    work.tokens.write(task.part, found, task.made_from)
