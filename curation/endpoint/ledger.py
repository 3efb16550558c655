"""The ledger: every request that went out to an endpoint, what it cost, and what came back, so that none is paid twice.

A line says that a request is about to go out, and what it may cost at most, before it does; another what came of it.
What was reserved and has no second line counts as spent. When the work ends, the lines become a part of Parquet.

`LEDGER/00001.jsonl` is the journal of a run that goes on or was killed, `LEDGER/answers/00001.parquet` what became of
it. Both say the same; where both are there the journal is what a kill left behind.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from curation import schema
from curation.dataset import ROW_GROUP_BYTES, Dataset, Part, fingerprint
from curation.endpoint.service import Answer, Cost, key_of
from curation.errors import StorageError
from curation.storage import open_storage
from curation.storage.journal import SUFFIX, Journal, line_at, lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_COSTS = ("requests", "input_tokens", "output_tokens", "money")


@dataclass
class Ledger:
    """A ledger that this process holds, as a context manager; `spent` is the cost of all that is in it.

    Raises `StorageError` where another process holds it, or where it is damaged.
    """

    folder: Path
    spent: Cost = field(default_factory=Cost)
    #: For the key of each answered request, where its answer lies: the number of a part and a row in it, or the number
    #: of a journal and a place in that.
    _rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    _lines: dict[str, tuple[int, int]] = field(default_factory=dict)
    _journal: Journal = field(init=False)
    _number: int = 0
    _count: int = 0
    _held: ExitStack = field(default_factory=ExitStack)
    _group: tuple[tuple[int, int], pa.Table] | None = None

    def __enter__(self) -> Self:
        storage = open_storage(str(self.folder))
        try:
            self._held.enter_context(storage.lock())
        except StorageError as error:
            raise StorageError(
                f"{self.folder}: another process is using this ledger, or it cannot be written: {error.message}",
                remedy="wait for that process to end, or name another `ledger` for this endpoint",
            ) from error
        try:
            self._open()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            self._journal.close()
            if kind is None or not issubclass(kind, StorageError):
                for number in self._journals():
                    self._compact(number)

    def answer(self, key: str) -> Answer | None:
        """The answer to a request that was asked before; None where there is none."""
        if key in self._lines:
            number, place = self._lines[key]
            row = line_at(self._path(number), place)
        elif key in self._rows:
            row = self._row(*self._rows[key])
        else:
            return None
        return Answer(row["answer"], row["finish_reason"], Cost(*(row[name] for name in _COSTS)))

    def request(self, key: str) -> dict[str, Any] | None:
        """What was sent to get the answer that the ledger has to this key; None where it has none."""
        if key in self._lines:
            found = (line for _, line in lines(self._path(self._lines[key][0])) if line["key"] == key)
            return dict(next(line["request"] for line in found if line["is"] == "reserved"))
        if key in self._rows:
            number, row = self._rows[key]
            (table,) = self._parts.pick(Part("answers", f"{number:05}"), np.array([row]), ["request"])
            return dict(json.loads(table["request"][0].as_py()))
        return None

    def reserve(self, body: dict[str, Any], most: Cost) -> int:
        """Note that a request is about to go out; the number to settle it by. It is on the disk when this returns."""
        self._count += 1
        line = {"is": "reserved", "number": self._count, "at": _now(), "key": key_of(body), "request": body}
        self._journal.append(line | _costs(most))
        self.spent += most
        return self._count

    def settle(self, number: int, key: str, reserved: Cost, answer: Answer) -> None:
        """Note the answer to a request, and what it cost in place of what was reserved."""
        line = {"is": "answered", "number": number, "at": _now(), "key": key}
        line |= {"answer": answer.text, "finish_reason": answer.finish_reason}
        self._lines[key] = (self._number, self._journal.append(line | _costs(answer.cost)))
        self.spent += answer.cost - reserved

    def fail(self, number: int, key: str, reserved: Cost, cost: Cost, why: str) -> None:
        """Note that no answer came, why, and what that costs in place of what was reserved."""
        line = {"is": "failed", "number": number, "at": _now(), "key": key, "error": why}
        self._journal.append(line | _costs(cost))
        self.spent += cost - reserved

    def forget(self, heads: list[str]) -> int:
        """Remove what was asked and answered about texts that begin so; how many requests that were.

        What they cost stays. Raises `StorageError` where the ledger is damaged.
        """
        marks = [json.dumps(head, ensure_ascii=False)[1:-1] for head in heads if head]
        for number in self._journals():
            if number != self._number:  # of a process that was killed
                self._compact(number)
        count = 0
        for part in self._parts.parts():
            rows = self._parts.read(part).to_pylist()
            gone = [row for row in rows if any(mark in row["request"] for mark in marks)]
            for row in gone:
                row |= {"request": "{}", "answer": None, "finish_reason": None, "error": "forgotten"}
                self._rows.pop(row["key"], None)
            if gone:
                made_from = fingerprint("ledger", int(part.name))
                self._parts.write(part, pa.Table.from_pylist(rows, schema.LEDGER), made_from)
            count += len(gone)
        self._group = None
        return count

    @property
    def _parts(self) -> Dataset:
        return Dataset(open_storage(str(self.folder.parent)), self.folder.name, schema.LEDGER)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05}{SUFFIX}"

    def _journals(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())

    def _open(self) -> None:
        parts = self._parts
        parts.storage.sweep(parts.name)
        made = {int(part.name): part for part in parts.parts() if part.source == "answers"}
        for number, part in sorted(made.items()):
            self._path(number).unlink(missing_ok=True)
            table = parts.read(part, ["key", "finish_reason", *_COSTS])
            answered = table["finish_reason"].is_valid().to_pylist()
            keys = table["key"].to_pylist()
            self._rows |= {key: (number, row) for row, key in enumerate(keys) if answered[row]}
            self.spent += Cost(*(sum(table[name].to_pylist()) for name in _COSTS))
        for number in self._journals():
            for row in _settled(self._path(number)):
                self.spent += row.cost
                if row.answered is not None:
                    self._lines[row.key] = (number, row.answered)
        self._number = max([0, *made, *self._journals()]) + 1
        self._journal = Journal.begin(self._path(self._number))

    def _row(self, number: int, row: int) -> dict[str, Any]:
        """A row of a part. The row group that holds it is kept: what was asked in order is asked again in order."""
        parts, part = self._parts, Part("answers", f"{number:05}")
        first = 0
        if self._group and self._group[0][0] == number:
            first, table = self._group[0][1], self._group[1]
            if first <= row < first + table.num_rows:
                return dict(table.slice(row - first, 1).to_pylist()[0])
        first = 0
        for group, (rows, _) in enumerate(parts.groups(part, "key")):
            if row < first + rows:
                table = parts.read_groups(part, [group], ["answer", "finish_reason", *_COSTS])
                self._group = ((number, first), table)
                return dict(table.slice(row - first, 1).to_pylist()[0])
            first += rows
        raise StorageError(f"{self.folder}: {part} has no row {row}", remedy="restore the ledger")

    def _compact(self, number: int) -> None:
        """Make a journal the part that says the same, and remove it."""
        path, group, size = self._path(number), list[dict[str, Any]](), 0
        with self._parts.writing(Part("answers", f"{number:05}"), fingerprint("ledger", number)) as writer:
            for row in _settled(path):
                asked = line_at(path, row.reserved)
                came = line_at(path, row.settled) if row.settled is not None else {}
                request = json.dumps(asked["request"], ensure_ascii=False)
                group.append({
                    "key": row.key, "model": asked["request"]["model"], "request": request,
                    "reserved_at": datetime.fromisoformat(asked["at"]),
                    "settled_at": datetime.fromisoformat(came["at"]) if came else None,
                    "answer": came.get("answer"), "finish_reason": came.get("finish_reason"),
                    "error": came.get("error") if came else "no answer came before the process ended",
                    **_costs(row.cost),
                })  # fmt: skip
                size += len(request) + len(came.get("answer") or "")
                if size > ROW_GROUP_BYTES:
                    writer.write(pa.Table.from_pylist(group, schema.LEDGER))
                    group, size = [], 0
            writer.write(pa.Table.from_pylist(group, schema.LEDGER))
        path.unlink()


@dataclass(slots=True)
class _Settled:
    """A request of a journal: the places of its lines, and what it cost."""

    key: str
    reserved: int
    cost: Cost
    settled: int | None = None
    answered: int | None = None


def _settled(path: Path) -> Iterator[_Settled]:
    """The requests of a journal in the order in which they went out; what has no second line cost what it could."""
    found: dict[int, _Settled] = {}
    for place, line in lines(path):
        try:
            number, cost = line["number"], Cost(*(line[name] for name in _COSTS))
            if line["is"] == "reserved":
                found[number] = _Settled(line["key"], place, cost)
            else:
                found[number].settled, found[number].cost = place, cost
                found[number].answered = place if line["is"] == "answered" else None
        except KeyError as error:
            raise StorageError(f"{path}: damaged at byte {place:,}: no {error}", remedy="restore the file") from error
    yield from found.values()


def _costs(cost: Cost) -> dict[str, int]:
    return {name: getattr(cost, name) for name in _COSTS}


def _now() -> str:
    return datetime.now(UTC).isoformat()
