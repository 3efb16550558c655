"""`curate releases`: list, show and verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curation.cli.options import JSON
from curation.cli.printing import aligned
from curation.errors import UsageError

if TYPE_CHECKING:
    from curation.releases import Release
    from curation.storage import Storage


@click.group()
def releases() -> None:
    """List, show and verify releases."""


_PLACE = click.argument("place")
_WHICH = click.argument("which", required=False, metavar="[NAME/VERSION]")


@releases.command("list", short_help="List the releases of a recipe or a place.")
@_PLACE
@JSON
def releases_list(place: str, as_json: bool) -> None:
    """List the releases at PLACE: a recipe, or the folder or s3:// place it publishes to.

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
        click.echo("\n".join(aligned([tuple(rows[0]), *cells])))


@releases.command("show", short_help="Show what a release holds.")
@_PLACE
@_WHICH
@JSON
def releases_show(place: str, which: str | None, as_json: bool) -> None:
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
    click.echo("\n".join(aligned([head, *rows])) + "\n")
    groups = [(group["name"], "-" if group["asked_share"] is None else f"{group['asked_share']:.1%}",
               f"{group['achieved_share']:.1%}", group["documents"], group["tokens"])
              for group in manifest["groups"]]  # fmt: skip
    click.echo("\n".join(aligned([("group", "asked", "achieved", "documents", "tokens"), *groups])))


@releases.command("verify", short_help="Check every file of a release.")
@_PLACE
@_WHICH
def releases_verify(place: str, which: str | None) -> None:
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


def _release_place(place: str) -> tuple[Storage, str | None]:
    """The folder of releases that is meant, and the one name in it that a recipe means."""
    from curation.recipe import load
    from curation.run import release_place
    from curation.storage import open_storage

    if place.endswith(".toml"):
        recipe = load(place)
        return release_place(recipe), recipe.name
    if "://" not in place and not Path(place).is_dir():
        raise UsageError(f"{place}: there is no such folder", remedy="name a recipe, or the folder it publishes to")
    return open_storage(place), None


def _release(place: str, which: str | None) -> Release:
    from curation.releases import find
    from curation.storage import open_storage

    storage, name = _release_place(place)
    if name is None and storage.exists("claim.json"):  # the folder of a release itself, as `run` prints it
        root, name, version = str(storage).rstrip("/").rsplit("/", 2)
        return find(open_storage(root), f"{name}/{version}")
    if name and which and not which.startswith(f"{name}/"):
        which = f"{name}/{which}"
    return find(storage, which or name)
