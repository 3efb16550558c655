"""Documents by their number: the row, counted through all parts in their order. Numbers say nothing beyond one run.

The run's own documents come first, then those from outside that they are compared with (`Workspace.against`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from curation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from curation.dataset import Dataset, Part, Workspace

Number = TypeVar("Number", bound=np.generic)

#: As many documents as a pair of numbers has room for.
_MOST = 2**32


@dataclass(frozen=True)
class Rows:
    """The parts of a run, how many rows each has, and for those from outside which entry of `dedup.against` it is of.

    `entries` has a number for each part from outside; these are the last ones.
    """

    parts: tuple[Part, ...]
    counts: tuple[int, ...]
    entries: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.total >= _MOST:
            raise UsageError(
                f"{self.total:,} documents are too many to compare in one run: at most {_MOST - 1:,}",
                remedy="divide the recipe's sources over several recipes",
            )

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The number of each part's first document, and behind them how many there are."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    @property
    def total(self) -> int:
        """How many documents there are."""
        return sum(self.counts)

    @property
    def own_parts(self) -> int:
        """How many parts hold documents of the run."""
        return len(self.parts) - len(self.entries)

    @cached_property
    def own(self) -> int:
        """How many documents are the run's: they have the numbers below."""
        return sum(self.counts[: self.own_parts])

    def entry_of(self, rows: NDArray[Any]) -> NDArray[np.int32]:
        """For each number the entry that the document is of, -1 for one of the run."""
        of_part = np.concatenate([np.full(self.own_parts, -1), np.array(self.entries)]).astype(np.int32)
        return of_part[np.searchsorted(self.starts, rows, side="right") - 1]

    def dataset(self, work: Workspace, number: int) -> Dataset:
        """What holds the signatures of the part with this number."""
        return work.signal("signature") if number < self.own_parts else work.against

    def columns(
        self, work: Workspace, names: Sequence[str], *, outside: bool = False
    ) -> Iterator[tuple[int, pa.Table]]:
        """Part by part the number of its first document, and these columns: the run's parts, or those from outside."""
        chosen = range(self.own_parts, len(self.parts)) if outside else range(self.own_parts)
        for number in chosen:
            yield int(self.starts[number]), self.dataset(work, number).read(self.parts[number], names)

    def pieces(self, work: Workspace, names: Sequence[str], rows: NDArray[Any]) -> Iterator[pa.Table]:
        """Piece by piece these columns of the documents with these numbers, which ascend."""
        ends = np.searchsorted(rows, self.starts)
        for number in np.flatnonzero(np.diff(ends)).tolist():
            mine = rows[ends[number] : ends[number + 1]] - self.starts[number]
            yield from self.dataset(work, number).pick(self.parts[number], mine, names)

    def take(self, work: Workspace, names: Sequence[str], rows: NDArray[Any]) -> pa.Table:
        """These columns of the documents with these numbers, which ascend."""
        schema = work.signal("signature").schema
        empty = pa.schema([schema.field(name) for name in names]).empty_table()
        return pa.concat_tables([empty, *self.pieces(work, names, rows)])


def distinct(values: NDArray[Number]) -> NDArray[Number]:
    """Each value once, ascending. `numpy.unique` hashes integers, which takes several times as long as sorting them.

    >>> distinct(np.array([3, 1, 3])).tolist()
    [1, 3]
    """
    return _once(np.sort(values))


def united(several: Sequence[NDArray[Number]]) -> NDArray[Number]:
    """Each value of all of these once, ascending. They are sorted where they are put together, not in another copy.

    >>> united([np.array([3, 1]), np.array([3, 2])]).tolist()
    [1, 2, 3]
    """
    every = np.concatenate(several)
    every.sort()
    return _once(every)


def _once(ordered: NDArray[Number]) -> NDArray[Number]:
    is_first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return ordered[is_first]
