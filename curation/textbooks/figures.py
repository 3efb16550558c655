"""What became of plans: what was asked, taken and paid, how hard it is to read, and how fast it came."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from curation import schema
from curation.dataset import Dataset
from curation.endpoint.service import UNIT
from curation.storage import open_storage
from curation.textbooks import writing
from curation.textbooks.diversity import diversity
from curation.textbooks.readability import grade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from curation.endpoint.service import Answer
    from curation.textbooks.checking import Checker
    from curation.textbooks.planning import Plan
    from curation.textbooks.writing import Asked, Judged

#: Seconds below which no model answers: such lines of a ledger are of batches, which come all at once.
_AT_ONCE = 0.002


def written(
    plan: Plan, model: str, answers: Callable[[list[Asked]], list[Answer | None]], checker: Checker
) -> dict[str, Any]:
    """The figures of a plan, as far as there are answers: by kind, by audience, and over all texts that were taken."""
    judged = list(writing.walk(writing.Writing(plan, checker), answers))
    taken = [one for one in judged if one.reason is None]
    return {
        "wanted": len(plan.slots), "accepted": len(taken),
        "kinds": {kind: _kind(model, of_kind) for kind, of_kind in _by(judged, "kind")},
        "audiences": {
            audience: {"texts": len(of_it), "grade": grade(one.text.text for one in of_it)}
            for audience, of_it in _by(taken, "audience")
        },
        "diversity": asdict(diversity([one.text.text for one in taken])),
    }  # fmt: skip


def _by(judged: Iterable[Judged], name: str) -> list[tuple[str, list[Judged]]]:
    found: dict[str, list[Judged]] = {}
    for one in judged:
        found.setdefault(getattr(one.asked.request, name), []).append(one)
    return sorted(found.items())


def _kind(model: str, judged: list[Judged]) -> dict[str, Any]:
    taken = [one for one in judged if one.reason is None]
    money = sum(one.answer.cost.money for one in judged) / UNIT
    tokens = sum(one.answer.cost.output_tokens for one in taken)
    return {
        "model": model, "templates": sorted({one.asked.request.template for one in judged}),
        "answers": len(judged), "accepted": len(taken), "accept_rate": round(len(taken) / len(judged), 4),
        "refused": dict(sorted(Counter(one.reason for one in judged if one.reason is not None).items())),
        "tokens": tokens, "cost": money,
        "cost_per_million_tokens": round(money / tokens * 10**6, 4) if tokens else None,
    }  # fmt: skip


def pace(ledger: Path, model: str) -> float | None:
    """Tokens of answers that a model gave in an hour, over the runs that a ledger has; None where it has none."""
    parts = Dataset(open_storage(str(ledger.parent)), ledger.name, schema.LEDGER)
    tokens, seconds = 0, 0.0
    for part in parts.parts() if ledger.is_dir() else []:
        if part.source != "answers":
            continue
        table = parts.read(part, ["model", "reserved_at", "settled_at", "answer", "output_tokens"])
        table = table.filter(pc.and_(pc.equal(table["model"], model), pc.is_valid(table["answer"])))
        took = pc.divide(pc.microseconds_between(table["reserved_at"], table["settled_at"]), 1e6)
        table = table.filter(pc.greater(took, _AT_ONCE))
        if table.num_rows:
            tokens += pc.sum(table["output_tokens"]).as_py()
            seconds += (pc.max(table["settled_at"]).as_py() - pc.min(table["reserved_at"]).as_py()).total_seconds()
    return tokens / seconds * 3600 if tokens and seconds else None
