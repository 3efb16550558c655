"""The command line: parse, call, print. The only place that catches `CurationError`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from curation import __version__
from curation.errors import CurationError, UsageError

if TYPE_CHECKING:
    from curation.explain import Explanation
    from curation.progress import Progress
    from curation.releases import Release

_RECIPE = click.argument("recipe", type=click.Path(path_type=Path))
_SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a value of the recipe.")
_WORK = click.option("--work", metavar="DIR", help="Work in this folder instead of the recipe's.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def main() -> None:
    """The entry point: every failure is one message and an exit status."""
    debug = "--debug" in sys.argv
    signal.signal(signal.SIGTERM, _terminated)
    try:
        cli.main([argument for argument in sys.argv[1:] if argument != "--debug"], standalone_mode=False)
    except click.exceptions.Abort:
        _end("stopped; finished parts are kept, and the same command goes on from there", None, 130)
    except KeyboardInterrupt:
        _end("stopped; finished parts are kept, and the same command goes on from there", None, 130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except CurationError as error:
        if debug:
            raise
        _end(error.message, error.remedy, error.exit_status)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", []))
        _end(
            f"unexpected {type(error).__name__}: {error}{notes}",
            "run it again with --debug and report what it shows; finished parts are kept",
            1,
        )


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _end(message: str, remedy: str | None, status: int) -> None:
    click.echo("curate: " + "\n".join(map(_plain, message.split("\n"))), err=True)
    if remedy:
        click.echo(f"  -> {remedy}", err=True)
    sys.exit(status)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="curate")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def cli(debug: bool) -> None:  # main() reads it from sys.argv, before anything can fail
    """Turn raw web and internal text into the textbook a language model learns from.

    \b
    Begin with:  curate init my-textbook
                 curate run my-textbook/recipe.toml
    """  # noqa: D301  # click reads the backspace as: leave these lines as they are


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Make FOLDER with a commented recipe and a small sample to run it on.

    Example: curate init my-textbook
    """
    from curation.sample import copy_to

    for path in copy_to(folder):
        click.echo(f"made {path}")
    click.echo(f"\nrun it:  curate run {folder / 'recipe.toml'}")


@cli.command()
@_RECIPE
@_SET
@_WORK
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes to use; one for each core if left out.")
@click.option("--until", metavar="STAGE", help="Stop after pull, measure, compare, judge, blend, report or publish.")
@click.option("--prefect", is_flag=True, help="Run as a Prefect flow; so it does where PREFECT_API_URL is set.")
@_JSON
def run(
    recipe: Path,
    overrides: tuple[str, ...],
    work: str | None,
    workers: int | None,
    until: str | None,
    prefect: bool,
    as_json: bool,
) -> None:
    """Run RECIPE: pull, measure, compare, judge, blend, report, publish. What is made already is not made again.

    Example: curate run my-textbook/recipe.toml --set rules.low_value="education_score < 2"
    """
    from curation import pipeline
    from curation.engine import LocalEngine
    from curation.recipe import load

    loaded = load(recipe, overrides, work=work)
    pipeline.check_until(until)
    if flow := _flow(prefect):
        answer = flow(recipe.absolute(), list(overrides), work, workers, until)
        if as_json:
            click.echo(json.dumps(answer, indent=1, default=str))
        elif "release" in answer:
            click.echo(f"release  {answer['release']}\nreport   {answer['release']}/report.html")
        return
    with ExitStack() as stack:
        progress = _progress(stack, as_json)
        engine = stack.enter_context(LocalEngine(workers, progress))
        state = pipeline.run(loaded, engine, until=until)
    if as_json:
        record = {"recipe": loaded.name, "stages": state.stages, "figures": state.figures, "warnings": state.warnings}
        click.echo(json.dumps(record, indent=1, default=str))
        return
    for line in _summary(state.figures):
        click.echo(line)
    if "publish" in state.figures:
        release = state.figures["publish"]["release"]
        click.echo(f"\nrelease  {release}\nreport   {release}/report.html")


def _flow(asked: bool) -> Any:
    """The Prefect flow if this run is to be recorded by Prefect, else None."""
    if not asked and not os.environ.get("PREFECT_API_URL"):
        return None
    try:
        from flows.curate import curate
    except ImportError as error:
        if asked:
            raise UsageError("--prefect: Prefect is not installed", remedy="pip install 'curate[prefect]'") from error
        click.echo("PREFECT_API_URL is set, but Prefect is not installed: this run is recorded nowhere", err=True)
        return None
    return curate


