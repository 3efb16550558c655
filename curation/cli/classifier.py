"""`curate classifier`: train and evaluate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from curation.cli.options import JSON


@click.group(short_help="Train and evaluate a classifier of your own.")
def classifier() -> None:
    """Train and evaluate a classifier of educational value for a domain of one's own."""


_LABELS = click.argument("labels", nargs=-1, required=True, type=click.Path(path_type=Path))
_THRESHOLD = click.option("--threshold", default=2.5, show_default=True, type=click.FloatRange(0, 5, min_open=True),
                          help="The grade from which a text is good.")  # fmt: skip


@classifier.command("train")
@_LABELS
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The model file to write.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of the split and the training."
)
@click.option("--dim", default=16, show_default=True, type=click.IntRange(1, 1000), help="Numbers a word.")
@click.option("--epochs", default=5, show_default=True, type=click.IntRange(1), help="Times to see each text.")
@click.option("--rate", default=0.1, show_default=True, type=click.FloatRange(0, min_open=True), help="Learning rate.")
@click.option("--ngrams", default=1, show_default=True, type=click.IntRange(1, 5), help="2 learns pairs of words too.")
@click.option("--buckets", default=30_000, show_default=True, type=click.IntRange(1), help="Rows for word n-grams.")
@click.option("--vocabulary", default=20_000, show_default=True, type=click.IntRange(1), help="Words to know at most.")
@click.option(
    "--min-documents", default=10, show_default=True, type=click.IntRange(1), help="Texts a word must stand in."
)
@click.option("--min-groups", default=3, show_default=True, type=click.IntRange(1), help="Groups a word must stand in.")
@click.option("--held-out", default=0.1, show_default=True, type=click.FloatRange(0, 1, max_open=True),
              help="Share of the texts kept for the figures, in whole groups.")  # fmt: skip
@_THRESHOLD
def classifier_train(labels: tuple[Path, ...], out: Path, **settings: Any) -> None:
    """Train a model from LABELS: JSONL or Parquet with `text` and `label`, or folders of good and bad texts.

    Writes the model and, beside it, its card. The same texts, settings and seed give the same file.

    Example: curate classifier train labels.jsonl.gz --out pumps.bin
    """
    from datetime import UTC, datetime

    from classifiers.card import card, figures
    from classifiers.labels import read
    from classifiers.train import Settings, train

    trained = train(read(labels), out, Settings(**settings))
    told = " ".join(["curate classifier train", *map(str, labels), f"--out {out}"])
    told += "".join(f" --{name.replace('_', '-')} {value}" for name, value in settings.items()
                    if value != Settings.model_fields[name].default)  # fmt: skip
    page = out.with_suffix(".md")
    page.write_text(card(trained, name=out.stem, command=told, made_at=datetime.now(UTC).date()), encoding="utf-8")
    click.echo(f"{trained.documents:,} texts, {trained.words:,} words -> {out} ({trained.bytes:,} bytes)\n")
    if trained.held_out:
        click.echo("On held-out groups of the same sources:\n\n" + figures(trained.held_out))
    click.echo(f'\ncard   {page}\nuse it with [signals.education] model = "{out}"')


@classifier.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@_LABELS
@_THRESHOLD
@JSON
def classifier_evaluate(model: Path, labels: tuple[Path, ...], threshold: float, as_json: bool) -> None:
    """Score LABELS, which it should not have been trained on, with MODEL (or `default`, the shipped one).

    Example: curate classifier evaluate pumps.bin another-plant.jsonl
    """
    from classifiers.card import figures
    from classifiers.evaluate import evaluate
    from classifiers.labels import read
    from classifiers.model import DEFAULT

    found = evaluate(DEFAULT if str(model) == "default" else model, read(labels), threshold=threshold)
    click.echo(json.dumps(asdict(found), indent=1) if as_json else figures(found))
