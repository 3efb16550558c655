"""A plan: which requests are made, in which order, drawn by a seeded generator from a curriculum.

The order depends on the curriculum, on what the corpus has and on the seed, not on how much is asked for: a plan for
more begins with the plan for less. What is asked in a cell for the n-th time depends on the cell, n and the seed alone,
so that a plan made anew, after the corpus changed, asks again what was asked and is paid.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers.rubric import quoted
from curation import schema
from curation.errors import UsageError
from curation.textbooks.curriculum import lot
from curation.textbooks.kinds import Checks
from curation.textbooks.vocabulary import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from classifiers.rubric import Document
    from curation.textbooks.curriculum import Cell, Curriculum

#: Raised when the same curriculum and seed give another plan.
VERSION = 1
#: Requests for each document that is wanted: the first, and those that stand in for it where it is refused, fewer
#: where no other can be drawn.
REQUESTS = 3
#: Documents of a round: what is asked at once. Openings and near-duplicates are looked at between rounds.
ROUND = 200
#: How often words, style and features are drawn again where they made a request that is in the plan already.
_DRAWS = 50
#: The columns that hold what was drawn of each part of speech.
COLUMNS = {"noun": "nouns", "verb": "verbs", "adjective": "adjectives"}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be planned: so many documents, or as many as make so many tokens; `round_size` documents a round.

    `there` is how many documents on each topic the corpus has, none where it was not looked at; `seeds` are documents
    for the grounded kinds, best first: those of a topic by its name, and those for any topic by None.
    """

    documents: int | None = None
    tokens: int | None = None
    seed: int = 0
    round_size: int = ROUND
    there: Mapping[str, float] = field(default_factory=dict)
    seeds: Mapping[str | None, list[Document]] = field(default_factory=dict)


