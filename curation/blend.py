"""blend: how often each kept document stands in the release, to a budget of tokens.

Within a group documents are taken in the order of a hash of seed and id: a fair sample, the same whatever the parts,
and a larger budget holds what a smaller one did. Where a group bounds the documents of a domain, the first of each in
that order stay in it. Reads columns, never text.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation import rules as ruling
from curation.dataset import Part, Workspace, connect, fingerprint, first_row
from curation.engine import chunks
from curation.errors import CurationError
from curation.recipe import Group

if TYPE_CHECKING:
    from curation.recipe import Recipe
    from curation.run import Run

#: Raised when the same verdicts and wishes give another blend.
VERSION = 2

#: A group that gives less than this share of what it was asked for is a warning.
_FAR_FROM_IT = 0.8

#: SQL for the order in which a group's documents are taken; `seed` is a number.
_ORDER = "md5(concat({seed}, ':', id))"


#: By group and domain that has more documents than the group takes: the last in the order that stays in it.
Bounds = dict[str, dict[str, tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a group was asked for and what it gives; tokens are counted with repetitions.

    Every document stands `whole` times in the release, those up to `last` in the order once more; `over_domain` of them
    never, since their domain has enough others in the group. `available` counts without those.
    """

    name: str
    asked_share: float | None
    asked_tokens: int | None
    available_documents: int
    available_tokens: int
    max_copies: int
    over_domain: int
    whole: int
    last: tuple[str, str] | None
    documents: int
    tokens: int
    why: str | None


@dataclass(frozen=True, slots=True)
class Assign:
    """Parts to put into groups, each with the fingerprint of what to write."""

    work: Workspace
    recipe: Recipe
    parts: list[tuple[Part, str]]
    choices: tuple[Choice, ...] = ()
    bounds: Bounds = field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join(str(part) for part, _ in self.parts)


def blend(run: Run) -> dict[str, Any]:
    """Make `blend`; the figures say for each group what was asked, what was achieved, and why they differ."""
    recipe, work = run.recipe, run.work
    made_from = {
        part: fingerprint("groups", VERSION, _wishes(recipe), run.verdicts_from[part], run.signals_from[part])
        for part in run.parts
    }
    missing = list(work.groups.not_made(made_from).items())
    work.groups.keep_only(run.parts)
    run.engine.map(_assign_all, _tasks(run, missing), label="blend: groups", little=run.is_little)
    left = _left_over(run)
    bounds = {group.name: _bounds(run, group) for group in groups_of(recipe) if group.max_per_domain is not None}
    choices = tuple(_choose(run, group, bounds) for group in groups_of(recipe))
    solved = [asdict(choice) for choice in choices]
    decided = fingerprint(VERSION, solved, bounds, recipe.seed)
    final = {part: fingerprint("blend", decided, made) for part, made in made_from.items()}
    run.blend_from = final
    missing = list(work.blend.not_made(final).items())
    run.engine.map(_write_all, _tasks(run, missing, choices, bounds), label="blend: copies", little=run.is_little)
    total = sum(choice.tokens for choice in choices)
    for choice in choices:
        if choice.why and choice.tokens < _FAR_FROM_IT * (choice.asked_tokens or 0):
            run.warn(f"blend group {choice.name}: {choice.why}")
    return {
        "asked_tokens": recipe.blend.tokens,
        "tokens": total,
        "documents": sum(choice.documents for choice in choices),
        "left_over": left,
        "groups": [
            {**entry, "achieved_share": round(choice.tokens / total, 6) if total else 0.0}
            for entry, choice in zip(solved, choices, strict=True)
        ],
    }


def groups_of(recipe: Recipe) -> list[Group]:
    """The recipe's groups; one for everything where it names none."""
    if recipe.blend.group:
        return recipe.blend.group
    return [Group(name="all", where="true", share=1.0 if recipe.blend.tokens else None)]


def _wishes(recipe: Recipe) -> Any:
    wheres = [[group.name, group.where] for group in groups_of(recipe)]
    return [wheres, recipe.blend.tokenizer, recipe.edit.model_dump()]


def _tasks(
    run: Run, parts: list[tuple[Part, str]], choices: tuple[Choice, ...] = (), bounds: Bounds | None = None
) -> list[Assign]:
    sizes = [run.parts[part].rows for part, _ in parts]
    return [Assign(run.work, run.recipe, group, choices, bounds or {}) for group in chunks(parts, sizes, 100_000)]


