"""How much of a document repeats itself: lines, paragraphs, n-grams of words (Rae et al. 2021, table A1).

Every figure is a share of what the document is made of, so that none exceeds 1: lines of all lines, characters of the
characters in all lines (or paragraphs, or words: white space between them is not counted). A duplicate is what occurred
earlier in the same document; first occurrences are not counted. Lines, paragraphs and words are compared as they stand,
case included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from plain.batch import Batch

VERSION = 1
TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
COLUMNS = {
    "duplicate_line_ratio": pa.float32(),
    "duplicate_line_char_ratio": pa.float32(),
    "duplicate_paragraph_ratio": pa.float32(),
    "duplicate_paragraph_char_ratio": pa.float32(),
    # characters in the most frequent n-gram, wherever it occurs
    **{f"top_{n}gram_char_ratio": pa.float32() for n in TOP},
    # characters in any n-gram that occurred earlier
    **{f"duplicate_{n}gram_char_ratio": pa.float32() for n in DUPLICATE},
}


def measure(batch: Batch) -> dict[str, Any]:
    """The repetition of each document; a ratio over nothing is 0."""
    lines = [_duplicates(lines) for lines in batch.lines]
    paragraphs = [_duplicates(paragraphs) for paragraphs in batch.paragraphs]
    grams = [_grams(*words) for words in batch.numbered_words]
    return {
        "duplicate_line_ratio": [items for items, _ in lines],
        "duplicate_line_char_ratio": [characters for _, characters in lines],
        "duplicate_paragraph_ratio": [items for items, _ in paragraphs],
        "duplicate_paragraph_char_ratio": [characters for _, characters in paragraphs],
        **{f"top_{n}gram_char_ratio": [ratios.get(n, 0.0) for ratios in grams] for n in TOP},
        **{f"duplicate_{n}gram_char_ratio": [ratios.get(n, 0.0) for ratios in grams] for n in DUPLICATE},
    }


def _duplicates(items: list[str]) -> tuple[float, float]:
    """The share of items that occurred earlier, and of the characters in them."""
    distinct = set(items)
    if len(distinct) == len(items):
        return 0.0, 0.0
    characters = sum(map(len, items))
    return (len(items) - len(distinct)) / len(items), (characters - sum(map(len, distinct))) / characters


def _grams(distinct: list[str], numbers: NDArray[np.int32]) -> dict[int, float]:
    """For each n the ratio of its column; an n that is not there has 0.

    An n-gram has a number made of that of its first n-1 words and that of its last: no hash, so no collision. Only
    n-grams that occur again are looked at for the next n, since a longer one can repeat only where a shorter one does.
    What has an item for each word is int32 where it can be: a text may have a hundred million words.
    """
    lengths = np.fromiter(map(len, distinct), np.int32, len(distinct))[numbers]
    starts, grams = np.arange(len(numbers), dtype=np.int32), numbers
    ratios = {}
    for n in range(2, max(DUPLICATE) + 1):
        inside = starts <= len(numbers) - n
        starts = starts[inside]
        keys = grams[inside].astype(np.int64) * len(distinct)
        keys += numbers[starts + (n - 1)]
        repeated = _repeated(keys)
        if not len(repeated):
            break
        grams = np.minimum(np.searchsorted(repeated, keys), len(repeated) - 1).astype(np.int32)
        again = repeated[grams] == keys
        starts, grams = starts[again], grams[again]
        firsts = np.empty(len(repeated), np.int32)
        firsts[grams[::-1]] = starts[::-1]  # backwards, so that the first start is what stays
        if n in TOP:
            ratios[n] = _covered(starts[grams == _most_frequent(np.bincount(grams), firsts, n, lengths)], n, lengths)
        if n in DUPLICATE:
            ratios[n] = _covered(starts[firsts[grams] != starts], n, lengths)
    return ratios


def _repeated(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The keys that occur more than once, each once and in order."""
    keys = np.sort(keys)
    keys = keys[1:][keys[1:] == keys[:-1]]
    return keys[np.diff(keys, prepend=-1) > 0]


def _most_frequent(times: NDArray[np.int64], firsts: NDArray[np.int32], n: int, lengths: NDArray[np.int32]) -> int:
    """The n-gram that occurs most often; of several the one with most characters, then the earliest."""
    (best,) = np.nonzero(times == times.max())
    sizes = sum(lengths[firsts[best] + place] for place in range(n))
    best = best[sizes == np.max(sizes)]
    return int(best[np.argmin(firsts[best])])


def _covered(starts: NDArray[np.int32], n: int, lengths: NDArray[np.int32]) -> float:
    """The share of characters in words that an n-gram at one of these places covers, each word counted once."""
    covered = np.zeros(len(lengths), np.bool_)
    for place in range(n):
        covered[starts + place] = True
    return float(lengths.sum(where=covered, dtype=np.int64) / lengths.sum(dtype=np.int64))
