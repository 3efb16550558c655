"""Labels by a language model: a grade and a reason for each sampled document, or why there is none."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.labels import HIGHEST
from classifiers.rubric import UnusableError, is_refusal
from curation import schema
from curation.endpoint.client import UnansweredError
from curation.endpoint.service import UNIT, Cost, Request
from curation.errors import CurationError, EndpointError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

    from classifiers.rubric import Document, Grade, Rubric
    from curation.endpoint.client import Endpoint
    from curation.endpoint.service import Answer, Service

Ask: TypeAlias = "Callable[[Request], Awaitable[Answer]]"

#: Requests in a row without an answer after which no more are sent.
ENOUGH = 20

REFUSED, UNUSABLE, UNANSWERED = "refused", "unusable", "unanswered"
#: A person passed the document over.
SKIPPED = "skipped"


async def label(
    documents: list[Document], rubric: Rubric, endpoint: Endpoint, strategy: str, advance: Callable[[], None]
) -> tuple[list[dict[str, Any]], CurationError | None]:
    """Rows of `schema.LABELS` in the order of the documents, and the error that ended the work before its end.

    What is under way then comes to its end, so that nothing is paid for nothing, and what the ledger knows has its row
    all the same. `advance` is called for each row.
    """
    rows: dict[int, dict[str, Any]] = {}
    waiting = iter(enumerate(documents))
    failed: list[CurationError] = []
    unanswered = 0

    async def work() -> None:
        nonlocal unanswered
        for number, document in waiting:
            try:
                rows[number] = await _labelled(document, rubric, endpoint, strategy, endpoint.ask)
                unanswered = 0 if rows[number]["answer"] is not None else unanswered + 1
                if unanswered >= ENOUGH:
                    raise EndpointError(
                        f"{endpoint.service.urls}: {unanswered} documents in a row got no answer; the last: "
                        f"{rows[number]['error']}",
                        remedy="see that the server is well, and run the same command again: nothing is asked twice",
                    )
            except CurationError as error:
                failed.append(error)
            if failed:
                return
            advance()

    await asyncio.gather(*(work() for _ in range(min(endpoint.service.concurrency, len(documents)))))
    for number, document in enumerate(documents) if failed else ():
        if number not in rows:
            with suppress(_UnknownError):
                rows[number] = await _labelled(document, rubric, endpoint, strategy, _from_ledger(endpoint))
    return [rows[number] for number in sorted(rows)], failed[0] if failed else None


class _UnknownError(Exception):
    """The ledger has no answer."""


def _from_ledger(endpoint: Endpoint) -> Ask:
    async def ask(request: Request) -> Answer:
        if (known := endpoint.known(request)) is None:
            raise _UnknownError
        return known

    return ask


async def _labelled(document: Document, rubric: Rubric, endpoint: Endpoint, strategy: str, ask: Ask) -> dict[str, Any]:
    messages = rubric.messages(document)
    cost = Cost()
    answer: Answer | None = None
    grade: Grade | None = None
    error: str | None = None
    try:
        for more in (True, False):
            answer = await ask(Request(messages, rubric.max_tokens, kind="label"))
            cost += answer.cost
            if is_refusal(answer.text, answer.finish_reason):
                error = f"{REFUSED}: {_line(answer.text)}"
                break
            try:
                grade, error = rubric.read(answer.text), None
                break
            except UnusableError as fault:
                was_cut = f"it was cut at {rubric.max_tokens} tokens" if answer.finish_reason == "length" else ""
                fault = UnusableError(was_cut) if was_cut else fault  # what the model should know
                error = f"{UNUSABLE}: {fault}"
                if more:
                    messages += rubric.repair(answer.text, fault)
    except UnansweredError as unanswered:
        error = f"{UNANSWERED}: {unanswered.message}"
    return {
        "id": document.id, "source": document.source, "uri": document.uri, "group": document.group,
        "text": document.text, "label": grade and grade.score, "points": grade and json.dumps(grade.points),
        "reason": grade and grade.reason, "error": error, "answer": answer and answer.text, "score": document.score,
        "strategy": strategy, **made_by(rubric, endpoint.service), "input_tokens": cost.input_tokens,
        "output_tokens": cost.output_tokens, "cost": cost.money / UNIT,
    }  # fmt: skip


def made_by(rubric: Rubric, service: Service) -> dict[str, str]:
    """What decides labels besides the documents, as it stands in each row."""
    parameters = json.dumps(service.parameters, sort_keys=True)
    return {"model": service.model, "parameters": parameters, "rubric": rubric.label, "rubric_sha256": rubric.sha256}


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as they are written."""
    return pa.Table.from_pylist(rows, schema.LABELS)


def read(path: Path) -> pa.Table:
    """The labels in a file that `table` was written to, without their texts; `UsageError` where it is none."""
    names = [name for name in schema.LABELS.names if name not in ("text", "answer")]
    try:
        with pq.ParquetFile(path) as file:
            if missing := [name for name in names if name not in file.schema_arrow.names]:
                raise UsageError(
                    f"{path}: no labels of `curate classifier label`: it has no column {missing[0]}",
                    remedy="name another file",
                )
            return file.read(columns=names)
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(f"{path}: cannot be read as labels: {error}", remedy="name another file") from error


def grades(labels: pa.Table) -> dict[str, int]:
    """The grade of each document that has one."""
    return {row["id"]: row["label"] for row in _rows(labels, "id", "label") if row["label"] is not None}


def counts(labels: pa.Table, threshold: float) -> dict[str, Any]:
    """How many documents got each grade, how many got none and why, and how many are good and bad for training."""
    found = grades(labels).values()
    without = dict.fromkeys((REFUSED, UNUSABLE, UNANSWERED), 0)
    for row in _rows(labels, "error"):
        if row["error"] is not None:
            why = row["error"].partition(":")[0]
            without[why] = without.get(why, 0) + 1
    good = sum(grade >= threshold for grade in found)
    by_grade = Counter(found)
    return {
        "grades": {grade: by_grade[grade] for grade in range(HIGHEST + 1)}, "without": without, "good": good,
        "bad": len(found) - good,
    }  # fmt: skip


def refuse_loss(path: Path, ids: Iterable[str], made: dict[str, str]) -> None:
    """Raise `UsageError` where a file is there whose labels would be lost by writing those of these documents to it."""
    if not path.exists():
        return
    there = read(path)
    refuse_other(there, path, made)
    lost = grades(there).keys() - set(ids)
    if lost:
        raise UsageError(
            f"{path}: holds labels of {len(lost):,} documents that would be lost, since this run has none for them",
            remedy="name another file with --to; training takes several",
        )


def refuse_other(labels: pa.Table, path: Path, made: dict[str, str]) -> None:
    """Raise `UsageError` where labels of a file were made by something or somebody else."""
    for row in _rows(labels, *made):
        for name, value in made.items():
            if row[name] != value:
                raise UsageError(
                    f"{path}: holds labels by another {name.removesuffix('_sha256')}, {row[name]}",
                    remedy="name another file with --to; --compare tells how far the two agree",
                )


def _rows(labels: pa.Table, *names: str) -> Iterator[dict[str, Any]]:
    yield from labels.select(list(names)).to_pylist()


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}…"
