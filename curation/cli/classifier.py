"""`curate classifier`: label, train and evaluate."""

from __future__ import annotations

import json
import shlex
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from curation.cli.by_hand import Screen, person, refuse_no_terminal
from curation.cli.options import JSON, RECIPE, SET, WORK
from curation.cli.printing import aligned, plain
from curation.cli.run import progress_for
from curation.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from classifiers.rubric import Document, Rubric
    from curation.errors import CurationError
    from curation.recipe import Recipe


@click.group(short_help="Label, train and evaluate a classifier of your own.")
def classifier() -> None:
    """Label documents, and train and evaluate a classifier of educational value for a domain of one's own."""


_LABELS = click.argument("labels", nargs=-1, required=True, type=click.Path(path_type=Path))
_THRESHOLD = click.option("--threshold", default=2.5, show_default=True, type=click.FloatRange(0, 5, min_open=True),
                          help="The grade from which a text is good.")  # fmt: skip


@classifier.command("label")
@RECIPE
@click.option("--endpoint", metavar="NAME", help="Have a model grade: a table [endpoint.NAME] of the recipe.")
@click.option("--by-hand", is_flag=True, help="Grade yourself, in this terminal: one key a document, with undo.")
@click.option("--sample", "number", required=True, type=click.IntRange(1), help="How many documents to label.")
@click.option("--strategy", default="uniform", show_default=True,
              type=click.Choice(["uniform", "unsure", "stratified"]),
              help="Of all alike; most where the present score is near its middle; or as many of each source, length "
              "and score.")  # fmt: skip
@click.option("--where", default="true", metavar="SQL", help="Of these documents only: SQL over the columns of corpus.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the choice of documents.")
@click.option(
    "--rubric", type=click.Path(path_type=Path, dir_okay=False), help="TOML to grade by; the shipped one if left out."
)
@click.option(
    "--to", type=click.Path(path_type=Path, dir_okay=False),
    help="Parquet to write; labels/NAME.parquet, or labels/by-hand.parquet, beside the recipe if left out."
)  # fmt: skip
@click.option("--compare", type=click.Path(path_type=Path, dir_okay=False),
              help="Labels of another run, model, person or rubric: how far they agree.")  # fmt: skip
