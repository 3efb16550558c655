"""Documents graded by the rubric, blind to the score, and how the shipped model's order agrees with the grades.

    CURATE_DATA=… PYTHONPATH=. python benchmarks/education/graded.py sample FOLDER    # what a grader is given
    CURATE_DATA=… PYTHONPATH=. python benchmarks/education/graded.py evaluate         # against graded.jsonl

The sample is 500 English documents of bench/text-mixed.parquet that the model was not trained on, as many of each
source, length and band of scores as there are, chosen and shuffled by a hash of their ids. A grader sees a number and
the text, up to 2,400 characters of it (of a longer one the first, middle and last 800), and neither source nor score.
`graded.jsonl` has the points given for each of the rubric's axes, how many documents of its stratum each one stood for
when it was drawn, and no text.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from classifiers import model as models
from classifiers import seen
from classifiers.evaluate import LENGTHS, evaluate
from classifiers.figures import spearman
from classifiers.labels import Labelled
from classifiers.language import identify
from classifiers.model import DEFAULT

#: Mail with its headers, in the mixed file.
MAIL = "Enron-spam train (raw mail)"
GRADES = Path(__file__).parent / "graded.jsonl"
#: Documents, those given to a grader at a time, and the characters of a text that are shown.
DOCUMENTS, TOGETHER, SHOWN = 500, 100, 2_400


def main() -> None:
    """Do what is asked."""
    asked = sys.argv[1:]
    if asked[:1] == ["sample"] and len(asked) == 2:
        write(Path(asked[1]), sample())
    elif asked == ["evaluate"]:
        print(agreement()[1])
    else:
        sys.exit(__doc__)


def sample() -> list[dict[str, Any]]:
    """The documents, in the order in which they are graded: `id`, `text`, `source` and `score` of each."""
    rows = _population()
    strata = defaultdict(list)
    for row in rows:
        strata[_stratum(row)].append(row)
    for stratum in strata.values():
        stratum.sort(key=lambda row: _hash(row["id"]))
    in_turns = [row for turn in zip_longest(*(strata[key] for key in sorted(strata))) for row in turn if row]
    return sorted(in_turns[:DOCUMENTS], key=lambda row: _hash(row["id"] + " shuffled"))


def _population() -> list[dict[str, Any]]:
    """The English documents that the model was not trained on, with what each scores."""
    rows = [row for row in _documents() if row["text"].strip() and identify(row["text"])[0] == "en"]
    known = seen.of(DEFAULT, models.digest(DEFAULT))
    if known is None:
        raise SystemExit(f"{seen.place(DEFAULT)} is missing")
    was_seen = known.has([Labelled(row["text"], 0, row["id"]) for row in rows])
    rows = [row for row, is_seen in zip(rows, was_seen.tolist(), strict=True) if not is_seen]
    scores = models.scores(DEFAULT, (row["text"] for row in rows)).tolist()
    return [{**row, "score": score} for row, score in zip(rows, scores, strict=True)]


def _stratum(row: dict[str, Any]) -> tuple[str, int, int]:
    length = int(np.searchsorted(LENGTHS, len(row["text"].split()), side="right"))
    return row["source"], length, min(int(row["score"]), 4)


def _documents() -> list[dict[str, Any]]:
    """An eighth of the file, by a hash of the ids."""
    place = Path(os.environ["CURATE_DATA"]).expanduser() / "bench" / "text-mixed.parquet"
    table = pq.read_table(place, columns=["id", "text", "source"])
    few: list[dict[str, Any]] = table.filter(
        np.array([_hash(name) % 8 == 0 for name in table["id"].to_pylist()])
    ).to_pylist()
    return few


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Files for graders: a number, and what is shown of the text; and `ids.json`, which document each number is."""
    folder.mkdir(parents=True)
    (folder / "ids.json").write_text(json.dumps([row["id"] for row in rows]), encoding="utf-8")
    for first in range(0, len(rows), TOGETHER):
        with (folder / f"{first // TOGETHER}.jsonl").open("w", encoding="utf-8") as file:
            for number, row in enumerate(rows[first : first + TOGETHER], first):
                shown = {"number": number, "text": _shown(row["text"])}
                file.write(json.dumps(shown, ensure_ascii=False) + "\n")