def _assign_all(task: Assign) -> None:
    connection = connect(task.work)
    edits = ruling.edits_of(task.recipe)
    groups = groups_of(task.recipe)
    bytes_a_token = int(task.recipe.blend.tokenizer.removeprefix("bytes/"))
    cases = " ".join(f"WHEN ({group.where}\n) THEN '{group.name}'" for group in groups)
    sql = f"""
        SELECT id, "group", 1 AS copies, (bytes + {bytes_a_token - 1}) // {bytes_a_token} AS tokens, bytes
        FROM (
            SELECT documents.id AS id, verdicts.keep AS keep,
                CASE WHEN NOT verdicts.keep THEN NULL {cases} END AS "group",
                CASE WHEN verdicts.keep THEN {ruling.edited_bytes(edits)} ELSE 0 END AS bytes
            FROM documents POSITIONAL JOIN verdicts
        )
    """
    columns = ["byte_count", *edits.columns, *ruling.columns_in(edits.where, task.work)]
    for group in groups:
        columns += ruling.columns_in(group.where, task.work)
    tables = [task.work.read(part, columns) for part, _ in task.parts]
    rows = pa.concat_tables(tables)
    connection.register("documents", rows)
    connection.register("verdicts", pa.concat_tables(task.work.verdicts.read(part, ["keep"]) for part, _ in task.parts))
    grouped = connection.sql(sql).to_arrow_table()
    if not grouped["id"].equals(rows["id"]):
        raise CurationError(f"{task}: grouping returned other rows than it was given")
    start = 0
    for (part, made_from), table in zip(task.parts, tables, strict=True):
        task.work.groups.write(part, grouped.slice(start, table.num_rows), made_from)
        start += table.num_rows


def _left_over(run: Run) -> int:
    """How many kept documents are in no group; an error unless the recipe lets them go."""
    connection = connect(run.work)
    connection.register("grouped", run.work.groups.scan(run.parts))
    connection.register("verdicts", run.work.verdicts.scan(run.parts))
    sql = """FROM verdicts JOIN grouped USING (id) WHERE verdicts.keep AND grouped."group" IS NULL"""
    (count,) = first_row(connection, f"SELECT count(*) {sql}")
    if count and run.recipe.blend.rest == "error":
        (example,) = first_row(connection, f"SELECT min(id) {sql}")
        raise CurationError(
            f"{count:,} kept documents are in no blend group, for example {example}",
            remedy='add a group for them (`where = "true"` as the last takes all the rest), or set blend.rest = "drop"',
        )
    return int(count)


def _bounds(run: Run, group: Group) -> dict[str, tuple[str, str]]:
    """For each domain of more documents than the group takes of one, the place and id of the last that it takes."""
    connection = connect(run.work)
    connection.register("grouped", run.work.groups.scan(run.parts))
    connection.register("url", run.work.signal("url").scan(run.parts))
    order = _ORDER.format(seed=run.recipe.seed)
    rows = connection.execute(f"""
        SELECT registered_domain, place, id FROM (
            SELECT registered_domain, place, id,
                row_number() OVER (PARTITION BY registered_domain ORDER BY place, id) AS number,
                count(*) OVER (PARTITION BY registered_domain) AS documents
            FROM (
                SELECT id, {order} AS place, registered_domain FROM grouped JOIN url USING (id)
                WHERE "group" = '{group.name}' AND registered_domain <> ''
            )
        )
        WHERE number = {group.max_per_domain} AND documents > {group.max_per_domain} ORDER BY registered_domain
    """).fetchall()
    return {domain: (place, document) for domain, place, document in rows}


def _table(bounds: Bounds) -> pa.Table:
    rows = [(group, domain, *last) for group, domains in bounds.items() for domain, last in domains.items()]
    names = ("in_group", "domain", "last_place", "last_id")
    return pa.table({name: pa.array([row[n] for row in rows], pa.string()) for n, name in enumerate(names)})


