"""What a page says of its own text, for machines: its description, its article, and what others wrote on it.

JSON-LD and `<meta>` repeat parts of a page's text and name them. They are seldom complete, and often written by a
program that fills in what it has, so they are numbers of a block, and the text is never taken from them.
"""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.kernels import blocks as kernels
from curation.kernels.markup import END, START, TAG, Page
from curation.kernels.unicode import properties

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: What a text is said to be. Reviews are those of a product, a place or a recipe; a page that is a review itself
#: claims it as its article.
CLAIMS = ("description", "article", "review", "comment", "answer")
#: The columns of `measure`: the share of each block's pairs of words that each claim holds, blocks since the first one
#: that is the description, and whether the page claims each.
NAMES = (*(f"is_{name}" for name in CLAIMS), "to_description", *(f"claims_{name}" for name in CLAIMS))

#: What is read of JSON-LD: scripts of at most 256 kB, 1 MB together, and 2,000 values that hold others; and of `<meta>`
#: as many descriptions. It is more than any page needs to say what it is.
_MAX_SCRIPT, _MAX_JSON, _MAX_VALUES, _MAX_DESCRIPTIONS = 256 * 1024, 1 << 20, 2_000, 16
_REVIEW, _DESCRIPTION = CLAIMS.index("review"), CLAIMS.index("description")
_SHARE, _LEAST_WORDS = 0.6, 6
_FAR = -1_000.0
_TAGS_IN_TEXT = re.compile(r"<[^<>]{0,500}>")
_CONTENT = re.compile(r"content\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_META, _SCRIPT = TAG["meta"], TAG["script"]
#: Of a text in JSON-LD: what it is by its key, inside of what, by the keys around it.
_REVIEWS, _COMMENTS, _ANSWERS = (
    {"review", "reviews"}, {"comment", "comments"}, {"acceptedAnswer", "suggestedAnswer", "mainEntity"},
)  # fmt: skip


def linked_data(source: bytes, page: Page) -> list[Any]:
    """The values of the JSON-LD scripts of a page; those that are no JSON, or too large, are left out."""
    found: list[Any] = []
    left = _MAX_JSON
    for _, _, start, end in page.marks[page.marks[:, 0] == _SCRIPT].tolist():
        if end - start <= min(_MAX_SCRIPT, left):
            left -= end - start
            try:
                found.append(json.loads(source[start:end].decode("utf-8", "replace"), strict=False))
            except (ValueError, RecursionError):
                continue
    return found


def read(source: bytes, page: Page, data: list[Any]) -> dict[str, list[str]]:
    """The texts of each claim that a page makes."""
    found: dict[str, list[str]] = {}
    for claim, text in (*_described(source, page), *_linked(data)):
        found.setdefault(claim, []).append(text)
    return found


def _described(source: bytes, page: Page) -> list[tuple[str, str]]:
    """The descriptions in `<meta>`."""
    found: list[tuple[str, str]] = []
    for _, start, end, _ in page.marks[page.marks[:, 0] == _META].tolist():
        raw = source[start : min(end, start + 8192)]
        if b"escription" in raw and len(found) < _MAX_DESCRIPTIONS:
            said = _CONTENT.search(raw.decode("utf-8", "replace"))
            if said:
                found.append(("description", unescape(said[1] or said[2] or "")))
    return found


def _linked(data: list[Any]) -> Iterator[tuple[str, str]]:
    """The claims in JSON-LD."""
    left = [(value, "") for value in reversed(data)]
    for _ in range(_MAX_VALUES):
        if not left:
            return
        value, inside = left.pop()
        if isinstance(value, list):
            left += [(one, inside) for one in reversed(value)]
        elif isinstance(value, dict):
            for key, one in value.items():
                claim = _claim(key, inside)
                if claim and isinstance(one, str):
                    yield claim, _TAGS_IN_TEXT.sub(" ", unescape(one))
            left += [(one, _inside(key, inside)) for key, one in value.items() if not isinstance(one, str)]


def _inside(key: str, inside: str) -> str:
    if key in _REVIEWS:
        return "review"
    if key in _COMMENTS:
        return "comment"
    return "answer" if key in _ANSWERS and not inside else inside


def _claim(key: str, inside: str) -> str | None:
    """What a text under this key is.

    >>> _claim("reviewBody", "review"), _claim("reviewBody", ""), _claim("text", "answer"), _claim("name", "")
    ('review', 'article', 'answer', None)
    """
    if key in ("reviewBody", "text", "description") and inside in ("review", "comment", "answer"):
        return inside
    if key == "description":
        return "description"
    return "article" if key in ("articleBody", "reviewBody", "text") else None


def measure(page: Page, claims: dict[str, list[str]]) -> NDArray[np.float32]:
    """The columns of NAMES for each block of a page that makes these claims."""
    rows = len(page.blocks)
    found = np.zeros((rows, len(NAMES)), np.float32)
    found[:, len(CLAIMS)] = _FAR
    if not claims or not rows:
        return found
    pairs, owners = _pairs(page.text, np.ascontiguousarray(page.blocks[:, [START, END]], np.int64))
    share = np.empty(rows, np.float32)
    for column, name in enumerate(CLAIMS):
        if name not in claims:
            continue
        text = np.frombuffer(" . ".join(claims[name]).encode(errors="replace"), np.uint8)
        keys = np.unique(_pairs(text, np.array([[0, len(text)]], np.int64))[0])
        kernels.share_found(pairs, owners, keys, share)
        found[:, column] = share
        found[:, len(CLAIMS) + 1 + column] = 1
    enough = np.bincount(owners, minlength=rows) >= _LEAST_WORDS - 1
    found[~enough, : len(CLAIMS)] = 0
    described = np.flatnonzero(found[:, _DESCRIPTION] >= _SHARE)
    if len(described):
        found[:, len(CLAIMS)] = np.arange(rows) - described[0]
    return found


def _pairs(text: NDArray[np.uint8], ranges: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    pairs, owners = np.empty(len(text) + 1, np.uint64), np.empty(len(text) + 1, np.int32)
    count = kernels.hash_pairs(text, ranges, properties(), pairs, owners)
    return pairs[:count], owners[:count]


def reviews(claimed: NDArray[np.float32], alike: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which blocks are reviews of what the page is about: those claimed as such, and their repeated siblings.

    JSON-LD holds a few reviews of many. `claimed` is what `measure` gives, `alike` numbers the innermost and the
    outermost set of siblings that a block is in.
    """
    are = claimed[:, _REVIEW] >= _SHARE
    if are.any():
        sets = np.unique(alike[are, 0])
        are |= np.isin(alike[:, :2], sets[sets >= 0]).any(axis=1)
    return np.asarray(are)
