"""measure: every signal that is missing for a part, in one pass over its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation.dataset import Part, Workspace, fingerprint
from curation.engine import chunks
from curation.signals import load_signals
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curation.dataset import Footer
    from curation.recipe import Recipe
    from curation.run import Run
    from curation.signals import Signal

#: Raised when the same answers of the signals give other bytes.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Measure:
    """The signals to measure on one part: name to the fingerprint of the sidecar to make."""

    part: Part
    made_from: dict[str, str]

    def __str__(self) -> str:
        return f"{self.part} ({', '.join(self.made_from)})"


@dataclass(frozen=True, slots=True)
class Measures:
    """Work for one worker."""

    recipe: Recipe
    work: Workspace
    tasks: list[Measure]

    def __str__(self) -> str:
        return ", ".join(str(task) for task in self.tasks)


def measure(run: Run) -> dict[str, Any]:
    """Make the sidecars that are missing."""
    tasks, sizes = [], []
    for part, footer in run.parts.items():
        made_from = {name: sidecar_fingerprint(name, signal, footer) for name, signal in run.signals.items()}
        missing = {name: made for name, made in made_from.items() if not run.work.signal(name).is_made(part, made)}
        if missing:
            tasks.append(Measure(part, missing))
            sizes.append(footer.notes["text_bytes"])
    groups = chunks(tasks, sizes, 16 * 1024 * 1024)
    weights = [sum(run.parts[task.part].notes["text_bytes"] for task in group) for group in groups]
    items = [Measures(run.recipe, run.work, group) for group in groups]
    run.engine.map(_measure_all, items, label="measure", sizes=weights, unit="B")
    return {
        "rows": sum(run.parts[task.part].rows for task in tasks),
        "parts": len(tasks),
        "text_bytes": sum(sizes),
        "signals": sorted({name for task in tasks for name in task.made_from}),
    }


def sidecar_fingerprint(name: str, signal: Signal, documents: Footer) -> str:
    """What a sidecar is made from: the signal's version and columns, and the documents."""
    columns = {column: str(kind) for column, kind in signal.COLUMNS.items()}
    return fingerprint("signal", VERSION, name, str(signal.VERSION), columns, documents.fingerprint)


def _measure_all(work: Measures) -> None:
    signals = load_signals(work.recipe)
    for task in work.tasks:
        _measure_part(work.work, task, {name: signals[name] for name in task.made_from})


def _measure_part(work: Workspace, task: Measure, signals: Mapping[str, Signal]) -> None:
    tables: dict[str, list[pa.Table]] = {name: [] for name in signals}
    texts = any(getattr(signal, "READS_TEXT", True) for signal in signals.values())
    for rows in work.documents.batches(task.part, ["id", "uri", *(["text"] if texts else [])]):
        text = rows["text"].combine_chunks() if texts else pa.nulls(len(rows), pa.string())
        batch = Batch(text, rows["uri"].combine_chunks())
        for name, signal in signals.items():
            tables[name].append(_table(rows["id"], signal.measure(batch), work.signal(name).schema))
    for name, made_from in task.made_from.items():
        target = work.signal(name)
        table = pa.concat_tables(tables[name]) if tables[name] else target.schema.empty_table()
        target.write(task.part, table, made_from)


def _table(ids: pa.ChunkedArray, answers: Mapping[str, Any], target: pa.Schema) -> pa.Table:
    arrays = [ids.combine_chunks()]
    for field in list(target)[1:]:
        values = answers[field.name]
        if field.name.endswith("_score"):  # rounded, so that the order of additions does not show
            values = np.round(np.asarray(values, dtype=np.float64), 4).astype(np.float32)
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, names=target.names).cast(target)
