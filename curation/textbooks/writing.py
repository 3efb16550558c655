"""Walking over a plan: which requests are due, which answers are taken, and what comes in place of the others.

It goes in rounds. In a round every slot that is due asks its next request; when all answers are there they are judged
in the order of the slots. So what is taken depends on the plan and the answers, not on which of them came first.

A refused answer is made good by a correction of the same one (once, where its kind says so for the reason), then by
the spare requests of its slot, and when those are used up and all else is done, by what is left of the same cell, then
of cells ever further away.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curation.endpoint import service
from curation.textbooks.checking import Checker, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from curation.endpoint.service import Answer
    from curation.textbooks.checking import Text
    from curation.textbooks.planning import Plan, Request

#: Raised when the same plan and answers give other documents.
VERSION = 1
#: Where a slot looks for a request that is left: what must be the same, ever less.
_NEAR = (
    ("subject", "unit", "topic", "cell"), ("subject", "unit", "topic", "kind"), ("subject", "unit", "topic"),
    ("subject", "unit", "kind"), ("subject", "unit"), ("subject", "kind"), ("subject",), ("kind",), (),
)  # fmt: skip

_CORRECT = "That cannot be used: {fault}. Write the whole text again, with that put right, and nothing else."
_SAID = {
    "cut_off": "it was longer than {max_tokens} tokens and so was cut off",
    "echoed": "it repeats what you were told",
    "too_short": "it is too short",
    "too_long": "it is too long",
    "wrong_form": "it has not all the parts that were asked for, under the headings that were asked for",
    "broken_code": "its code is not valid Python",
    "wrong_exercise": "the exercise must be a function with a docstring and no body but `...`, the solution must "
    "define it under the same name with the same parameters, and the tests must assert something and call it",
    "looped": "it repeats itself",
    "missing_words": "it does not use all of the words that were asked for",
    "missing_features": "it has not all of the features that were asked for",
    "forbidden_calls": "its code touches files, the network or other processes",
    "over_limits": "its code takes too long, or too much memory",
    "failed_tests": "its solution fails its own tests or the examples in the docstring",
    "idle_tests": "its tests pass without the solution too",
    "common_opening": "it begins like many others; begin in quite another way",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is due; `rewrites` is the answer that it corrects, `turn` tells it from others of its round."""

    request: Request
    messages: tuple[tuple[str, str], ...]
    rewrites: str | None = None

    @property
    def sent(self) -> service.Request:
        """What goes to the endpoint."""
        return service.Request(self.messages, self.request.max_tokens, self.request.kind)


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer, what became of it, and why it was not taken."""

    asked: Asked
    answer: Answer
    text: Text
    reason: str | None


@dataclass
class _Slot:
    """A document that is wanted: the rows that are left for it, and the request that comes next."""

    rows: deque[int]
    next: Asked | None = None


@dataclass
class Writing:
    """The state of a walk. `missing` counts the documents that will not come, and `reasons` the answers refused."""

    plan: Plan
    checker: Checker = field(default_factory=Checker)
    accepted: int = 0
    missing: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    _slots: dict[int, _Slot] = field(default_factory=dict)
    _due: list[int] = field(default_factory=list)
    _short: list[int] = field(default_factory=list)
    _fresh: deque[int] = field(default_factory=deque)
    _left: list[dict[tuple[str, ...], deque[int]]] | None = None
    _taken: set[int] = field(default_factory=set)
    _unpaid: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._fresh.extend(self.plan.slots)

    def due(self) -> list[Asked]:
        """The requests of the next round, in the order of their slots; none where all is done."""
        while True:
            if self._fresh:
                self._begin_round()
            elif not self._due:
                self._due = self._helped()
            self._due = self._paid(self._due)
            if self._due or not (self._fresh or self._short):
                return [self._next(slot) for slot in self._due]

    def judge(self, asked: Sequence[Asked], answers: Sequence[Answer | None]) -> Iterator[Judged]:
        """What becomes of the answers to a round.

        One that will not come, since it cannot be paid, is None: then no more of its kind is asked for.
        """
        slots, self._due = self._due, []
        texts = [parsed(answer.text if answer else "") for answer in answers]
        requests = [one.request for one in asked]
        reasons = self.checker.faults(requests, answers, texts)
        for slot, one, answer, text, reason in zip(slots, asked, answers, texts, reasons, strict=True):
            if answer is None:
                self._slots.pop(slot)
                self.missing += 1
                self._unpaid.add(one.request.kind)
                continue
            if reason is None:
                self.accepted += 1
                self._slots[slot].next = None
            else:
                self.reasons[one.request.kind, reason] += 1
                self._again(slot, one, text, reason)
            yield Judged(one, answer, text, reason)

    def _begin_round(self) -> None:
        """Let the slots of the next round of the plan be due too."""
        first, rounds = self.plan.slots, self.plan.columns["round"]
        current = rounds[first[self._fresh[0]][0]]
        while self._fresh and rounds[first[self._fresh[0]][0]] == current:
            slot = self._fresh.popleft()
            self._slots[slot] = _Slot(deque(first[slot]))
            self._due.append(slot)

    def _paid(self, due: list[int]) -> list[int]:
        """Those of these slots that ask for a kind there is money for; the others are missing."""
        if not self._unpaid:
            return sorted(due)
        paid = [slot for slot in sorted(due) if self._kind(slot) not in self._unpaid]
        self.missing += len(due) - len(paid)
        return paid

    def _kind(self, slot: int) -> str:
        """The kind of text that a slot asks for next."""
        state = self._slots[slot]
        if state.next is not None:
            return state.next.request.kind
        return str(self.plan.columns["kind"][state.rows[0]])

    def _next(self, slot: int) -> Asked:
        state = self._slots[slot]
        if state.next is None:
            request = self.plan.request(state.rows.popleft())
            state.next = Asked(request, request.messages)
        return state.next

    def _again(self, slot: int, asked: Asked, text: Text, reason: str) -> None:
        """What a slot asks after a refused answer."""
        state = self._slots[slot]
        state.next = None
        if asked.rewrites is None and reason in _SAID and reason in json.loads(asked.request.checks)["rewrite"]:
            said = _CORRECT.format(fault=_SAID[reason].format(max_tokens=asked.request.max_tokens))
            messages = (*asked.request.messages, ("assistant", text.text or "(nothing)"), ("user", said))
            state.next = Asked(asked.request, messages, text.text)
        if state.next is not None or state.rows:
            self._due.append(slot)
        else:
            self._short.append(slot)

    def _helped(self) -> list[int]:
        """The slots without a request of their own that found one elsewhere; the others are missing."""
        helped = []
        for slot in sorted(self._short):
            row = self._spare(slot)
            if row is None:
                self.missing += 1
            else:
                self._slots[slot].rows.append(row)
                helped.append(slot)
        self._short = []
        return helped

    def _spare(self, slot: int) -> int | None:
        """A row that no other slot needs, of the nearest cell that has one."""
        if self._left is None:
            self._left = [{} for _ in _NEAR]
            for row in sorted(row for state in self._slots.values() for row in state.rows):
                for level, names in enumerate(_NEAR):
                    self._left[level].setdefault(self._place(row, names), deque()).append(row)
        first = self.plan.slots[slot][0]
        for level, names in enumerate(_NEAR):
            rows = self._left[level].get(self._place(first, names), deque())
            while rows:
                row = rows.popleft()
                if row not in self._taken and self.plan.columns["kind"][row] not in self._unpaid:
                    self._taken.add(row)
                    return row
        return None

    def _place(self, row: int, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.plan.columns[name][row] for name in names)


def walk(writing: Writing, answers_to: Callable[[list[Asked]], list[Answer | None]]) -> Iterator[Judged]:
    """Every answer that is judged, round by round, until all is done or no more can be had."""
    while asked := writing.due():
        yield from writing.judge(asked, answers_to(asked))
