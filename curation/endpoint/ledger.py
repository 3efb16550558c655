"""The ledger: every request that went out to an endpoint, what it cost, and what came back, so that none is paid twice.

A line says that a request is about to go out, and what it may cost at most, before it does; another what came of it.
What was reserved and has no second line counts as spent. When the work ends, the lines become a part of Parquet.
A line is with the system when its method returns, so that a kill cannot take it, and on the disk after `sync`: who
waits for that waits once for the lines of many requests.

`LEDGER/00001.jsonl` is the journal of a run that goes on or was killed, `LEDGER/answers/00001.parquet` what became of
it. Both say the same; where both are there the journal is what a kill left behind.
"""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from curation import schema
from curation.dataset import ROW_GROUP_BYTES, Dataset, Part, fingerprint
from curation.endpoint.service import Answer, Cost
from curation.errors import StorageError
from curation.storage import open_storage
from curation.storage.journal import SUFFIX, Journal, line_at, lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_COSTS = ("requests", "input_tokens", "output_tokens", "money")
#: Where an answer lies is one number: that of its part or journal, and in these bits the row or the place in it.
_PLACE = 48


@dataclass(frozen=True, slots=True)
class Reserved:
    """A request that is noted in a ledger and not settled: it counts with `most`."""

    number: int
    key: str
    most: Cost
    kind: str | None


@dataclass
class Ledger:
    """A ledger that this process holds, as a context manager.

    `spent` is the cost of all that is in it, `spent_on` that of each kind of request.
    Raises `StorageError` where another process holds it, or where it is damaged.
    """

    folder: Path
    spent: Cost = field(default_factory=Cost)
    spent_on: defaultdict[str | None, Cost] = field(default_factory=lambda: defaultdict(Cost))
    #: For the key of each answered request where its answer lies, in a part or in a journal.
    _rows: dict[bytes, int] = field(default_factory=dict)
    _lines: dict[bytes, int] = field(default_factory=dict)
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
            self._journal.sync()
            self._journal.close()
            if kind is None or not issubclass(kind, StorageError):
                for number in self._journals():
                    self._compact(number)

    def answer(self, key: str) -> Answer | None:
        """The answer to a request that was asked before; None where there is none."""
        digest = _digest(key)
        if (at := self._lines.get(digest)) is not None:
            row = line_at(self._path(at >> _PLACE), at % (1 << _PLACE))
        elif (at := self._rows.get(digest)) is not None:
            row = self._row(at >> _PLACE, at % (1 << _PLACE))
        else:
            return None
        return Answer(row["answer"], row["finish_reason"], _cost(row))

    def request(self, key: str) -> dict[str, Any] | None:
        """What was sent to get the answer that the ledger has to this key; None where it has none."""
        digest = _digest(key)
        if (at := self._lines.get(digest)) is not None:
            found = (line for _, line in lines(self._path(at >> _PLACE)) if line["key"] == key)
            return dict(next(line["request"] for line in found if line["is"] == "reserved"))
        if (at := self._rows.get(digest)) is not None:
            number, row = at >> _PLACE, at % (1 << _PLACE)
            (table,) = self._parts.pick(Part("answers", f"{number:05}"), np.array([row]), ["request"])
            return dict(json.loads(table["request"][0].as_py()))
        return None

    def reserve(self, key: str, body: dict[str, Any], most: Cost, kind: str | None = None) -> Reserved:
        """Note that a request is about to go out, which it may after `sync`."""
        self._count += 1
        line = {"is": "reserved", "number": self._count, "at": _now(), "key": key, "kind": kind, "request": body}
        self._journal.write(line | _costs(most))
        self._spend(kind, most)
        return Reserved(self._count, key, most, kind)

    def settle(self, reserved: Reserved, answer: Answer) -> None:
        """Note the answer to a request, and what it cost in place of what was reserved."""
        line = {"is": "answered", "number": reserved.number, "at": _now(), "key": reserved.key}
        line |= {"answer": answer.text, "finish_reason": answer.finish_reason}
        place = self._journal.write(line | _costs(answer.cost))
        self._lines[_digest(reserved.key)] = self._number << _PLACE | place
        self._spend(reserved.kind, answer.cost - reserved.most)

    def fail(self, reserved: Reserved, cost: Cost, why: str) -> None:
        """Note that no answer came, why, and what that costs in place of what was reserved."""
        line = {"is": "failed", "number": reserved.number, "at": _now(), "key": reserved.key, "error": why}
        self._journal.write(line | _costs(cost))
        self._spend(reserved.kind, cost - reserved.most)

    def sync(self) -> None:
        """Wait until all that was noted before is on the disk; any thread may."""
        self._journal.sync()

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
                self._rows.pop(_digest(row["key"]), None)
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
            first = 0
            for table in parts.batches(part, ["key", "kind", "finish_reason", *_COSTS]):
                self._take(number, first, table)
                first += table.num_rows
        for number in self._journals():
            for row in _settled(self._path(number)):
                self._spend(row.asked["kind"], row.cost)
                if row.answered is not None:
                    self._lines[_digest(row.asked["key"])] = number << _PLACE | row.answered
        self._number = max([0, *made, *self._journals()]) + 1
        self._journal = Journal.begin(self._path(self._number))

    def _take(self, number: int, first: int, table: pa.Table) -> None:
        """Join the rows of a part, from this one on."""
        keys, answered = table["key"].to_pylist(), table["finish_reason"].is_valid().to_pylist()
        at = number << _PLACE
        self._rows |= {_digest(key): at | first + row for row, key in enumerate(keys) if answered[row]}
        for spent in table.group_by("kind").aggregate([(name, "sum") for name in _COSTS]).to_pylist():
            self._spend(spent["kind"], Cost(*(spent[f"{name}_sum"] for name in _COSTS)))

    def _spend(self, kind: str | None, cost: Cost) -> None:
        self.spent += cost
        self.spent_on[kind] += cost

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
                asked, came = row.asked, row.came or {}
                request = json.dumps(asked["request"], ensure_ascii=False)
                group.append({
                    "key": asked["key"], "kind": asked["kind"], "model": asked["request"]["model"], "request": request,
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
    """A request of a journal: its lines, the place of the second where that holds an answer, and what it cost."""

    asked: dict[str, Any]
    came: dict[str, Any] | None
    answered: int | None
    cost: Cost


def _settled(path: Path) -> Iterator[_Settled]:
    """The requests of a journal in the order in which they ended; then those that did not, which cost what they could.

    Memory holds those alone whose end is not read yet.
    """
    begun: dict[int, dict[str, Any]] = {}
    for place, line in lines(path):
        try:
            if line["is"] == "reserved":
                begun[line["number"]] = line
            else:
                asked = begun.pop(line["number"])
                yield _Settled(asked, line, place if line["is"] == "answered" else None, _cost(line))
        except KeyError as error:
            raise StorageError(f"{path}: damaged at byte {place:,}: no {error}", remedy="restore the file") from error
    for asked in begun.values():
        yield _Settled(asked, None, None, _cost(asked))


def _digest(key: str) -> bytes:
    """A key in half its size; what is no key is none that a ledger has."""
    try:
        return bytes.fromhex(key)
    except ValueError:
        return b""


def _cost(row: dict[str, Any]) -> Cost:
    return Cost(*(row[name] for name in _COSTS))


def _costs(cost: Cost) -> dict[str, int]:
    return {name: getattr(cost, name) for name in _COSTS}


def _now() -> str:
    return datetime.now(UTC).isoformat()
