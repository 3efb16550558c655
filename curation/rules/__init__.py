"""Rules: presets and the recipe's own, made into one query. True = drop; the name says what is wrong.

A preset is a TOML file in `presets/`: `NAME@VERSION.toml` with `name`, `version`, `source` and a table `rules`.
`presets = ["gopher-quality"]` means the version `paper`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from curation import expressions, tokenizing
from curation.errors import RecipeError
from curation.recipe import faults_text, place_of, places_of, unknown
from curation.schema import SPANS
from curation.signals import absent_columns
from curation.tombstones import FORGOTTEN as FORGOTTEN  # it stands beside the others

if TYPE_CHECKING:
    import duckdb

    from curation.dataset import Workspace
    from curation.recipe import Recipe

#: Reasons that are no rules: a document that could not be read, one without text, one of which the edits leave nothing,
#: and one that is forgotten, which `curation.tombstones` makes a row with this error.
UNREADABLE = "unreadable"
EMPTY = "empty"
EMPTY_AFTER_EDIT = "empty_after_edit"
BUILT_IN = (UNREADABLE, EMPTY, EMPTY_AFTER_EDIT, FORGOTTEN)


@dataclass(frozen=True, slots=True)
class Rule:
    """A named predicate and where it comes from: `recipe`, or a preset's name and version."""

    name: str
    predicate: str
    origin: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A named, versioned set of rules; `source` is the paper and table, or the peer, that its numbers come from."""

    name: str
    version: str
    source: str
    rules: dict[str, str]

    @property
    def label(self) -> str:
        """As a recipe names it."""
        return f"{self.name}@{self.version}"


@cache
def presets() -> dict[str, Preset]:
    """Every preset that ships, by label."""
    found = {}
    for file in sorted(files("curation.rules").joinpath("presets").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
            preset = Preset(table["name"], str(table["version"]), table["source"], table["rules"])
            found[preset.label] = preset
    return found


def rules_of(recipe: Recipe) -> tuple[Rule, ...]:
    """The rules of a recipe in order: presets as listed, then its own; one of the same name takes a preset's place.

    Raises `RecipeError` for a preset that does not exist.
    """
    chosen: dict[str, Rule] = {}
    faults = []
    for index, name in enumerate(recipe.rules.presets):
        label = name if "@" in name else f"{name}@paper"
        preset = presets().get(label)
        if preset is None:
            faults.append(f"rules.presets[{index}]: {unknown(name, presets(), 'preset')}")
        else:
            chosen |= {rule: Rule(rule, sql, label) for rule, sql in preset.rules.items()}
    for rule, predicate in recipe.rules.own.items():
        if rule in BUILT_IN:
            faults.append(f"rules.{rule}: the name is taken: every run has this reason")
        elif predicate is False:
            if chosen.pop(rule, None) is None and not any(fault.startswith("rules.presets") for fault in faults):
                faults.append(f"rules.{rule}: false switches a preset's rule off, and {unknown(rule, chosen, 'rule')}")
        else:
            chosen[rule] = Rule(rule, predicate, "recipe")
    if faults:
        raise RecipeError(faults_text(recipe.path, faults))
    return tuple(chosen.values())


@dataclass(frozen=True, slots=True)
class Edits:
    """The span columns whose spans are cut out of the documents for which `where` is true."""

    columns: tuple[str, ...]
    where: str


def edits_of(recipe: Recipe) -> Edits:
    """What the recipe cuts out."""
    return Edits(tuple(recipe.edit.remove), recipe.edit.where)


def check(recipe: Recipe, work: Workspace) -> tuple[Rule, ...]:
    """The recipe's rules, once all its SQL is known to fit the columns there will be.

    Raises `RecipeError` with every fault: a column that does not exist, a predicate that is not true or false, an
    expression that looks at more than one document, an unknown edit or release column.
    """
    rules = rules_of(recipe)
    faults = _source_faults(recipe)
    connection = expressions.checker(work.row)
    for rule in rules:
        place = f"rules.{rule.name}" if rule.origin == "recipe" else f"rules.{rule.name} ({rule.origin})"
        faults += _fault(connection, work, place, rule.predicate)
    faults += _blend_faults(connection, recipe, work)
    if recipe.dedup.enabled:
        faults += _fault(connection, work, "dedup.prefer", recipe.dedup.prefer, order=True)
    spans = [field.name for field in work.row if field.type == SPANS]
    faults += _fault(connection, work, "edit.where", recipe.edit.where)
    for index, name in enumerate(recipe.edit.remove):
        if name not in spans:
            why = absent_columns(frozenset(work.signals)).get(name)
            faults.append(
                f"edit.remove[{index}]: {f'no edit {name!r}: {why}' if why else unknown(name, spans, 'edit')}"
            )
    faults += _replace_faults(recipe, spans)
    for index, name in enumerate(recipe.release.columns):
        if name not in work.columns:
            faults.append(f"release.columns[{index}]: {unknown(name, work.columns, 'column')}")
        elif name in recipe.release.columns[:index]:
            faults.append(f"release.columns[{index}]: {name!r} is there twice")
    if faults:
        raise RecipeError(faults_text(recipe.path, faults))
    tokenizing.check(recipe)
    return rules


def _blend_faults(connection: duckdb.DuckDBPyConnection, recipe: Recipe, work: Workspace) -> list[str]:
    """What is wrong with the SQL of groups and limits."""
    faults: list[str] = []
    for steps, group in places_of(recipe.blend.group, ("blend", "group")):
        faults += _fault(connection, work, f"{place_of(list(steps))}.where", group.where)
        if group.order is not None:
            faults += _fault(connection, work, f"{place_of(list(steps))}.order", group.order, order=True)
    for index, limit in enumerate(recipe.blend.limit):
        faults += _fault(connection, work, f"blend.limit[{index}].where", limit.where)
    return faults


def _replace_faults(recipe: Recipe, spans: list[str]) -> list[str]:
    """What is wrong with what is to be replaced: an edit that does not exist, has no stand-ins, or is removed."""
    if not recipe.edit.replace:
        return []
    from curation.signals import load_signals, with_stand_ins  # noqa: PLC0415  # signals import rules' neighbours

    known = with_stand_ins(load_signals(recipe))
    faults = []
    for index, name in enumerate(recipe.edit.replace):
        place = f"edit.replace[{index}]"
        if name in recipe.edit.remove:
            faults.append(f"{place}: {name!r} is removed: expected it in one of the two lists")
        elif name in recipe.edit.replace[:index]:
            faults.append(f"{place}: {name!r} is there twice")
        elif name not in spans:
            faults.append(f"{place}: {unknown(name, known, 'edit')}")
        elif name not in known:
            faults.append(f"{place}: {name!r} has no stand-ins; those that have are {', '.join(sorted(known))}")
    return faults


def query(rules: tuple[Rule, ...], edits: Edits) -> str:
    """The one query that judges a part's rows: `id`, `reasons`, and `unanswered`, the rules that were null.

    It selects from `documents`: rows of all the columns that the rules use, with `error` and `byte_count`.
    """
    hits = ",\n        ".join(f"CASE WHEN ({rule.predicate}\n) THEN '{rule.name}' END" for rule in rules) or "NULL"
    nulls = (
        ",\n        ".join(f"CASE WHEN ({rule.predicate}\n) IS NULL THEN '{rule.name}' END" for rule in rules) or "NULL"
    )
    return f"""
