"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path

import click

RECIPE = click.argument("recipe", type=click.Path(path_type=Path))
SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a value of the recipe.")
WORK = click.option("--work", metavar="DIR", help="Work in this folder instead of the recipe's.")
ENGINE = click.option(
    "--engine", "engine_name", type=click.Choice(["local", "ray"]), default="local", show_default=True,
    help="Processes here, or the Ray cluster that RAY_ADDRESS names.",
)  # fmt: skip
WORKERS = click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Processes or tasks at a time; one for each core if left out.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
