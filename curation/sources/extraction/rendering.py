"""The blocks that are kept as text or Markdown: headings, lists, tables, code and quotations as they were meant."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from curation.kernels import blocks as kernels
from curation.kernels.blocks import COLUMN, HEADING, ITEM, ITEM_NUMBER, LISTS, QUOTE, ROW, TABLE
from curation.kernels.markup import END, FIRST, LAST, PRE, START

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curation.sources.extraction.page import Blocks

#: What is a table of data, not a means of layout: cells of one block, short, in at least two rows and columns.
_MAX_CELL = 120
#: Blocks that an item of a list may hold to be written with a bullet; a forum's list of posts is no list.
_MAX_ITEM = 6
_MAX_COLUMNS = 64
_FENCE = re.compile(r"`{3,}")


def styles(blocks: Blocks) -> NDArray[np.int32]:
    """How each block is to be written: `kernels.blocks.style`."""
    found = np.empty((len(blocks.page.blocks), 9), np.int32)
    kernels.style(blocks.page.elements, blocks.page.blocks, found)
    return found


def data_tables(blocks: Blocks, style: NDArray[np.int32]) -> NDArray[np.int32]:
    """The table element of each block that lies in a table of data, -1 for all others.

    In such a table most rows have several cells, most cells hold one block, and these are short.
    """
    table, row, column = style[:, TABLE].copy(), style[:, ROW], style[:, COLUMN]
    table[row < 0] = -1
    inside = np.flatnonzero(table >= 0)
    if not len(inside):
        return table
    size = blocks.page.blocks[:, END] - blocks.page.blocks[:, START]
    for number in sorted(set(table[inside].tolist())):
        rows = inside[table[inside] == number]
        cells = len(set(zip(row[rows].tolist(), column[rows].tolist(), strict=True)))
        lines = len(set(row[rows].tolist()))
        is_data = (
            lines >= 2
            and cells >= 1.6 * lines
            and len(rows) <= 1.2 * cells
            and size[rows].sum() <= _MAX_CELL * cells
            and column[rows].max() < _MAX_COLUMNS
        )
        if not is_data:
            table[rows] = -1
    return table


def whole_rows(
    blocks: Blocks, keep: NDArray[np.bool_], style: NDArray[np.int32], tables: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """As `keep`, but a row of a table of data is kept or dropped whole, by most of its text."""
    inside = np.flatnonzero(tables >= 0)
    if not len(inside):
        return keep
    keep = keep.copy()
    size = blocks.page.blocks[:, END] - blocks.page.blocks[:, START]
    for _, group in groupby(inside.tolist(), key=lambda block: style[block, ROW]):
        cells = list(group)
        keep[cells] = 2 * size[cells][keep[cells]].sum() >= size[cells].sum()
    return keep


def render(blocks: Blocks, keep: NDArray[np.bool_], form: str = "text") -> str:
    """The kept blocks in their order, as "text" or "markdown"; "" for none.

    Blocks are parted by a blank line, items of a list and rows of a table by a line break. A table of data is written
    as Markdown writes it in both forms, since a row is hard to read otherwise; so are list bullets.
    """
    style = styles(blocks)
    tables = data_tables(blocks, style)
    keep = whole_rows(blocks, keep, style, tables)
    kept = np.flatnonzero(keep)
    parts: list[str] = []
    seen: set[int] = set()
    elements, is_pre = blocks.page.elements, blocks.page.blocks[:, PRE]
    item_before = -1
    at = 0
    while at < len(kept):
        block = int(kept[at])
        if tables[block] >= 0:
            end = at
            while end < len(kept) and tables[kept[end]] == tables[block]:
                end += 1
            parts += ["\n\n", _table(blocks, kept[at:end], style)]
            at, item_before = end, -1
            continue
        text = blocks.text(block)
        level, lists, item, number, quotes = style[block, [HEADING, LISTS, ITEM, ITEM_NUMBER, QUOTE]].tolist()
        if is_pre[block]:
            text = _code(text, form)
        elif level:
            text = f"{'#' * level} {' '.join(text.split())}" if form == "markdown" else text
        is_item = item >= 0 and elements[item, LAST] - elements[item, FIRST] <= _MAX_ITEM
        if is_item and not level:
            indent = "  " * max(0, lists - 1)
            bullet = f"{number}. " if number else "- "
            first = indent + (bullet if item not in seen else " " * len(bullet))
            text = first + text.replace("\n", f"\n{indent}{' ' * len(bullet)}")
            seen.add(item)
        if quotes and form == "markdown":
            text = "> " + text.replace("\n", "\n> ")
        parts += ["\n" if is_item and item_before >= 0 else "\n\n", text]
        item_before = item if is_item else -1
        at += 1
    return "".join(parts[1:])


def _code(text: str, form: str) -> str:
    """Preformatted text, its lines as they were; in Markdown between fences longer than any in it."""
    text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
    if form != "markdown":
        return text
    longest = max((len(fence) for fence in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _table(blocks: Blocks, rows: NDArray[np.int64], style: NDArray[np.int32]) -> str:
    lines: list[list[str]] = []
    for _, group in groupby(rows.tolist(), key=lambda block: style[block, ROW]):
        cells: dict[int, str] = {}
        for block in group:
            text = " ".join(blocks.text(block).split()).replace("|", "\\|")
            column = int(style[block, COLUMN])
            cells[column] = f"{cells[column]} {text}" if column in cells else text
        lines.append([cells.get(column, "") for column in range(max(cells) + 1)])
    width = max(map(len, lines))
    if len(lines) < 2 or width < 2:
        return "\n".join(" ".join(filter(None, line)) for line in lines)
    written = [f"| {' | '.join(line + [''] * (width - len(line)))} |" for line in lines]
    written.insert(1, f"|{' --- |' * width}")
    return "\n".join(written)
