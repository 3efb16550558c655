"""Golden documents: which rules of which preset drop a text, from its words to the verdict, worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from curation import rules as ruling
from curation.schema import SPANS
from curation.signals import SIGNALS, url
from curation.signals.batch import Batch

CASES = [
    json.loads(line) for line in (Path(__file__).parent / "cases" / "presets.jsonl").read_text("utf-8").splitlines()
]
MEASURED = [module for module in SIGNALS if module.__name__.startswith("curation.signals.") and module is not url]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_document(case: dict[str, Any]) -> None:
    """Each preset drops the document by these rules and by no other; a preset that is not named keeps it."""
    batch = Batch(pa.array([case["text"]]))
    row: dict[str, pa.Array] = {}
    for signal in MEASURED:
        if not hasattr(signal, "Settings"):
            answers = signal.measure(batch)
            row |= {name: pa.array(answers[name]).cast(kind) for name, kind in signal.COLUMNS.items() if kind != SPANS}
    connection = duckdb.connect()
    connection.register("row", pa.table(row))
    found = {}
    for label, preset in ruling.presets().items():
        hits = connection.execute(
            f"SELECT {', '.join(f'({rule})' for rule in preset.rules.values())} FROM row"
        ).fetchone()
        assert hits is not None
        found[label] = [name for name, hit in zip(preset.rules, hits, strict=True) if hit]
    assert {label: names for label, names in found.items() if names} == case["expect"]


def test_there_are_cases_enough() -> None:
    """Every preset drops a document of some case and keeps one of another, and names its source."""
    assert len(CASES) >= 20
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert {case["kind"] for case in CASES} == {"wild", "negative", "synthetic"}
    for label, preset in ruling.presets().items():
        dropped = [label in case["expect"] for case in CASES]
        assert any(dropped), label
        assert not all(dropped), label
        assert len(preset.source) > 20, label
