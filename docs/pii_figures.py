"""How well the signal `pii` does on tests/cases/pii_labelled.jsonl: the table of docs/signals.md, and what tests hold it to."""  # noqa: INP001, E501

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from curation.signals import pii
from curation.signals.batch import Batch

LABELLED = Path(__file__).parent.parent / "tests" / "cases" / "pii_labelled.jsonl"


def figures() -> dict[str, tuple[int, int, int]]:
    """By kind how many labelled spans are found, found spans are not labelled, and labelled spans are missed."""
    cases = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    answer = pii.measure(Batch(pa.array([case["text"] for case in cases], pa.string())))
    places: dict[str, list[set[tuple[int, int, int]]]] = {
        name.removesuffix("_count"): [set(), set()] for name in pii.COLUMNS if name != "pii"
    }
    for row, (case, spans) in enumerate(zip(cases, answer["pii"].to_pylist(), strict=True)):
        raw = case["text"].encode()
        for kind, start, end in case["entities"]:
            places[kind][0].add((row, start, end))
        for span in spans:
            kind = pii.kind_of(raw[span["start"] : span["end"]].decode())
            places["ip" if kind.startswith("ip") else kind][1].add((row, span["start"], span["end"]))
    return {
        kind: (len(wanted & found), len(found - wanted), len(wanted - found))
        for kind, (wanted, found) in places.items()
    }


def table() -> str:
    """The figures as Markdown."""
    cases = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    lookalikes = sum(len(case["lookalikes"]) for case in cases)
    rows = [
        f"| {kind} | {right + missed} | {right} | {wrong} "
        f"| {right / (right + wrong):.3f} | {right / (right + missed):.3f} |"
        for kind, (right, wrong, missed) in figures().items()
    ]
    head = ["| kind | labelled | found | found wrongly | precision | recall |", "|---|--:|--:|--:|--:|--:|"]
    return "\n".join([*head, *rows, "", f"{len(cases)} texts with {lookalikes} labelled look-alikes."])