def plan(curriculum: Curriculum, order: Order) -> pa.Table:
    """The rows of a plan (`schema.PLAN`).

    Raises `UsageError` where a kind has nothing new to ask, or is grounded and there is no document for it.
    """
    rows: list[dict[str, Any]] = []
    asked: set[str] = set()
    tokens = 0
    for slot, (cell, turn) in enumerate(_cells(curriculum, order)):
        kind = curriculum.kinds[cell.kind]
        is_full = tokens + kind.tokens > order.tokens if order.tokens is not None else slot >= (order.documents or 0)
        if is_full:
            break
        tokens += kind.tokens
        for attempt in range(REQUESTS):
            drawn = _request(curriculum, cell, order, turn * REQUESTS + attempt, asked)
            if drawn is None and not attempt:
                raise UsageError(
                    f"{cell.name}: after {turn:,} documents there is nothing new to ask",
                    remedy="ask for less, or give the curriculum more topics, audiences or styles",
                )
            if drawn is None:
                break
            place = {"number": len(rows), "slot": slot, "is_spare": attempt > 0, "round": slot // order.round_size}
            rows.append(place | drawn)
    if not rows:
        raise UsageError("nothing is asked for", remedy="--documents 100, or more --tokens")
    return pa.Table.from_pylist(rows, schema.PLAN)


def _cells(curriculum: Curriculum, order: Order) -> Iterator[tuple[Cell, int]]:
    """Cells in the order in which they are written for, each with how often it was before: without end.

    Next is always the cell that has least of what is wanted of it. What the corpus has of a topic counts for its cells
    by their shares. Each begins with a part of a document that a lot draws, so that any number of documents is shared
    out as the curriculum wants it, not to the cells of the largest shares first.
    """
    of_topic: defaultdict[str, float] = defaultdict(float)
    for cell in curriculum.cells:
        of_topic[cell.topic.name] += cell.share
    queue = []
    for number, cell in enumerate(curriculum.cells):
        there = order.there.get(cell.topic.name, 0) * cell.share / of_topic[cell.topic.name]
        drawn = lot(order.seed, "cell", curriculum.name, cell.name) / 2**64
        queue.append(((there + drawn) / cell.share, number, 0))
    heapq.heapify(queue)
    while queue:
        have, number, turn = queue[0]
        cell = curriculum.cells[number]
        yield cell, turn
        heapq.heapreplace(queue, (have + 1 / cell.share, number, turn + 1))


def _request(curriculum: Curriculum, cell: Cell, order: Order, turn: int, asked: set[str]) -> dict[str, Any] | None:
    """The request of a cell's turn, another one than those `asked`, which it joins; None where there is no other."""
    for draw in range(_DRAWS):
        drawn = _drawn(curriculum, cell, order, turn, draw)
        digest = hashlib.sha256(repr(drawn["messages"]).encode()).hexdigest()
        if digest not in asked:
            asked.add(digest)
            return drawn
    return None


def _drawn(curriculum: Curriculum, cell: Cell, order: Order, turn: int, draw: int) -> dict[str, Any]:
    # Random(text) hashes it by SHA-512, and its methods below are the same in every version of Python since 3.2.
    lots = random.Random(f"{order.seed}/{curriculum.name}/{cell.name}/{turn}/{draw}")  # noqa: S311  # no secret
    kind = curriculum.kinds[cell.kind]
    style = _some(lots, list(curriculum.styles), 1)[0]
    chosen: dict[str, list[str]] = {part: _some(lots, list(words(part)), count) for part, count in kind.words.items()}
    features = _some(lots, list(kind.feature), kind.pick)
    seed = _seed(cell, order, turn + draw) if kind.grounded else None
    text = quoted(seed) if seed else None
    before, covered = _neighbours(curriculum, cell)
    given = {
        "topic": cell.topic.name, "about": cell.topic.about.strip(), "needs": cell.topic.needs, "unit": cell.unit,
        "subject": cell.subject, "title": curriculum.title, "audience": curriculum.audiences[cell.audience].reader,
        "style": curriculum.styles[style], "before": before, "covered": covered, "seed": text and _marked(text),
        "features": [kind.feature[name].ask for name in features],
        **{column: chosen.get(part, []) for part, column in COLUMNS.items()},
    }  # fmt: skip
    return {
        "cell": cell.name, "curriculum": curriculum.name, "subject": cell.subject, "unit": cell.unit,
        "topic": cell.topic.name, "audience": cell.audience, "kind": kind.name, "template": kind.label, "style": style,
        **{column: chosen.get(part, []) for part, column in COLUMNS.items()}, "features": features,
        "seed_id": seed and seed.id, "seed_source": seed and seed.source, "seed_uri": seed and seed.uri,
        "seed_text": text, "tokens": kind.tokens, "max_tokens": kind.max_tokens, "checks": kind.checks(tuple(features)),
        "messages": [{"role": role, "content": content} for role, content in kind.messages(given)],
    }  # fmt: skip


def _some(lots: random.Random, of: list[str], count: int) -> list[str]:
    """So many different ones, drawn with `random` alone: what it gives for a seed is promised to stay."""
    left = list(of)
    return [left.pop(int(lots.random() * len(left))) for _ in range(min(count, len(left)))]


def _seed(cell: Cell, order: Order, turn: int) -> Document:
    own, others = order.seeds.get(cell.topic.name, []), order.seeds.get(None, [])
    if not own and not others:
        raise UsageError(
            f"{cell.name}: the kind {cell.kind} rewrites a document, and there is none",
            remedy="run the recipe first, so that it has documents, or take the kind out of the curriculum",
        )
    if turn < len(own) or not others:
        return own[turn % len(own)]
    return others[(lot(order.seed, "seed", cell.name) + turn) % len(others)]


def _neighbours(curriculum: Curriculum, cell: Cell) -> tuple[list[str], list[str]]:
    """The topics of the same unit that come before, and the units of the same subject that do."""
    for subject in curriculum.subjects:
        if subject.name == cell.subject:
            names = [unit.name for unit in subject.unit]
            at = names.index(cell.unit)
            topics = [topic.name for topic in subject.unit[at].topics]
            return topics[: topics.index(cell.topic.name)], names[:at]
    return [], []


def _marked(text: str) -> str:
    """A text between two lines that hold a mark which is not in it, so that nothing in it can end it."""
    count = 0
    while (mark := hashlib.sha256(f"{count}\n{text}".encode("utf-8", "replace")).hexdigest()[:16]) in text:
        count += 1  # the text would have to hold its own hash
    return f"-- document {mark} --\n{text}\n-- end of document {mark} --"


@dataclass(frozen=True, slots=True)
class Request:
    """A row of a plan."""

    number: int
    slot: int
    is_spare: bool
    cell: str
    curriculum: str
    subject: str
    unit: str
    topic: str
    audience: str
    kind: str
    template: str
    style: str
    nouns: list[str]
    verbs: list[str]
    adjectives: list[str]
    features: list[str]
    seed_id: str | None
    seed_source: str | None
    seed_uri: str | None
    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    checks: str


class Plan:
    """The rows of a plan, each made when it is asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        small = table.select(["slot", "round", "cell", "kind", "unit", "subject", "topic"])
        shared: dict[Any, Any] = {}  # the same name on many rows is one object
        self.columns: dict[str, list[Any]] = {
            name: [shared.setdefault(value, value) for value in small[name].to_pylist()] for name in small.column_names
        }
        self.slots: dict[int, list[int]] = {}
        for row, slot in enumerate(self.columns["slot"]):
            self.slots.setdefault(slot, []).append(row)

    def __len__(self) -> int:
        """How many requests there are."""
        return len(self.columns["slot"])

    @property
    def table(self) -> pa.Table:
        """All of it."""
        return self._table

    def request(self, row: int) -> Request:
        """The request in a row."""
        values = self._table.slice(row, 1).to_pylist()[0]
        messages = tuple((one["role"], one["content"]) for one in values.pop("messages"))
        for name in ("round", "tokens", "seed_text"):
            del values[name]
        return Request(**values, messages=messages)


def read(file: Path | BinaryIO, name: str = "") -> Plan:
    """The plan in a file that `plan` was saved to; `UsageError` where it is none."""
    try:
        with pq.ParquetFile(file) as parquet:
            table = parquet.read()
            table = table.select(schema.PLAN.names).cast(schema.PLAN)
        _refuse_damage(table)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, AttributeError, re.error) as error:
        message = f"{name or file}: no plan of `curate textbooks plan`: {' '.join(str(error).split())[:200]}"
        raise UsageError(message, remedy="make one: curate textbooks plan RECIPE --curriculum …") from error
    return Plan(table)


def _refuse_damage(table: pa.Table) -> None:
    """Raise `ValueError`, or what the value raises, for a table that nobody planned."""
    for field_ in schema.PLAN:
        if not field_.nullable and table[field_.name].null_count:
            raise ValueError(f"{field_.name} is null")
    for value in pc.unique(table["checks"]).to_pylist():
        checks = json.loads(value)
        for pattern in checks.pop("patterns").values():
            re.compile(pattern)
        Checks.model_validate(checks)
