"""How values and tables look on a terminal."""

from __future__ import annotations

from typing import Any


def aligned(rows: list[tuple[Any, ...]]) -> list[str]:
    """Rows as lines, numbers right-aligned below their heads."""
    texts = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    return [
        "  ".join(cell.rjust(width) if column else cell.ljust(width)
                  for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in texts
    ]  # fmt: skip


def plain(text: str) -> str:
    r"""The text with control characters as \x1b, so that a document cannot move the cursor or forge a line.

    >>> plain("one\n\x1b[2Jtwo")
    'one\\n\\x1b[2Jtwo'
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shown(value: Any) -> str:
    """A measured value, short."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list):
        return f"{len(value)} {'spans' if isinstance(value[0], dict) else 'values'}" if value else "none"
    return plain(str(value))
