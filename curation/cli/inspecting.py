"""`curate explain`, `sql`, `signals` and `rules`: what is known of documents, and by what."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from curation.cli.options import JSON, RECIPE, SET, WORK
from curation.cli.printing import plain, shown
from curation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from curation.explain import Explanation
    from curation.hits import Hits
    from curation.recipe import Recipe
    from curation.rules import Rule


@click.command(short_help="Tell all that is known of a document.")
@RECIPE
@click.argument("document", metavar="ID|URI")
@SET
@WORK
@JSON
def explain(recipe: Path, document: str, overrides: tuple[str, ...], work: str | None, as_json: bool) -> None:
    """Tell all that is known of a document of RECIPE's last run: origin, measures, rules, copies, shard.

    Example: curate explain my-textbook/recipe.toml https://harbour-guide.example/visitors/tides
    """
    from curation.explain import explain as explanations
    from curation.recipe import load

    loaded = load(recipe, overrides, work=work)
    found = explanations(loaded, document)
    warn_of_another(loaded)
    if as_json:
        click.echo(as_json_text([asdict(one) for one in found]))
        return
    click.echo("\n\n".join("\n".join(_explained(one)) for one in found))


def warn_of_another(recipe: Recipe) -> None:
    """Say on stderr that what is printed was decided by another recipe than what it is shown beside."""
    from curation.explain import is_judged

    if not is_judged(recipe):
        again = f"curate run {recipe.shown} --until judge"
        click.echo(f"warning: the last run was not of this recipe as it is now; to see its own: {again}", err=True)


def as_json_text(value: Any) -> str:
    r"""The value as JSON: bytes as hex, what is no number there (NaN, infinity) as null, what else it has not as text.

    >>> print(as_json_text({"a": [float("nan"), b"\x01\xff"], 1.5: float("inf")}).replace("\n", ""))
    { "a": [  null,  "01ff" ], "1.5": null}
    """
    return json.dumps(_plain(value), default=str, indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbered(names: Iterable[str]) -> list[str]:
    """The names, those that were there before with a number, since an object of JSON holds each once.

    >>> _numbered(["id", "id", "id_1", "id"])
    ['id', 'id_1', 'id_1_1', 'id_2']
    """
    given: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        given.append(next(one for one in itertools.chain([name], numbered) if one not in given))
    return given


def _explained(one: Explanation) -> list[str]:
    lines = [f"{one.document['id']}: {one.fate}"]
    lines += [f"  {key:12} {plain(str(value))}" for key, value in one.document.items()
              if key != "id" and value not in (None, "{}")]  # fmt: skip
    lines.append(f"  {'part':12} documents/{one.part}.parquet, row {one.row}")
    lines += _written(one)
    if one.hits:
        lines.append("rules that hit")
    for hit in one.hits:
        values = ", ".join(f"{name} = {shown(value)}" for name, value in hit.values.items())
        lines.append(f"  {hit.rule:32} {hit.predicate or hit.origin}" + (f"   here {values}" if values else ""))
    if one.survivor:
        kept = one.survivor
        place = kept["uri"] or kept["origin"]
        lines.append(
            f"copy of       {plain(kept['id'])}"
            + (f" in {plain(kept['against'])}" if kept["against"] else "")
            + (f" ({plain(place)})" if place else "")
            + f", similarity {one.similarity:.3f}"
        )
    if one.copies:
        lines.append("copies that went because this one stays")
        lines += [
            f"  {copy['id']} {copy['similarity']:.3f} {plain(copy['uri'] or copy['origin'])}" for copy in one.copies
        ]
    lines.append("measured")
    for name, measured in one.signals.items():
        values = ", ".join(f"{key} {shown(value)}" for key, value in measured.items() if not key.startswith("band_"))
        lines.append(f"  {name:18} {values}")
    if one.blend and one.blend["group"]:
        full = "" if one.blend["copies"] else ": the group's budget was full, or its max_per_domain"
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


def _written(one: Explanation) -> list[str]:
    """What a model was asked, for a document that one wrote."""
    lines = ["what the model was sent"] if one.prompt else []
    lines += [f"  {message['role']:12} {plain(message['content'])}" for message in one.prompt or ()]
    if one.seed:
        place = " ".join(plain(one.seed[key]) for key in ("source", "uri", "origin") if one.seed[key])
        lines.append(f"rewrites      {plain(one.seed['id'])}: {place}")
    return lines


@click.command(short_help="Ask anything of what a run made.")
@RECIPE
@click.argument("query")
@SET
@WORK
@JSON
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
    connection = open_views(load(recipe, overrides, work=work), query)
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
        unique = _numbered(names)
        click.echo(as_json_text([dict(zip(unique, row, strict=True)) for row in rows]))
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


@click.command(short_help="List what is measured of every document.")
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@JSON
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


@click.command(short_help="List presets and rules, and how often each hit.")
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@SET
@WORK
@JSON
@click.option("--sql", "as_sql", is_flag=True, help="Print the query that judges.")
def rules(recipe: Path | None, overrides: tuple[str, ...], work: str | None, as_json: bool, as_sql: bool) -> None:
    """List the presets with their rules, or the rules of RECIPE and how often each hit, alone and with others.

    Counted in the verdicts of the last run: of the documents that could be read, how many a rule hit (hits, share), how
    many no other rule hit (alone), and which rules hit the same documents.

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
    from curation.hits import hits_of
    from curation.judge import rules_text
    from curation.recipe import load
    from curation.run import workspace

    loaded = load(recipe, overrides, work=work)
    if as_sql:
        click.echo(rules_text(loaded))
        return
    checked = ruling.check(loaded, workspace(loaded)[0])
    hits = hits_of(loaded)
    if hits is not None:
        warn_of_another(loaded)
    counted = _counted(checked, hits)
    if as_json:
        click.echo(json.dumps(counted, indent=1))
    else:
        click.echo("\n".join(_counted_lines(counted)))


