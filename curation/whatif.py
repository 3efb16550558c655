"""What a changed rule would do: the last run's verdicts beside those there would be. Reads columns, never text.

Nothing is written. The answer is exact: where the rules differ, survivors of copies are chosen again as judge does it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation import against, tokenizing
from curation import rules as ruling
from curation.copies import gone
from curation.dataset import Part, Workspace, connect, first_row
from curation.engine import LocalEngine
from curation.errors import StorageError
from curation.groups import asked_of, expressions_of, group_sql, groups_of
from curation.inputs import HashIndex, Input, sha256
from curation.judge import Rulings, hits_from, ruled, verdicts_from
from curation.measure import signals_from
from curation.progress import Silent
from curation.pull import Pull, inputs_of, parts_there, plan
from curation.recipe import Recipe, Rules, parse
from curation.run import Run, workspace
from curation.token_counts import counts_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from curation.rules import Rule

#: Bytes of inputs without a remembered hash (written just before they were read) that are hashed; more of them have
#: changed, as far as this can tell.
HASHED = 64 * 2**20
_NO_EDITS = ruling.Edits((), "true")


@dataclass(frozen=True, slots=True)
class Sample:
    """A document at a rule's border: the values of the columns that the rule looks at, and its fate now and then."""

    id: str
    source: str
    uri: str | None
    title: str | None
    values: dict[str, Any]
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """What one changed rule does; `before` and `after` are its predicates, None where there is no such rule.

    `newly_hit` counts by what the documents are now, `no_longer_hit` by what they would be. `hit` and `spared` are the
    documents nearest to the border on either side, those that no other rule drops first.
    """

    rule: str
    before: str | None
    after: str | None
    hits_before: int
    hits_after: int
    newly_hit: dict[str, int]
    no_longer_hit: dict[str, int]
    hit: list[Sample]
    spared: list[Sample]


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of the kept documents of a source, or of a group of the blend; documents and tokens, now and then.

    Tokens are those of the text as published, each document counted once; `asked` is what a group's budget is.
    """

    name: str
    documents_before: int
    documents_after: int
    lost: int
    gained: int
    tokens_before: int
    tokens_after: int
    tokens_lost: int
    tokens_gained: int
    asked: int | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer; `moves` counts documents and tokens by fate now and then, where the two differ."""

    documents: int
    changes: list[Change]
    sources: list[Effect]
    groups: list[Effect]
    moves: list[dict[str, Any]]


def what_if(recipe: Recipe, wanted: Mapping[str, str | None], *, samples: int = 5) -> WhatIf:
    """What these rules would do in place of the recipe's; None switches one off.

    Raises `RecipeError` for a rule that cannot be, `RuleError` for one without an answer, and `StorageError` where the
    last run was not of this recipe.
    """
    changed = with_rules(recipe, wanted)
    work, signals = workspace(recipe)
    ruling.check(changed, work)
    run = _last_run(Run(recipe, work, signals, LocalEngine(1), Silent(), lambda: None))
    old = {rule.name: rule for rule in ruling.rules_of(recipe)}
    new = {rule.name: rule for rule in ruling.rules_of(changed)}
    rules = tuple(new[name] for name in wanted if name in new)
    connection = connect(work, threads=2, memory="2GB")
    _judge_again(connection, run, list(wanted), rules)
    changes = [
        _change(connection, run, old.get(name), new.get(name), samples)
        for name in wanted
        if old.get(name) != new.get(name)
    ]
    asked = {name: tokens for name, (_, tokens) in asked_of(recipe).items() if tokens is not None}
    return WhatIf(
        sum(footer.rows for footer in run.parts.values()),
        changes,
        _effects(connection, "source", [source.name for source in recipe.source], {}),
        _effects(connection, '"its group"', [group.name for group in groups_of(recipe)], asked),
        [
            dict(zip(("before", "after", "documents", "tokens"), row, strict=True))
            for row in connection.execute("""
                SELECT "fate before", "fate after", count(*), sum("its tokens")::BIGINT FROM judged
                WHERE "fate before" <> "fate after" GROUP BY ALL ORDER BY ALL
            """).fetchall()
        ],
    )


