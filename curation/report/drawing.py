"""Drawing: the places and sizes in the report's SVG, as plain values for its template."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from curation.dedup.signatures import probability
from curation.report.histograms import Axis, axis, beyond, in_bars, ticks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from curation.report.thresholds import Threshold

#: What becomes of documents, in the order of the bars.
FATES = ("kept", "duplicates", "dropped", "errors")
#: The place of the curve in its drawing: left, right, top and bottom in units of the SVG.
_PLOT = (42, 348, 14, 188)
#: A histogram: its width, and the top and bottom of its bars.
WIDTH, TOP, BOTTOM = 340, 22, 128
#: Units that a tick's label must be away from the one before, or is left out.
_TICK = 20
#: Units that a threshold's label must be away from another, or is put lower.
_LABEL = 46


def stacked(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The pieces of a bar that is all documents long: place and width in percent.

    >>> [(piece["fate"], piece["x"], piece["width"]) for piece in
    ...  stacked({"documents": 8, "kept": 6, "duplicates": 0, "dropped": 1, "errors": 1})]
    [('kept', 0.0, 75.0), ('dropped', 75.0, 12.5), ('errors', 87.5, 12.5)]
    """
    pieces, done = [], 0
    for fate in FATES:
        count = counts[fate]
        if count:
            x, end = (round(100 * place / counts["documents"], 3) for place in (done, done + count))
            pieces.append({"fate": fate, "count": count, "x": x, "width": round(end - x, 3)})
            done += count
    return pieces


def percent(part: float, whole: float) -> float:
    """The width of a bar: 0 to 100.

    >>> percent(1, 3), percent(5, 0)
    (33.333, 0.0)
    """
    return round(100 * part / whole, 3) if whole else 0.0


def curve(threshold: float, bands: int, rows: int) -> dict[str, Any]:
    """How likely a pair of each similarity is compared at all."""
    left, right, top, bottom = _PLOT

    def point(similarity: float, likely: float) -> tuple[str, str]:
        return f"{left + similarity * (right - left):.1f}", f"{bottom - likely * (bottom - top):.1f}"

    steps = [step / 100 for step in range(101)]
    likely = probability(threshold, bands, rows)
    x, y = point(threshold, likely)
    return {
        "path": " ".join(",".join(point(step, probability(step, bands, rows))) for step in steps),
        "x": x,
        "y": y,
        "likely": likely,
        "known": [(similarity, probability(similarity, bands, rows)) for similarity in (0.5, 0.6, 0.7, 0.8, 0.9)],
        "across": [(f"{tick:g}", point(tick, 0)[0]) for tick in (0, 0.25, 0.5, 0.75, 1)],
        "up": [(f"{tick:.0%}", point(0, tick)[1]) for tick in (0, 0.5, 1)],
        "plot": {"left": left, "right": right, "top": top, "bottom": bottom},
    }


def histogram(
    counted: Mapping[str, Mapping[int, int]], found: Sequence[Threshold], *, whole: bool
) -> dict[str, Any] | None:
    """Bars of a column's values by fate, with its thresholds; None where there is no value.

    A bar is as high as the square root of its count, so that a value of few documents can be seen beside one of many.
    """
    every: dict[int, int] = {}
    for counts in counted.values():
        for cell, count in counts.items():
            every[cell] = every.get(cell, 0) + count
    if not every:
        return None
    marks = sorted({threshold.value for threshold in found})
    drawn = axis(every, marks, whole=whole)
    bars = {fate: in_bars(counted.get(fate, {}), drawn) for fate in FATES[:3]}
    sums = [sum(column) for column in zip(*bars.values(), strict=True)]
    return {
        "paths": [(fate, path) for fate, path in _paths(bars, sums).items() if path],
        "ticks": _ticks(drawn),
        "marks": _marks(drawn, marks, found),
        "is_wide": drawn.is_wide,
        "documents": sum(sums),
        "fates": [(fate, sum(bars[fate])) for fate in FATES[:3]],
        "beyond": beyond(every, drawn),
    }


def label(value: float) -> str:
    """A number under an axis.

    >>> label(0.3), label(100000), label(12.5), label(2e6)
    ('0.3', '100k', '12.5', '2M')
    """
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit and (abs(value) >= 10 * unit or value % unit == 0):
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _x(drawn: Axis, value: float) -> float:
    return round(WIDTH * drawn.place(value) / drawn.bars, 1)


def _ticks(drawn: Axis) -> list[tuple[str, float, str]]:
    """Label, place and side of each tick that does not come too near to the one before it."""
    rows: list[tuple[str, float, str]] = []
    for edge in ticks(drawn):
        x = _x(drawn, edge)
        if not rows or x - rows[-1][1] > _TICK:
            rows.append((label(edge), x, _anchor(x)))
    return rows


def _anchor(x: float) -> str:
    return "start" if x < 12 else "end" if x > WIDTH - 12 else "middle"


def _paths(bars: Mapping[str, Sequence[int]], sums: Sequence[int]) -> dict[str, str]:
    """The outline of each fate's pieces, which stand on one another."""
    most = math.sqrt(max(sums))
    width = WIDTH / len(sums)
    paths = dict.fromkeys(bars, "")
    for place, total in enumerate(sums):
        height = max((BOTTOM - TOP) * math.sqrt(total) / most, 1.5) if total else 0
        done = 0
        for fate, counts in bars.items():
            if counts[place]:
                low, high = (BOTTOM - height * count / total for count in (done, done + counts[place]))
                paths[fate] += f"M{place * width + 0.4:.1f} {low:.1f}V{high:.1f}h{width - 0.8:.1f}V{low:.1f}z"
                done += counts[place]
    return paths


def _marks(drawn: Axis, marks: Sequence[float], found: Sequence[Threshold]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for value in marks:
        x = _x(drawn, value)
        raised = bool(rows) and x - rows[-1]["x"] < _LABEL and not rows[-1]["raised"]
        anchor = "start" if x < WIDTH / 2 else "end"
        alone = any(threshold.alone for threshold in found if threshold.value == value)
        rows.append({"x": x, "label": f"{value:,g}", "alone": alone, "anchor": anchor, "raised": raised})
    return rows
