"""Why datatrove's verdicts change with words and sentences of its own; run under its Python by `benchmarks.presets`.

    python causes.py FILE GIVEN OWN OUT WORKERS

GIVEN and OWN are the verdicts that `datatrove_verdicts.py` wrote with our units and without. Between the two, its
filters are asked again with some steps of steps.py taken: the cause of a changed verdict is the smallest set of steps
that changes it. OUT gets a row for each document and rule whose verdict changed:

- document: its row in FILE; rule: as in GIVEN; only_ours: whether it is dropped with our units alone;
- steps: the smallest sets of steps that change the verdict, "hyphens or marks" if each of the two does by itself,
  "hyphens + marks" if only both together do;
- cause: the step, if there is a single one; "marks" if the single ones and those in rows both do, or only together;
- needed: if there is a single step, whether the verdict is ours again when all steps but this one are taken.
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
from itertools import combinations

import pyarrow as pa
import pyarrow.parquet as pq
import steps
from datatrove.utils import word_tokenizers
from datatrove.utils.text import split_into_parts
from datatrove.utils.typeshelper import Languages
from datatrove.utils.word_tokenizers import load_word_tokenizer
from datatrove_verdicts import dropped, filters

#: Marks are one cause first; then it is asked whether single ones or those in rows do by themselves.
_MARKS = frozenset({"single marks", "rows of marks"})
_WORDS = {"marks": _MARKS} | {step: frozenset({step}) for step in steps.WORDS if step not in _MARKS}
_SENTENCES = {step: frozenset({step}) for step in steps.SENTENCES}
_SCHEMA = pa.schema([
    ("document", pa.int64()), ("rule", pa.string()), ("only_ours", pa.bool_()),
    ("steps", pa.string()), ("cause", pa.string()), ("needed", pa.bool_()),
])  # fmt: skip


class Stepping:
    """A tokenizer of datatrove's with our words and sentences, and spaCy's as far as the steps go."""

    def __init__(self) -> None:
        self.spacy = load_word_tokenizer(Languages.english)
        self.steps: frozenset[str] = frozenset()
        self.divided = functools.lru_cache(1)(self._divided)
        self.words = functools.lru_cache(100)(lambda text, taken: steps.words(self.divided(text), taken))
        self.spans = functools.lru_cache(10_000)(self.spacy.span_tokenize)

    def _divided(self, text: str) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
        words = self.spacy.word_tokenize(text)
        division = steps.divided(text, words)
        if steps.words(division, frozenset(steps.WORDS)) != words:
            raise ValueError(f"all steps do not lead to spaCy's words: {text[:200]!r}")
        return division

    def word_tokenize(self, text: str) -> list[str]:
        """The words with the steps taken."""
        return self.words(text, self.steps)

    def span_tokenize(self, line: str) -> list[tuple[int, int]]:
        """One span for each sentence with the steps taken."""
        return [(0, 0)] * steps.sentence_count(line, self.spans(line), self.steps)

    def forget(self) -> None:
        """Make room for the next text."""
        self.words.cache_clear()
        self.spans.cache_clear()


@functools.cache
def _loaded() -> tuple[Stepping, dict]:
    tokenizer = Stepping()
    word_tokenizers.load_word_tokenizer = lambda language: tokenizer  # noqa: ARG005
    return tokenizer, filters()


def causes(document: int, text: str, rules: dict[str, bool]) -> list[dict]:
    """A row for each of these rules, whose verdicts differ; the dictionary says whether our units drop the text."""
    tokenizer, asked = _loaded()
    tokenizer.forget()

    @functools.cache
    def changed(rule: str, taken: frozenset[str]) -> bool:
        tokenizer.steps = taken
        split_into_parts.cache_clear()
        return dropped(asked[rule], text) is (not rules[rule])

    def row(rule: str) -> dict:
        ways = _SENTENCES if rule.startswith("c4") else _WORDS
        every = frozenset().union(*ways.values())
        if changed(rule, frozenset()) or not changed(rule, every):
            raise ValueError(f"document {document}, {rule}: the steps do not lead from one verdict to the other")
        for size in range(1, len(ways) + 1):
            sets = [names for names in combinations(ways, size) if changed(rule, _taken(ways, names))]
            if sets:
                break
        found = " or ".join(sorted(" + ".join(sorted(names)) for names in sets))
        cause = found if found in ways else None
        needed = cause and not changed(rule, every - ways[cause])
        if cause == "marks":
            alone = [kind for kind in sorted(_MARKS) if changed(rule, frozenset({kind}))]
            cause = alone[0] if len(alone) == 1 else cause
        return dict(zip(_SCHEMA.names, (document, rule, rules[rule], found, cause, needed), strict=True))

    return [row(rule) for rule in rules]


def _taken(ways: dict[str, frozenset[str]], names: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(ways[name] for name in names))


def main() -> None:
    """Ask in several processes, write."""
    path, given, own, target, workers = *sys.argv[1:5], int(sys.argv[5])
    texts = pq.read_table(path)["text"].to_pylist()
    before, after = pq.read_table(given).to_pydict(), pq.read_table(own).to_pydict()
    asked = []
    for document, text in enumerate(texts):
        pairs = {rule: (before[rule][document], after[rule][document]) for rule in before if "@paper" not in rule}
        rules = {rule: ours for rule, (ours, theirs) in pairs.items() if None not in (ours, theirs) and ours != theirs}
        if rules:
            asked.append((document, text, rules))
    with multiprocessing.Pool(workers) as pool:
        rows = [row for found in pool.starmap(causes, asked, chunksize=10) for row in found]
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), target)


if __name__ == "__main__":
    main()
