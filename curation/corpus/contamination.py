"""In how many documents of the corpus the benchmark items of a document stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Part, Workspace, connect, fingerprint
from curation.engine import chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def fingerprint_of(_run: Run, sidecars: Sequence[str], _pairs: str | None) -> str:
    """What every part's column is made from: the sidecars of all parts."""
    return fingerprint("corpus", VERSION, sidecars)


def make(run: Run, missing: list[Part], made_from: str) -> None:
    """Write the column `contamination_document_count` of these parts."""
    work = run.work
    connection = connect(work)
    connection.register("measured", work.signal("contamination").scan(run.parts, ["contamination_items"]))
    items = connection.sql("""
        SELECT item, count(*)::INTEGER AS documents
        FROM (SELECT unnest(contamination_items) AS item FROM measured)
        GROUP BY item ORDER BY item
    """).to_arrow_table()
    sizes = [run.parts[part].rows for part in missing]
    tasks = [Counted(work, group, made_from, items) for group in chunks(missing, sizes, 100_000)]
    run.engine.map(_write, tasks, label="compare: benchmark items", little=run.is_little)


def _write(task: Counted) -> None:
    for part in task.parts:
        measured = task.work.signal("contamination").read(part, ["id", "contamination_items"])
        least = rarest(measured["contamination_items"].combine_chunks(), task.items)
        table = pa.table({"id": measured["id"], "contamination_document_count": least})
        task.work.corpus["contamination"].write(part, table, task.made_from)


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
