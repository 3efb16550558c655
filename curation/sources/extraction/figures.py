"""How well a model finds the main text, by kind of page, and the card that says what it was trained on."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from curation.sources.extraction import page as pages
from curation.sources.extraction.gold import Agreement, agreement
from curation.sources.extraction.rendering import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date
    from pathlib import Path

    from curation.sources.extraction.gold import Gold
    from curation.sources.extraction.model import Model
    from curation.sources.extraction.training import Settings

ALL = "all"


class Figures(NamedTuple):
    """Means over the pages of one kind."""

    pages: int
    precision: float
    recall: float
    f1: float


def texts(model: Model, golds: Iterable[Gold]) -> list[str]:
    """The main text of each page as the model finds it; "" for one with too many blocks."""
    found = []
    for gold in golds:
        blocks = pages.read(gold.page)
        found.append(render(blocks, model.keep(blocks)) if blocks else "")
    return found


def evaluate(golds: list[Gold], found: list[str]) -> dict[str, Figures]:
    """The figures of these texts for each kind of page, in order of their names, then for all."""
    agreed: dict[str, list[Agreement]] = {}
    for gold, text in zip(golds, found, strict=True):
        one = agreement(text, gold.text)
        for kind in (gold.kind or "unknown", ALL):
            agreed.setdefault(kind, []).append(one)
    means: Callable[[list[Agreement]], Figures] = lambda some: Figures(  # noqa: E731
        len(some), *(round(sum(column) / len(some), 4) for column in zip(*some, strict=True))
    )
    return {kind: means(agreed[kind]) for kind in sorted(agreed, key=lambda kind: (kind == ALL, kind))}


def written(figures: dict[str, Figures]) -> str:
    """The figures as a Markdown table."""
    lines = ["| pages | number | precision | recall | F1 |", "|---|--:|--:|--:|--:|"]
    lines += [
        f"| {kind} | {one.pages} | {one.precision:.3f} | {one.recall:.3f} | {one.f1:.3f} |"
        for kind, one in figures.items()
    ]
    return "\n".join(lines)


def card(
    path: Path, *, trained_on: list[Gold], held_out: dict[str, Figures], crossed: dict[str, Figures],
    settings: Settings, command: str, made_at: date,
) -> str:  # fmt: skip
    """The page that stands beside a model: what made it, on what, and how well it does."""
    kinds = Counter(gold.kind or "unknown" for gold in trained_on)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    parts = [
        f"# {path.stem}",
        'Keeps or drops the blocks of a page, for `[extract] engine = "blocks"`.',
        f"`{path.name}`, {path.stat().st_size:,} bytes, sha256 `{digest}`, made {made_at} with",
        f"```sh\n{command}\n```",
        "## Trained on",
        f"{len(trained_on):,} pages of {len({gold.group for gold in trained_on}):,} registered domains: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        + ". No page of a held-out domain was seen, neither by the trees nor by what tokens say. "
        "The file holds hashes of words that stand on the pages of several domains, and numbers; no text.",
        "Settings: " + ", ".join(f"{name} {value}" for name, value in settings.model_dump().items()) + ".",
    ]
    if held_out:
        parts += ["## Held-out domains", _HOW, written(held_out)]
    if crossed:
        parts += ["## Cross-validated", _CROSSED, written(crossed)]
    parts += [f"Python {platform.python_version()}."]
    return "\n\n".join(parts) + "\n"


_HOW = "Means over pages of precision, recall and F1 of the words, each as often as it stands there, in lower case."
_CROSSED = (
    "The same over all pages trained on, each judged by a model that was trained on the other domains only: more pages"
    " of the rare kinds than the held-out domains have. Settings were chosen by figures like these."
)
