"""What Gopher's quality rules ask of lines and words beyond `length` and `symbols` (Rae et al. 2021, A.1.1).

The rules themselves are the preset gopher-quality. The stop words are English: a text in another language has none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from plain import text as units

if TYPE_CHECKING:
    from collections.abc import Callable

    from plain.batch import Batch

VERSION = 1
COLUMNS = {
    "bullet_line_ratio": pa.float32(),  # lines that begin with a bullet
    "ellipsis_line_ratio": pa.float32(),  # lines that end with "..." or "…"
    "stop_word_count": pa.int32(),  # how many of the eight stop words occur, in any case
}

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})

#: A bullet, or a hyphen, asterisk, plus or dash that white space follows: "-5 degrees" and "*emphasis*" are no list.
_BULLET = re.compile(f"[•‣\u2043▪▫◦●○■□∙·・]|[-*+\u2013\u2014][{re.escape(units.WHITE_SPACE)}]")


def measure(batch: Batch) -> dict[str, Any]:
    """Bullets, ellipses and stop words of each document; a ratio over no lines is 0."""
    return {
        "bullet_line_ratio": [_share(lines, _begins_with_bullet) for lines in batch.lines],
        "ellipsis_line_ratio": [_share(lines, _ends_with_ellipsis) for lines in batch.lines],
        "stop_word_count": [
            len(STOP_WORDS.intersection(word.lower() for word in distinct)) for distinct, _ in batch.numbered_words
        ],
    }


def _share(lines: list[str], test: Callable[[str], bool]) -> float:
    return sum(map(test, lines)) / len(lines) if lines else 0.0


def _begins_with_bullet(line: str) -> bool:
    return _BULLET.match(line) is not None


def _ends_with_ellipsis(line: str) -> bool:
    return line.endswith(("...", "…"))
