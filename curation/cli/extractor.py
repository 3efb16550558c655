"""`curate extractor`: train and evaluate the model of the engine `blocks`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from curation.cli.options import JSON
from curation.errors import UsageError


@click.group(short_help="Train and evaluate a model that finds main text.")
def extractor() -> None:
    """Train and evaluate the model by which the engine `blocks` finds the main text of a page."""


_GOLD = click.argument("gold", type=click.Path(path_type=Path, dir_okay=False))
_WARCS = click.argument("warcs", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
_HELD_OUT = click.option(
    "--held-out", default=0, show_default=True, type=click.IntRange(0),
    help="One domain in so many is not trained on but judged; 0: none.",
)  # fmt: skip
_SEED = click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of the training.")
_TREES = click.option("--trees", default=None, type=click.IntRange(1), help="Trees in the first of the two forests.")
_FOLDS = click.IntRange(2, 20)


def _refuse_missing(paths: tuple[Path, ...]) -> None:
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path}: no such file", remedy="name the files with gold texts and pages that are there")


@extractor.command("train")
@_GOLD
@_WARCS
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The model file to write.")
@_HELD_OUT
@_SEED
@_TREES
@click.option(
    "--folds", default=5, show_default=True, type=click.IntRange(0, 20),
    help="Judge as `evaluate --folds` does, which takes so many times as long; 0: do not.",
)  # fmt: skip
def extractor_train(
    gold: Path, warcs: tuple[Path, ...], out: Path, held_out: int, seed: int, trees: int | None, folds: int
) -> None:
    """Train a model on the pages of WARCS whose main text is in GOLD: JSONL with `url` and `text`.

    Writes the model and, beside it, its card. The same pages, settings and seed give the same file.

    Example: curate extractor train gold.jsonl.gz pages.warc.gz --out mine.npz
    """
    _refuse_missing((gold, *warcs))
    from datetime import UTC, datetime

    from curation.sources.extraction import figures, model
    from curation.sources.extraction.gold import read
    from curation.sources.extraction.training import Settings, cross_validate, example, is_held_out, train

    asked: dict[str, Any] = {"seed": seed} | ({"trees": trees} if trees else {})
    settings = Settings(**asked)
    pages = read(gold, warcs)
    inside = [one for one in pages if not is_held_out(one, held_out)]
    outside = [one for one in pages if is_held_out(one, held_out)]
    made = train([found for one in inside if (found := example(one))], settings)
    model.save(made, out)
    judged = {
        kind: figures.evaluate(some, found)
        for kind, some, found in (
            ("folds", inside, cross_validate(inside, settings, folds) if folds > 1 else None),
            ("held out", outside, figures.texts(made, outside) if outside else None),
            ("seen", inside, figures.texts(made, inside)),
        )
        if found is not None
    }
    command = " ".join(["curate extractor train", gold.name, *(path.name for path in warcs), f"--out {out.name}"])
    command += "".join(f" --{name} {value}" for name, value in asked.items() if value)
    command += f" --held-out {held_out}" if held_out else ""
    page = out.with_suffix(".md")
    page.write_text(
        figures.card(out, trained_on=inside, judged=judged, settings=settings, folds=folds, command=command,
                     made_at=datetime.now(UTC).date()),
        encoding="utf-8",
    )  # fmt: skip
    click.echo(f"{len(inside):,} pages -> {out} ({out.stat().st_size:,} bytes)\n")
    for kind in ("folds", "held out"):
        if kind in judged:
            click.echo(f"{figures.TITLES[kind]}:\n\n{figures.written(judged[kind])}\n")
    click.echo(f"card   {page}")


@extractor.command("evaluate")
@_GOLD
@_WARCS
@click.option(
    "--model", default="default", show_default=True, type=click.Path(path_type=Path),
    help="The file of the model, or `default`, the shipped one.",
)  # fmt: skip
@_HELD_OUT
@click.option("--folds", default=None, type=_FOLDS, help="Judge no model but the training: so many models.")
@_SEED
@_TREES
@JSON
def extractor_evaluate(
    gold: Path, warcs: tuple[Path, ...], model: Path, held_out: int, folds: int | None, seed: int, trees: int | None,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Judge a model by the pages of WARCS whose main text is in GOLD.

    With `--held-out` as it was trained with, only by the domains that it has not seen. With `--folds` all pages are
    judged, each by a model that is trained here on other registered domains only; nothing of that model, what its
    scores mean neither, depends on the page.

    Example: curate extractor evaluate gold.jsonl.gz pages.warc.gz --folds 5
    """
    _refuse_missing((gold, *warcs))
    from curation.sources.extraction import figures, path_of
    from curation.sources.extraction.gold import read
    from curation.sources.extraction.model import load
    from curation.sources.extraction.training import Settings, cross_validate, is_held_out

    pages = read(gold, warcs)
    if folds:
        asked: dict[str, Any] = {"seed": seed} | ({"trees": trees} if trees else {})
        texts = cross_validate(pages, Settings(**asked), folds)
    else:
        pages = [one for one in pages if not held_out or is_held_out(one, held_out)]
        texts = figures.texts(load(path_of(str(model))), pages)
    judged = figures.evaluate(pages, texts)
    told = {kind: one._asdict() for kind, one in judged.items()}
    click.echo(json.dumps(told, indent=1) if as_json else figures.written(judged))
