"""What is wrong with an answer: the first of `kinds.REASONS` that holds, or nothing.

Nothing in an answer is executed: code is parsed.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from classifiers import language
from classifiers.rubric import is_refusal
from curation.dedup import signatures
from curation.dedup.online import Online, band_keys
from curation.signals import gopher_repetition
from curation.signals.batch import Batch
from curation.textbooks.vocabulary import forms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curation.endpoint.service import Answer
    from curation.textbooks.planning import Request

#: Raised when the same answers are taken otherwise.
VERSION = 1
#: 108 hashes in 36 bands of 3: of two texts that share half of their 5-grams 99 % are found.
_SIGNATURES = signatures.Signatures(ngram=5, bands=36, rows=3)
_BANDS, _ROWS = 36, 3
#: Documents that may open alike whatever their share: of a few, two are a large one.
FREE = 3
#: Words of a run that an answer has in common with what was sent.
_ECHO = 8
#: Bytes of code that are parsed, and how a model speaks of itself where it should write.
_MOST_CODE = 100_000
_SPEAKS_OF_ITSELF = re.compile(
    r"\bas an (?:ai|artificial intelligence)\b|\b(?:i am|i'm) (?:just |only )?an? (?:ai|(?:large )?language model)\b",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^```([A-Za-z0-9_+-]*)[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
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


class Checker:
    """What was accepted so far, and whether a further answer may join it."""

    def __init__(self) -> None:
        self._openings: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._accepted = Online(_BANDS, _ROWS)

    def measure(self, texts: list[str]) -> list[_Figures]:
        """The figures of several answers at once."""
        whole = Batch(pa.array(texts, pa.string()))
        prose = Batch(pa.array([_FENCE.sub("", text) for text in texts], pa.string()))
        spoken = language.measure(prose)
        signed = _SIGNATURES.measure(whole)
        columns = zip(
            whole.word_spans.counts.tolist(),
            np.asarray(gopher_repetition.measure(whole)["duplicate_5gram_char_ratio"]).tolist(),
            _listed(spoken["language"]),
            _listed(spoken["language_score"]),
            signed["minhash"].to_pylist(),
            band_keys(signed, _BANDS),
            strict=True,
        )
        return [_Figures(*row) for row in columns]

    def fault(self, request: Request, answer: Answer, text: Text, figures: _Figures) -> str | None:
        """Why an answer is not taken; None where it is, and from then on counts for others."""
        checks = json.loads(request.checks)
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
            or self._too_alike(request, text.text, figures, checks)
        )

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
    place = 0
    for section in checks["sections"]:
        heading = re.compile(rf"^#{{1,6}}[ \t]+{re.escape(section)}\b[^\n]*$", re.MULTILINE | re.IGNORECASE)
        found = heading.search(text, place)
        if found is None:
            return "wrong_form"
        place = found.end()
    if checks["code"] is None:
        return None
    blocks = [code for name, code in _FENCE.findall(text) if name.lower() in ("", "py", "python", "python3")]
    if len(blocks) < checks["code_blocks"] or text.count("```") % 2:
        return "wrong_form"
    return "broken_code" if any(not parses(block) for block in blocks) else None


def parses(code: str) -> bool:
    r"""Whether it is Python; it is never run. A session with prompts (>>>) is, if what was typed is.

    >>> parses("def f(x):\n    return x"), parses("def f(x:"), parses(">>> 1 + 1\n2")
    (True, False, True)
    """
    if re.search(r"^>>> ", code, re.MULTILINE):
        code = "\n".join(line[4:] for line in code.splitlines() if line.startswith((">>> ", "... ")))
    if len(code) > _MOST_CODE:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


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