def with_rules(recipe: Recipe, wanted: Mapping[str, str | None]) -> Recipe:
    """The recipe with these rules; None switches off a preset's rule or takes one of its own away."""
    own: dict[str, Any] = dict(recipe.rules.own)
    of_presets = {rule.name for rule in ruling.rules_of(recipe.model_copy(update={"rules": _only_presets(recipe)}))}
    for name, predicate in wanted.items():
        if predicate is None and name in own and name not in of_presets:
            del own[name]
        else:
            own[name] = False if predicate is None else predicate
    table = {**recipe.rules.model_dump(exclude={"own"}), **own}
    rules = parse({**_LEAST, "rules": table}, recipe.path).rules
    return recipe.model_copy(update={"rules": rules})


#: What a recipe must have, so that its rules can be looked at alone.
_LEAST = {"name": "least", "source": [{"name": "least", "kind": "text", "paths": ["least"]}]}


def _only_presets(recipe: Recipe) -> Rules:
    return Rules(presets=recipe.rules.presets)


def _last_run(run: Run) -> Run:
    """The run with its parts, once they are known to hold what this recipe makes of the inputs as they are now."""
    recipe, work = run.recipe, run.work
    again = f"run it first: curate run {recipe.path.name} --until judge"
    found = {source.name: inputs_of(recipe, source) for source in recipe.source}
    tasks = plan(recipe, work, found, _digests(run, [file for files in found.values() for file in files]))
    run.parts, undone = {}, []
    for task, (parts, end) in zip(tasks, work.storage.each(Pull.finished, tasks), strict=True):
        run.parts |= parts
        if end >= 0:
            undone.append(task)
    if undone and not run.parts and not parts_there(recipe, work):
        raise StorageError(f"{work.storage}: nothing was run here yet", remedy=again)
    if undone:
        raise StorageError(
            f"{work.storage}: the last run was not of this recipe and these inputs: source {undone[0].source.name}, "
            f"{undone[0]}: not read, or read with other settings",
            remedy=again,
        )
    run.against = against.parts_there(recipe, work)
    run.signals_from = signals_from(run)
    hits = hits_from(run)
    made_from = {work.hits: hits, work.verdicts: verdicts_from(run, hits)}
    for dataset, wanted in made_from.items():
        if dataset.not_made(wanted):
            raise StorageError(
                f"{work.storage}: the last run was not of this recipe, or did not come to its verdicts", remedy=again
            )
    return run


def _digests(run: Run, files: list[Input]) -> dict[str, str]:
    """The hashes of inputs: those remembered, and those of new files if they are small; "" is that of no input."""
    index = HashIndex(run.work.storage)
    known = {file.path: index.get(file) for file in files}
    new = [file for file in files if known[file.path] is None]
    if sum(file.size for file in new) <= HASHED:
        known |= {file.path: sha256(file) for file in new}
    return {path: digest or "" for path, digest in known.items()}


