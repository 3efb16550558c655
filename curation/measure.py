"""measure: every signal that is missing for a part, in one pass over its text."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.against import measure_against
from curation.compare import pairs_fingerprint
from curation.compiling import compile_kernels
from curation.corpus import fingerprints
from curation.dataset import Part, Workspace, fingerprint
from curation.decontamination import decontamination
from curation.engine import chunks
from curation.errors import SignalError
from curation.schema import SPANS
from curation.signals import load_signals
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from curation.dataset import Footer
    from curation.recipe import Recipe
    from curation.run import Run
    from curation.signals import Signal

#: Raised when the same answers of the signals give other bytes.
VERSION = 1

#: Bytes of text that are measured at once: what is made of them meanwhile, several times as much, stays small.
PIECE_BYTES = 1024 * 1024

_SEE = "see docs/add-a-signal.md for what a signal must give"


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
    """Make the sidecars that are missing, and what is asked of documents from outside."""
    if run.recipe.dedup.against:
        compile_kernels(run.engine, "texts")
    outside = measure_against(run)  # first: the copies depend on it, and columns that the whole corpus tells on those
    tasks, sizes = [], []
    run.signals_from = signals_from(run)
    missing: dict[Part, dict[str, str]] = {}
    for name in run.signals:
        wanted = {part: made_from[name] for part, made_from in run.signals_from.items()}
        for part, made_from in run.work.signal(name).not_made(wanted).items():
            missing.setdefault(part, {})[name] = made_from
    for part, footer in run.parts.items():
        if part in missing:
            tasks.append(Measure(part, missing[part]))
            sizes.append(footer.notes["text_bytes"])
    groups = chunks(tasks, sizes, 16 * 1024 * 1024)
    weights = [sum(run.parts[task.part].notes["text_bytes"] for task in group) for group in groups]
    items = [Measures(run.recipe, run.work, group) for group in groups]
    if tasks:
        compile_kernels(run.engine, "texts")
    run.engine.map(_measure_all, items, label="measure", sizes=weights, unit="B")
    return {
        "decontamination": decontamination(run),
        "against": outside,
        "rows": sum(run.parts[task.part].rows for task in tasks),
        "parts": len(tasks),
        "text_bytes": sum(sizes),
        "signals": sorted({name for task in tasks for name in task.made_from}),
    }


def signals_from(run: Run) -> dict[Part, dict[str, str]]:
    """What each part's sidecars are made from, by signal; those of corpus columns by the names of their datasets."""
    found = {
        part: {name: sidecar_fingerprint(name, signal, footer) for name, signal in run.signals.items()}
        for part, footer in run.parts.items()
    }
    pairs = pairs_fingerprint(replace(run, signals_from=found)) if run.recipe.dedup.enabled else None
    of_corpus = fingerprints(run, found, pairs)
    return {part: {**made_from, **of_corpus} for part, made_from in found.items()}


def sidecar_fingerprint(name: str, signal: Signal, documents: Footer) -> str:
    """What a sidecar is made from: the signal's version and columns, and the documents."""
    columns = {column: str(kind) for column, kind in signal.COLUMNS.items()}
    software = [VERSION, str(signal.VERSION), unicodedata.unidata_version]
    return fingerprint("signal", name, software, columns, documents.fingerprint)


def _measure_all(work: Measures) -> None:
    signals = load_signals(work.recipe)
    for task in work.tasks:
        _measure_part(work.work, task, {name: signals[name] for name in task.made_from})


def _measure_part(work: Workspace, task: Measure, signals: Mapping[str, Signal]) -> None:
    tables: dict[str, list[pa.Table]] = {name: [] for name in signals}
    texts = any(getattr(signal, "READS_TEXT", True) for signal in signals.values())
    for rows in work.documents.batches(task.part, ["id", "uri", *(["text"] if texts else [])]):
        for name, table in _measure_rows(work, rows, signals).items():
            tables[name].append(table)
        del rows  # while the next are read
    for name, made_from in task.made_from.items():
        target = work.signal(name)
        table = pa.concat_tables(tables.pop(name) or [target.schema.empty_table()])
        target.write(task.part, table, made_from)


def _measure_rows(work: Workspace, rows: pa.Table, signals: Mapping[str, Signal]) -> dict[str, pa.Table]:
    """What the signals say of these rows of `documents`: rows of their sidecars."""
    text = _one(rows["text"]) if "text" in rows.column_names else pa.nulls(len(rows), pa.string())
    whole = Batch(text, _one(rows["uri"]))
    answers: dict[str, list[Mapping[str, Any]]] = {name: [] for name in signals}
    for batch in whole.pieces(PIECE_BYTES):
        for name, signal in signals.items():
            answers[name].append(_columns(name, signal.measure(batch), len(batch), work.signal(name).schema))
    ids = _one(rows["id"])
    return {name: _table(name, ids, whole, found, work.signal(name).schema) for name, found in answers.items()}


