"""How similar candidates are: from their signatures, or exactly from their text."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import connect
from curation.dedup.signatures import shingles
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from curation.dataset import Dataset, Part, Workspace

#: Bytes of signatures or shingles that are held at once.
_HELD_BYTES = 256 * 1024 * 1024


def write_shingles(work: Workspace, part: Part, wanted: pa.Array, ngram: int, made_from: str) -> None:
    """Write the shingle sets of a part's documents whose ids are `wanted`."""
    with work.shingles.writing(part, made_from) as writer:
        for rows in work.documents.batches(part, ["id", "text"]):
            chosen = rows.filter(pc.is_in(rows["id"], wanted))
            bounds, found = shingles(Batch(chosen["text"].combine_chunks()), ngram)
            sets = [np.unique(found[start:end]).astype("<u8").tobytes() for start, end in pairwise(bounds.tolist())]
            writer.write(pa.table({"id": chosen["id"], "shingles": pa.array(sets, pa.binary())}))


def verified(
    work: Workspace, bands: list[Part], values: Dataset, parts: list[Part], prefix: str, least: float
) -> pa.Table:
    """The candidates whose first id begins so that are at least so similar, with how similar, sorted.

    `values` holds what is compared: the column `minhash` or `shingles`.
    """
    column = "minhash" if "minhash" in values.schema.names else "shingles"
    connection = connect(work)
    connection.register("candidates", work.candidates.scan(bands))
    connection.register("vals", values.scan(parts, ["id", column]))
    connection.execute(f"""
        CREATE TEMP TABLE pairs AS
        SELECT id_a, id_b FROM candidates WHERE starts_with(id_a, '{prefix}') GROUP BY ALL ORDER BY id_a, id_b
    """)
    sizes = dict(
        connection.execute(f"""
        SELECT id, octet_length({column}) FROM vals
        SEMI JOIN (SELECT id_a AS id FROM pairs UNION SELECT id_b FROM pairs) involved USING (id)
    """).fetchall()
    )
    pairs = connection.execute("SELECT id_a, id_b FROM pairs ORDER BY id_a, id_b").fetchall()
    similarity = _signature_similarity if column == "minhash" else _set_similarity
    found = []
    for run in _runs(pairs, sizes):
        wanted = pa.table({"id": sorted({one for pair in run for one in pair})})
        connection.register("wanted", wanted)
        rows = connection.execute(f"SELECT id, {column} FROM vals SEMI JOIN wanted USING (id)").fetchall()
        held = {one: np.frombuffer(data, "<u4" if column == "minhash" else "<u8") for one, data in rows}
        scored = ((a, b, similarity(held[a], held[b])) for a, b in run)
        found += [entry for entry in scored if entry[2] >= least]
    first, second, values_found = zip(*found, strict=True) if found else ((), (), ())
    return pa.table(
        {
            "id_a": pa.array(first, pa.string()),
            "id_b": pa.array(second, pa.string()),
            "similarity": pa.array(values_found, pa.float32()),
        }
    )


def _runs(pairs: list[tuple[str, str]], sizes: dict[str, int]) -> Iterator[list[tuple[str, str]]]:
    """Consecutive pairs whose documents' values can be held together."""
    run: list[tuple[str, str]] = []
    inside: set[str] = set()
    held = 0
    for pair in pairs:
        more = sum(sizes[one] for one in set(pair) - inside)
        if run and held + more > _HELD_BYTES:
            yield run
            run, inside, held = [], set(), 0
            more = sum(sizes[one] for one in set(pair))
        run.append(pair)
        inside.update(pair)
        held += more
    if run:
        yield run


def _signature_similarity(a: npt.NDArray[np.unsignedinteger], b: npt.NDArray[np.unsignedinteger]) -> float:
    """The share of permutations whose minima agree: an estimate of the Jaccard similarity."""
    return float(np.mean(a == b))


def _set_similarity(a: npt.NDArray[np.unsignedinteger], b: npt.NDArray[np.unsignedinteger]) -> float:
    """The Jaccard similarity of two sets of shingles."""
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)