def _judge_again(connection: duckdb.DuckDBPyConnection, run: Run, touched: list[str], rules: tuple[Rule, ...]) -> None:
    """Make the table `judged`: a row for each document, with its reasons and its fate before and after."""
    recipe, work = run.recipe, run.work
    edits = ruling.edits_of(recipe)
    parts = list(run.parts)
    task = Rulings(work, rules, _NO_EDITS, [(part, "") for part in parts])
    columns = [*task.columns, *edits.columns, *ruling.columns_in(edits.where, work)]
    for sql in [*expressions_of(recipe), *(rule.predicate for rule in _touched(recipe, touched))]:
        columns += ruling.columns_in(sql, work)
    measured = pa.concat_tables(work.read(part, ["source", *columns]) for part in parts)
    counts = [run.parts[part].rows for part in parts]
    hits = pa.concat_tables(work.hits.read(part, ["reasons"]) for part in parts)
    verdicts = pa.concat_tables(work.verdicts.read(part, ["duplicate_of"]) for part in parts)
    beside = pa.table(  # no column of a signal has a space in its name
        {
            "its part": np.repeat(np.arange(len(parts), dtype=np.int32), counts),
            "its row": np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
            "its number": np.arange(sum(counts)),
            "its reasons before": hits["reasons"],
            "its reasons ruled": ruled(task, measured)["reasons"],
            "its original": verdicts["duplicate_of"],
            "its count": _counted(run, parts),
        }
    )
    connection.register("measured", measured)
    connection.register("beside", beside)
    names = "[" + ", ".join(f"'{name}'" for name in touched) + "]"
    bytes_a_token = tokenizing.bytes_a_token(recipe.blend.tokenizer)
    connection.execute(f"""
        CREATE TEMP TABLE reasoned AS
        SELECT measured.*, beside.*,
            list_concat(
                list_filter("its reasons before", lambda reason: NOT list_contains({names}, reason)),
                list_filter("its reasons ruled", lambda reason: list_contains({names}, reason))
            ) AS "its reasons after",
            {group_sql(recipe)} AS "its group",
            CASE WHEN byte_count > 0
                THEN coalesce("its count", ({ruling.edited_bytes(edits)} + {bytes_a_token - 1}) // {bytes_a_token})
                ELSE 0 END AS "its tokens"
        FROM measured POSITIONAL JOIN beside
    """)
    after = connection.sql('SELECT len("its reasons after") = 0 AS passed FROM reasoned ORDER BY "its number"')
    connection.register("copies", pa.table({"its copy": gone(run, after.to_arrow_table()["passed"].to_numpy()).rows}))
    connection.execute(f"""
        CREATE TEMP TABLE judged AS
        SELECT reasoned.*,
            {_fate('"its reasons before"', '"its original" IS NOT NULL')} AS "fate before",
            {_fate('"its reasons after"', 'copies."its copy" IS NOT NULL')} AS "fate after"
        FROM reasoned LEFT JOIN copies ON "its copy" = "its number"
    """)


def _counted(run: Run, parts: list[Part]) -> pa.ChunkedArray:
    """The exact counts of tokens of documents that have one, which those that were never kept have not."""
    made_from = counts_from(run)
    chunks: list[pa.Array] = []
    for part in parts:
        is_there = part in made_from and run.work.tokens.is_made(part, made_from[part])
        counts = run.work.tokens.read(part, ["token_count"])["token_count"].chunks if is_there else []
        chunks += counts or [pa.nulls(run.parts[part].rows, pa.int64())]
    return pa.chunked_array(chunks, pa.int64())


def _touched(recipe: Recipe, names: list[str]) -> list[Rule]:
    return [rule for rule in ruling.rules_of(recipe) if rule.name in names]


def _fate(reasons: str, is_copy: str) -> str:
    return f"""CASE WHEN {reasons} = ['{ruling.UNREADABLE}'] THEN 'error' WHEN len({reasons}) > 0 THEN 'dropped'
                WHEN {is_copy} THEN 'duplicate' ELSE 'kept' END"""


def _change(
    connection: duckdb.DuckDBPyConnection, run: Run, old: Rule | None, new: Rule | None, samples: int
) -> Change:
    rule = new or old
    assert rule is not None  # noqa: S101  # rules_of has just said so
    was, now = (f"list_contains({column}, '{rule.name}')" for column in ('"its reasons before"', '"its reasons after"'))
    before, after = first_row(connection, f"SELECT count(*) FILTER ({was}), count(*) FILTER ({now}) FROM judged")
    at_border, distance = _border(rule.predicate, run.work)
    others = f"len(list_filter(\"its reasons after\", lambda reason: reason <> '{rule.name}')) > 0"

    def nearest(where: str) -> list[Sample]:
        names = ruling.columns_in(rule.predicate, run.work)
        values = ", ".join(f'"{name}"' for name in names) or "NULL"
        rows = connection.execute(f"""
            SELECT "its part", "its row", id, source, "fate before", "fate after", {values} FROM judged
            WHERE "fate before" <> 'error' AND ({where}) AND {at_border}
            ORDER BY {others}, "fate before" = "fate after", {distance}, md5(id), id LIMIT {samples}
        """).fetchall()
        return _samples(run, names, rows)

    return Change(
        rule=rule.name,
        before=old.predicate if old else None,
        after=new.predicate if new else None,
        hits_before=before,
        hits_after=after,
        newly_hit=_by_fate(connection, '"fate before"', f"{now} AND NOT {was}"),
        no_longer_hit=_by_fate(connection, '"fate after"', f"{was} AND NOT {now}"),
        hit=nearest(now),
        spared=nearest(f"NOT {now} AND byte_count > 0" if new else was),
    )


