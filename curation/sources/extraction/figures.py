"""How well a model finds the main text, by kind of page, and the card that says what it was trained on."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from importlib.metadata import version
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


#: What is judged, and how it was: the headings and the words of a card.
TITLES = {
    "folds": "Pages of domains not seen",
    "held out": "Held-out domains",
    "seen": "The pages it was trained on",
}
_HOW = "Means over pages of precision, recall and F1 of the words, each as often as it stands there, in lower case."


def card(
    path: Path, *, trained_on: list[Gold], judged: dict[str, dict[str, Figures]], settings: Settings, folds: int,
    command: str, made_at: date,
) -> str:  # fmt: skip
    """The page that stands beside a model: what made it, on what, and how well it does (by the keys of TITLES)."""
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
        + ". The file holds hashes of words that stand on the pages of several domains, and numbers; no text.",
        "Settings: " + ", ".join(f"{name} {value}" for name, value in settings.model_dump().items()) + ".",
    ]
    told = {
        "folds": f"{_HOW} All pages trained on, each judged not by this model but by one of {folds} that were trained"
        " in the same way on other registered domains only; what scores mean was learned there too. Which numbers of a"
        " block are asked for, the settings above, and what is decided whatever the model says, were chosen by"
        " cross-validation too, by whoever wrote this version: docs/extractor.md says what was tried. For pages of"
        " products three changes were tried, after their errors had been read; two of them were kept.",
        "held out": f"{_HOW} Pages of domains that this model has not seen, neither its trees nor what tokens say.",
        "seen": "What a page that this model knows gives says nothing of others. The figures change if the engine reads"
        " pages in another way than when it was trained.",
    }
    for kind, one in judged.items():
        parts += [f"## {TITLES[kind]}", told[kind], written(one)]
    parts += [f"Python {platform.python_version()}, LightGBM {version('lightgbm')}."]
    return "\n\n".join(parts) + "\n"
