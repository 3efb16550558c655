"""`curate releases`: list, show, verify, compare, pin and prune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curation.cli.options import JSON
from curation.cli.printing import aligned, plain
from curation.errors import UsageError

if TYPE_CHECKING:
    from curation.release_diff import Diff
    from curation.releases import Release
    from curation.storage import Storage


@click.group()
def releases() -> None:
    """List, show, verify, compare, pin and remove releases."""


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
    from curation.releases.life import pins

    storage, only = _release_place(place)
    rows: list[dict[str, Any]] = []
    for name in [only] if only else names(storage):
        newest, pinned = latest(storage, name), pins(storage, name)
        for release in versions(storage, name):
            manifest = release.manifest() or {}
            states = ["latest"] if newest == release else []
            states += ["pinned"] if release.version in pinned else []
            if not manifest:
                states = ["removed" if release.removal() else "unfinished"]
            rows.append(
                {
                    "release": f"{name}/{release.version}",
                    "documents": manifest.get("documents"),
                    "rows": manifest.get("rows"),
                    "tokens": manifest.get("tokens"),
                    "bytes": manifest.get("bytes"),
                    "state": ", ".join(states),
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


@releases.command("diff", short_help="Compare two releases.")
@_PLACE
@click.argument("old", required=False, metavar="[OLD]")
@click.argument("new", required=False, metavar="[NEW]")
@click.option(
    "--samples", type=click.IntRange(0, 100), default=3, help="Show so many documents that came, and that went."
)
@JSON
def releases_diff(place: str, old: str | None, new: str | None, samples: int, as_json: bool) -> None:
    """Compare two versions of a release: documents and tokens that came and went, by source and reason, rules, samples.

    NEW is the latest if left out, and OLD the one before NEW. PLACE is a recipe, whose last run tells why documents
    came and went, or the folder or s3:// place it publishes to.

    Example: curate releases diff my-textbook/recipe.toml
    """
    from curation.errors import ReleaseError
    from curation.recipe import load
    from curation.release_diff import diff

    after = _release(place, new)
    before = old or (after.manifest() or {})["previous"]
    if before is None:
        raise ReleaseError(f"{after.path}: no release was before it", remedy="name two: PLACE OLD NEW")
    before = before if "/" in before or "@" in before else f"{after.name}/{before}"
    recipe = load(place) if place.endswith(".toml") else None
    found = diff(_release(place, before), after, recipe, samples=samples)
    if as_json:
        click.echo(json.dumps(found.record(), indent=1, ensure_ascii=False, default=str))
        return
    click.echo("\n".join(_compared(found)))


@releases.command("pin", short_help="Keep a release whatever prune is asked.")
@_PLACE
@_WHICH
@click.option("--why", help="Who needs it, for what: stands wherever it is said to be pinned.")
@click.option("--remove", is_flag=True, help="Take the pin away.")
def releases_pin(place: str, which: str | None, why: str | None, remove: bool) -> None:
    """Pin a release, the latest or the one named, so that nothing removes it.

    Example: curate releases pin my-textbook/recipe.toml --why "model 7 is trained on it"
    """
    from curation.releases.life import pin

    if bool(why) == remove:
        raise UsageError("say why the release is to be kept", remedy='--why "…"; or take its pin away with --remove')
    release = _release(place, which)
    pin(release, None if remove else why)
    click.echo(f"{release.path}: " + (f"pinned: {plain(why)}" if why else "not pinned any more"))


@releases.command("prune", short_help="Remove old releases.")
@_PLACE
@click.option("--keep", type=click.IntRange(1), required=True, metavar="N", help="Keep the newest N.")
@click.option("--yes", is_flag=True, help="Remove them. Without, nothing is removed.")
@JSON
def releases_prune(place: str, keep: int, yes: bool, as_json: bool) -> None:
    """Say which releases would be removed, or with --yes remove them: all but the newest N and what is needed.

    Kept besides: the latest, what is pinned, and the release that the latest was decided by (dedup.stable). Releases
    that are not finished are left alone. The versions of those that were removed are never used again.

    Example: curate releases prune my-textbook/recipe.toml --keep 5
    """
    from curation.releases import names
    from curation.releases.life import half_removed, kept, remove

    storage, only = _release_place(place)
    rows: list[dict[str, Any]] = []
    for name in [only] if only else names(storage):
        entries = kept(storage, name, keep)
        for entry in entries:
            size = (entry.release.manifest() or {})["bytes"]
            rows.append({"release": entry.release.folder, "bytes": size, "kept": list(entry.reasons)})
        if yes:
            for entry in entries:
                if not entry.reasons:
                    remove(entry.release, f"pruned: the newest {keep} were kept")
            for release in half_removed(storage, name):
                remove(release, "pruned")
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    goes = "removed" if yes else "would go"
    cells = [(row["release"], row["bytes"], plain("; ".join(row["kept"])) if row["kept"] else goes) for row in rows]
    click.echo("\n".join(aligned([("release", "bytes", ""), *cells])) if rows else f"no release in {storage}")
    if not yes and any(not row["kept"] for row in rows):
        click.echo("\nnothing was removed; --yes removes them")


def _compared(found: Diff) -> list[str]:
    """Two releases beside each other, in lines."""
    lines = [f"{found.old} -> {found.new}", ""]
    head = ("source", "in both", "gained", "tokens", "lost", "tokens", "tokens by copies")
    rows = [(one.source, one.both, one.gained.documents, one.gained.tokens, one.lost.documents, one.lost.tokens,
             f"{one.repeated_tokens:+,}") for one in found.sources]  # fmt: skip
    lines += aligned([head, *rows])
    for what, reasons in (("gained", found.why_gained), ("lost", found.why_lost)):
        if reasons:
            cells = [(reason, moved.documents, moved.tokens) for reason, moved in reasons.items()]
            lines += ["", *aligned([(what, "documents", "tokens"), *cells])]
    if found.why_not:
        lines += ["", f"why they came and went is not known here: {found.why_not}"]
    for kind in ("rules", "settings"):
        for name, before, now in found.changes[kind]:
            was = "new" if before is None else plain(str(before))
            lines.append(f"{'rule' if kind == 'rules' else 'setting'} {name}: {was} -> "
                         f"{'gone' if now is None else plain(str(now))}")  # fmt: skip
    for entry in found.changes["inputs"]:
        lines.append(f"inputs {entry['what']}: {entry['files']:,}, {entry['bytes']:,} bytes")
    for what, samples in (("gained", found.gained), ("lost", found.lost)):
        for one in samples:
            place = f" {plain(one['uri'])}" if one["uri"] else ""
            lines += ["", f"{what}: {one['id']}{place}, {one['tokens']:,} tokens", f"  {plain(one['text'])}"]
    return lines


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
    from curation.releases import find, named
    from curation.storage import open_storage

    which = which.replace("@", "/") if which else None
    if "@" in place and not place.endswith(".toml") and which is None:
        return named(place)
    storage, name = _release_place(place)
    if name is None and storage.exists("claim.json"):  # the folder of a release itself, as `run` prints it
        root, name, version = str(storage).rstrip("/").rsplit("/", 2)
        return find(open_storage(root), f"{name}/{version}")
    if name and which and not which.startswith(f"{name}/"):
        which = f"{name}/{which}"
    return find(storage, which or name)
