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
    "--held-out", default=5, show_default=True, type=click.IntRange(0),
    help="One domain in so many is not trained on but judged; 0: none.",
)  # fmt: skip


def _refuse_missing(paths: tuple[Path, ...]) -> None:
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path}: no such file", remedy="name the files with gold texts and pages that are there")


@extractor.command("train")
@_GOLD
@_WARCS
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The model file to write.")
@_HELD_OUT
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of the training.")
@click.option("--trees", default=None, type=click.IntRange(1), help="Trees in each of the two forests.")
@click.option("--cross/--no-cross", default=True, show_default=True, help="Cross-validate too, which takes longer.")
def extractor_train(
    gold: Path, warcs: tuple[Path, ...], out: Path, held_out: int, seed: int, trees: int | None, cross: bool
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
    outside = [one for one in pages if is_held_out(one, held_out)]
    inside = [one for one in pages if not is_held_out(one, held_out)]
    examples = [found for one in inside if (found := example(one))]
    made = train(examples, settings)
    model.save(made, out)
    judged = figures.evaluate(outside, figures.texts(made, outside)) if outside else {}
    crossed = figures.evaluate(*cross_validate(examples, settings)) if cross else {}
    command = " ".join(["curate extractor train", gold.name, *(path.name for path in warcs), f"--out {out.name}"])
    command += "".join(f" --{name} {value}" for name, value in asked.items() if value)
    command += f" --held-out {held_out}" if held_out != 5 else ""
    page = out.with_suffix(".md")
    page.write_text(
        figures.card(
            out, trained_on=[one.gold for one in examples], held_out=judged, crossed=crossed, settings=settings,
            command=command, made_at=datetime.now(UTC).date(),
        ),
        encoding="utf-8",
    )  # fmt: skip
    click.echo(f"{len(examples):,} pages -> {out} ({out.stat().st_size:,} bytes)\n")
    if judged:
        click.echo(f"On held-out domains:\n\n{figures.written(judged)}")
    click.echo(f"\ncard   {page}")


@extractor.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@_GOLD
@_WARCS
@_HELD_OUT
@JSON
def extractor_evaluate(model: Path, gold: Path, warcs: tuple[Path, ...], held_out: int, as_json: bool) -> None:
    """Judge MODEL (or `default`, the shipped one) by pages whose main text is in GOLD.

    With `--held-out` as it was trained with, only the domains that it has not seen; with 0 all of them.

    Example: curate extractor evaluate default gold.jsonl.gz pages.warc.gz --held-out 0
    """
    _refuse_missing((gold, *warcs))
    from curation.sources.extraction import figures
    from curation.sources.extraction.gold import read
    from curation.sources.extraction.model import DEFAULT, load
    from curation.sources.extraction.training import is_held_out

    pages = [one for one in read(gold, warcs) if not held_out or is_held_out(one, held_out)]
    found = load(DEFAULT if str(model) == "default" else model)
    judged = figures.evaluate(pages, figures.texts(found, pages))
    told = {kind: one._asdict() for kind, one in judged.items()}
    click.echo(json.dumps(told, indent=1) if as_json else figures.written(judged))
