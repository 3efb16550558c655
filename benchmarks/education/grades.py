"""Grades of some passages to train on, and what they say of the others.

    CURATE_DATA=… PYTHONPATH=. python benchmarks/education/grades.py sample FOLDER    # what a grader is given
    CURATE_DATA=… PYTHONPATH=. python benchmarks/education/grades.py check            # how well grades are guessed

`grades.jsonl` has the points that 2,400 passages of labels.py were given by the rubric, as many of each source as there
are, chosen and shuffled by a hash of their texts: a passage is named by a hash, and neither its text nor its source is
there. The grade of a passage that nobody read is guessed from the mean of its source and, by ridge regression, from
its words and length: what the readers of some say of the others, with the whims of single ones smoothed out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from benchmarks.education import graded
from classifiers.figures import spearman
from classifiers.labels import HIGHEST, Labelled, read
from classifiers.text import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRADES = Path(__file__).with_name("grades.jsonl")
#: Passages that were graded.
PASSAGES = 2_400
#: The grades that a model learns, and from which guess on: fewer of them, so that each has many texts.
STEPS = ((0, 0.0), (2, 1.0), (4, 3.0))

#: A word is looked at from so many graded passages on.
_FEWEST = 8
#: How strongly weights are drawn to nothing; 0.3 to 3 guess alike.
_RIDGE = 1.0
#: The mean of a source counts as if so many more passages had the mean of all.
_MORE = 5
#: The weight of the length beside the words of a passage, which have the length of one together.
_LENGTH = 0.3


def main() -> None:
    """Do what is asked."""
    asked = sys.argv[1:]
    if asked[:1] == ["sample"] and len(asked) == 2:
        graded.write(Path(asked[1]), [{"id": name(row.text), "text": row.text} for row in sample(passages())])
    elif asked == ["check"]:
        print(check(passages()))
    else:
        sys.exit(__doc__)


def passages() -> list[Labelled]:
    """What there is to train on, as labels.py makes it; the grades are those of kinds."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, str(Path(__file__).with_name("labels.py")), folder], check=True, env=os.environ)
        return read([Path(folder) / "train.jsonl.gz"])


def name(text: str) -> str:
    """What a passage is called: 16 hex digits of a hash."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


def sample(rows: list[Labelled]) -> list[Labelled]:
    """The passages to be graded, in the order in which they are: of each source as many."""
    sources: dict[str, dict[str, Labelled]] = defaultdict(dict)
    for row in rows:
        sources[row.source][name(row.text)] = row
    turns = [[found[key] for key in sorted(found)] for _, found in sorted(sources.items())]
    chosen = [row for turn in zip_longest(*turns) for row in turn if row][:PASSAGES]
    return sorted(chosen, key=lambda row: name(row.text + " shuffled"))


def learned(rows: list[Labelled]) -> list[Labelled]:
    """The passages with the grades that a model learns: guessed, and where one was given half the guess, half that."""
    given = _given()
    known = [row for row in rows if name(row.text) in given]
    guesses = Guess.of(known, _array(known, given)).grades(rows)
    made = []
    for row, guess in zip(rows, guesses.tolist(), strict=True):
        read_by = given.get(name(row.text))
        grade = guess if read_by is None else (guess + read_by) / 2
        made.append(replace(row, grade=max(step for step, least in STEPS if round(grade, 3) >= least)))
    return made


def check(rows: list[Labelled]) -> str:
    """How well the grade of a passage is guessed from others: by five parts, each from the other four."""
    given = _given()
    known = [row for row in rows if name(row.text) in given]
    grades = _array(known, given)
    fold = np.array([int(name(row.text), 16) % 5 for row in known])
    guesses = np.zeros(len(known))
    for part in range(5):
        inside = [row for row, mine in zip(known, fold, strict=True) if mine != part]
        outside = [row for row, mine in zip(known, fold, strict=True) if mine == part]
        guesses[fold == part] = Guess.of(inside, grades[fold != part]).grades(outside)
    correlation, error = spearman(grades, guesses) or 0, np.abs(grades - guesses).mean()
    lines = [f"{len(known):,} graded passages; grade and guess: Spearman's {correlation:.3f}, mean error {error:.2f}"]
    of = np.array([row.source for row in known])
    for source in sorted(set(of), key=lambda source: -grades[of == source].mean()):
        mine = of == source
        lines.append(f"  {source:42} {mine.sum():4}  grade {grades[mine].mean():.2f}  "
                     f"correlation {spearman(grades[mine], guesses[mine]) or 0:.2f}")  # fmt: skip
    return "\n".join(lines)


def _given() -> dict[str, int]:
    """The grade of each graded passage by its name."""
    rows = map(json.loads, GRADES.read_text(encoding="utf-8").splitlines())
    return {row["passage"]: sum(row["points"].values()) for row in rows}


def _array(rows: list[Labelled], given: dict[str, int]) -> NDArray[np.float64]:
    return np.array([given[name(row.text)] for row in rows], np.float64)


@dataclass(frozen=True)
class Guess:
    """What graded passages say of grades."""

    mean: float
    sources: dict[str, float]
    vocabulary: dict[str, int]
    lengths: tuple[float, float]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, rows: list[Labelled], grades: NDArray[np.float64]) -> Guess:
        """The mean of each source, and weights of words and length for what that leaves."""
        mean = float(grades.mean())
        of = np.array([row.source for row in rows])
        sources = {
            source: float((grades[of == source].sum() + _MORE * mean) / ((of == source).sum() + _MORE))
            for source in sorted(set(of.tolist()))
        }
        found = Counter(word for row in rows for word in set(words(row.text)))
        vocabulary = {word: number for number, word in enumerate(sorted(w for w, n in found.items() if n >= _FEWEST))}
        lengths = _lengths(rows)
        made = cls(mean, sources, vocabulary, (float(lengths.mean()), float(lengths.std())), np.zeros(0))
        features = made.features(rows)
        left = grades - np.array([sources[source] for source in of.tolist()])
        kernel = (features @ features.T).toarray()
        weights = features.T @ np.linalg.solve(kernel + _RIDGE * np.eye(len(rows)), left)
        return replace(made, weights=weights)

    def features(self, rows: list[Labelled]) -> Any:
        """A sparse row for each passage: its words by how often they are there, and its length."""
        places, columns, values = [], [], []
        for place, row in enumerate(rows):
            counts = Counter(self.vocabulary[word] for word in words(row.text) if word in self.vocabulary)
            times = 1 + np.log(np.array(list(counts.values()), np.float64))
            places += [place] * len(counts)
            columns += list(counts)
            values += (times / max(float(np.sqrt((times * times).sum())), 1.0)).tolist()
        table = sparse.csr_matrix((values, (places, columns)), shape=(len(rows), len(self.vocabulary)))
        lengths = _LENGTH * (_lengths(rows) - self.lengths[0]) / self.lengths[1]
        return sparse.hstack([table, sparse.csr_matrix(lengths[:, None])]).tocsr()

    def grades(self, rows: list[Labelled]) -> NDArray[np.float64]:
        """The guessed grades, from 0 to 5."""
        base = np.array([self.sources.get(row.source, self.mean) for row in rows])
        return np.clip(base + self.features(rows) @ self.weights, 0, HIGHEST)


def _lengths(rows: list[Labelled]) -> NDArray[np.float64]:
    return np.log(1 + np.array([len(row.text.split()) for row in rows], np.float64))


if __name__ == "__main__":
    main()
