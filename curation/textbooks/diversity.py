"""How much texts differ from each other: what shows whether more money still buys new text.

A word is a run of letters and digits, without case.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from curation.dedup import signatures
from curation.dedup.online import Online, band_keys
from curation.signals.batch import Batch
from curation.textbooks.checking import opening
from curation.textbooks.curriculum import lot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


#: Texts that are compared with each other for self-ROUGE: pairs grow with the square.
SAMPLE = 200
#: Words of an opening, and of the runs that are new or known.
OPENING, RUN = 4, 5
#: The share of common 5-grams from which two texts are nearly the same.
NEAR = 0.5
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Diversity:
    """Figures of some texts.

    `top_opening` are the first four words that most texts begin with, `top_opening_share` how many do, `openings` how
    many there are, over the number of texts. `distinct_1` to `distinct_3` are the different n-grams over all.
    `self_rouge_2` is the mean over texts of the greatest ROUGE-2 (F1) with another one. `compression` is how many
    times smaller zlib makes all of them together. `near_duplicates` is the share of texts that have another one
    nearly the same before them. `novelty` is, for each tenth of the texts in their order, the share of runs of five
    words that none before had.
    """

    texts: int
    words: int
    vocabulary: int
    top_opening: str
    top_opening_share: float
    openings: float
    distinct_1: float
    distinct_2: float
    distinct_3: float
    self_rouge_2: float
    compression: float
    near_duplicates: float
    novelty: list[float]


def diversity(texts: Sequence[str]) -> Diversity:
    """The figures; all are 0 for no texts."""
    words = [_words(text) for text in texts]
    openings = Counter(opening(text, OPENING) for text in texts)
    # Of several the first by name, so that the order of the texts does not matter.
    top = min(openings, key=lambda begun: (-openings[begun], begun), default="")
    data = "\n".join(texts).encode()
    return Diversity(
        len(texts), sum(map(len, words)), len({word for listed in words for word in listed}), top,
        _over(openings[top], len(texts)), _over(len(openings), len(texts)),
        distinct(words, 1), distinct(words, 2), distinct(words, 3), self_rouge_2(texts),
        _over(len(data), len(zlib.compress(data, 6))) if data else 0.0, near_duplicates(texts), novelty(words),
    )  # fmt: skip


def distinct(words: Iterable[Sequence[str]], n: int) -> float:
    """The different n-grams of texts over all of them.

    >>> distinct([["a", "b", "a", "b"]], 2)
    0.6667
    """
    found = Counter(gram for listed in words for gram in _grams(listed, n))
    return _over(len(found), found.total())


def self_rouge_2(texts: Sequence[str]) -> float:
    """The mean over texts of the greatest ROUGE-2 (F1 of common pairs of words) with another text.

    Of more than `SAMPLE` texts those are taken whose hash is smallest.
    """
    chosen = sorted(texts, key=lambda text: (lot("rouge", text), text))[:SAMPLE]
    pairs = [Counter(_grams(_words(text), 2)) for text in chosen]
    sizes = [counted.total() for counted in pairs]
    best = [0.0] * len(pairs)
    for one in range(len(pairs)):
        for other in range(one):
            common = sum((pairs[one] & pairs[other]).values())
            score = 2 * common / max(1, sizes[one] + sizes[other])
            best[one], best[other] = max(best[one], score), max(best[other], score)
    return _over(sum(best), len(best))


def near_duplicates(texts: Sequence[str]) -> float:
    """The share of texts that have one before them which they share half of their 5-grams with, by signatures."""
    bands, rows = 36, 3
    signed = signatures.Signatures(RUN, bands, rows).measure(Batch(pa.array(texts, pa.string()))) if texts else {}
    before, count = Online(bands, rows), 0
    for minhash, keys in zip(signed["minhash"].to_pylist(), band_keys(signed, bands), strict=True) if texts else ():
        if minhash:
            count += before.similarity(minhash, keys) >= NEAR
            before.add(minhash, keys)
    return _over(count, len(texts))


def novelty(words: Sequence[Sequence[str]]) -> list[float]:
    """For each tenth of the texts the share of different runs of five words that are in no earlier tenth."""
    seen: set[tuple[str, ...]] = set()
    shares = []
    for tenth in range(10):
        part = words[tenth * len(words) // 10 : (tenth + 1) * len(words) // 10]
        runs = {gram for listed in part for gram in _grams(listed, RUN)}
        shares.append(_over(len(runs - seen), len(runs)))
        seen |= runs
    return shares


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(n)), strict=False))


def _over(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0