def _progress(stack: ExitStack, silent: bool) -> Progress:
    from curation.progress import Lines, Silent, Terminal

    if silent:
        return Silent()
    return stack.enter_context(Terminal()) if sys.stderr.isatty() else Lines()


def _summary(figures: dict[str, Any]) -> list[str]:
    """The funnel by source and the blend by group, as aligned lines."""
    lines: list[str] = []
    if "judge" in figures:
        head = ("source", "documents", "errors", "dropped", "duplicates", "kept")
        rows = [(name, *(counts[key] for key in head[1:])) for name, counts in figures["judge"]["sources"].items()]
        lines += ["", *_aligned([head, *rows])]
    if "blend" in figures:
        rows = [
            (
                group["name"],
                "-" if group["asked_tokens"] is None else group["asked_tokens"],
                group["tokens"],
                f"{group['achieved_share']:.1%}",
                group["documents"],
            )
            for group in figures["blend"]["groups"]
        ]
        lines += ["", *_aligned([("group", "tokens asked", "achieved", "share", "documents"), *rows])]
    return lines


def _aligned(rows: list[tuple[Any, ...]]) -> list[str]:
    texts = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    return [
        "  ".join(cell.rjust(width) if column else cell.ljust(width)
                  for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in texts
    ]  # fmt: skip


@cli.command()
@_RECIPE
@click.argument("document", metavar="ID|URI")
@_SET
@_WORK
@_JSON
def explain(recipe: Path, document: str, overrides: tuple[str, ...], work: str | None, as_json: bool) -> None:
    """Tell all that is known of a document of RECIPE's last run: origin, measures, rules, copies, shard.

    Example: curate explain my-textbook/recipe.toml https://harbour-guide.example/visitors/tides
    """
    from curation.explain import explain as explanations
    from curation.recipe import load

    found = explanations(load(recipe, overrides, work=work), document)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1, default=str))
        return
    click.echo("\n\n".join("\n".join(_explained(one)) for one in found))


def _explained(one: Explanation) -> list[str]:
    lines = [f"{one.document['id']}: {one.fate}"]
    lines += [f"  {key:12} {_plain(str(value))}" for key, value in one.document.items()
              if key != "id" and value not in (None, "{}")]  # fmt: skip
    lines.append(f"  {'part':12} documents/{one.part}.parquet, row {one.row}")
    if one.hits:
        lines.append("rules that hit")
    for hit in one.hits:
        values = ", ".join(f"{name} = {_shown(value)}" for name, value in hit.values.items())
        lines.append(f"  {hit.rule:32} {hit.predicate or hit.origin}" + (f"   here {values}" if values else ""))
    if one.survivor:
        kept = one.survivor
        lines.append(
            f"copy of       {kept['id']} ({_plain(kept['uri'] or kept['origin'])}), similarity {one.similarity:.3f}"
        )
    if one.copies:
        lines.append("copies that went because this one stays")
        lines += [
            f"  {copy['id']} {copy['similarity']:.3f} {_plain(copy['uri'] or copy['origin'])}" for copy in one.copies
        ]
    lines.append("measured")
    for name, measured in one.signals.items():
        shown = ", ".join(f"{key} {_shown(value)}" for key, value in measured.items() if not key.startswith("band_"))
        lines.append(f"  {name:18} {shown}")
    if one.blend and one.blend["group"]:
        full = "" if one.blend["copies"] else ": the group's budget was full"
        lines.append(
            f"in the blend  group {one.blend['group']}, {one.blend['copies']} x {one.blend['tokens']:,} tokens{full}"
        )
    elif one.blend and one.fate == "kept":
        lines.append("in the blend  in no group")
    if one.shards:
        places = ", ".join(f"{place['shard']} row {place['row']:,}" for place in one.shards)
        lines.append(f"in release    {one.release}: {places}")
    elif one.release:
        lines.append(f"not in the latest release, {one.release}")
    return lines