def _by_fate(connection: duckdb.DuckDBPyConnection, fate: str, where: str) -> dict[str, int]:
    sql = f"SELECT {fate}, count(*) FROM judged WHERE {where} GROUP BY ALL"
    counts = dict(connection.execute(sql).fetchall())
    return {fate: counts[fate] for fate in ("kept", "duplicate", "dropped", "error") if fate in counts}


def _border(predicate: str, work: Workspace) -> tuple[str, str]:
    """SQL for: would another number in the predicate change its answer here, and how far is the number.

    Where it compares no measured number with a constant, every document is at the border and in the order of its hash.
    """
    numbers = {field.name for field in work.row if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)}
    found: list[tuple[str, float]] = []

    def collect(match: re.Match[str]) -> str:
        if match["column"] not in numbers:
            return match[0]
        found.append((match["column"], float(match["number"])))
        return "{}"

    pattern = (
        r"'(?:[^']|'')*'|\b(?P<column>[a-z_]\w*)\s*(?:<=|>=|<|>)\s*(?P<number>-?\d+(?:\.\d+)?)(?![\w.]|\s*[-+*/%])"
    )
    cut = re.sub(pattern, collect, predicate.replace("{", "{{").replace("}", "}}"))
    if not found:
        return "true", "md5(id)"
    answers = [cut.format(*[answer] * len(found)) for answer in ("true", "false")]
    flips = " OR ".join(f"(({answer}\n) IS DISTINCT FROM ({predicate}\n))" for answer in answers)
    distances = [f"abs({column} - {number!r}) / {abs(number) or 1.0!r}" for column, number in found]
    return f"({flips})", f"least({', '.join(distances)})"


def _samples(run: Run, names: list[str], rows: list[tuple[Any, ...]]) -> list[Sample]:
    parts = list(run.parts)
    found: dict[Part, pa.Table] = {}
    samples = []
    for part, row, document, source, before, after, *values in rows:
        place = parts[part]
        if place not in found:
            found[place] = run.work.documents.read(place, ["uri", "title"])
        named = {name: found[place][name][row].as_py() for name in ("uri", "title")}
        shown = dict(zip(names, values, strict=False))
        samples.append(Sample(document, source, **named, values=shown, before=before, after=after))
    return samples


def _effects(
    connection: duckdb.DuckDBPyConnection, column: str, names: list[str], asked: Mapping[str, int]
) -> list[Effect]:
    kept = {"before": "\"fate before\" = 'kept'", "after": "\"fate after\" = 'kept'"}
    lost, gained = f"{kept['before']} AND NOT {kept['after']}", f"{kept['after']} AND NOT {kept['before']}"
    wheres = (kept["before"], kept["after"], lost, gained)
    counts = ", ".join(f"count(*) FILTER ({where})" for where in wheres)
    sums = ", ".join(f'coalesce(sum("its tokens") FILTER ({where}), 0)::BIGINT' for where in wheres)
    rows = {
        name: figures
        for name, *figures in connection.execute(f"SELECT {column}, {counts}, {sums} FROM judged GROUP BY 1").fetchall()
    }
    return [Effect(*([name, *rows.get(name, [0] * 8), asked.get(name)])) for name in names]
