"""`curate init` and `curate run`."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curation.cli.options import ENGINE, JSON, RECIPE, SET, WORK, WORKERS
from curation.cli.printing import aligned, plain
from curation.errors import CurationError, UsageError

if TYPE_CHECKING:
    from curation.progress import Progress
    from curation.recipe import Recipe


@click.command(short_help="Make a folder with recipes and a sample.")
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Make FOLDER with a commented recipe and a small sample to run it on, and a recipe with textbooks out of a ledger.

    Example: curate init my-textbook
    """
    from curation.sample import copy_to

    for path in copy_to(folder):
        click.echo(f"made {path}")
    click.echo(f"\nrun it:  curate run {folder / 'recipe.toml'}")


@click.command(short_help="Run a recipe, from its inputs to a release.")
@RECIPE
@SET
@WORK
@ENGINE
@WORKERS
@click.option("--until", metavar="STAGE", help="Stop after pull, measure, compare, judge, blend, report or publish.")
@click.option("--single-writer", is_flag=True, help="Nothing else writes there: for S3 servers that let races happen.")
@click.option("--prefect", is_flag=True, help="Run as a Prefect flow; so it does where PREFECT_API_URL is set.")
@JSON
def run(
    recipe: Path,
    overrides: tuple[str, ...],
    work: str | None,
    engine_name: str,
    workers: int | None,
    until: str | None,
    single_writer: bool,
    prefect: bool,
    as_json: bool,
) -> None:
    """Run RECIPE: pull, measure, compare, judge, blend, report, publish. What is made already is not made again.

    Example: curate run my-textbook/recipe.toml --set rules.low_value="education_score < 2"
    """
    from curation import pipeline
    from curation.engines import engine_of
    from curation.recipe import load

    overrides = (*overrides, "single_writer=true") if single_writer else overrides
    loaded = load(recipe, overrides, work=work)
    pipeline.check_until(until)
    if flow := _flow(prefect):
        answer = flow(recipe.absolute(), list(overrides), work, engine_name, workers, until)
        if as_json:
            click.echo(json.dumps(answer, indent=1, default=str))
        elif "release" in answer:
            click.echo(f"release  {answer['release']}\nreport   {answer['release']}/report.html")
        return
    with ExitStack() as stack:
        progress = progress_for(stack, as_json)
        engine = stack.enter_context(engine_of(engine_name, workers, progress))
        state = pipeline.run(loaded, engine, until=until)
    if as_json:
        record = {"recipe": loaded.name, "stages": state.stages, "figures": state.figures, "warnings": state.warnings}
        click.echo(json.dumps(record, indent=1, default=str))
        return
    for line in _summary(state.figures, loaded):
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
    _refuse_no_server(os.environ.get("PREFECT_API_URL"))
    return curate


def _refuse_no_server(url: str | None) -> None:
    """Raise `CurationError` where nothing answers at the address that a run is to be recorded at."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    if not url:
        return
    try:
        urlopen(f"{url.rstrip('/')}/health", timeout=10).close()  # noqa: S310  # where the user's setting says
    except HTTPError:  # an answer, if only to ask who we are
        return
    except (OSError, ValueError, HTTPException) as error:
        raise CurationError(
            f"PREFECT_API_URL is {url}, and no server answers there: {error}",
            remedy="start it: prefect server start; or run without: unset PREFECT_API_URL",
        ) from error


def progress_for(stack: ExitStack, silent: bool) -> Progress:
    """Where a command says how far it is, until the stack is left: nowhere, on the terminal, or in lines."""
    from curation.progress import Lines, Silent, Terminal

    if silent:
        return Silent()
    return stack.enter_context(Terminal()) if sys.stderr.isatty() else Lines()


def _summary(figures: dict[str, Any], recipe: Recipe) -> list[str]:
    """The funnel by source and the blend by group, as aligned lines."""
    lines: list[str] = []
    if "judge" in figures:
        head = ("source", "documents", "errors", "dropped", "duplicates", "kept")
        rows = [(name, *(counts[key] for key in head[1:])) for name, counts in figures["judge"]["sources"].items()]
        lines += ["", *aligned([head, *rows])]
    for name, count in figures.get("pull", {}).get("not_wanted", {}).items():
        lines.append(f"{name}: {count:,} documents more were read and are not wanted, by its `where`")
    if tried := figures.get("measure", {}).get("decontamination"):
        recall = ", ".join(f"{way} {tried['found'][way] / most:.1%}" for way, most in tried["planted"].items() if most)
        alarms = f"{tried['false_alarms']:,} of {tried['lookalikes']:,} look-alikes"
        lines += ["", f"contamination: planted items found: {recall}; false alarms: {alarms}"]
    lines += _copies(figures, recipe)
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
        lines += ["", *aligned([("group", "tokens asked", "achieved", "share", "documents"), *rows])]
        across = [(one["name"], one["asked"], one["tokens"], f"{one['achieved_share']:.1%}", one["documents"])
                  for one in [*figures["blend"]["around"], *figures["blend"]["limits"]]]  # fmt: skip
        if across:
            lines += ["", *aligned([("across groups", "asked", "achieved", "share", "documents"), *across])]
    return lines


def _copies(figures: dict[str, Any], recipe: Recipe) -> list[str]:
    """Where most duplicates were, and how to look at the largest cluster of them; nothing where there were none."""
    judged = figures.get("judge", {}).get("sources", {})
    shares = {name: counts["duplicates"] / (counts["duplicates"] + counts["kept"])
              for name, counts in judged.items() if counts["duplicates"]}  # fmt: skip
    if not shares:
        return []
    most = max(shares, key=lambda name: shares[name])
    line = f"duplicates: most in {most}, {shares[most]:.1%} of what passed the rules"
    if cluster := figures.get("report", {}).get("largest_cluster"):
        line += f"; {cluster['documents']:,} documents in the largest cluster: "
        line += f"curate dedup show {recipe.shown} {cluster['kept'][:12]}"
    outside = figures["measure"]["against"]
    found = {entry: sum(counts.values()) for entry, counts in figures["judge"]["against"].items()}
    return [
        "", line,
        *(f"  {number:,} are copies of the {outside[entry]['documents']:,} documents in {plain(entry)}"
          for entry, number in found.items()),
    ]  # fmt: skip
