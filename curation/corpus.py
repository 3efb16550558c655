"""Corpus columns: what only the whole corpus can tell of a document, made in compare from sidecars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Part, Workspace, connect, fingerprint
from curation.engine import chunks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curation.run import Run

#: Raised when the same sidecars give other columns.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Counted:
    """Parts to write the columns of, and in how many documents each benchmark item stands (`item`, `documents`)."""

    work: Workspace
    parts: list[Part]
    made_from: str
    items: pa.Table

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


def corpus_fingerprint(signals_from: Mapping[Part, Mapping[str, str]]) -> str:
    """What every part's corpus columns are made from: the sidecars of all parts."""
    return fingerprint("corpus", VERSION, [made_from["contamination"] for made_from in signals_from.values()])


def count_in_corpus(run: Run) -> None:
    """Make the corpus columns, where the recipe's signals have what they are made of."""
    work, parts = run.work, list(run.parts)
    if not work.has_corpus_columns:
        return
    made_from = corpus_fingerprint(run.signals_from)
    missing = list(work.corpus.not_made(dict.fromkeys(parts, made_from)))
    if not missing:
        return
    connection = connect(work)
    connection.register("measured", work.signal("contamination").scan(parts, ["contamination_items"]))
    items = connection.sql("""
        SELECT item, count(*)::INTEGER AS documents
        FROM (SELECT unnest(contamination_items) AS item FROM measured)
        GROUP BY item ORDER BY item
    """).to_arrow_table()
    sizes = [run.parts[part].rows for part in missing]
    tasks = [Counted(work, group, made_from, items) for group in chunks(missing, sizes, 100_000)]
    run.engine.map(_write, tasks, label="compare: corpus columns", little=run.is_little)


def _write(task: Counted) -> None:
    for part in task.parts:
        measured = task.work.signal("contamination").read(part, ["id", "contamination_items"])
        least = rarest(measured["contamination_items"].combine_chunks(), task.items)
        table = pa.table({"id": measured["id"], "contamination_document_count": least})
        task.work.corpus.write(part, table, task.made_from)


def rarest(lists: pa.ListArray, items: pa.Table) -> pa.Array:
    """For each list the number of documents of its rarest item, as int32; 0 for an empty list.

    >>> counts = pa.table({"item": ["a", "b"], "documents": pa.array([7, 2], pa.int32())})
    >>> rarest(pa.array([["a"], [], ["a", "b"]]), counts).to_pylist()
    [7, 0, 2]
    """
    sizes = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    least = np.zeros(len(lists), np.int32)
    if sizes.sum():
        places = pc.index_in(lists.flatten(), items["item"])
        counts = items["documents"].to_numpy()[places.to_numpy()]
        full = sizes > 0
        least[full] = np.minimum.reduceat(counts, (np.cumsum(sizes) - sizes)[full])
    return pa.array(least)