def _shown(text: str) -> str:
    part = SHOWN // 3
    if len(text) <= SHOWN:
        return text
    middle = (len(text) - part) // 2
    return "\n[…]\n".join((text[:part], text[middle : middle + part], text[-part:]))


def agreement() -> tuple[str, str]:
    """How far score and grade agree: two sentences for the card, and all figures."""
    given = {row["id"]: row for row in map(json.loads, GRADES.read_text(encoding="utf-8").splitlines())}
    rows = [row for row in _population() if row["id"] in given]
    weights = np.array([given[row["id"]]["stands_for"] for row in rows])
    grades = np.array([sum(given[row["id"]]["points"].values()) for row in rows], np.float64)
    scores = np.array([row["score"] for row in rows], np.float64)
    labelled = [Labelled(row["text"], grade, row["id"], row["source"]) for row, grade in zip(rows, grades, strict=True)]
    found = evaluate(DEFAULT, labelled)
    correlation, like_all = spearman(grades, scores), _weighted(grades, scores, weights)
    if correlation is None or found.roc_auc is None:
        raise SystemExit(f"{GRADES}: too few grades")
    top, others = np.argsort(-scores, kind="stable"), np.array([row["source"] != MAIL for row in rows])
    elsewhere = spearman(grades[others], scores[others]), _weighted(grades[others], scores[others], weights[others])
    lines = [
        f"{len(rows)} documents, {DEFAULT.name} {models.digest(DEFAULT)[:12]}",
        "grades: " + ", ".join(f"{grade} {(grades == grade).sum()}" for grade in range(6)),
        f"Spearman's correlation of score and grade: {correlation:.3f}",
        f"the same, each stratum weighed as it stands among all of {weights.sum():,.0f} documents: {like_all:.3f}",
        f"without raw mail: {elsewhere[0]:.3f}, weighed {elsewhere[1]:.3f}",
        f"area under the ROC curve, grades of 3 and more against the others: {found.roc_auc:.3f}",
        "mean score by grade: " + ", ".join(f"{grade} {scores[grades == grade].mean():.2f}" for grade in range(6)
                                            if (grades == grade).any()),
    ]  # fmt: skip
    for share in (5, 10, 20):
        most = top[: max(1, len(top) * share // 100)]
        lines.append(f"top {share} %: mean grade {grades[most].mean():.2f}, of all {grades.mean():.2f}")
    for kind, of in (("source", [row["source"] for row in rows]), ("words", _bands(rows))):
        lines.append(f"by {kind}:")
        for name in sorted(set(of)):
            mine = np.array([one == name for one in of])
            if mine.sum() >= 20:  # fewer say nothing
                lines.append(f"  {name:42} {mine.sum():4}  grade {grades[mine].mean():.2f}  "
                             f"score {scores[mine].mean():.2f}  "
                             f"correlation {spearman(grades[mine], scores[mine]) or 0:.2f}")  # fmt: skip
    said = (
        f"{len(given)} documents, stratified by source, length and score, were graded by a language model that saw "
        f"neither\n  score nor source; of the {len(rows)} it was not trained on Spearman's correlation of score and "
        f"grade is\n  {correlation:.2f} ({like_all:.2f} with each stratum weighed as it stands in the corpus), without "
        f"raw mail {elsewhere[0]:.2f} ({elsewhere[1]:.2f});\n  the best-scored tenth has a mean grade of "
        f"{grades[top[: len(top) // 10]].mean():.2f}, all of them {grades.mean():.2f}."
    )
    return said, "\n".join(lines)


def _weighted(grades: Any, scores: Any, weights: Any) -> float:
    """Spearman's correlation where each document stands for as many as its weight says: that of their mean ranks."""
    ranks = []
    for values in (grades, scores):
        each, place = np.unique(values, return_inverse=True)
        mass = np.bincount(place, weights, len(each))
        ranks.append((np.cumsum(mass) - mass / 2)[place])
    one, other = (rank - np.average(rank, weights=weights) for rank in ranks)
    shared, own, its = (np.average(product, weights=weights) for product in (one * other, one * one, other * other))
    return float(shared / np.sqrt(own * its))


def _bands(rows: list[dict[str, Any]]) -> list[str]:
    counts = [len(row["text"].split()) for row in rows]
    return [f"from {max(least for least in LENGTHS if least <= count):5,}" for count in counts]


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest())


if __name__ == "__main__":
    main()
