"""Plans of textbooks (`curate textbooks plan`): a document for each answer of a model that was accepted.

`offset` is the number of the answer in the order in which answers are judged. Answers that are refused are no
documents; they are counted as `KIND: REASON`. Where documents that the plan wants will not come, one row with `error`
says how many and why. Reading goes on from any place by walking over the ledger again, which costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from curation.errors import UsageError
from curation.sources.record import Record, Skipped
from curation.textbooks import checking, planning, writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.endpoint.service import Service
    from curation.recipe import Extract, Source
    from curation.textbooks.asking import Asking
    from curation.textbooks.checking import Acceptance
    from curation.textbooks.writing import Judged, Writing

VERSION = 1
WHOLE_FILES = False
#: What is read is asked of the source's endpoint.
ASKS = True


def made_from(service: Service, acceptance: Acceptance) -> list[Any]:
    """What decides the documents besides plan and ledger: the model, what is taken, a budget that ends the work.

    Which servers there are is nothing to them.
    """
    prices = [service.input_price, service.output_price] if service.budget is not None or service.budgets else []
    limits = [service.budget, service.budget_requests, service.budget_tokens, sorted(service.budgets.items())]
    return [
        writing.VERSION, checking.VERSION, checking.measured_by(), service.model, service.parameters,
        service.tokens_parameter, limits, prices, acceptance.made_from,
    ]  # fmt: skip


def read(
    stream: BinaryIO, name: str, start: int, source: Source, extract: Extract, asking: Asking | None = None,
    acceptance: Acceptance | None = None,
) -> Iterator[Record | Skipped]:  # fmt: skip
    """The documents of a plan from an answer on; without an endpoint to ask there are none."""
    del source, extract
    try:
        plan = planning.read(stream, name)
    except UsageError as error:
        if start == 0:
            yield Record(offset=0, end=1, error=error.message, type="damaged")
        return
    if asking is None:
        return
    number = 0
    asking.progress.start("write", len(plan.slots), "documents")
    with asking, (acceptance or checking.Acceptance()).checker(asking.folder) as checker:
        state = writing.Writing(plan, checker)
        for judged in writing.walk(state, asking.answers):
            asking.progress.advance(judged.reason is None)
            if number >= start:
                yield _record(number, judged, asking)
            number += 1
    asking.progress.stop()
    if state.missing and asking.asks and number >= start:
        yield Record(offset=number, end=number + 1, error=_missing(state, asking), type="missing")


def _record(number: int, judged: Judged, asking: Asking) -> Record | Skipped:
    request = judged.asked.request
    if judged.reason is not None:
        return Skipped(offset=number, end=number + 1, type=f"{request.kind}: {judged.reason}")
    service, cost = asking.service, judged.answer.cost
    key = asking.key(judged.asked)
    meta = {
        "kind": request.kind, "curriculum": request.curriculum, "subject": request.subject, "unit": request.unit,
        "topic": request.topic, "audience": request.audience, "style": request.style, "cell": request.cell,
        "nouns": request.nouns, "verbs": request.verbs, "adjectives": request.adjectives, "features": request.features,
        "written_from": [request.seed_id] if request.seed_id else [], "seed_source": request.seed_source,
        "seed_uri": request.seed_uri,
        "template": request.template, "request": request.number, "is_rewritten": judged.asked.rewrites is not None,
        "model": service.model, "sampling": service.parameters, "max_tokens": request.max_tokens, "key": key,
        "input_tokens": cost.input_tokens, "output_tokens": cost.output_tokens,
    }  # fmt: skip
    return Record(
        offset=number, end=number + 1, text=judged.text.text, title=judged.text.title, meta=meta, type=request.kind,
        origin=f"prompt:{key}",
    )  # fmt: skip


def _missing(state: Writing, asking: Asking) -> str:
    wanted = len(state.plan.slots)
    message = f"{state.missing:,} of {wanted:,} documents are missing: "
    if asking.out_of_budget:
        said = dict.fromkeys(error.message for _, error in sorted(asking.out_of_budget.items()))
        return message + "; ".join(said)
    refused = ", ".join(f"{kind} {reason} {count:,}" for (kind, reason), count in sorted(state.reasons.items()))
    return f"{message}all requests of the plan were made; refused answers: {refused}"
