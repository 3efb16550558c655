"""Pairs that were compared, and how similar they are: what an earlier run compared needs no second look.

A document is known by its part, as long as that was measured from the same, and its row in it; in a run it is a number
(`curation.dedup.rows`). So tomorrow's parts move the numbers of today's, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curation.dataset import Part, fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from curation.dataset import Workspace
    from curation.dedup.rows import Rows

#: Raised when the same two documents are more or less similar.
VERSION = 1
#: All that was compared. Its notes say from which parts.
ALL = Part("all", "00000")


@dataclass(frozen=True)
class Compared:
    """Pairs, ascending (uint64), and how similar each is (float64)."""

    pairs: NDArray[np.uint64]
    similar: NDArray[np.float64]

    def look_up(self, pairs: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Which of these pairs are among them, and how similar each of those is."""
        places = np.searchsorted(self.pairs, pairs)
        places[places == len(self.pairs)] = 0
        known = self.pairs[places] == pairs if len(self.pairs) else np.zeros(len(pairs), np.bool_)
        return known, self.similar[places[known]]


def earlier(work: Workspace, rows: Rows, made_from: Sequence[str], verify: str) -> Compared:
    """What is still true of what was compared before, in this run's numbers.

    `made_from` has the fingerprint of each part's signatures. Nothing, if it was verified in another way.
    """
    footer = work.compared.footer(ALL)
    if footer is None or footer.fingerprint != _made_from(verify):
        return Compared(np.empty(0, np.uint64), np.empty(0))
    table = work.compared.read(ALL)
    parts = footer.notes["parts"]
    starts = np.concatenate([[0], np.cumsum([count for *_, count in parts])[:-1]]).astype(np.int64)
    moves = np.full(len(parts), -(2**62), np.int64)
    places = {(source, name, mine): place for place, (source, name, mine, _) in enumerate(parts)}
    for part, start, mine in zip(rows.parts, rows.starts.tolist(), made_from, strict=False):
        place = places.get((part.source, part.name, mine))
        if place is not None:
            moves[place] = start - starts[place]
    first, second = _moved(table["pair"].to_numpy(), starts, moves)
    still = (first >= 0) & (second >= 0)
    low, high = np.minimum(first, second)[still].astype(np.uint64), np.maximum(first, second)[still].astype(np.uint64)
    pairs = low << np.uint64(32) | high
    order = np.argsort(pairs)
    return Compared(pairs[order], table["similarity"].to_numpy()[still][order])


def between(work: Workspace, first: int, last: int) -> pa.Table:
    """The compared pairs from one place up to another, ascending: `pair` and `similarity`."""
    pieces = work.compared.pick(ALL, np.arange(first, last), work.compared.schema.names)
    return pa.concat_tables([work.compared.schema.empty_table(), *pieces])


def remember(work: Workspace, rows: Rows, made_from: Sequence[str], verify: str, compared: Compared) -> None:
    """Write all that was compared, for runs to come, unless a run that was killed did."""
    parts = [
        [part.source, part.name, mine, count]
        for part, mine, count in zip(rows.parts, made_from, rows.counts, strict=True)
    ]
    footer = work.compared.footer(ALL)
    if footer is not None and footer.fingerprint == _made_from(verify) and footer.notes["parts"] == parts:
        written = work.compared.read(ALL)
        if np.array_equal(written["pair"], compared.pairs) and np.array_equal(written["similarity"], compared.similar):
            return
    with work.compared.writing(ALL, _made_from(verify)) as writer:
        writer.write(pa.table({"pair": pa.array(compared.pairs), "similarity": pa.array(compared.similar)}))
        writer.notes["parts"] = parts


def _made_from(verify: str) -> str:
    return fingerprint("compared", VERSION, verify)


def _moved(
    pairs: NDArray[np.uint64], starts: NDArray[np.int64], moves: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The new numbers of both sides, below 0 for one whose part is not there."""
    sides = ((pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64))
    first, second = (side + moves[np.searchsorted(starts, side, side="right") - 1] for side in sides)
    return first, second
