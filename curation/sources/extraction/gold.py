"""Pages whose main text is known, which of their blocks it is, and how well another text agrees with it."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from publicsuffixlist import PublicSuffixList

from curation.errors import UsageError
from curation.kernels.alignment import align
from curation.sources.decoding import decode_page
from curation.sources.warc import pages

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

#: A word of the figures: letters and digits in a row; each character of scripts without spaces is one.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+")
#: Words on the page times words of the gold text that are aligned whole; beyond, only words with an equal neighbour.
_MOST_CELLS = 20_000_000
_MOST_BYTES = 1_500_000_000


@dataclass(frozen=True, slots=True)
class Gold:
    """A page with its main text: `page` as UTF-8 without NULs; `group` is its registered domain, `kind` may be "".

    `inside` and `outside` are strings that whoever labelled the page named as part of the main text, or as none of it.
    """

    url: str
    page: bytes
    text: str
    kind: str
    group: str
    inside: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


class Agreement(NamedTuple):
    """Of a text with the gold text, as bags of words."""

    precision: float
    recall: float
    f1: float


def read(labels: Path, warcs: Iterable[Path]) -> list[Gold]:
    """The pages of these WARCs that have a line with `url` and `text` in a JSONL file, in the order of the WARCs.

    `with` and `without` may list strings that are in the main text, and that are not.
    `warc`, the name of a file, tells pages of one address apart; `page_type` or `kind` is what the figures are told
    apart by. Raises UsageError where a line is not so, or no page is found.
    """
    gold: dict[tuple[str, str], dict[str, Any]] = {}
    with (gzip.open if labels.suffix == ".gz" else open)(labels, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                gold[str(row.get("warc", "")), row["url"]] = row
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UsageError(f"{labels}:{number}: not a JSON object with `url` and `text`: {error!r}") from None
    found: list[Gold] = []
    for path in warcs:
        with path.open("rb") as stream:
            for url, html, charset in pages(stream):
                row = gold.get((path.name, url)) or gold.get(("", url))
                if row:
                    page = decode_page(html, charset).replace(b"\0", b"")
                    kind = str(row.get("page_type") or row.get("kind") or "")
                    named = (_lines(row.get(side) or ()) for side in ("with", "without"))
                    found.append(Gold(url, page, row["text"], kind, domain(url), *named))
    if not found:
        raise UsageError(f"{labels}: none of its pages is in the WARCs", remedy="give the WARCs that hold them")
    return found


def _lines(strings: Iterable[str]) -> tuple[str, ...]:
    """Strings with single spaces, without those that hold nothing else."""
    return tuple(line for one in strings if (line := " ".join(one.split())))


def domain(url: str) -> str:
    """The registered domain of an address, its host if that has none, the address if it has no host.

    >>> domain("https://news.bees.co.uk/1")
    'bees.co.uk'
    """
    host = urlsplit(url).hostname or ""
    return _suffixes().privatesuffix(host) or host or url


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def words(text: str) -> list[str]:
    """The words of a text in lower case.

    >>> words("Bees' 2nd flight, 飛ぶ")
    ['bees', '2nd', 'flight', '飛', 'ぶ']
    """
    return _WORD.findall(text.lower())


def agreement(text: str, gold: str) -> Agreement:
    """Precision, recall and F1 of a text's words, each as often as it stands there.

    >>> agreement("bees fly home", "Bees fly.")
    Agreement(precision=0.6666666666666666, recall=1.0, f1=0.8)
    """
    got, wanted = Counter(words(text)), Counter(words(gold))
    if not got and not wanted:
        return Agreement(1.0, 1.0, 1.0)
    both = (got & wanted).total()
    precision = both / got.total() if got else 0.0
    recall = both / wanted.total() if wanted else 1.0
    return Agreement(precision, recall, 2 * both / (got.total() + wanted.total()))


def found(texts: list[str], gold: str) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """How many words each block has, how many of those are aligned with the gold text, and how many that has."""
    wanted = words(gold)
    of_blocks = [words(text) for text in texts]
    numbers: dict[str, int] = {}
    for word in wanted:
        numbers.setdefault(word, len(numbers))
    ours = np.array([numbers.get(word, -1) for block in of_blocks for word in block], np.int32)
    theirs = np.array([numbers[word] for word in wanted], np.int32)
    which = np.ones(len(ours), np.bool_)
    if len(ours) * len(theirs) > _MOST_CELLS:
        which = _in_pairs(ours, theirs)
    hits = np.zeros(len(ours), np.uint8)
    some = np.ascontiguousarray(ours[which])
    if len(some) * len(theirs) <= _MOST_BYTES:
        aligned = np.zeros(len(some), np.uint8)
        align(some, theirs, aligned)
        hits[which] = aligned
    else:
        hits[which] = 1
    counts = np.array([len(block) for block in of_blocks], np.int64)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    total = np.concatenate([[0], np.cumsum(hits, dtype=np.int64)]).astype(np.int64)
    return counts, total[bounds[1:]] - total[bounds[:-1]], len(wanted)


def _in_pairs(ours: NDArray[np.int32], theirs: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which words stand beside another as they do somewhere in the gold text."""
    base = np.int64(len(theirs) + 1)
    pairs = ours[:-1] * base + ours[1:]
    equal = np.isin(pairs, theirs[:-1] * base + theirs[1:]) & (ours[:-1] >= 0) & (ours[1:] >= 0)
    return np.asarray(np.concatenate([equal, [False]]) | np.concatenate([[False], equal]))
