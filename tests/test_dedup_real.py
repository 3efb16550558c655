"""Deduplication of 5,000 real documents, and of real textbooks, against the similarity of all their pairs."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain.shingles import grams, jaccard, similarities

from curation import kernels
from curation.compare import pair_parts
from curation.dedup.signatures import SEED, probability
from curation.recipe import Dedup
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from curation.run import Run

pytestmark = pytest.mark.data

DEFAULT = Dedup()
DOCUMENTS = 5_000
#: Bounds of the classes in which pairs are counted.
BOUNDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.01)
#: Sets of permutations over which recall is averaged: documents of one mould agree or differ together, so that the
#: pairs of one set say little.
SEEDS = 100
#: Three standard errors of a similarity of 0.75 that is estimated from about a hundred values.
THREE_ERRORS = 0.13


class Truth(NamedTuple):
    """Documents, their shingles, and the Jaccard similarity of every pair that has 0.3 or more, by places."""

    texts: list[str]
    sets: list[frozenset[str]]
    similar: dict[tuple[int, int], float]


@pytest.fixture(scope="module")
def mixed(data: Path) -> Truth:
    """5,000 documents of all sources; those whose ids end alike, editions of a page, are taken together."""
    rows = duckdb.execute(f"""
        SELECT text FROM '{data / "bench" / "text-mixed.parquet"}'
        ORDER BY md5(regexp_extract(id, '[^/]*$')), id LIMIT {DOCUMENTS}
    """).fetchall()
    texts = [text for (text,) in rows]
    sets = [grams(text, DEFAULT.ngram) for text in texts]
    return Truth(texts, sets, similarities(sets, BOUNDS[0]))


@pytest.fixture(scope="module")
def textbooks(data: Path) -> Truth:
    """The textbook modules that stand in the list of near-duplicates, and what our own shingles say of its pairs."""
    with gzip.open(data / "textbooks" / "near-duplicate-pairs.jsonl.gz", "rt") as lines:
        known = [json.loads(line) for line in lines]
    table = pq.read_table(data / "textbooks" / "openstax.parquet", columns=["id", "text"]).to_pydict()
    text_of = dict(zip(table["id"], table["text"], strict=True))
    names = sorted({pair[side] for pair in known for side in "ab"})
    sets = [grams(text_of[name], DEFAULT.ngram) for name in names]
    pairs = [tuple(sorted((names.index(pair["a"]), names.index(pair["b"])))) for pair in known]
    return Truth([text_of[name] for name in names], sets, {(a, b): jaccard(sets[a], sets[b]) for a, b in pairs})


def recalls(truth: Truth) -> list[tuple[float, int, float, float, float]]:
    """For each class of pairs its least similarity, their number, the recall promised, that found, and its error."""
    places = np.array(list(truth.similar))
    values = np.array(list(truth.similar.values()))
    involved, places = np.unique(places, return_inverse=True)
    places = places.reshape(-1, 2)
    batch = Batch(pa.array([truth.texts[place] for place in involved]))
    hashes = kernels.folding.word_hashes(batch.data, batch.bounds, batch.word_spans)
    found = np.zeros((SEEDS, len(values)), np.bool_)
    for number in range(SEEDS):
        _, bands = kernels.minhash.signatures(
            hashes, batch.word_spans.bounds, DEFAULT.ngram, DEFAULT.bands, DEFAULT.rows, SEED + number
        )
        found[number] = (bands[places[:, 0]] == bands[places[:, 1]]).any(axis=1)
    promised = np.array([probability(value, DEFAULT.bands, DEFAULT.rows) for value in values])
    classes = []
    for least, most in pairwise(BOUNDS):
        mine = (values >= least) & (values < most)
        if mine.any():
            shares = found[:, mine].mean(axis=1)
            error = max(shares.std(ddof=1), 1 / mine.sum()) / SEEDS**0.5
            classes.append((least, int(mine.sum()), float(promised[mine].mean()), float(shares.mean()), float(error)))
    return classes


@pytest.mark.parametrize("corpus", ["mixed", "textbooks"])
def test_candidates_come_as_often_as_the_curve_says(corpus: str, request: pytest.FixtureRequest) -> None:
    """In each class of similarity the recall that is promised lies in the 95 % interval of that found."""
    classes = recalls(request.getfixturevalue(corpus))
    assert sum(count for _, count, *_ in classes) >= 150
    for least, count, promised, found, error in classes:
        assert abs(promised - found) <= 1.96 * error, (least, count, promised, found, error)
    high = [(count, found) for least, count, _, found, _ in classes if least >= 0.85]
    assert sum(count * found for count, found in high) >= 0.98 * sum(count for count, _ in high) > 0


@pytest.mark.parametrize(("verify", "slack"), [("exact", 0.0), ("signature", THREE_ERRORS)])
def test_nothing_goes_that_is_not_similar(mixed: Truth, tiny: Callable[..., Run], verify: str, slack: float) -> None:
    """Whoever goes is as similar as asked to the kept one that it names; of pairs of 0.85 next to none is missed."""
    rows = [{"text": text, "uri": str(place)} for place, text in enumerate(mixed.texts)]
    settings = '[dedup]\nmax_loss = 1.0\nprefer = "word_count desc"\n'
    run = tiny({"s": rows}, settings, f'dedup.verify="{verify}"', until="judge")
    place_of = {}
    for part in run.parts:
        table = run.work.documents.read(part, ["id", "uri"])
        place_of |= dict(zip(table["id"].to_pylist(), map(int, table["uri"].to_pylist()), strict=True))
    verdicts = [row for part in run.parts for row in run.work.verdicts.read(part).to_pylist()]
    kept = {row["id"] for row in verdicts if row["keep"]}
    gone = [row for row in verdicts if row["duplicate_of"]]
    assert len(gone) >= 100
    for row in gone:
        assert row["duplicate_of"] in kept
        true = jaccard(mixed.sets[place_of[row["id"]]], mixed.sets[place_of[row["duplicate_of"]]])
        assert true >= DEFAULT.similarity - slack, (row, true)
    first = {place: place for place in place_of.values()}
    near = set()
    for part in pair_parts(run.work):
        for row in run.work.pairs.read(part).to_pylist():
            a, b = place_of[row["id_a"]], place_of[row["id_b"]]
            near.add((a, b))
            if part.source == "copies":
                first[b] = a
    groups = [(first[a], first[b]) for (a, b), value in mixed.similar.items() if value >= 0.85]
    missed = [(a, b) for a, b in groups if a != b and (a, b) not in near and (b, a) not in near]
    assert len(missed) <= 0.02 * len(groups)
