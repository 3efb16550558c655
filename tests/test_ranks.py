"""`education_rank`, and classifiers under names of a recipe's own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import model as models
from curation.corpus.ranks import merged, shares_below
from curation.errors import RecipeError, UsageError
from curation.explain import explain
from curation.query import open_views
from curation.recipe import load
from curation.signals import load_signals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from curation.run import Run

GOOD = "The theory explains why energy is conserved, because each force has an equal and opposite one."
BAD = "Click here now to win cash, buy cheap offers, subscribe and log in to your account today."
TEXTS = [
    " ".join([GOOD] * good + [BAD] * bad) for good, bad in ((9, 0), (5, 2), (3, 3), (2, 5), (0, 9), (1, 8), (0, 9))
]
ON = "[dedup]\nenabled = false\n[signals.education]\nenabled = true\n"


def rows(texts: list[str]) -> list[dict[str, Any]]:
    """Documents with these texts, each at its own place."""
    return [{"text": text, "url": f"https://a.example/{number}"} for number, text in enumerate(texts)]


@given(st.lists(st.integers(0, 5), max_size=30), st.lists(st.integers(0, 5), max_size=30))
def test_the_rank_is_the_share_that_scores_less(first: list[int], second: list[int]) -> None:
    """Counted in two parts as by the plain definition, rounded down to four digits."""
    every = first + second
    parts = [np.unique(np.array(part, np.float32), return_counts=True) for part in (first, second)]
    values, counts = merged([(found, number.astype(np.int64)) for found, number in parts])
    assert values.tolist() == sorted(set(every))
    expected = [10_000 * sum(one < value for one in every) // max(1, len(every)) / 10_000 for value in values]
    assert shares_below(counts).tolist() == pytest.approx(expected)


def test_a_rule_keeps_the_top_of_the_corpus(tiny: Callable[..., Run]) -> None:
    """`education_rank < 0.7` leaves three of ten; documents without text are no part of the corpus that is ranked."""
    texts = [" ".join([GOOD] * number + [BAD] * (10 - number)) for number in range(10)]
    documents = [*rows(texts), {"text": "", "url": "https://a.example/none"}]
    run = tiny({"web": documents}, f'{ON}[rules]\nnot_the_best = "education_rank < 0.7"', bare=False, until="judge")
    assert run.figures["judge"]["rules"]["not_the_best"] == 7
    found = open_views(run.recipe).execute(
        "select education_rank, education_score from corpus where byte_count > 0 order by education_score"
    ).fetchall()  # fmt: skip
    scores = [score for _, score in found]
    expected = [10_000 * sum(one < score for one in scores) // 10 / 10_000 for score in scores]
    assert [rank for rank, _ in found] == pytest.approx(expected)


def test_a_new_document_changes_the_ranks_of_all(tiny: Callable[..., Run]) -> None:
    """Ranks are made anew where the corpus changed, scores only for what is new; explain tells the rank."""
    more = f'{ON}[rules]\nnot_the_best = "education_rank < 0.5"'
    before = tiny({"web": rows(TEXTS[:4])}, more, bare=False, until="judge")
    ask = "select uri, education_rank from corpus where source = 'web' order by uri"
    first = dict(open_views(before.recipe).execute(ask).fetchall())
    after = tiny({"web": rows(TEXTS[:4]), "more": rows([GOOD * 20] * 6)}, more, bare=False, until="judge")
    second = dict(open_views(after.recipe).execute(ask).fetchall())
    assert after.figures["measure"]["rows"] == 6
    assert first.keys() == second.keys()
    assert all(second[uri] <= first[uri] for uri in first)
    assert second != first
    (document,) = open_views(after.recipe).execute("select id from corpus order by education_rank limit 1").fetchone()
    (told,) = explain(after.recipe, document)
    assert told.signals["corpus"]["education_rank"] == 0
    assert told.hits[0].values == {"education_rank": 0}


def test_classifiers_have_names(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Several models at once, each with its score and rank; rules use them together; paths start at the recipe."""
    shutil.copy(models.DEFAULT, tmp_path / "own.bin")
    more = (
        f'{ON}[signals.finance]\nmodel = "own.bin"\n[signals.plant-care]\nmodel = "default"\n'
        '[rules]\nneither = "education_score < 2.5 and finance_rank < 0.5 and plant_care_score < 2.5"'
    )
    run = tiny({"web": rows(TEXTS)}, more, bare=False, until="judge")
    found = open_views(run.recipe).execute(
        "select education_score, finance_score, plant_care_score, education_rank, finance_rank, plant_care_rank "
        "from corpus"
    ).fetchall()  # fmt: skip
    assert len(found) == len(TEXTS)
    assert all(row[0] == row[1] == row[2] and row[3] == row[4] == row[5] for row in found)
    assert 0 < run.figures["judge"]["rules"]["neither"] < len(TEXTS)
    signals = load_signals(run.recipe)
    assert models.digest(models.DEFAULT)[:16] in str(signals["finance"].VERSION)


@pytest.mark.parametrize(
    ("more", "error", "told"),
    [
        ("[signals.finance]\nmodle = 'x'", RecipeError, "signals: unknown signal"),
        ("[signals.finance]\nmodel = 'default'\nrate = 2", RecipeError, "signals.finance.rate: Extra inputs"),
        ("[signals.finance]\nmodel = 'none.bin'", UsageError, r"none\.bin: there is no such model"),
        ("[signals.language]\nmodel = 'default'", RecipeError, "signals.language: unknown key 'model'"),
        ("[signals.a-b]\nmodel = 'default'\n[signals.a_b]\nmodel = 'default'", RecipeError, "its column 'a_b_score'"),
    ],
)
def test_a_wrong_classifier_is_said(tmp_path: Path, more: str, error: type[Exception], told: str) -> None:
    """A key that is none, a model that is not there, a name that is taken."""
    source = '[[source]]\nname = "a"\nkind = "jsonl"\npaths = ["a.jsonl"]\n'
    (tmp_path / "recipe.toml").write_text(f'name = "tiny"\n{source}{more}\n')
    with pytest.raises(error, match=told):
        load_signals(load(tmp_path / "recipe.toml", ()))
