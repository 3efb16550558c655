"""`curate deploy`: a Prefect deployment of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from curation.cli.options import ENGINE, RECIPE, SET, WORKERS
from curation.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@click.command(short_help="Have Prefect run a recipe on a schedule.")
@RECIPE
@click.option("--cron", metavar="CRON", help='When to run it, like "0 2 * * *".')
@click.option("--interval", metavar="SPAN", help="How often to run it instead, like 6h or 1d.")
@click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Of --cron.")
@click.option("--name", metavar="NAME", help="Of the deployment; the recipe's if left out.")
@click.option("--pool", default="local", show_default=True, metavar="POOL", help="Work pool; made if there is none.")
@click.option("--serve", is_flag=True, help="Need no worker: run what is due from here, until Ctrl-C.")
@SET
@click.option("--work", metavar="DIR", help="Work in this folder instead of the recipe's.")
@ENGINE
@WORKERS
def deploy(
    recipe: Path,
    cron: str | None,
    interval: str | None,
    timezone: str,
    name: str | None,
    pool: str,
    serve: bool,
    overrides: tuple[str, ...],
    work: str | None,
    engine_name: str,
    workers: int | None,
) -> None:
    """Have a Prefect server run RECIPE: when asked to, and on a schedule.

    Deploying it again under the same name changes it.

    Example: curate deploy my-textbook/recipe.toml --cron "0 2 * * *" --timezone Europe/Berlin
    """
    from curation import rules
    from curation.recipe import load
    from curation.run import refuse_overlap, workspace

    loaded = load(recipe, overrides, work=work)
    rules.check(loaded, workspace(loaded)[0])
    refuse_overlap(loaded)
    deploying = _deploying()
    schedule = deploying.schedule_of(cron, interval, timezone)
    parameters: dict[str, Any] = {"recipe": str(recipe.resolve()), "overrides": list(overrides)}
    parameters |= {"work": loaded.work} if work else {}
    parameters |= {"engine": engine_name} if engine_name != "local" else {}
    parameters |= {"workers": workers} if workers else {}
    named = name or loaded.name
    if serve:
        click.echo(f"serving curate/{named}, {_when(cron, interval, timezone)}; stop it with Ctrl-C")
        deploying.serve(loaded, parameters, named, schedule)
        return
    made = deploying.deploy(loaded, parameters, named, pool, schedule)
    click.echo(f"deployed  {made.name}, {_when(cron, interval, timezone)}")
    click.echo(f"pool      {made.pool}" + (", made just now" if made.pool_is_new else ""))
    click.echo(f"worker    prefect worker start --pool {made.pool}     (where recipe and data are; it stays running)")
    click.echo(f"run now   prefect deployment run {made.name}")
    if made.url:
        click.echo(f"watch     {made.url}")


def _when(cron: str | None, interval: str | None, timezone: str) -> str:
    if cron:
        return f'at "{cron}" ({timezone})'
    return f"every {interval}" if interval else "when asked to"


def _deploying() -> ModuleType:
    try:
        from flows import deploy as module
    except ImportError as error:
        raise UsageError("Prefect is not installed", remedy="pip install 'curate[prefect]'") from error
    return module
