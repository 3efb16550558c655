"""What datatrove's filters say of the texts of a Parquet file; run under the peer's Python by `benchmarks.presets`.

    python datatrove_verdicts.py FILE OUT WORKERS [UNITS]

OUT gets a column of booleans for each rule of each preset, true = dropped, made by the filter with that rule alone
switched on, and one for each preset, by the filter with all of its rules; null where the filter raised an exception.

UNITS is a file of Python with `words(text)` and `sentences(text)`: the filters get these for their tokenizer's, and
nothing else about them is changed. Without it they ask spaCy, as they do for English.
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters.c4_filters import C4QualityFilter
from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter
from datatrove.utils import word_tokenizers
from datatrove.utils.typeshelper import Languages
from datatrove.utils.word_tokenizers import load_word_tokenizer  # itself, whatever stands in its place later

if TYPE_CHECKING:
    from datatrove.pipeline.filters.base_filter import BaseFilter

_QUALITY = dict.fromkeys(
    ("min_doc_words", "max_doc_words", "min_avg_word_length", "max_avg_word_length", "max_symbol_word_ratio",
     "max_bullet_lines_ratio", "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio", "min_stop_words")
)  # fmt: skip
_REPETITION = {
    **dict.fromkeys(("dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac")),
    "top_n_grams": (), "dup_n_grams": (),
}  # fmt: skip
_C4 = {"min_num_sentences": -1, "filter_lorem_ipsum": False, "filter_curly_bracket": False}
_FINEWEB = {"line_punct_thr": 0, "short_line_thr": 9, "char_duplicates_ratio": 99, "new_line_ratio": float("inf")}
_C4_PAPER = {"min_words_per_line": 5}

#: What switches each of our rules on in the filter that corresponds; "" is the whole filter.
QUALITY = {
    "gopher_too_short": {"min_doc_words": 50},
    "gopher_too_long": {"max_doc_words": 100_000},
    "gopher_words_too_short": {"min_avg_word_length": 3},
    "gopher_words_too_long": {"max_avg_word_length": 10},
    "gopher_too_many_hashes gopher_too_many_ellipses": {"max_symbol_word_ratio": 0.1},  # one setting for both
    "gopher_bullet_lines": {"max_bullet_lines_ratio": 0.9},
    "gopher_ellipsis_lines": {"max_ellipsis_lines_ratio": 0.3},
    "gopher_too_few_alpha_words": {"max_non_alpha_words_ratio": 0.8},
    "gopher_too_few_stop_words": {"min_stop_words": 2},
}
REPETITION = {
    "gopher_duplicate_lines": {"dup_line_frac": 0.3},
    "gopher_duplicate_paragraphs": {"dup_para_frac": 0.3},
    "gopher_duplicate_line_chars": {"dup_line_char_frac": 0.2},
    "gopher_duplicate_paragraph_chars": {"dup_para_char_frac": 0.2},
    **{f"gopher_top_{n}gram": {"top_n_grams": ((n, most),)} for n, most in ((2, 0.2), (3, 0.18), (4, 0.16))},
    **{
        f"gopher_duplicate_{n}grams": {"dup_n_grams": ((n, most),)}
        for n, most in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1))
    },
}
C4 = {
    "c4_too_few_sentences": {"min_num_sentences": 5},
    "c4_lorem_ipsum": {"filter_lorem_ipsum": True},
    "c4_curly_bracket": {"filter_curly_bracket": True},
}
FINEWEB = {
    "fineweb_too_few_terminal_lines": {"line_punct_thr": 0.12},
    "fineweb_duplicate_line_chars": {"char_duplicates_ratio": 0.01},
    "fineweb_short_lines": {"short_line_thr": 0.67},
    "fineweb_too_many_newlines": {"new_line_ratio": 0.3},
}
PRESETS = {
    "gopher-quality": (GopherQualityFilter, _QUALITY, {"": {}, **QUALITY}, {}),
    "gopher-repetition": (GopherRepetitionFilter, _REPETITION, {"": {}, **REPETITION}, {}),
    "c4@datatrove": (C4QualityFilter, _C4, {"": {}, **C4}, {}),
    "c4@paper": (
        C4QualityFilter,
        _C4 | _C4_PAPER,
        {"": {}, **C4, "c4_too_few_sentences": {"min_num_sentences": 3}},
        {"min_num_sentences": 3, **_C4_PAPER},
    ),
    "fineweb@datatrove": (FineWebQualityFilter, _FINEWEB, {"": {}, **FINEWEB}, {}),
    "fineweb@paper": (
        FineWebQualityFilter,
        _FINEWEB,
        {
            "": {},
            **{name: FINEWEB[name] for name in FINEWEB if name != "fineweb_too_many_newlines"},
            "fineweb_duplicate_line_chars": {"char_duplicates_ratio": 0.1},
        },
        {"char_duplicates_ratio": 0.1, "new_line_ratio": float("inf")},
    ),
}


class Remembering:
    """A tokenizer that answers each question about a text once, since many filters ask it the same."""

    def __init__(self, tokenizer) -> None:  # noqa: ANN001
        self.word_tokenize = functools.lru_cache(10_000)(tokenizer.word_tokenize)
        self.span_tokenize = functools.lru_cache(10_000)(tokenizer.span_tokenize)

    def forget(self) -> None:
        """Make room for the next text."""
        self.word_tokenize.cache_clear()
        self.span_tokenize.cache_clear()


class Given:
    """A tokenizer of datatrove's that has our words, and as many sentences as we see."""

    def __init__(self, path: str) -> None:
        self.units = SourceFileLoader("units", path).load_module()

    def word_tokenize(self, text: str) -> list[str]:
        """Our words."""
        return self.units.words(text)

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """One span for each of our sentences; the filters ask for no more than how many there are."""
        return [(0, 0)] * len(self.units.sentences(text))


def verdicts(texts: list[str], units: str | None) -> dict[str, list[bool | None]]:
    """For each rule and preset whether it drops each text."""
    tokenizer = Remembering(Given(units) if units else load_word_tokenizer(Languages.english))
    word_tokenizers.load_word_tokenizer = lambda language: tokenizer  # noqa: ARG005
    asked = filters()
    found: dict[str, list[bool | None]] = {name: [] for name in asked}
    for text in texts:
        tokenizer.forget()
        for name, one in asked.items():
            found[name].append(dropped(one, text))
    return found


def filters() -> dict[str, BaseFilter]:
    """The filter for each preset and each rule of it."""
    return {
        f"{preset}/{rule}": kind(**(whole if rule == "" else off | on))
        for preset, (kind, off, rules, whole) in PRESETS.items()
        for rule, on in rules.items()
    }


def dropped(one: BaseFilter, text: str) -> bool | None:
    """Whether the filter drops the text, None where it raises an exception."""
    try:
        return one.filter(Document(text=text, id="")) is not True
    except (ZeroDivisionError, IndexError):
        return None


def main() -> None:
    """Ask in several processes, write."""
    path, target, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    units = sys.argv[4] if len(sys.argv) > 4 else None
    texts = pq.read_table(path)["text"].to_pylist()
    pieces = [texts[at : at + 50] for at in range(0, len(texts), 50)]
    with multiprocessing.Pool(workers) as pool:
        answers = pool.starmap(verdicts, [(piece, units) for piece in pieces], chunksize=4)
    columns = {name: [value for answer in answers for value in answer[name]] for name in answers[0]}
    pq.write_table(pa.table({name: pa.array(values, pa.bool_()) for name, values in columns.items()}), target)


if __name__ == "__main__":
    main()
