"""`curate doctor`: whether everything is there that a run needs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from curation.cli.options import JSON, SET, WORK
from curation.cli.printing import plain


@click.command(short_help="Check machine, places and recipe before a run.")
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@SET
@WORK
@JSON
def doctor(recipe: Path | None, overrides: tuple[str, ...], work: str | None, as_json: bool) -> None:
    """Check this machine and, with RECIPE, its inputs, WORK and release folder; exit status 1 if anything fails.

    Example: curate doctor my-textbook/recipe.toml
    """
    from curation.doctor import examine

    checks = []
    for check in examine(recipe, overrides, work):
        checks.append(check)
        if not as_json:
            first, *more = check.found.split("\n")
            click.echo(f"{check.state:4}  {check.name:16} {plain(first)}")
            for line in more:
                click.echo(f"{'':23}{plain(line)}")
            if check.remedy and check.state != "ok":
                click.echo(f"{'':23}-> {plain(check.remedy)}")
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=1))
    if any(check.state == "fail" for check in checks):
        sys.exit(1)