def _plain(text: str) -> str:
    r"""The text with control characters as \x1b, so that a document cannot move the cursor or forge a line.

    >>> _plain("one\n\x1b[2Jtwo")
    'one\\n\\x1b[2Jtwo'
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list):
        return f"{len(value)} spans"
    return _plain(str(value))


@cli.command()
@_RECIPE
@click.argument("query")
@_SET
@_WORK
@_JSON
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def sql(recipe: Path, query: str, overrides: tuple[str, ...], work: str | None, as_json: bool, as_csv: bool) -> None:
    """Ask QUERY, in DuckDB's SQL, of what RECIPE's last run made.

    There is a view for documents, each signal, pairs, verdicts and blend, and `corpus`: all of them joined.

    Example: curate sql recipe.toml "select source, avg(education_score) from corpus group by all"
    """
    import csv

    import duckdb

    from curation.query import open_views
    from curation.recipe import load

    if as_json and as_csv:
        raise UsageError("--json and --csv: one of them", remedy="leave the other out")
    connection = open_views(load(recipe, overrides, work=work))
    try:
        relation = connection.sql(query)
        if relation is None:
            return
        if not (as_json or as_csv):
            relation.show(max_rows=200, max_width=shutil.get_terminal_size((160, 50)).columns)
            return
        names, rows = relation.columns, relation.fetchall()
    except duckdb.Error as error:
        raise UsageError(f"this SQL cannot be run: {error}", remedy="`show tables` lists the views") from error
    if as_json:
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str, indent=1))
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


@cli.group()
def releases() -> None:
    """List, show and verify releases."""


_PLACE = click.argument("place", type=click.Path(path_type=Path))
_WHICH = click.argument("which", required=False, metavar="[NAME/VERSION]")


@releases.command("list")
@_PLACE
@_JSON
def releases_list(place: Path, as_json: bool) -> None:
    """List the releases at PLACE: a recipe, or the folder it publishes to.

    Example: curate releases list my-textbook/recipe.toml
    """
    from curation.releases import latest, names
    from curation.releases import releases as versions

    storage, only = _release_place(place)
    rows: list[dict[str, Any]] = []
    for name in [only] if only else names(storage):
        newest = latest(storage, name)
        for release in versions(storage, name):
            manifest = release.manifest() or {}
            rows.append(
                {
                    "release": f"{name}/{release.version}",
                    "documents": manifest.get("documents"),
                    "rows": manifest.get("rows"),
                    "tokens": manifest.get("tokens"),
                    "bytes": manifest.get("bytes"),
                    "state": "unfinished" if not manifest else "latest" if newest == release else "",
                }
            )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif not rows:
        click.echo(f"no release in {storage}")
    else:
        cells = [tuple("-" if value is None else value for value in row.values()) for row in rows]
        click.echo("\n".join(_aligned([tuple(rows[0]), *cells])))


@releases.command("show")
@_PLACE
@_WHICH
@_JSON
def releases_show(place: Path, which: str | None, as_json: bool) -> None:
    """Show what a release holds: the latest, or the one named.

    Example: curate releases show my-textbook/recipe.toml
    """
    release = _release(place, which)
    manifest = release.manifest() or {}
    if as_json:
        click.echo(json.dumps(manifest, indent=1, ensure_ascii=False))
        return
    click.echo(f"{release.path}\n  published {manifest['created_at']}, by {manifest['software']}")
    click.echo(
        f"  {manifest['documents']:,} documents in {manifest['rows']:,} rows, {manifest['tokens']:,} tokens "
        f"({manifest['tokenizer']}), {manifest['bytes']:,} bytes, shards: {len(manifest['shards'])}\n"
    )
    head = ("source", "documents", "errors", "dropped", "duplicates", "kept")
    rows = [(source["name"], *(source[key] for key in head[1:])) for source in manifest["sources"]]
    click.echo("\n".join(_aligned([head, *rows])) + "\n")
    groups = [(group["name"], "-" if group["asked_share"] is None else f"{group['asked_share']:.1%}",
               f"{group['achieved_share']:.1%}", group["documents"], group["tokens"])
              for group in manifest["groups"]]  # fmt: skip
    click.echo("\n".join(_aligned([("group", "asked", "achieved", "documents", "tokens"), *groups])))


@releases.command("verify")
@_PLACE
@_WHICH
def releases_verify(place: Path, which: str | None) -> None:
    """Check every file of a release against its manifest: sha256, rows, tokens, and the counts against each other.

    Example: curate releases verify my-textbook/recipe.toml
    """
    from curation.errors import ReleaseError
    from curation.releases import verify

    release = _release(place, which)
    faults = verify(release)
    if faults:
        raise ReleaseError(
            f"{release.path}: not what its manifest says\n" + "\n".join(f"  {fault}" for fault in faults),
            remedy="do not train on it: restore the files from a copy, or publish again",
        )
    count = len((release.manifest() or {})["shards"])
    click.echo(f"{release.path}: {count:,} {'shard is' if count == 1 else 'shards are'} what the manifest says")


def _release_place(place: Path) -> tuple[Any, str | None]:
    from curation.recipe import load
    from curation.run import release_place
    from curation.storage import Storage

    if place.suffix == ".toml":
        recipe = load(place)
        return release_place(recipe), recipe.name
    if not place.is_dir():
        raise UsageError(f"{place}: there is no such folder", remedy="name a recipe, or the folder it publishes to")
    return Storage.at(str(place)), None


def _release(place: Path, which: str | None) -> Release:
    from curation.releases import find
    from curation.storage import Storage

    if (place / "claim.json").is_file():  # the folder of a release itself, as `run` prints it
        folder = place.resolve()
        return find(Storage.at(str(folder.parents[1])), f"{folder.parent.name}/{folder.name}")
    storage, name = _release_place(place)
    if name and which and not which.startswith(f"{name}/"):
        which = f"{name}/{which}"
    return find(storage, which or name)


@cli.command()
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@_JSON
def signals(recipe: Path | None, as_json: bool) -> None:
    """List what is measured of every document, with columns: all signals, or those of RECIPE and its own.

    Example: curate signals
    """
    from inspect import getdoc

    from curation.signals import SIGNALS, bare, load_signals, signal_name

    if recipe is None:
        loaded = {signal_name(module): bare(module) for module in SIGNALS}
    else:
        from curation.recipe import load

        loaded = load_signals(load(recipe))
    rows: list[dict[str, Any]] = []
    for name, one in loaded.items():
        module = one if isinstance(one, ModuleType) else sys.modules[type(one).__module__]
        rows.append(
            {
                "signal": name,
                "version": str(one.VERSION),
                "about": (getdoc(module) or "-").splitlines()[0],
                "columns": {column: str(kind) for column, kind in one.COLUMNS.items()},
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        click.echo(f"{row['signal']}  (version {row['version']})\n  {row['about']}")
        for name, kind in row["columns"].items():
            click.echo(f"    {name:36} {kind}")


@cli.command()
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@_SET
@_WORK
@_JSON
@click.option("--sql", "as_sql", is_flag=True, help="Print the query that judges.")
def rules(recipe: Path | None, overrides: tuple[str, ...], work: str | None, as_json: bool, as_sql: bool) -> None:
    """List the presets with their rules, or the rules of RECIPE and how often each hit on its last run.

    Example: curate rules my-textbook/recipe.toml
    """
    from curation import rules as ruling

    if recipe is None:
        if as_sql:
            raise UsageError("--sql: the query is that of a recipe", remedy="name one: curate rules recipe.toml --sql")
        presets = list(ruling.presets().values())
        if as_json:
            click.echo(json.dumps([asdict(preset) for preset in presets], indent=1))
            return
        for preset in presets:
            click.echo(f"{preset.label}  ({preset.source})")
            for name, predicate in preset.rules.items():
                click.echo(f"    {name:36} {predicate}")
        return
    from curation.judge import rules_text
    from curation.recipe import load
    from curation.run import last_run, workspace

    loaded = load(recipe, overrides, work=work)
    space, _ = workspace(loaded)
    if as_sql:
        click.echo(rules_text(loaded))
        return
    record = last_run(space.storage) or {}
    hits = record.get("figures", {}).get("judge", {}).get("rules")
    rows = [
        {
            "rule": rule.name,
            "hits": None if hits is None else hits.get(rule.name, 0),
            "from": rule.origin,
            "drops": rule.predicate,
        }
        for rule in ruling.check(loaded, space)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        for row in rows:
            count = "-" if row["hits"] is None else f"{row['hits']:,}"
            click.echo(f"{row['rule']:36} {count:>9}  {row['from']:28} {row['drops']}")


@cli.group()
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
@_JSON
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
