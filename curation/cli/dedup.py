"""`curate dedup show`: what is a copy of what, and how the two differ."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from curation.cli.inspecting import as_json_text, warn_of_another
from curation.cli.options import JSON, RECIPE, SET, WORK
from curation.cli.printing import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from curation.clusters import Cluster, Member, Pair
    from curation.difference import Difference, Stretch


@click.group(short_help="Look at duplicates.")
def dedup() -> None:
    """Look at exact and near-duplicates, as the last run found them."""


@dedup.command("show", short_help="Show a document's copies, and how two of them differ.")
@RECIPE
@click.argument("document", metavar="ID|URI")
@click.option("--with", "other", metavar="ID|URI", help="Compare its text with this document's.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), metavar="N", help="Documents to list at most."
)
@click.option(
    "--words", default=400, show_default=True, type=click.IntRange(1, 100_000), metavar="N",
    help="Words of the difference to show at most.",
)  # fmt: skip
@SET
@WORK
@JSON
def dedup_show(
    recipe: Path,
    document: str,
    other: str | None,
    limit: int,
    words: int,
    overrides: tuple[str, ...],
    work: str | None,
    as_json: bool,
) -> None:
    """Show all that verified pairs connect a document of RECIPE's last run to, and how the texts of two differ.

    They are listed by their similarity to the kept document that it is a copy of, or to itself. Its text is compared
    with that one's or, if it is kept itself, with the most similar that went: [-words that went-]{+words that stay+}.

    Example: curate dedup show my-textbook/recipe.toml https://harbour-guide.example/visitors/tides
    """
    from curation.clusters import cluster
    from curation.recipe import load

    loaded = load(recipe, overrides, work=work)
    found = cluster(loaded, document, other, limit=limit, words=words)
    warn_of_another(loaded)
    if as_json:
        click.echo(as_json_text(asdict(found)))
        return
    for line in _shown(found, loaded.dedup.similarity):
        click.echo(line)


def _shown(found: Cluster, least: float) -> Iterator[str]:
    asked = found.asked
    yield f"{asked.id}: {plain(_became(asked))}"
    yield f"  {'source':8} {plain(asked.source)}"
    yield f"  {'uri':8} {plain(asked.uri or '-')}"
    yield f"  {'origin':8} {plain(asked.origin or '-')}"
    if found.also:
        first = ", ".join(found.also[:3]) + (", …" if len(found.also) > 3 else "")
        yield f"of its URI there are {len(found.also):,} more, to be asked for by id: {first}"
    yield ""
    if found.documents == 1:
        yield f"no other document was found to be at least {least:g} similar to it"
    else:
        yield from _listed(found)
    if found.pair:
        yield ""
        yield from _compared(found.pair)


def _listed(found: Cluster) -> Iterator[str]:
    number = f"{found.documents:,}" if found.is_whole else f"at least {found.documents:,}"
    several = {"duplicate": "duplicates", "error": "errors"}
    fates = ", ".join(
        f"{count:,} {several.get(fate, fate) if count > 1 else fate}" for fate, count in found.fates.items()
    )
    yield f"cluster of {number} documents: {fates}; > is the one asked for"
    centre = found.centre, found.centre_in
    whose = "it" if centre == (found.asked.id, None) else _called(*centre)
    yield f"  {'similar':8} to {whose}; - where no pair of the two was verified"
    became = [plain(_became(one, centre)) for one in found.members]
    ids = [plain(one.id) for one in found.members]
    widths = [max(map(len, column)) for column in (ids, became, [plain(one.source) for one in found.members])]
    for one, name, fate in zip(found.members, ids, became, strict=True):
        similar = "-" if one.similarity is None else f"{one.similarity:.3f}"
        mark = ">" if one == found.asked else " "
        yield (
            f"{mark} {similar:8} {name:{widths[0]}}  {fate:{widths[1]}}  {plain(one.source):{widths[2]}}  "
            f"{plain(one.uri or one.origin or '-')}"
        )
    if found.more:
        yield f"{found.more:,} more: --limit {found.documents} lists them"


def _became(one: Member, centre: tuple[str, str | None] | None = None) -> str:
    """What became of a document, in words; of which it is a duplicate is left out where that is the centre."""
    if one.fate == "dropped":
        return f"dropped by {', '.join(one.reasons)}"
    if one.duplicate_of is None or (one.duplicate_of, one.duplicate_in) == centre:
        return one.fate
    return f"duplicate of {_called(one.duplicate_of, one.duplicate_in)}, similarity {one.kept_similarity:.3f}"


def _called(document: str, entry: str | None) -> str:
    """A document of the run by its id; one from outside by its entry too."""
    return plain(document) if entry is None else f"{plain(document)} in {plain(entry)}"


def _compared(pair: Pair) -> Iterator[str]:
    similar = "no verified pair" if pair.similarity is None else f"similarity {pair.similarity:.3f}"
    for sign, one, rest in ("---", pair.first, ""), ("+++", pair.second, f", {similar}"):
        yield f"{sign} {plain(one.id)} {plain(one.uri or one.origin or one.source)} ({one.fate}){rest}"
    if pair.same == "exact":
        yield "the two texts are the same, character for character"
    elif pair.same:
        yield "the two texts are equal after normalisation: Unicode form, case and white space are all that differs"
    elif pair.difference:
        yield from _differing(pair.difference)


def _differing(found: Difference) -> Iterator[str]:
    for change in found.changes:
        before = [None, *(one.kind for one in change)]
        yield "  " + "".join(_stretch(one, last) for one, last in zip(change, before, strict=False)).strip()
    if not found.changed:
        yield "no word differs in what was compared"
    if found.shown < found.changed:
        yield f"{found.changed - found.shown:,} more words differ: --words N shows more"
    if not found.is_whole:
        from curation.difference import CHARACTERS, WORDS

        yield (
            f"the texts are long: up to {WORDS:,} words or {CHARACTERS:,} characters from the first difference on were "
            "compared"
        )


def _stretch(one: Stretch, before: str | None) -> str:
    """A stretch in its signs; what stands for the one before it follows without a space."""
    body = plain(one.text.strip(" "))
    space = " " if one.text.startswith(" ") and (before, one.kind) != ("-", "+") else ""
    if one.kind == "-":
        return space + click.style(f"[-{body}-]", fg="red")
    return space + (click.style(f"{{+{body}+}}", fg="green") if one.kind == "+" else body)
