"""How similar candidates are: from their signatures, or exactly from their text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset, connect
from curation.dedup.signatures import shingles
from curation.kernels import text as units

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from curation.dataset import Part, Workspace

SHINGLES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("shingles", pa.binary(), nullable=False),
    ]
)

#: Pairs whose values are held at once.
_BATCH = 2_048


def shingle_sets(work: Workspace) -> Dataset:
    """The distinct shingles of documents that are candidates, kept only until the pairs are verified."""
    return Dataset(work.storage, "shingles", SHINGLES)


def write_shingles(work: Workspace, part: Part, wanted: set[str], ngram: int, made_from: str) -> None:
    """Write the shingle sets of these documents of a part, as sorted little-endian uint64."""
    with shingle_sets(work).writing(part, made_from) as writer:
        for rows in work.documents.batches(part, ["id", "text"]):
            chosen = rows.filter(pc.is_in(rows["id"], pa.array(sorted(wanted), pa.string())))
            sets = [
                np.unique(shingles(*units.numbered_words(text or ""), ngram)).astype("<u8").tobytes()
                for text in chosen["text"].to_pylist()
            ]
            writer.write(pa.table({"id": chosen["id"], "shingles": pa.array(sets, pa.binary())}))


def verified(
    work: Workspace, candidates: list[Part], values: Dataset, parts: list[Part], prefix: str, least: float
) -> pa.Table:
    """The pairs whose first id begins so that are at least so similar, with how similar.

    `values` holds what is compared: a column `minhash` or `shingles`.
    """
    from curation.dedup.candidates import dataset  # noqa: PLC0415  # only for its place

    connection = connect(work)
    column = "minhash" if "minhash" in values.schema.names else "shingles"
    connection.register("candidates", dataset(work).scan(candidates))
    connection.register("vals", values.scan(parts))
    rows = connection.sql(f"""
        WITH pairs AS (
            SELECT DISTINCT id_a, id_b FROM candidates
            WHERE starts_with(id_a, '{prefix}')
        )
        SELECT id_a, id_b, a.{column} AS a, b.{column} AS b
        FROM pairs JOIN vals a ON pairs.id_a = a.id JOIN vals b ON pairs.id_b = b.id
    """)
    compare = _signature_similarity if column == "minhash" else _set_similarity
    found = [pa.table({"id_a": pa.array([], pa.string()), "id_b": pa.array([], pa.string()),
                       "similarity": pa.array([], pa.float32())})]  # fmt: skip
    for batch in rows.to_arrow_reader(_BATCH):
        similarity = np.fromiter(compare(batch), dtype=np.float64, count=batch.num_rows)
        keep = similarity >= least
        table = pa.table({"id_a": batch["id_a"], "id_b": batch["id_b"], "similarity": similarity.astype(np.float32)})
        found.append(table.filter(pa.array(keep)))
    return pa.concat_tables(found).sort_by([("id_a", "ascending"), ("id_b", "ascending")])


def _signature_similarity(batch: pa.RecordBatch) -> Iterator[float]:
    """The share of permutations whose minima agree: an estimate of the Jaccard similarity."""
    for a, b in zip(batch["a"], batch["b"], strict=True):
        yield float(np.mean(_values(a, "<u4") == _values(b, "<u4")))


def _set_similarity(batch: pa.RecordBatch) -> Iterator[float]:
    """The Jaccard similarity of the two sets of shingles."""
    for a, b in zip(batch["a"], batch["b"], strict=True):
        first, second = _values(a, "<u8"), _values(b, "<u8")
        common = len(np.intersect1d(first, second, assume_unique=True))
        yield common / (len(first) + len(second) - common)


def _values(value: pa.Scalar, dtype: str) -> npt.NDArray[np.unsignedinteger]:
    return np.frombuffer(value.as_py(), dtype=dtype)