@_THRESHOLD
@SET
@WORK
@JSON
def classifier_label(
    recipe: Path, endpoint: str | None, by_hand: bool, number: int, strategy: str, where: str, seed: int,
    rubric: Path | None, to: Path | None, compare: Path | None, threshold: float, overrides: tuple[str, ...],
    work: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Grade documents of RECIPE's last run from 0 to 5, for `curate classifier train`: a language model does, or you.

    What a model costs is bounded by the endpoint's budget. What was asked is in its ledger and never asked again: after
    a kill, or to label more, run the same command again.

    By hand each label is written before the next document is shown, and the same command goes on where you stopped.

    Example: curate classifier label recipe.toml --endpoint labeller --sample 500
    """
    from classifiers import labelling
    from classifiers import rubric as rubrics
    from classifiers.agreement import agreement
    from curation.recipe import load
    from curation.selection import select

    if by_hand == (endpoint is not None):
        raise UsageError(
            "who grades? --endpoint and --by-hand exclude each other" if by_hand else "who grades?",
            remedy="--endpoint NAME for a model, or --by-hand for yourself",
        )
    if endpoint is None:
        refuse_no_terminal()
    loaded = load(recipe, overrides, work=work)
    if endpoint is not None:
        loaded.service(endpoint)
    grading = rubrics.load(rubric or rubrics.DEFAULT)
    to = to or loaded.base / "labels" / f"{endpoint or 'by-hand'}.parquet"
    if to.suffix != ".parquet":
        raise UsageError(f"--to {to}: labels are written as Parquet", remedy=f"--to {to.with_suffix('.parquet')}")
    earlier = labelling.grades(labelling.read(compare)) if compare else None
    chosen = partial(select, loaded, number, strategy, seed, where)
    if endpoint is None:
        labels, told = _graded_by_hand(chosen, grading, strategy, to)
        failed = None
    else:
        labels, told, failed = _graded_by_model(loaded, endpoint, chosen, grading, strategy, to, number, as_json)
    told = {"labels": str(to), **told, **labelling.counts(labels, threshold), "agreement": None}
    if earlier is not None and (found := agreement(labelling.grades(labels), earlier)):
        told["agreement"] = asdict(found)
    click.echo(json.dumps(told, indent=1) if as_json else "\n".join(_labelled_lines(told, threshold, compare)))
    if failed:
        raise failed


def _graded_by_hand(
    chosen: Callable[[], list[Document]], grading: Rubric, strategy: str, to: Path
) -> tuple[pa.Table, dict[str, Any]]:
    """Labels by whoever sits at the terminal, all that are in the file, and what is told of them."""
    from rich.console import Console

    from classifiers import by_hand, labelling

    sheet = by_hand.Sheet.open(to, by_hand.made_by(grading, person()), strategy)
    documents = chosen()
    by_hand.label(documents, sheet, Screen(Console(stderr=True), grading).ask)
    known = {row["id"] for row in sheet.rows}
    left = sum(document.id not in known for document in documents)
    return labelling.table(sheet.rows), {"sample": len(known) + left, "documents": len(known)}


def _graded_by_model(
    loaded: Recipe, endpoint: str, chosen: Callable[[], list[Document]], grading: Rubric, strategy: str, to: Path,
    number: int, as_json: bool,
) -> tuple[pa.Table, dict[str, Any], CurationError | None]:  # fmt: skip
    """Labels by a model, what is told of them, and the error that ended the work before its end."""
    import asyncio

    from classifiers import labelling
    from curation.dataset import save
    from curation.endpoint.client import Endpoint, keys_from
    from curation.endpoint.ledger import Ledger
    from curation.endpoint.service import UNIT

    service = loaded.service(endpoint)
    keys = keys_from(service)
    documents = chosen()
    made = labelling.made_by(grading, service)
    labelling.refuse_loss(to, (document.id for document in documents), made)
    with ExitStack() as stack:
        progress = progress_for(stack, as_json)
        if len(documents) < number:
            progress.line(f"  there are only {len(documents):,} documents to label")
        ledger = stack.enter_context(Ledger(loaded.ledger(endpoint)))
        before = ledger.spent

        async def ask() -> tuple[list[dict[str, Any]], CurationError | None, dict[str, int]]:
            async with Endpoint(service, ledger, keys) as asked:
                rows, failed = await labelling.label(documents, grading, asked, strategy, lambda: progress.advance(1))
                return rows, failed, dict(asked.failures)

        progress.start("label", len(documents), "documents")
        rows, failed, failures = asyncio.run(ask())
        progress.stop()
        labels = labelling.table(rows)
        if rows:
            labelling.refuse_loss(to, labelling.grades(labels), made)
            save(labels, to)
        spent = ledger.spent - before
    told = {
        "sample": len(documents), "documents": len(rows), "requests": spent.requests,
        "input_tokens": spent.input_tokens, "output_tokens": spent.output_tokens, "cost": spent.money / UNIT,
        "cost_of_all_runs": ledger.spent.money / UNIT, "failed_tries": failures,
    }  # fmt: skip
    return labels, told, failed


def _labelled_lines(told: dict[str, Any], threshold: float, compare: Path | None) -> list[str]:
    """The summary of a labelling, as a person reads it."""
    rows = [("grade", "documents"), *told["grades"].items()]
    rows += [(kind, count) for kind, count in told["without"].items() if count]
    if told["documents"] < told["sample"]:
        rows.append(("not asked", told["sample"] - told["documents"]))
    lines = [*aligned(rows), ""]
    lines.append(f"{told['good']:,} are good for training (a grade of {threshold:g} or more), {told['bad']:,} are bad")
    if "requests" in told:
        lines += _cost_lines(told)
    if found := told["agreement"]:
        kappa = "-" if found["kappa"] is None else f"{found['kappa']:.3f}"
        lines.append(
            f"agreement with {plain(str(compare))} on {found['documents']:,} documents: the same grade "
            f"{found['exact']:.1%}, at most one apart {found['within_one']:.1%}, quadratic-weighted kappa {kappa}"
        )
    elif compare:
        lines.append(f"{plain(str(compare))} has grades for none of these documents")
    return [*lines, f"\nlabels {told['labels']}\ntrain  curate classifier train {told['labels']} --out model.bin"]


def _cost_lines(told: dict[str, Any]) -> list[str]:
    """What a model's labels cost, and what went wrong on the way."""
    asked = (
        f"asked {told['requests']:,} requests, {told['input_tokens']:,} + {told['output_tokens']:,} tokens, "
        f"cost {told['cost']:,.4f}; {told['cost_of_all_runs']:,.4f} in all runs"
    )
    if not told["failed_tries"]:
        return [asked]
    counted = ", ".join(f"{kind} {count:,}" for kind, count in sorted(told["failed_tries"].items()))
    return [asked, f"tries that failed: {counted}"]


@classifier.command("train")
@click.argument("labels", nargs=-1, type=click.Path(path_type=Path))
@click.option("--positives", multiple=True, type=click.Path(path_type=Path),
              help="Texts that are all good: a text file, a folder, JSONL or Parquet with `text`.")  # fmt: skip
@click.option("--negatives", multiple=True, type=click.Path(path_type=Path), help="Texts that are all bad.")
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
@click.option("--balance", is_flag=True, help="Repeat the rarer of good and bad until both weigh the same.")
@click.option("--held-out", default=0.1, show_default=True, type=click.FloatRange(0, 1, max_open=True),
              help="Share of the texts kept for the figures, in whole groups.")  # fmt: skip
@click.option("--tune", default=0.0, metavar="SECONDS", type=click.FloatRange(0),
              help="Try settings for so long, and keep the best.")  # fmt: skip
@_THRESHOLD
@JSON
def classifier_train(
    labels: tuple[Path, ...], positives: tuple[Path, ...], negatives: tuple[Path, ...], out: Path, tune: float,
    as_json: bool, **settings: Any,
) -> None:  # fmt: skip
    """Train a model from LABELS: JSONL or Parquet with `text` and `label`, or folders of good and bad texts.

    Writes the model and, beside it, its card and hashes of what it was trained on. The same texts, settings and seed
    give the same file.

    Example: curate classifier train labels.jsonl.gz --out pumps.bin
    """
    from datetime import UTC, datetime

    from classifiers import seen
    from classifiers.card import card, figures
    from classifiers.labels import read
    from classifiers.train import Settings, train

    if out.suffix in (".md", ".parquet"):
        raise UsageError(f"--out {out}: the card and the hashes go there", remedy=f"--out {out.with_suffix('.bin')}")
    rows = read(labels, positives, negatives)
    trained = train(rows, out, Settings(**settings), tune=tune)
    told = shlex.join([
        "curate", "classifier", "train", *map(str, labels),
        *(part for path in positives for part in ("--positives", str(path))),
        *(part for path in negatives for part in ("--negatives", str(path))), "--out", str(out),
        *_options(trained.settings.model_dump(), Settings().model_dump()),
    ])  # fmt: skip
    page = out.with_suffix(".md")
    _write(page, card(trained, name=out.stem, command=told, made_at=datetime.now(UTC).date()))
    if as_json:
        click.echo(json.dumps({**asdict(trained), "settings": trained.settings.model_dump()}, indent=1, default=str))
        return
    for warning in trained.warnings:
        click.echo(f"warning: {plain(warning)}", err=True)
    click.echo(f"{trained.documents:,} texts, {trained.words:,} words -> {out} ({trained.bytes:,} bytes)\n")
    if trained.tried:
        best = max(one.roc_auc for one in trained.tried)
        for one in trained.tried:
            changed = ", ".join(f"{key} {value}" for key, value in one.changes.items()) or "as given"
            click.echo(f"tried {changed}: area {one.roc_auc:.4f}{' (best)' if one.roc_auc == best else ''}")
        click.echo()
    if trained.held_out:
        click.echo("On held-out groups of the same sources:\n\n" + figures(trained.held_out))
    click.echo(f'\ncard   {page}\nseen   {seen.place(out)}\nuse it with [signals.education] model = "{out}"')


def _options(settings: dict[str, Any], usual: dict[str, Any]) -> list[str]:
    """The options that give these settings, where they are not the usual ones."""
    found: list[str] = []
    for name, value in settings.items():
        if value != usual[name]:
            option = f"--{name.replace('_', '-')}"
            found += [option] if value is True else [option, str(value)]
    return found


@classifier.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@_LABELS
@_THRESHOLD
@click.option("--against", metavar="MODEL", type=click.Path(path_type=Path),
              help="Another model on the same texts, or `default`, the shipped one.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False),
              help="A page of HTML to write: all figures, with plots and the most wrong texts.")  # fmt: skip
@click.option("--keep-seen", is_flag=True, help="Also count the texts that a model was trained on.")
@JSON
def classifier_evaluate(
    model: Path, labels: tuple[Path, ...], threshold: float, against: Path | None, report: Path | None,
    keep_seen: bool, as_json: bool,
) -> None:  # fmt: skip
    """Score LABELS, which it should not have been trained on, with MODEL (or `default`, the shipped one).

    MODEL `language` is what tells the languages: its labels are their codes, and it takes --report and --json alone.

    Example: curate classifier evaluate pumps.bin another-plant.jsonl --against default --report pumps.html
    """
    if str(model) == "language":
        _refuse_options_of_grades()
        _evaluate_language(labels, report, as_json)
        return
    from classifiers.card import figures
    from classifiers.evaluate import judge
    from classifiers.labels import read

    found, judged = judge(
        _model(model), read(labels), threshold=threshold, against=against and _model(against), keep_seen=keep_seen
    )
    if report:
        from curation.report.evaluation import page

        _write(report, page(found, judged))
    _tell(found, figures(found), report, as_json)


def _tell(found: Any, figures: str, report: Path | None, as_json: bool) -> None:
    """Print an evaluation: as JSON, or its warnings and figures, and where its page lies."""
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
        return
    for warning in found.warnings:
        click.echo(f"warning: {plain(warning)}", err=True)
    click.echo(figures)
    if report:
        click.echo(f"\nreport {report}")


def _evaluate_language(labels: tuple[Path, ...], report: Path | None, as_json: bool) -> None:
    """Tell how often the languages of texts are told."""
    from classifiers.evaluate_language import judge, read
    from classifiers.language_figures import figures

    found, judged = judge(read(labels))
    if report:
        from curation.report.language import page

        _write(report, page(found, judged))
    _tell(found, figures(found), report, as_json)


def _refuse_options_of_grades() -> None:
    """Raise `UsageError` where an option was given that means nothing for languages."""
    context = click.get_current_context()
    for name in ("threshold", "against", "keep_seen"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise UsageError(
                f"--{name.replace('_', '-')}: means nothing for `language`, whose labels are no grades",
                remedy="leave it out",
            )


def _model(path: Path) -> Path:
    """The file of a model that a person named."""
    from classifiers.model import DEFAULT

    return DEFAULT if str(path) == "default" else path


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}", remedy="name another file") from error
