"""`curate forget`: what is to leave the releases, and every later run."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path  # noqa: TC003  # click reads it
from typing import Any

import click

from curation.cli.options import JSON, RECIPE, SET, WORK, WORKERS
from curation.cli.printing import aligned, plain
from curation.cli.run import progress_for


@click.command(short_help="Forget documents: out of the release, and of every later run.")
@RECIPE
@click.argument("wanted", nargs=-1, metavar="[ID|URL]...")
@click.option("--where", metavar="SQL", help="Forget documents of the last run for which this is true, as in a rule.")
@click.option("--reason", required=True, help="Why: the certificate keeps it.")
@click.option("--near", is_flag=True, help="Forget near-duplicates of them too.")
@click.option("--purge", is_flag=True, help="Remove earlier releases that hold them, and what is kept on the way.")
@click.option("--dry-run", "dry", is_flag=True, help="Say what would be done.")
@SET
@WORK
@WORKERS
@JSON
def forget(
    recipe: Path,
    wanted: tuple[str, ...],
    where: str | None,
    reason: str,
    near: bool,
    purge: bool,
    dry: bool,
    overrides: tuple[str, ...],
    work: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Forget documents of RECIPE by id, URL or --where, with copies of their text and all that was written from them.

    Publishes the latest release without them, by writing anew only the shards that held them, and sees to it that no
    later run brings them back. A certificate says what was removed from what.

    Example: curate forget recipe.toml https://harbour-guide.example/visitors/tides --reason "taken down" --dry-run
    """
    from curation.engine import LocalEngine
    from curation.forget import Asked, last_word, refuse_no_reason
    from curation.forget import forget as forgotten
    from curation.recipe import load

    refuse_no_reason(reason)
    loaded = load(recipe, overrides, work=work)
    with ExitStack() as stack:
        engine = stack.enter_context(LocalEngine(workers, progress_for(stack, as_json)))
        done = forgotten(loaded, Asked(wanted, where, reason, near, purge, dry), engine)
    if as_json:
        click.echo(json.dumps(done, indent=1, ensure_ascii=False))
        return
    click.echo("\n".join(_told(done)))
    if word := last_word(done):
        click.echo(f"\n{word}")


def _told(done: dict[str, Any]) -> list[str]:
    """The certificate, in lines."""
    lines = aligned([("document", "why"), *((one["id"], one["why"]) for one in done["documents"])])
    if left := done["near_duplicates_left"]:
        lines += ["", f"near-duplicates that stay, unless --near is given: {', '.join(left[:20])}"
                  + (f" and {len(left) - 20:,} more" if len(left) > 20 else "")]  # fmt: skip
    if published := done["published"]:
        rewritten = published["shards_rewritten"]
        named = ", ".join(rewritten[:5]) + (", …" if len(rewritten) > 5 else "")
        counts = f"without {published['rows']:,} rows of {published['documents']:,} documents"
        lines += ["", f"release    {published['from']} -> {published['version'] or '(dry run)'}: {counts}"]
        lines.append(f"shards     {len(rewritten):,} written anew ({named}), {published['shards_copied']:,} copied")
    else:
        lines += ["", "release    the latest release holds none of it"]
    for entry in done["releases"]:
        lines.append(
            f"  {entry['version']}: {entry['state']}, {entry['rows']:,} rows of {entry['documents']:,} documents"
        )
    where = done["workspace"]
    more = f": {len(where['parts']):,} parts written anew" if where["parts"] else ""
    lines.append(f"workspace  {where['state']}{more}")
    if done["ledger_answers"] is not None:
        lines.append(f"endpoints  {done['ledger_answers']:,} requests and answers removed")
    if done["inputs"]:
        names = ", ".join(plain(one["origin"]) for one in done["inputs"][:5])
        lines.append(f"inputs     hold it, and are left as they are: {names}{', …' if len(done['inputs']) > 5 else ''}")
    if "certificate" in done:
        lines.append(f"certificate {done['certificate']}")
    return lines
