"""`curate report`: the page that the last run wrote."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curation.cli.inspecting import warn_of_another
from curation.cli.options import RECIPE, SET, WORK
from curation.cli.printing import aligned
from curation.errors import StorageError, UsageError

if TYPE_CHECKING:
    from curation.storage import Storage


@click.command(short_help="Tell where the last run's report is; open it.")
@RECIPE
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Copy the page to FILE.")
@click.option("--open", "opened", is_flag=True, help="Open it in the browser.")
@click.option("--cost", is_flag=True, help="Tell what each stage of the run took, instead of the page.")
@SET
@WORK
def report(
    recipe: Path, out: Path | None, opened: bool, cost: bool, overrides: tuple[str, ...], work: str | None
) -> None:
    """Tell where the report of RECIPE's last run is: one page, of every document's fate.

    Example: curate report my-textbook/recipe.toml --open
    """
    from curation.recipe import load
    from curation.run import work_place

    if cost and (opened or out is not None):
        raise UsageError("--cost: there is no page to open or to copy then", remedy="ask for one of them")
    loaded = load(recipe, overrides, work=work)
    storage = work_place(loaded)
    if cost:
        _tell_cost(storage, recipe)
        return
    page = storage.read("report.html")
    if page is None:
        raise StorageError(
            f"{storage}: there is no report yet", remedy=f"run it first: curate run {recipe} --until report"
        )
    warn_of_another(loaded)
    place = storage.path("report.html")
    if out is not None:
        try:
            out.write_bytes(page)
        except OSError as error:
            raise UsageError(f"--out {out}: cannot be written: {error.strerror}", remedy="name another file") from error
        place = str(out.absolute())
    click.echo(place)
    if opened:
        if "://" in place:
            raise UsageError(
                f"{place}: a browser cannot open it there", remedy="copy it first: --out report.html --open"
            )
        if not webbrowser.open(Path(place).as_uri()):
            raise UsageError("there is no browser to open it in", remedy=f"open it yourself: {place}")


def _tell_cost(storage: Storage, recipe: Path) -> None:
    """Print what the stages of the last run took, also of one that failed."""
    from curation.run import last_run
    from curation.usage import table

    record = last_run(storage)
    if record is None:
        raise StorageError(f"{storage}: nothing was run here yet", remedy=f"run it first: curate run {recipe}")
    for line in aligned([*table(record["stages"])]):
        click.echo(line)