def _one(column: pa.ChunkedArray) -> pa.Array:
    """The column in one piece, which is a copy only where it is in several."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _columns(name: str, answers: Mapping[str, Any], documents: int, target: pa.Schema) -> dict[str, Any]:
    """A signal's answers for some documents, for each column of its sidecar a numpy or an Arrow array."""
    columns = {}
    for field in list(target)[1:]:
        if field.name not in answers:
            raise SignalError(f"signal {name}: measure() gave no column {field.name!r}", remedy=_SEE)
        values = answers[field.name]
        if type(values) is not np.ndarray or values.ndim != 1:
            values = _array(name, field, values)
        if len(values) != documents:
            raise SignalError(
                f"signal {name}: {len(values):,} values of {field.name} for {documents:,} documents", remedy=_SEE
            )
        columns[field.name] = values
    return columns


def _array(name: str, field: pa.Field, values: Any) -> pa.Array:
    """Values as the sidecar holds them; `SignalError` if they are not of that kind."""
    try:
        array = values if isinstance(values, pa.Array) else pa.array(values, field.type)
        return array.cast(field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise SignalError(f"signal {name}: {field.name} is not all {field.type}: {error}", remedy=_SEE) from error


def _joined(name: str, field: pa.Field, pieces: Sequence[Any]) -> pa.Array:
    """A column of some documents after another; numpy arrays of one kind become one before Arrow is asked."""
    if all(isinstance(piece, np.ndarray) for piece in pieces) and len({piece.dtype for piece in pieces}) == 1:
        return _array(name, field, pieces[0] if len(pieces) == 1 else np.concatenate(pieces))
    return pa.concat_arrays([_array(name, field, piece) for piece in pieces])


def _table(name: str, ids: pa.Array, batch: Batch, answers: Sequence[Mapping[str, Any]], target: pa.Schema) -> pa.Table:
    """A signal's answers for the documents of a batch as rows of its sidecar; `SignalError` if one is no answer."""
    arrays = [ids]
    for field in list(target)[1:]:
        array = _joined(name, field, [answer[field.name] for answer in answers])
        bad = _first_bad(array, batch)
        if bad >= 0:
            raise SignalError(
                f"signal {name}: {field.name} of document {ids[bad]} is {_shown(array[bad])}: expected a value; spans "
                "in order, apart, and on the bounds of characters",
                remedy=_SEE,
            )
        if field.name.endswith("_score"):  # rounded, so that the order of additions does not show
            array = pa.array(np.round(array.to_numpy().astype(np.float64), 4).astype(np.float32))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, names=target.names).cast(target)


def _shown(value: pa.Scalar) -> str:
    text = str(value.as_py())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _first_bad(array: pa.Array, batch: Batch) -> int:
    """The first row whose value is null, not a number, or spans that no edit could cut; -1 if there is none."""
    bad = pc.is_null(array, nan_is_null=True)
    if pc.any(bad).as_py():
        return int(pc.index(bad, value=True).as_py())
    if array.type != SPANS or len(array.flatten()) == 0:
        return -1
    rows = np.repeat(np.arange(len(array)), pc.list_value_length(array).to_numpy())
    spans = array.flatten()
    empty = pc.is_null(spans)
    for name in ("start", "end"):
        empty = pc.or_(empty, pc.is_null(pc.struct_field(spans, name)))
    if pc.any(empty).as_py():
        return int(rows[pc.index(empty, value=True).as_py()])
    start, end = (spans.field(name).to_numpy(zero_copy_only=False).astype(np.int64) for name in ("start", "end"))
    before = np.where(np.diff(rows, prepend=-1) > 0, 0, np.roll(end, 1))
    _, offsets, data = batch.text.buffers()
    bounds = np.frombuffer(offsets, np.int32)[batch.text.offset : batch.text.offset + len(array) + 1].astype(np.int64)
    letters = np.frombuffer(data, np.uint8) if data is not None else np.array([], np.uint8)
    first, size = bounds[:-1][rows], np.diff(bounds)[rows]
    wrong = (start < before) | (end < start) | (end > size)
    for place in (start, end):
        inside = ~wrong & (place < size)
        wrong[inside] = letters[(first + place)[inside]] & 0xC0 == 0x80  # in the middle of a character
    return int(rows[np.argmax(wrong)]) if wrong.any() else -1
