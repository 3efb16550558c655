"""Where a document's score stands among those of the corpus: `education_rank`, and one for each named classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curation.dataset import Part, Workspace, fingerprint
from curation.engine import chunks
from curation.schema import rank_column, score_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from curation.run import Run

#: Raised when the same sidecars give other ranks.
VERSION = 1
#: Ranks are written in such parts of one, rounded down: so a document is never ranked above what it is.
_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class Scores:
    """Parts whose scores are counted."""

    work: Workspace
    name: str
    parts: list[Part]

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


@dataclass(frozen=True, slots=True)
class Ranked:
    """Parts to write the ranks of: `values` are the scores that there are, ascending, `ranks` what each is worth."""

    work: Workspace
    name: str
    parts: list[Part]
    made_from: str
    values: NDArray[np.float32]
    ranks: NDArray[np.float32]

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


def fingerprint_of(_run: Run, sidecars: Sequence[str], _pairs: str | None) -> str:
    """What every part's ranks are made from: the sidecars of all parts."""
    return fingerprint("rank", VERSION, sidecars)


def make(run: Run, name: str, missing: list[Part], made_from: str) -> None:
    """Write the column `NAME_rank` of these parts."""
    sizes = [footer.rows for footer in run.parts.values()]
    counting = [Scores(run.work, name, group) for group in chunks(list(run.parts), sizes, 1_000_000)]
    label = f"compare: {rank_column(name)}"
    counted = run.engine.map(_count, counting, label=label, little=run.is_little)
    values, counts = merged(counted)
    sizes = [run.parts[part].rows for part in missing]
    tasks = [
        Ranked(run.work, name, group, made_from, values, shares_below(counts))
        for group in chunks(missing, sizes, 1_000_000)
    ]
    run.engine.map(_write, tasks, label=label, little=run.is_little)


def merged(
    counted: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The distinct scores of all, ascending, and how many documents have each."""
    every = np.concatenate([np.empty(0, np.float32), *(values for values, _ in counted)])
    values, which = np.unique(every, return_inverse=True)
    counts = np.zeros(len(values), np.int64)
    np.add.at(counts, which, np.concatenate([np.empty(0, np.int64), *(counts for _, counts in counted)]))
    return values, counts


def shares_below(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """For ascending scores with so many documents each, the share of all documents that score less; to 1e-4, down.

    >>> shares_below(np.array([5, 4, 1])).tolist()
    [0.0, 0.5, 0.8999999761581421]
    """
    below = np.cumsum(counts) - counts
    return (below * _STEPS // max(1, int(counts.sum())) / _STEPS).astype(np.float32)


def _count(task: Scores) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    found = []
    for part in task.parts:
        scores, has_text = _scores(task.work, task.name, part)
        found.append(np.unique(scores[has_text], return_counts=True))
    return merged(found)


def _write(task: Ranked) -> None:
    for part in task.parts:
        scores, has_text = _scores(task.work, task.name, part)
        ranks = np.zeros(len(scores), np.float32)
        ranks[has_text] = task.ranks[np.searchsorted(task.values, scores[has_text])]
        ids = task.work.signal(task.name).read(part, ["id"])["id"]
        task.work.corpus[task.name].write(part, pa.table({"id": ids, rank_column(task.name): ranks}), task.made_from)


def _scores(work: Workspace, name: str, part: Part) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The scores of a part, and which of its documents have a text."""
    column = score_column(name)
    table = work.read(part, [column, "byte_count"])
    return table[column].to_numpy(), table["byte_count"].to_numpy() > 0
