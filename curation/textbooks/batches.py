"""Requests and answers as files, in the form in which providers take and give batches: a JSON object a line.

A batch holds the requests of one round that the ledger lacks. When its answers are taken in, the next round is due.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from curation.endpoint import reply
from curation.endpoint.service import Answer, Cost
from curation.errors import UsageError
from curation.textbooks import writing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from curation.endpoint.service import Service
    from curation.textbooks.asking import Asking
    from curation.textbooks.checking import Checker
    from curation.textbooks.planning import Plan
    from curation.textbooks.writing import Asked

#: Where a provider sends the requests of a batch.
URL = "/v1/chat/completions"


def due(plan: Plan, asking: Asking, checker: Checker) -> dict[str, Asked]:
    """The requests of the first round that the ledger lacks, by their keys; none where the plan is carried out."""
    state = writing.Writing(plan, checker)
    while asked := state.due():
        found = asking.known(asked)
        missing = {asking.key(one): one for one, answer in zip(asked, found, strict=True) if answer is None}
        if missing:
            return missing
        for _ in state.judge(asked, found):
            pass
    return {}


def line(key: str, asked: Asked, service: Service) -> str:
    """A request as a line of a batch, without its end."""
    request = {"custom_id": key, "method": "POST", "url": URL, "body": service.body(asked.sent)}
    return json.dumps(request, ensure_ascii=False)


def most(requests: Iterable[Asked], service: Service) -> Cost:
    """The most that requests can cost."""
    return sum((service.cost(one.sent.most_input, one.sent.max_tokens) for one in requests), Cost())


@dataclass
class Taken:
    """How many answers joined the ledger, were in it, were not asked for, or were none, by why."""

    taken: int = 0
    known: int = 0
    unasked: int = 0
    failed: Counter[str] = field(default_factory=Counter)


def take(lines: Iterable[tuple[str, str]], asked: dict[str, Asked], asking: Asking) -> Taken:
    """Write the answers in these lines, each with its place, to the ledger; those that are in it stay as they are.

    A failed one stays due. Raises `UsageError` for a line that is none of a provider's.
    """
    found = Taken()
    for place, text in lines:
        if not text.strip():
            continue
        try:
            came = json.loads(text)
            key, response = came["custom_id"], came.get("response") or {}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UsageError(f"{place}: no answer of a batch", remedy="name the file of the provider") from error
        if not isinstance(key, str) or not isinstance(response, dict):
            raise UsageError(f"{place}: no answer of a batch", remedy="name the file of the provider")
        if asking.ledger.answer(key) is not None:
            found.known += 1
        elif key not in asked:
            found.unasked += 1
        elif (status := response.get("status_code")) != 200:
            found.failed[f"status {status}" if status else "no response"] += 1
        else:
            _settle(asked[key], key, response.get("body"), asking, found)
    asking.ledger.sync()
    return found


def _settle(asked: Asked, key: str, body: Any, asking: Asking, found: Taken) -> None:
    service, ledger, request = asking.service, asking.ledger, asked.sent
    try:
        came = reply.read(json.dumps(body).encode(), "application/json")
    except reply.UnreadableError as error:
        found.failed[str(error)[:60]] += 1
        return
    counts = (came.input_tokens, came.output_tokens)
    bounds = (request.most_input, request.max_tokens)
    tokens = [bound if count is None else count for count, bound in zip(counts, bounds, strict=True)]
    cost = service.cost(*tokens)
    reserved = ledger.reserve(key, service.body(request), cost, request.kind)
    ledger.settle(reserved, Answer(came.text, came.finish_reason, cost))
    found.taken += 1
