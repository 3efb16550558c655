"""Reading a release row by row, each shard checked before its first row, to be taken up again at the very row.

The rows of an epoch stand in one order: that of the shards (the manifest's, or one drawn by a seed), and in a shard
that of its rows. Several readers share them in runs of the same length, so the readers' rows one behind the other are
the rows of the release.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import ReleaseError, UsageError
from curation.releases.place import Release, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The format of a reader's state.
FORMAT = 1
#: Rows that are made Python's at a time.
_ROWS = 256
#: Bytes that are read at a time to check a shard.
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of one shard that are to be read: from `start` up to `end`, in an epoch that counts from 0."""

    epoch: int
    shard: int
    start: int
    end: int

    def __len__(self) -> int:
        """How many rows there are."""
        return self.end - self.start


def open(  # noqa: A001  # as one opens a file
    place: str,
    *,
    columns: Sequence[str] | None = None,
    rank: int = 0,
    ranks: int = 1,
    epochs: int | None = 1,
    shuffle: int | None = None,
) -> Reader:
    """A reader of the rows of a release, as dictionaries.

    `place` is `FOLDER/NAME@VERSION`, a release's own folder, or a folder or name whose latest release is meant; a path
    or s3://…. `columns` are read alone where they are named. This reader is the one of number `rank` (from 0) among
    `ranks` that share the rows. `epochs` None goes on for ever; `shuffle` is a seed by which the order of the shards is
    drawn anew for each epoch, None for the release's own order.

    Raises `UsageError` for a place, column or rank that there is not, and `ReleaseError` where no release is there.
    """
    release = named(place)
    manifest = release.manifest() or {}
    if epochs is not None and epochs < 1:
        raise UsageError(f"epochs={epochs}", remedy="say how often to read the release: 1 or more, or None for ever")
    reader = Reader(release, manifest, tuple(columns) if columns is not None else None, epochs, shuffle)
    return reader.split(rank, ranks)


