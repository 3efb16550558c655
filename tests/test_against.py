"""Copies of what stands elsewhere go: of other releases, of foreign corpora; and of what is released what stays."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_dedup import changed, jaccard, rows, words

from curation import against, pipeline
from curation.dedup import candidates
from curation.engine import LocalEngine
from curation.errors import InputError, RecipeError, ReleaseError, WipeOutError
from curation.recipe import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.run import Run

LOSING = "dedup.max_loss=1"


def write(path: Path, texts: list[str | None], **columns: list[Any]) -> None:
    """A Parquet file of texts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": pa.array(texts, pa.string()), **columns}), path)


def verdicts(run: Run) -> dict[int, dict[str, Any]]:
    """The verdict of each document by its number."""
    found = {}
    for part in run.parts:
        uris = run.work.documents.read(part, ["uri"])["uri"].to_pylist()
        for uri, row in zip(uris, run.work.verdicts.read(part).to_pylist(), strict=True):
            found[int(uri)] = row
    return found


def matches(run: Run) -> dict[int, tuple[str, str | None]]:
    """Of each document that went as a copy what it is a copy of, and in which entry that is."""
    return {number: (row["duplicate_of"], row["duplicate_in"]) for number, row in verdicts(run).items()
            if row["duplicate_of"] is not None}  # fmt: skip


# what goes


@pytest.mark.parametrize("verify", ["signature", "exact"])
def test_copies_of_what_stands_elsewhere_go_and_name_it(tiny: Callable[..., Run], tmp_path: Path, verify: str) -> None:
    """Exact and near ones, however good; the verdict names the entry as written and what the corpus calls its document."""
    random.seed(1)
    old = [words(120) for _ in range(6)]
    texts = [old[0].upper(), f"{old[1]} and a word or two more", words(120), words(30), old[2], f"{old[2]} extended"]
    texts += [f"{texts[2]} with an end"]
    write(tmp_path / "old/corpus.parquet", old[:2], id=["first", "second"], url=["https://a.example/1", None])
    write(tmp_path / "more.parquet", [*old[2:4], None, ""])
    entries = ["old", "more.parquet"]
    run = tiny(
        {"s": rows(*texts)},
        "",
        f"dedup.against={json.dumps(entries)}",
        f'dedup.verify="{verify}"',
        LOSING,
        until="judge",
    )
    found = verdicts(run)
    assert matches(run) == {
        0: ("first", "old"), 1: ("second", "old"), 2: (found[6]["id"], None), 4: ("more.parquet#0", "more.parquet"),
        5: ("more.parquet#0", "more.parquet"),
    }  # fmt: skip
    assert (found[0]["similarity"], found[4]["similarity"]) == (1, 1)
    for number, text in ((1, old[1]), (5, old[2])):
        truth = jaccard(texts[number], text)
        assert found[number]["similarity"] == pytest.approx(truth, abs=1e-6 if verify == "exact" else 0.15)
        assert truth < 1
    judged = run.figures["judge"]
    assert judged["against"] == {"old": {"s": 2}, "more.parquet": {"s": 2}}
    assert (judged["sources"]["s"]["duplicates"], judged["sources"]["s"]["kept"]) == (5, 2)
    assert run.figures["measure"]["against"]["more.parquet"]["documents"] == 4
    pairs = pa.concat_tables(run.work.pairs.read(part) for part in run.work.pairs.parts()).to_pylist()
    assert {row["against"] for row in pairs} == {None, *entries}
    assert all(row["id_b"] in {row["id"] for row in found.values()} for row in pairs)
