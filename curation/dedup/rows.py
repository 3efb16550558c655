"""Documents by their number: the row, counted through all parts in their order. Numbers say nothing beyond one run."""

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

    from curation.dataset import Dataset, Part

Number = TypeVar("Number", bound=np.generic)

#: As many documents as a pair of numbers has room for.
_MOST = 2**32


@dataclass(frozen=True)
class Rows:
    """The parts of a run and how many rows each has."""

    parts: tuple[Part, ...]
    counts: tuple[int, ...]

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

    def columns(self, dataset: Dataset, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Part by part the number of its first document, and these columns."""
        for part, start in zip(self.parts, self.starts.tolist(), strict=False):
            yield start, dataset.read(part, names)

    def pieces(self, dataset: Dataset, names: Sequence[str], rows: NDArray[Any]) -> Iterator[pa.Table]:
        """Part by part these columns of the documents with these numbers, which ascend."""
        ends = np.searchsorted(rows, self.starts)
        for part, start, low, high in zip(self.parts, self.starts, ends[:-1], ends[1:], strict=False):
            if low < high:
                yield dataset.read(part, names).take(pa.array(rows[low:high] - start))

    def take(self, dataset: Dataset, names: Sequence[str], rows: NDArray[Any]) -> pa.Table:
        """These columns of the documents with these numbers, which ascend."""
        empty = pa.schema([dataset.schema.field(name) for name in names]).empty_table()
        return pa.concat_tables([empty, *self.pieces(dataset, names, rows)])


def distinct(values: NDArray[Number]) -> NDArray[Number]:
    """Each value once, ascending. `numpy.unique` hashes integers, which takes several times as long as sorting them.

    >>> distinct(np.array([3, 1, 3])).tolist()
    [1, 3]
    """
    ordered = np.sort(values)
    is_first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return ordered[is_first]