SELECT
    id,
    CASE
        WHEN error = '{FORGOTTEN}' THEN ['{FORGOTTEN}']
        WHEN error IS NOT NULL THEN ['{UNREADABLE}']
        WHEN byte_count = 0 THEN ['{EMPTY}']
        ELSE list_filter([{_empty_after(edits)},
        {hits}], lambda reason: reason IS NOT NULL)
    END AS reasons,
    CASE
        WHEN error IS NOT NULL OR byte_count = 0 THEN []
        ELSE list_filter([NULL,
        {nulls}], lambda name: name IS NOT NULL)
    END AS unanswered
FROM documents
"""


def columns_in(sql: str, work: Workspace) -> list[str]:
    """The columns that an expression names, in the order of the workspace.

    A word that is both a column and, say, a text in quotes counts too: reading a column too many does no harm.
    """
    return expressions.names_in(sql, work.columns)


def edited_bytes(edits: Edits) -> str:
    """SQL for how many bytes of text are left after the edits; several edits' spans may overlap.

    >>> edited_bytes(Edits((), "true"))
    'byte_count'
    """
    if not edits.columns:
        return "byte_count"
    if len(edits.columns) == 1:
        cut = f"list_sum(list_transform({edits.columns[0]}, lambda s: s.end - s.start))"
    else:
        spans = f"list_sort(flatten([{', '.join(edits.columns)}]))"
        cut = f"""list_reduce({spans}, lambda done, s: {{
            'start': done.start + greatest(0, s.end - greatest(s.start, done.end)),
            'end': greatest(done.end, s.end)
        }}, {{'start': 0, 'end': 0}}).start"""
    return f"(CASE WHEN ({edits.where}\n) THEN byte_count - coalesce({cut}, 0) ELSE byte_count END)"


def _empty_after(edits: Edits) -> str:
    return f"CASE WHEN {edited_bytes(edits)} <= 0 THEN '{EMPTY_AFTER_EDIT}' END" if edits.columns else "NULL"


def _fault(
    connection: duckdb.DuckDBPyConnection, work: Workspace, place: str, sql: str, *, order: bool = False
) -> list[str]:
    """What is wrong with an expression over the columns of documents, in at most one line."""
    return expressions.fault(
        connection, list(work.columns), place, sql, order=order, hint="`curate signals` lists them",
        absent=absent_columns(frozenset(work.signals)),
    )  # fmt: skip


def _source_faults(recipe: Recipe) -> list[str]:
    """What is wrong with the SQL of the sources: which documents are wanted, and what their columns are made of."""
    faults = []
    for index, source in enumerate(recipe.source):
        place = f"source[{index}]"
        if source.where is not None:
            faults += expressions.where_fault(f"{place}.where", source.where)
        for column, message in expressions.field_faults(source.fields, source.kind):
            faults.append(f"{place}.fields.{column}: {message} (in {source.fields[column]!r})")
    return faults