def _counted(rules: Iterable[Rule], hits: Hits | None) -> dict[str, Any]:
    """What `curate rules RECIPE --json` prints: numbers are null before the first run."""
    rows = [{"rule": rule.name, "from": rule.origin, "drops": rule.predicate} for rule in rules]
    if hits is None:
        empty = {"hits": None, "share": None, "alone": None}
        return {"readable": None, "rules": [row | empty for row in rows], "together": []}
    ruled = {row["rule"] for row in rows}
    rows += [{"rule": name, "from": "every run", "drops": ""} for name in sorted(hits.hits) if name not in ruled]
    numbers = [
        {
            "hits": hits.hits[row["rule"]],
            "share": round(hits.hits[row["rule"]] / hits.readable, 4) if hits.readable else 0.0,
            "alone": hits.alone[row["rule"]],
        }
        for row in rows
    ]
    pairs = sorted(hits.together.items(), key=lambda item: (-item[1], item[0]))
    return {
        "readable": hits.readable,
        "rules": [row | number for row, number in zip(rows, numbers, strict=True)],
        "together": [{"rules": list(pair), "hits": number} for pair, number in pairs],
    }


#: Pairs of rules that are printed; JSON has them all.
_PAIRS = 10


def _counted_lines(counted: dict[str, Any]) -> list[str]:
    lines = [f"{'rule':34} {'hits':>9} {'share':>7} {'alone':>9}  {'from':28} drops where"]
    for row in counted["rules"]:
        numbers = ("-", "-", "-") if row["hits"] is None else (
            f"{row['hits']:,}", f"{row['share']:.1%}", f"{row['alone']:,}")  # fmt: skip
        drops = " ".join(row["drops"].split())
        lines.append("{:34} {:>9} {:>7} {:>9}  {:28} {}".format(row["rule"], *numbers, row["from"], drops).rstrip())
    pairs = counted["together"]
    if pairs:
        lines += ["", f"{'hit together':70} {'hits':>9}"]
        lines += [f"{' + '.join(pair['rules']):70} {pair['hits']:>9,}" for pair in pairs[:_PAIRS]]
        if len(pairs) > _PAIRS:
            lines.append(f"{len(pairs) - _PAIRS:,} more pairs: --json has them all")
    return lines