def _choose(run: Run, group: Group, bounds: Bounds) -> Choice:
    """How often the documents of a group are taken."""
    connection = connect(run.work)
    connection.register("grouped", run.work.groups.scan(run.parts))
    where, over = f"""FROM grouped WHERE "group" = '{group.name}'""", 0
    order = _ORDER.format(seed=run.recipe.seed)
    if bounds.get(group.name):
        connection.register("url", run.work.signal("url").scan(run.parts))
        connection.register("bounds", _table({group.name: bounds[group.name]}))
        connection.execute(f"""
            CREATE TEMP TABLE inside AS
            SELECT id, tokens, coalesce(({order}, id) > (last_place, last_id), false) AS is_over
            FROM (SELECT id, tokens {where}) JOIN url USING (id) LEFT JOIN bounds ON registered_domain = domain
        """)
        (over,) = first_row(connection, "SELECT count(*) FROM inside WHERE is_over")
        where = "FROM inside WHERE NOT is_over"
    documents, available = first_row(connection, f"SELECT count(*), coalesce(sum(tokens), 0)::BIGINT {where}")
    if run.recipe.blend.tokens is None or group.share is None:
        why = _over_said(over, group) or None
        return Choice(group.name, None, None, documents, available, 1, over, 1, None, documents, available, why)
    asked = round(run.recipe.blend.tokens * group.share)
    most = group.max_copies
    whole = min(most, asked // available) if available else 0
    last, more, extra = None, 0, 0
    if whole < most and available:
        row = first_row(
            connection,
            f"""
            SELECT place, id, number, total FROM (
                SELECT id, {order} AS place, row_number() OVER taken AS number, sum(tokens) OVER taken AS total
                {where} WINDOW taken AS (ORDER BY {order}, id ROWS UNBOUNDED PRECEDING)
            ) WHERE total <= {asked - whole * available} ORDER BY number DESC LIMIT 1
        """,
        )
        if row:
            last, more, extra = (row[0], row[1]), int(row[2]), int(row[3])
    tokens = whole * available + extra
    why = None
    if not available:
        why = f"asked for {asked:,} tokens; no kept document is in it"
    elif whole == most and tokens < asked:
        why = f"asked for {asked:,} tokens, got {tokens:,}: its {available:,} tokens may stand at most {most} times"
        why += f"; {_over_said(over, group)}" if over else ""
    elif tokens < 0.99 * asked:
        why = (
            f"asked for {asked:,} tokens, got {tokens:,}: the next document in its order is larger than what is missing"
        )
    return Choice(
        group.name, group.share, asked, documents, available, most, over, whole, last,
        documents if whole else more, tokens, why,
    )  # fmt: skip


def _over_said(over: int, group: Group) -> str:
    return f"{over:,} documents are left out, over {group.max_per_domain:,} of one domain" if over else ""


def _write_all(task: Assign) -> None:
    connection = connect(task.work)
    order = _ORDER.format(seed=task.recipe.seed)
    cases = ""
    for choice in task.choices:
        more = "0"
        if choice.last:
            more = f"(({order}, id) <= ('{choice.last[0]}', '{choice.last[1]}'))::INTEGER"
        cases += f" WHEN \"group\" = '{choice.name}' THEN {choice.whole} + {more}"
    copies = f'CASE WHEN "group" IS NULL THEN 0{cases} END'
    tables = [task.work.groups.read(part) for part, _ in task.parts]
    rows = pa.concat_tables(tables)
    bounded = any(task.bounds.values())
    if bounded:
        domains = [task.work.read(part, ["registered_domain"])["registered_domain"] for part, _ in task.parts]
        rows = rows.append_column("registered_domain", pa.chunked_array([c for d in domains for c in d.chunks]))
        connection.register("bounds", _table(task.bounds))
        copies = f"CASE WHEN ({order}, id) > (last_place, last_id) THEN 0 ELSE ({copies}) END"
    rows = rows.append_column("number", pa.array(range(rows.num_rows), pa.int64()))
    connection.register("grouped", rows)
    join = """LEFT JOIN bounds ON "group" = in_group AND registered_domain = domain""" if bounded else ""
    sql = f"SELECT ({copies})::INTEGER AS copies FROM grouped {join} ORDER BY number"
    found = connection.sql(sql).to_arrow_table()["copies"]
    start = 0
    for (part, made_from), grouped in zip(task.parts, tables, strict=True):
        mine = found.slice(start, grouped.num_rows).cast(pa.int32())
        place = grouped.schema.get_field_index("copies")
        task.work.blend.write(part, grouped.set_column(place, "copies", mine), made_from)
        start += grouped.num_rows
