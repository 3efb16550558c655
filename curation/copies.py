"""Who goes because a better copy stays: among the documents that no rule hit, by the pairs that compare verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import kernels, releases
from curation import rules as ruling
from curation.compare import COPIES, pair_parts, rows_of
from curation.dataset import connect
from curation.dedup import candidates, survivors, verifying
from curation.dedup.rows import distinct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from curation.dataset import Part, Workspace
    from curation.dedup.rows import Rows
    from curation.run import Run


#: How often crowds are looked at again, and how many pairs of them are compared at a time, 50 bytes each.
_LOOKS, _AT_A_LOOK = 16, 1 << 22


@dataclass(frozen=True, slots=True)
class Gone:
    """The documents that go because a better copy stays: their numbers (`curation.dedup.rows`), ascending.

    Of each the place of that copy in `ids`, and of the name of its entry of `dedup.against` in `entries`, null for a
    document of the run; and how similar the two are at least.
    """

    rows: NDArray[np.int64]
    kept: NDArray[np.int64]
    similarity: NDArray[np.float32]
    ids: pa.Array
    entries: pa.Array

    def __len__(self) -> int:
        return len(self.rows)

    def between(self, first: int, end: int) -> Gone:
        """Those of the documents from one number up to another."""
        low, high = np.searchsorted(self.rows, [first, end])
        kept = distinct(self.kept[low:high])
        place = np.searchsorted(kept, self.kept[low:high])
        ids, entries = (names.take(pa.array(kept)) for names in (self.ids, self.entries))
        return Gone(self.rows[low:high], place, self.similarity[low:high], ids, entries)

    def beside(self, first: int, rows: int) -> dict[str, pa.Array]:
        """Columns for so many documents from a number on, null for those that stay: what verdicts say of copies."""
        mine = self.between(first, first + rows)
        places = np.full(rows, -1)
        places[mine.rows - first] = np.arange(len(mine))
        chosen = pa.array(places, mask=places < 0)
        kept = pa.array(mine.kept).take(chosen)
        return {
            "duplicate_of": mine.ids.take(kept),
            "similarity": pa.array(mine.similarity).take(chosen),
            "duplicate_in": mine.entries.take(kept),
        }


def gone(run: Run, passed: NDArray[np.bool_]) -> Gone:
    """Who goes because a better copy stays; `passed` says of each document of the run whether no rule hit it."""
    dedup, work, rows = run.recipe.dedup, run.work, rows_of(run)
    if not dedup.enabled:
        nothing, nobody = np.empty(0, np.int64), pa.array([], pa.string())
        return Gone(nothing, nothing, np.empty(0, np.float32), nobody, nobody)
    there = sorted(pair_parts(work))
    is_involved = np.zeros(rows.total, np.bool_)
    for one, other, _ in _edges(work, there):
        is_involved[one] = is_involved[other] = True
    involved, node = np.flatnonzero(is_involved), np.cumsum(is_involved, dtype=np.int32)
    node -= 1
    copies = _nodes(work, [part for part in there if part == COPIES], node)
    near = _nodes(work, [part for part in there if part != COPIES], node)
    del is_involved, node
    is_own = involved < rows.own
    may_stay = np.flatnonzero(is_own)
    may_stay = may_stay[passed[involved[may_stay]]]
    outside = np.flatnonzero(~is_own)
    order = [outside[_named(work, rows, involved[outside])], may_stay[_ranked(run, rows, involved[may_stay])]]
    graph = survivors.Graph(
        len(involved),
        survivors.Copies(*copies[:2]),
        survivors.Near(*near),
        np.concatenate(order).astype(np.int32),
        len(outside),
    )
    chosen = survivors.choose(graph, dedup.similarity)
    if dedup.verify == "signature":
        chosen = _chosen_again(run, rows, involved, graph, chosen)
    by_number = np.argsort(chosen.node)
    kept = involved[chosen.kept[by_number]]
    stays = distinct(kept)
    entry = pa.array(rows.entry_of(stays))
    return Gone(
        involved[chosen.node[by_number]],
        kernels.positions.Positions(stays).of(kept),
        chosen.similarity[by_number],
        rows.take(work, ["id"], stays)["id"].combine_chunks(),
        pa.array(dedup.against, pa.string()).take(pc.if_else(pc.greater_equal(entry, 0), entry, None)),
    )


def _chosen_again(
    run: Run, rows: Rows, involved: NDArray[np.int64], graph: survivors.Graph, chosen: survivors.Gone
) -> survivors.Gone:
    """Who goes, after another look at crowds, whose documents were not all compared; nodes are those `involved`.

    Two that stay of a crowd may never have been compared. So they are compared with all of it by their signatures, a
    few at a time and the best first, as often as there is one that was not.
    """
    inside = survivors.crowded(graph, candidates.FULL_BUCKET)
    if not len(inside):
        return chosen
    mine, dedup = graph.only(inside), run.recipe.dedup
    crowd = survivors.crowds(mine, candidates.FULL_BUCKET)
    again, done = survivors.choose(mine, dedup.similarity), np.zeros(mine.nodes, np.bool_)
    place = np.cumsum(crowd >= 0) - 1
    compare = verifying.among(run.work, rows, involved[inside][crowd >= 0], dedup.bands * dedup.rows)
    for _ in range(_LOOKS):
        asked = survivors.to_ask(mine, crowd, again, done, _AT_A_LOOK)  # never a pair that it asked for before
        if not len(asked.nodes):
            break
        done[asked.nodes] = True
        similar = compare(place[asked.one], place[asked.other]).astype(np.float32)
        near = np.flatnonzero(similar >= np.float32(dedup.similarity))
        if len(near):
            one, other = (side[near].astype(np.int32) for side in (asked.one, asked.other))
            mine = mine.with_near(survivors.Near(one, other, similar[near]))
            again = survivors.choose(mine, dedup.similarity)
    is_inside = np.zeros(graph.nodes, np.bool_)
    is_inside[inside] = True
    others = ~is_inside[chosen.node]
    return survivors.Gone(
        np.concatenate([chosen.node[others], inside[again.node].astype(np.int32)]),
        np.concatenate([chosen.kept[others], inside[again.kept].astype(np.int32)]),
        np.concatenate([chosen.similarity[others], again.similarity]),
    )


def _edges(work: Workspace, parts: Sequence[Part]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Part by part, of each pair the numbers of both documents (int64), and the similarity (float32)."""
    for part in parts:
        yield tuple(column.to_numpy() for column in work.pairs.read(part, ["row_a", "row_b", "similarity"]).columns)