class Reader:
    """An iterator over rows that says where it is (`state_dict`) and goes on from there (`load_state_dict`).

    Iterating again goes on, too; once it came to its end, from the beginning. Made by `open`.
    """

    def __init__(
        self, release: Release, manifest: Mapping[str, Any], columns: tuple[str, ...] | None,
        epochs: int | None = 1, shuffle: int | None = None, rank: int = 0, ranks: int = 1,
    ) -> None:  # fmt: skip
        self.release = release
        self.columns = columns
        self.epochs, self.shuffle = epochs, shuffle
        self.rank, self.ranks = rank, ranks
        self._fingerprint: str = manifest["fingerprint"]
        self._shards: list[dict[str, Any]] = manifest["shards"]
        #: What readers of another number had left, before epoch `_next` begins; most often nothing.
        self._left: list[Run] = []
        self._next = 0
        self._given = 0
        self._rows: Iterator[dict[str, Any]] | None = None
        self._has_ended = False

    def split(self, rank: int, ranks: int) -> Reader:
        """The reader of this number among so many that share the rows of this one; nothing may be read yet.

        A job of R ranks with W workers each splits twice: `reader.split(rank, R).split(worker, W)`.
        """
        if not 0 <= rank < ranks:
            raise UsageError(f"reader {rank} of {ranks}", remedy="ranks are numbered from 0 to one less than there are")
        if self._given or self._left or self._next:
            raise UsageError("a reader that has begun cannot be split", remedy="split it first, then load its state")
        return Reader(
            self.release, {"fingerprint": self._fingerprint, "shards": self._shards}, self.columns, self.epochs,
            self.shuffle, self.rank * ranks + rank, self.ranks * ranks,
        )  # fmt: skip

    def for_pytorch(self) -> Any:
        """The rows as an `IterableDataset` of PyTorch, for its `DataLoader` or torchdata's `StatefulDataLoader`.

        The loader's workers share them. Raises `UsageError` where PyTorch is not installed.
        """
        try:
            from curation.releases.pytorch import Rows  # noqa: PLC0415  # PyTorch is the user's own
        except ModuleNotFoundError as error:
            raise UsageError("PyTorch is not installed", remedy="pip install torch torchdata") from error
        return Rows(self)

    def __iter__(self) -> Self:
        if self._has_ended:
            self._left, self._next, self._given, self._rows, self._has_ended = [], 0, 0, None, False
        return self

    def __next__(self) -> dict[str, Any]:
        if self._rows is None:
            self._rows = self._read()
        try:
            row = next(self._rows)
        except StopIteration:
            self._has_ended = True
            raise
        self._given += 1
        return row

    def __len__(self) -> int:
        """How many rows this reader gives in one epoch."""
        return sum(len(run) for run in _share(self.epoch(0), self.rank, self.ranks))

    def state_dict(self) -> dict[str, Any]:
        """Where this reader is, as plain values: small, whatever the release."""
        return {
            "format": FORMAT,
            "release": f"{self.release.name}@{self.release.version}",
            "fingerprint": self._fingerprint,
            "shuffle": self.shuffle,
            "rank": self.rank,
            "ranks": self.ranks,
            "left": [[run.epoch, run.shard, run.start, run.end] for run in self._left],
            "next_epoch": self._next,
            "rows": self._given,
        }

    def load_state_dict(self, state: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Go on where a reader was: give the state of the same rank, or those of all ranks where their number changes.

        Then the rows that none of them gave are shared anew, in their order. Raises `ReleaseError` for the state of
        another release, and `UsageError` for one that does not fit.
        """
        states: list[Mapping[str, Any]] = [state] if isinstance(state, Mapping) else list(state)
        for one in states:
            self._refuse(one)
        self._has_ended = False
        if len(states) in (1, self.ranks):
            for one in states:
                if (one["rank"], one["ranks"]) == (self.rank, self.ranks):
                    self._left = [Run(*run) for run in one["left"]]
                    self._next, self._given, self._rows = one["next_epoch"], one["rows"], None
                    return
        self._refuse_some(states)
        self._left, self._next = self._what_is_left(states)
        self._given, self._rows = 0, None

    def _what_is_left(self, states: Sequence[Mapping[str, Any]]) -> tuple[list[Run], int]:
        """What several readers had not given of the epochs that any of them had begun, in order, and the next epoch."""
        left = [Run(*run) for run in states[0]["left"]]
        plans = {one["rank"]: _Plan(self, left, states[0]["next_epoch"], one["rank"], one["ranks"]) for one in states}
        begun = max(plans[one["rank"]].epoch_after(one["rows"]) for one in states)
        rest = [run for one in states for run in plans[one["rank"]].after(one["rows"], begun)]
        places = {epoch: {run.shard: place for place, run in enumerate(self.epoch(epoch))} for epoch in
                  {run.epoch for run in rest}}  # fmt: skip
        rest.sort(key=lambda run: (run.epoch, places[run.epoch][run.shard], run.start))
        return _joined(rest), begun + 1

    def _refuse_some(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Raise `UsageError` unless these are the states of all readers of one job."""
        ranks = states[0]["ranks"] if states else 0
        whole = sorted(one["rank"] for one in states) == list(range(ranks))
        alike = all((one["ranks"], one["left"], one["next_epoch"]) ==
                    (ranks, states[0]["left"], states[0]["next_epoch"]) for one in states)  # fmt: skip
        if not states or not whole or not alike:
            told = ", ".join(f"{one['rank']} of {one['ranks']}" for one in states)
            raise UsageError(
                f"this is reader {self.rank} of {self.ranks}, and the state is that of reader {told or 'none'}",
                remedy="where the number of readers changes, give the states of all readers of one job, in a list",
            )

    def _refuse(self, state: Mapping[str, Any]) -> None:
        if set(state) != set(self.state_dict()) or state["format"] != FORMAT:
            raise UsageError(
                f"no state of a reader, of format {FORMAT}: {', '.join(map(str, state)) or 'nothing'}",
                remedy="load what state_dict gave",
            )
        if state["fingerprint"] != self._fingerprint:
            raise ReleaseError(
                f"the state is of {state['release']}, made from something else than {self.release.path}",
                remedy=f"open that release, {state['release']}, or begin without a state",
            )
        if state["shuffle"] != self.shuffle:
            raise UsageError(
                f"the state was made with shuffle={state['shuffle']}, this reader has shuffle={self.shuffle}",
                remedy=f"open the release with shuffle={state['shuffle']}",
            )

    def epoch(self, epoch: int) -> list[Run]:
        """All rows of an epoch, in its order."""
        order = list(range(len(self._shards)))
        if self.shuffle is not None:
            order.sort(key=lambda shard: _drawn(self.shuffle, epoch, self._shards[shard]["path"]))
        return [Run(epoch, shard, 0, self._shards[shard]["rows"]) for shard in order if self._shards[shard]["rows"]]

    def _plan(self) -> _Plan:
        return _Plan(self, self._left, self._next, self.rank, self.ranks)

    def _read(self) -> Iterator[dict[str, Any]]:
        for run in self._plan().after(self._given):
            yield from self._rows_of(run)

    def _rows_of(self, run: Run) -> Iterator[dict[str, Any]]:
        shard = self._shards[run.shard]
        with checked(self.release, shard) as stream, pq.ParquetFile(stream, pre_buffer=False) as file:
            self._refuse_columns(file.schema_arrow)
            start = 0
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                if start < run.end and end > run.start:
                    table = file.read_row_group(group, columns=self.columns, use_threads=False)
                    low, high = max(run.start, start), min(run.end, end)
                    for place in range(low, high, _ROWS):
                        yield from table.slice(place - start, min(_ROWS, high - place)).to_pylist()
                start = end

    def _refuse_columns(self, schema: pa.Schema) -> None:
        for name in self.columns or ():
            if name not in schema.names:
                raise UsageError(
                    f"{self.release.path}: no column {name!r}", remedy=f"the columns are {', '.join(schema.names)}"
                )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one reader of several gives, run by run: its share of what was left, then of each epoch from `next` on."""

    reader: Reader
    left: list[Run]
    next: int
    rank: int
    ranks: int

    def __iter__(self) -> Iterator[Run]:
        yield from _share(self.left, self.rank, self.ranks)
        if not self.reader.epoch(0):
            return
        epochs = self.reader.epochs
        for epoch in itertools.count(self.next) if epochs is None else range(self.next, epochs):
            yield from _share(self.reader.epoch(epoch), self.rank, self.ranks)

    def after(self, rows: int, until: int | None = None) -> Iterator[Run]:
        """What comes after so many rows, up to and with an epoch."""
        for run in self:
            if until is not None and run.epoch > until:
                return
            taken = min(rows, len(run))
            rows -= taken
            if taken < len(run):
                yield replace(run, start=run.start + taken)

    def epoch_after(self, rows: int) -> int:
        """The last epoch of which the reader gave a row, once it has given so many."""
        last = self.next - 1
        for run in self:
            if not rows:
                break
            last = max(last, run.epoch)
            rows -= min(rows, len(run))
        return last


def _joined(runs: Sequence[Run]) -> list[Run]:
    """The same rows, those together that follow on each other in a shard."""
    joined: list[Run] = []
    for run in runs:
        before = joined[-1] if joined else None
        if before and (before.epoch, before.shard, before.end) == (run.epoch, run.shard, run.start):
            joined[-1] = replace(before, end=run.end)
        else:
            joined.append(run)
    return joined


def _drawn(seed: int | None, epoch: int, path: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{epoch}:{path}".encode(), digest_size=16).digest()


def _share(runs: Sequence[Run], rank: int, ranks: int) -> list[Run]:
    """The part of these rows that one reader of several has: in a row, as many as the others have, or one more.

    >>> [[(run.start, run.end) for run in _share([Run(0, 0, 0, 3), Run(0, 1, 0, 2)], rank, 2)] for rank in range(2)]
    [[(0, 2)], [(2, 3), (0, 2)]]
    """
    total = sum(len(run) for run in runs)
    return _cut(runs, total * rank // ranks, total * (rank + 1) // ranks)


def _cut(runs: Sequence[Run], first: int, last: int) -> list[Run]:
    """Of these rows, in their order, those from one place up to another."""
    found = []
    place = 0
    for run in runs:
        low, high = max(first, place), min(last, place + len(run))
        if low < high:
            found.append(replace(run, start=run.start + low - place, end=run.start + high - place))
        place += len(run)
    return found


@contextmanager
def checked(release: Release, shard: Mapping[str, Any]) -> Iterator[IO[bytes]]:
    """A shard opened for reading, once it is known to be what the manifest says.

    What lies elsewhere is copied into the temporary folder while it is checked, so that what is read is what was
    checked, and is asked for once.
    """
    name = f"{release.folder}/{shard['path']}"
    source = release.storage.open(name)
    if source is None:
        raise _broken(release, shard, "is missing")
    is_here = release.storage.local_path(name) is not None
    digest = hashlib.sha256()
    with source, tempfile.TemporaryFile() as copy:
        while block := source.read(_BLOCK):
            digest.update(block)
            if not is_here:
                copy.write(block)
        if digest.hexdigest() != shard["sha256"]:
            raise _broken(release, shard, "is not what the manifest says: its sha256 is another")
        stream: Any = source if is_here else copy
        stream.seek(0)
        yield stream


def _broken(release: Release, shard: Mapping[str, Any], what: str) -> ReleaseError:
    return ReleaseError(
        f"{release.path}/{shard['path']}: {what}; no row of it was given",
        remedy=f"see what else is wrong: curate releases verify {release.path}; restore the shard from a copy",
    )
