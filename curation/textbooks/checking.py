"""What is wrong with an answer: the first of `kinds.REASONS` that holds, or nothing.

Nothing in an answer is executed here: code is parsed, and where a recipe asks for it run in `sandbox`.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from classifiers import language
from classifiers.rubric import is_refusal
from curation.dedup import signatures
from curation.dedup.online import Online, band_keys
from curation.signals import gopher_repetition, load_signals
from curation.signals.batch import Batch
from curation.signals.contamination import Contamination
from curation.textbooks import code, sandbox
from curation.textbooks.outcomes import Outcomes
from curation.textbooks.vocabulary import forms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from curation.endpoint.service import Answer
    from curation.recipe import Recipe, Source
    from curation.textbooks.planning import Request

#: Raised when the same answers are taken otherwise.
VERSION = 2
#: 108 hashes in 36 bands of 3: of two texts that share half of their 5-grams 99 % are found.
_SIGNATURES = signatures.Signatures(ngram=5, bands=36, rows=3)
_BANDS, _ROWS = 36, 3
#: Documents that may open alike whatever their share: of a few, two are a large one.
FREE = 3
#: Words of a run that an answer has in common with what was sent.
_ECHO = 8
#: How a model speaks of itself where it should write.
_SPEAKS_OF_ITSELF = re.compile(
    r"\bas an (?:ai|artificial intelligence)\b|\b(?:i am|i'm) (?:just |only )?an? (?:ai|(?:large )?language model)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")


def measured_by() -> list[Any]:
    """The versions of what measures answers."""
    return [language.VERSION, gopher_repetition.VERSION, _SIGNATURES.VERSION]


@dataclass(frozen=True, slots=True)
class Text:
    """An answer as it would become a document."""

    text: str
    title: str | None


@dataclass(frozen=True, slots=True)
class _Figures:
    """What is measured of an answer, with those of the same round."""

    words: int
    repeated: float
    language: str
    language_score: float
    minhash: bytes
    bands: NDArray[np.uint64]
    is_contaminated: bool


def parsed(answer: str) -> Text:
    r"""The document in an answer: without the thoughts of a reasoning model, its first heading as the title too.

    >>> parsed("<think>Hm.</think>\n# Bees\n\nThey fly.")
    Text(text='# Bees\n\nThey fly.', title='Bees')
    """
    text = re.sub(r"\A\s*<think>.*?</think>", "", answer, count=1, flags=re.DOTALL).strip()
    heading = re.match(r"#{1,6}[ \t]+([^\n]{1,200}?)[ \t#]*(?:\n|\Z)", text)
    return Text(text, heading.group(1) if heading else None)


def opening(text: str, count: int) -> str:
    r"""The first words of a text after its title, without case.

    >>> opening("# Bees\n\nOnce upon a time, there", 4)
    'once upon a time'
    """
    body = re.sub(r"\A(?:#{1,6}[^\n]*\n+)+", "", text)
    return " ".join(word.lower() for word in _WORD.findall(body[:400])[:count])


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What a recipe asks of answers beyond what their kinds do.

    None may hold an item of its `benchmarks`; with `run_code` the code of exercises must pass its own tests.
    """

    benchmarks: Contamination | None = None
    run_code: bool = False

    @classmethod
    def of(cls, recipe: Recipe, source: Source) -> Self:
        """That of a source of textbooks."""
        benchmarks = load_signals(recipe).get("contamination")
        return cls(benchmarks if isinstance(benchmarks, Contamination) else None, source.run_code)

    @property
    def made_from(self) -> list[Any]:
        """The versions of what it asks for."""
        return [self.benchmarks and self.benchmarks.VERSION, sandbox.VERSION if self.run_code else None]

    def checker(self, ledger: Path) -> Checker:
        """One that has accepted nothing yet; what comes of code is kept beside the ledger."""
        return Checker(self.benchmarks, Outcomes(ledger) if self.run_code else None)