def _nodes(work: Workspace, parts: Sequence[Part], node: NDArray[np.int32]) -> tuple[NDArray[Any], ...]:
    """Of each pair in these parts the nodes of both documents (int32), and the similarity (float32).

    `node` has the node of each document.
    """
    nothing = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32)
    found = [nothing, *((node[one], node[other], similarity) for one, other, similarity in _edges(work, parts))]
    return tuple(map(np.concatenate, zip(*found, strict=True)))


def _named(work: Workspace, rows: Rows, outside: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order in which documents from outside are named: that of `dedup.against`, then that of ids."""
    ids = pc.rank(rows.take(work, ["id"], outside)["id"], tiebreaker="dense").to_numpy()
    return np.lexsort([outside, ids, rows.entry_of(outside)])


def _ranked(run: Run, rows: Rows, documents: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order in which these documents of the run are preferred, the best first.

    They are read part by part, and sorted by DuckDB, which spills what memory has no room for.
    """
    prefer, work = run.recipe.dedup.prefer, run.work
    columns = list(dict.fromkeys(["id", *ruling.columns_in(prefer, work)]))
    target = pa.schema([pa.field("its place", pa.int64()), *(work.row.field(name) for name in columns)])

    def read() -> Iterator[pa.RecordBatch]:
        ends = np.searchsorted(documents, rows.starts)
        for number in np.flatnonzero(np.diff(ends[: rows.own_parts + 1])).tolist():
            low, high = ends[number : number + 2]
            table = work.read(rows.parts[number], columns).take(pa.array(documents[low:high] - rows.starts[number]))
            places = pa.array(np.arange(low, high))
            yield from pa.table([places, *(table[name] for name in columns)], schema=target).to_batches()

    connection = connect(work, threads=run.engine.workers)
    connection.register("to rank", pa.RecordBatchReader.from_batches(target, read()))
    connection.execute('CREATE TEMP TABLE documents AS FROM "to rank"; CREATE TEMP TABLE stays (id VARCHAR)')
    if run.basis is not None and run.basis.release is not None:
        for ids in releases.ids(run.basis.release):
            connection.register("released", pa.table({"id": ids}))
            connection.execute("INSERT INTO stays FROM released SEMI JOIN documents USING (id)")
    ordered = connection.sql(f"""
        SELECT "its place" FROM (SELECT *, id IN (FROM stays) AS "it stays" FROM documents)
        ORDER BY "it stays" DESC, {prefer}
        , id, "its place"
    """).to_arrow_reader(1 << 20)
    found = [batch.column(0).to_numpy().copy() for batch in ordered]
    return np.concatenate([np.empty(0, np.int64), *found])