class Checker:
    """What was accepted so far, and whether further answers may join it."""

    def __init__(self, benchmarks: Contamination | None = None, outcomes: Outcomes | None = None) -> None:
        self._benchmarks, self._outcomes = benchmarks, outcomes
        self._openings: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._accepted = Online(_BANDS, _ROWS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._outcomes is not None:
            self._outcomes.close()

    def faults(
        self, requests: Sequence[Request], answers: Sequence[Answer | None], texts: Sequence[Text]
    ) -> list[str | None]:
        """Why answers are not taken, None where they are, and from then on count for others; in their order.

        What is no answer is none's fault.
        """
        checks = [json.loads(request.checks) for request in requests]
        measured = self._measure([text.text for text in texts])
        found: list[str | None] = [
            None if answer is None else _fault(*one)
            for answer, *one in zip(answers, requests, answers, texts, measured, checks, strict=True)
        ]
        self._run_code(texts, checks, found, answers)
        for number, (request, answer, text) in enumerate(zip(requests, answers, texts, strict=True)):
            if answer is not None and found[number] is None:
                found[number] = self._too_alike(request, text.text, measured[number], checks[number])
        return found

    def _measure(self, texts: list[str]) -> list[_Figures]:
        whole = Batch(pa.array(texts, pa.string()))
        prose = Batch(pa.array([code.FENCE.sub("", text) for text in texts], pa.string()))
        spoken = language.measure(prose)
        signed = _SIGNATURES.measure(whole)
        there = self._benchmarks.measure(whole)["is_contaminated"] if self._benchmarks else np.zeros(len(texts), bool)
        columns = zip(
            whole.word_spans.counts.tolist(),
            np.asarray(gopher_repetition.measure(whole)["duplicate_5gram_char_ratio"]).tolist(),
            _listed(spoken["language"]),
            _listed(spoken["language_score"]),
            signed["minhash"].to_pylist(),
            band_keys(signed, _BANDS),
            there.tolist(),
            strict=True,
        )
        return [_Figures(*row) for row in columns]

    def _run_code(
        self, texts: Sequence[Text], checks: list[dict[str, Any]], found: list[str | None],
        answers: Sequence[Answer | None],
    ) -> None:  # fmt: skip
        """Run what has no fault yet, all of it at once, and note its faults."""
        if self._outcomes is None:
            return
        waiting = [number for number, one in enumerate(checks)
                   if one["tested"] and found[number] is None and answers[number] is not None]  # fmt: skip
        exercises = [code.exercise(texts[number].text, checks[number]["sections"]) for number in waiting]
        outcomes = self._outcomes.of([one for one in exercises if one is not None])
        for number, outcome in zip(waiting, outcomes, strict=True):
            found[number] = None if outcome.name == "passed" else outcome.name

    def _too_alike(self, request: Request, text: str, figures: _Figures, checks: dict[str, Any]) -> str | None:
        begun, openings = opening(text, checks["opening_words"]), self._openings[request.kind]
        if openings[begun] >= max(FREE, checks["opening_share"] * (openings.total() + 1)):
            return "common_opening"
        if figures.minhash:
            if self._accepted.similarity(figures.minhash, figures.bands) >= checks["similarity"]:
                return "near_duplicate"
            self._accepted.add(figures.minhash, figures.bands)
        openings[begun] += 1
        return None


def _fault(request: Request, answer: Answer, text: Text, figures: _Figures, checks: dict[str, Any]) -> str | None:
    """What is wrong with an answer by itself."""
    for reason, is_so in (
        ("unanswered", answer.finish_reason == "unanswered"),
        ("refused", is_refusal(text.text, answer.finish_reason) or _SPEAKS_OF_ITSELF.search(text.text) is not None),
        ("cut_off", answer.finish_reason == "length"),
    ):
        if is_so:
            return reason
    return (
        _echo(request, text.text, checks)
        or _size(figures, checks)
        or _form(text.text, checks)
        or _flow(figures, checks)
        or _missing(request, text.text, checks)
        or ("contaminated" if figures.is_contaminated else None)
    )


def _listed(column: Any) -> list[Any]:
    found: list[Any] = column.to_pylist() if isinstance(column, pa.Array) else list(column)
    return found


def _echo(request: Request, text: str, checks: dict[str, Any]) -> str | None:
    """Whether too much of an answer stands in what was sent, or any mark around a document does."""
    sent = "\n".join(content for _, content in request.messages)
    marks = re.findall(r"^-- (?:end of )?document ([0-9a-f]{16}) --$", sent, re.MULTILINE)
    if any(mark in text for mark in marks):
        return "echoed"
    ours = _grams(text)
    shared = ours & _grams(sent)
    return "echoed" if ours and len(shared) > checks["echoed"] * len(ours) else None


def _grams(text: str) -> set[tuple[str, ...]]:
    found = [word.lower() for word in _WORD.findall(text)]
    return set(zip(*(found[start:] for start in range(_ECHO)), strict=False))


def _size(figures: _Figures, checks: dict[str, Any]) -> str | None:
    if figures.words < max(1, checks["least"]):
        return "too_short"
    return "too_long" if figures.words > checks["most"] else None


def _form(text: str, checks: dict[str, Any]) -> str | None:
    if code.sections(text, checks["sections"]) is None:
        return "wrong_form"
    if checks["code"] is None:
        return None
    blocks = code.blocks(text)
    if len(blocks) < checks["code_blocks"] or text.count("```") % 2:
        return "wrong_form"
    if any(not code.parses(block) for block in blocks):
        return "broken_code"
    is_wrong = checks["tested"] and code.exercise(text, checks["sections"]) is None
    return "wrong_exercise" if is_wrong else None


def _flow(figures: _Figures, checks: dict[str, Any]) -> str | None:
    if figures.repeated > checks["repeated"]:
        return "looped"
    wanted = checks["language"]
    is_other = wanted is not None and (figures.language != wanted or figures.language_score < checks["language_score"])
    return "wrong_language" if is_other else None


def _missing(request: Request, text: str, checks: dict[str, Any]) -> str | None:
    if checks["words"]:
        there = {word.lower() for word in _WORD.findall(text)}
        asked = (("noun", request.nouns), ("verb", request.verbs), ("adjective", request.adjectives))
        if any(not forms(word, part) & there for part, listed in asked for word in listed):
            return "missing_words"
    for pattern in checks["patterns"].values():
        if re.search(pattern, text) is None:
            return "missing_features"
    return None
