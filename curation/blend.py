"""blend: how often each kept document stands in the release, to a budget of tokens.

What each group gives is found by `curation.mixing`. Within a group documents are taken in an order: that of a hash of
seed and id, a fair sample, or the best first; the same whatever the parts, and a larger budget holds what a smaller one
did. Where a group bounds the documents of a domain, the first of each in that order stay in it. Reads columns, never
text.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import rules as ruling
from curation import tokenizing
from curation.dataset import Part, Workspace, connect, fingerprint, first_row
from curation.engine import chunks
from curation.errors import CurationError
from curation.groups import asked_of, expressions_of, group_sql, groups_of, limits_sql, rank_sql, wishes_of
from curation.mixing import Cell, Mix, mix
from curation.token_counts import count_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from curation.mixing import Wish
    from curation.recipe import Group, Recipe
    from curation.run import Run

#: Raised when the same verdicts and wishes give another blend.
VERSION = 4

#: A group that gives less than this share of what it was asked for is a warning, though only a document is too long.
_FAR_FROM_IT = 0.8

#: The note of a part of `blend` with the hash of its rows in the release.
_ROWS = "rows"

#: SQL for a document's place in the fair sample of its group; `seed` is a number.
_PLACE = "md5(concat({seed}, ':', id))"

#: A document's place in its group: what ranks it, its hash, its id.
Place = tuple[str, str, str]
#: By group and domain that has more documents than the group takes: the last in the order that stays in it.
DomainBounds = dict[str, dict[str, Place]]


@dataclass(frozen=True, slots=True)
class Taken:
    """The documents of a group that the same limits count, as bits: each stands `whole` times in the release.

    Those up to `last` in the order stand once more.
    """

    limits: int
    whole: int
    last: Place | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What a group was asked for and what it gives; tokens are counted with repetitions.

    `asked_share` is of the whole blend, None where the group has no share of its own. `over_domain` documents are left
    out, since their domain has enough others in the group; `available` counts without those.
    """

    name: str
    asked_share: float | None
    asked_tokens: int | None
    available_documents: int
    available_tokens: int
    max_copies: int
    over_domain: int
    documents: int
    tokens: int
    why: str | None
    taken: tuple[Taken, ...]


@dataclass(frozen=True, slots=True)
class Assign:
    """Parts to put into groups, each with the fingerprint of what to write."""

    work: Workspace
    recipe: Recipe
    parts: list[tuple[Part, str]]
    choices: tuple[Choice, ...] = ()
    bounds: DomainBounds = field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join(str(part) for part, _ in self.parts)


def blend(run: Run) -> dict[str, Any]:
    """Make `blend`; the figures say for each group what was asked, what was achieved, and why they differ.

    Raises `CurationError` where not all wishes can be met and the recipe says `short = "error"`.
    """
    recipe, work = run.recipe, run.work
    counts = count_tokens(run)
    made_from = {
        part: fingerprint(
            "groups", VERSION, _wishes(recipe), run.verdicts_from[part], run.signals_from[part], counts.get(part)
        )
        for part in run.parts
    }
    missing = list(work.groups.not_made(made_from).items())
    work.groups.keep_only(run.parts)
    run.engine.map(_assign_all, _tasks(run, missing), label="blend: groups", little=run.is_little)
    left = _left_over(run)
    groups = groups_of(recipe)
    bounds = {group.name: _bounds(run, group) for group in groups if group.max_per_domain is not None}
    solved = _solve(run, groups, bounds)
    choices = solved.choices
    taken = [asdict(choice) for choice in choices]
    decided = fingerprint(VERSION, taken, bounds, recipe.seed)
    columns = _published(run.work, recipe)
    final = {part: fingerprint("blend", decided, columns, made) for part, made in made_from.items()}
    run.blend_from = final
    missing = list(work.blend.not_made(final).items())
    run.engine.map(_write_all, _tasks(run, missing, choices, bounds), label="blend: copies", little=run.is_little)
    run.blended = _blended(work, run.parts)
    for line in _shortfalls(recipe, solved):
        run.warn(line)
    total = sum(choice.tokens for choice in choices)
    share = {choice.name: choice.tokens / total if total else 0.0 for choice in choices}
    return {
        "asked_tokens": recipe.blend.budget,
        "tokens": total,
        "documents": sum(choice.documents for choice in choices),
        "left_over": left,
        "largest_tokens": solved.mix.largest if solved.mix else None,
        "binding": [str(one) for one in solved.mix.binding] if solved.mix else [],
        "groups": [
            {**{key: value for key, value in entry.items() if key != "taken"},
             "achieved_share": round(share[entry["name"]], 6)}
            for entry in taken
        ],
        "around": _around(recipe, choices, total),
        "limits": _limits(recipe, solved, total),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Solved:
    """What each group gives, and each limit; `mix` is None where there is no budget."""

    choices: tuple[Choice, ...]
    #: By the place of a limit: documents, and tokens with repetitions.
    limits: list[tuple[int, int]]
    mix: Mix | None


def _wishes(recipe: Recipe) -> Any:
    return [
        group_sql(recipe),
        limits_sql(recipe),
        rank_sql(recipe),
        recipe.tokenizer_identity,
        recipe.edit.model_dump(),
    ]


def _tasks(
    run: Run, parts: list[tuple[Part, str]], choices: tuple[Choice, ...] = (), bounds: DomainBounds | None = None
) -> list[Assign]:
    sizes = [run.parts[part].rows for part, _ in parts]
    return [Assign(run.work, run.recipe, group, choices, bounds or {}) for group in chunks(parts, sizes, 100_000)]


def _assign_all(task: Assign) -> None:
    connection = connect(task.work)
    edits = ruling.edits_of(task.recipe)
    bytes_a_token = tokenizing.bytes_a_token(task.recipe.blend.tokenizer)
    are_counted = not tokenizing.is_estimate(task.recipe.blend.tokenizer)
    counted = "coalesce(token_count, 0)" if are_counted else f"(bytes + {bytes_a_token - 1}) // {bytes_a_token}"
    sql = f"""
        SELECT id, "group", CASE WHEN "group" IS NULL THEN 0 ELSE {limits_sql(task.recipe)} END AS limits,
            {rank_sql(task.recipe)} AS rank, CASE WHEN bytes > 0 THEN {counted} ELSE 0 END AS tokens, bytes
        FROM (
            SELECT documents.*,
                CASE WHEN verdicts.keep THEN {group_sql(task.recipe)} END AS "group",
                CASE WHEN verdicts.keep THEN {ruling.edited_bytes(edits)} ELSE 0 END AS bytes
            FROM documents POSITIONAL JOIN verdicts
        ) AS documents
    """
    columns = ["byte_count", *edits.columns, *ruling.columns_in(edits.where, task.work)]
    for expression in expressions_of(task.recipe):
        columns += ruling.columns_in(expression, task.work)
    tables = [task.work.read(part, columns) for part, _ in task.parts]
    rows = pa.concat_tables(tables)
    if are_counted:
        exact = pa.concat_tables(task.work.tokens.read(part, ["token_count"]) for part, _ in task.parts)
        rows = rows.append_column("token_count", exact["token_count"])
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
    connection.register("grouped", run.work.groups.scan(run.parts, ["id", "group"]))
    connection.register("verdicts", run.work.verdicts.scan(run.parts, ["id", "keep"]))
    sql = """FROM verdicts JOIN grouped USING (id) WHERE verdicts.keep AND grouped."group" IS NULL"""
    (count,) = first_row(connection, f"SELECT count(*) {sql}")
    if count and run.recipe.blend.rest == "error":
        (example,) = first_row(connection, f"SELECT min(id) {sql}")
        raise CurationError(
            f"{count:,} kept documents are in no blend group, for example {example}",
            remedy='add a group for them (`where = "true"` as the last takes all the rest), or set blend.rest = "drop"',
        )
    return int(count)


def _bounds(run: Run, group: Group) -> dict[str, Place]:
    """For each domain of more documents than the group takes of one, the place of the last that it takes."""
    connection = connect(run.work)
    connection.register("grouped", run.work.groups.scan(run.parts, ["id", "group", "rank"]))
    connection.register("url", run.work.signal("url").scan(run.parts, ["id", "registered_domain"]))
    rows = connection.execute(f"""
        SELECT registered_domain, rank, place, id FROM (
            SELECT registered_domain, rank, place, id,
                row_number() OVER (PARTITION BY registered_domain ORDER BY rank, place, id) AS number,
                count(*) OVER (PARTITION BY registered_domain) AS documents
            FROM (
                SELECT id, rank, {_PLACE.format(seed=run.recipe.seed)} AS place, registered_domain
                FROM grouped JOIN url USING (id) WHERE "group" = '{group.name}' AND registered_domain <> ''
            )
        )
        WHERE number = {group.max_per_domain} AND documents > {group.max_per_domain} ORDER BY registered_domain
    """).fetchall()
    return {domain: (rank, place, document) for domain, rank, place, document in rows}


def _table(bounds: DomainBounds) -> pa.Table:
    rows = [(group, domain, *last) for group, domains in bounds.items() for domain, last in domains.items()]
    names = ("in_group", "domain", "last_rank", "last_place", "last_id")
    return pa.table({name: pa.array([row[n] for row in rows], pa.string()) for n, name in enumerate(names)})


def _solve(run: Run, groups: list[Group], bounds: DomainBounds) -> Solved:
    """How often the documents of each group are taken."""
    recipe = run.recipe
    connection = _inside(run, bounds)
    over = dict(connection.execute('SELECT "group", count(*) FROM inside WHERE is_over GROUP BY ALL').fetchall())
    copies = {group.name: group.max_copies for group in groups}
    piles = [
        Pile(*row)
        for row in connection.execute("""
            SELECT "group", limits, count(*), sum(tokens)::BIGINT FROM inside WHERE NOT is_over
            GROUP BY ALL ORDER BY ALL
        """).fetchall()
    ]
    mixed = None
    if recipe.blend.budget is not None:
        root, limits = wishes_of(recipe)
        cells = [
            Cell(pile.group, frozenset(one.name for place, one in enumerate(limits) if pile.counts(place)), pile.tokens)
            for pile in piles
        ]
        mixed = mix(root, limits, tuple(cells), recipe.blend.budget)
        _take(connection, [(pile, aim, copies[pile.group]) for pile, aim in zip(piles, mixed.tokens, strict=True)],
              recipe.seed)  # fmt: skip
    asked = asked_of(recipe)
    choices = []
    for group in groups:
        mine = [pile for pile in piles if pile.group == group.name]
        choice = Choice(
            group.name, *asked[group.name], sum(pile.documents for pile in mine), sum(pile.tokens for pile in mine),
            1 if mixed is None else group.max_copies, over.get(group.name, 0),
            sum(pile.taken_documents for pile in mine), sum(pile.taken_tokens for pile in mine), None,
            tuple(Taken(pile.limits, pile.whole, pile.last) for pile in mine),
        )  # fmt: skip
        choices.append(_with_reason(choice, group, sum(pile.aim for pile in mine), mixed))
    counted = [[pile for pile in piles if pile.counts(place)] for place in range(len(recipe.blend.limit))]
    return Solved(
        tuple(choices),
        [(sum(pile.taken_documents for pile in mine), sum(pile.taken_tokens for pile in mine)) for mine in counted],
        mixed,
    )


@dataclass(slots=True)
class Pile:
    """The documents of a group that the same limits count, what is aimed at, and what is taken of them.

    `more` of the documents, with `added` tokens, stand once more than `whole` times: those up to `last`.
    """

    group: str
    limits: int
    documents: int
    tokens: int
    aim: int = 0
    whole: int = 1
    last: Place | None = None
    more: int = 0
    added: int = 0

    def counts(self, place: int) -> bool:
        """Whether the limit at this place of the recipe counts these documents."""
        return bool(self.limits >> place & 1)

    @property
    def taken_documents(self) -> int:
        """Different documents in the release."""
        return self.documents if self.whole else self.more

    @property
    def taken_tokens(self) -> int:
        """Their tokens, with repetitions."""
        return self.whole * self.tokens + self.added


def _take(connection: duckdb.DuckDBPyConnection, wanted: list[tuple[Pile, int, int]], seed: int) -> None:
    """Take of each pile the tokens that are aimed at, with at most so many copies, to the document."""
    extra = {}
    for pile, aim, copies in wanted:
        pile.aim = aim
        pile.whole = min(copies, aim // pile.tokens) if pile.tokens else 1
        missing = aim - pile.whole * pile.tokens
        if pile.whole < copies and missing > 0:
            extra[pile.group, pile.limits] = missing
    lasts = _lasts(connection, extra, seed)
    for pile, _, _ in wanted:
        pile.last, pile.more, pile.added = lasts.get((pile.group, pile.limits), (None, 0, 0))


def _inside(run: Run, bounds: DomainBounds) -> duckdb.DuckDBPyConnection:
    """A connection with `inside`: every document in a group, and whether its domain has enough others there."""
    connection = connect(run.work)
    connection.register("grouped", run.work.groups.scan(run.parts, ["id", "group", "limits", "rank", "tokens"]))
    columns = 'id, "group", limits, rank, tokens'
    if not any(bounds.values()):
        connection.execute(f"""
            CREATE TEMP VIEW inside AS SELECT {columns}, false AS is_over FROM grouped WHERE "group" IS NOT NULL
        """)
        return connection
    connection.register("url", run.work.signal("url").scan(run.parts, ["id", "registered_domain"]))
    connection.register("bounds", _table(bounds))
    place = _PLACE.format(seed=run.recipe.seed)
    connection.execute(f"""
        CREATE TEMP TABLE inside AS
        SELECT {columns}, last_id IS NOT NULL AND (rank, {place}, id) > (last_rank, last_place, last_id) AS is_over
        FROM (SELECT {columns} FROM grouped WHERE "group" IS NOT NULL) JOIN url USING (id)
            LEFT JOIN bounds ON registered_domain = domain AND "group" = in_group
    """)
    return connection


def _lasts(
    connection: duckdb.DuckDBPyConnection, extra: dict[tuple[str, int], int], seed: int
) -> dict[tuple[str, int], tuple[Place, int, int]]:
    """For each cell the last document, in the order, up to which this many more tokens reach; documents and tokens."""
    if not extra:
        return {}
    wanted = pa.table(
        {
            "in_group": pa.array([name for name, _ in extra], pa.string()),
            "in_limits": pa.array([limits for _, limits in extra], pa.int32()),
            "more": pa.array(list(extra.values()), pa.int64()),
        }
    )
    connection.register("wanted", wanted)
    rows = connection.execute(f"""
        SELECT "group", limits, max_by(struct_pack(r := rank, p := place, i := id), number), max(number),
            max(total)::BIGINT
        FROM (
            SELECT "group", limits, rank, place, id, more,
                row_number() OVER taken AS number, sum(tokens) OVER taken AS total
            FROM (
                SELECT inside.*, more, {_PLACE.format(seed=seed)} AS place
                FROM inside JOIN wanted ON "group" = in_group AND limits = in_limits WHERE NOT is_over
            )
            WINDOW taken AS (PARTITION BY "group", limits ORDER BY rank, place, id ROWS UNBOUNDED PRECEDING)
        )
        WHERE total <= more GROUP BY ALL
    """).fetchall()
    return {
        (name, limits): ((last["r"], last["p"], last["i"]), documents, tokens)
        for name, limits, last, documents, tokens in rows
    }


def _with_reason(choice: Choice, group: Group, aimed: int, mixed: Mix | None) -> Choice:
    """The choice with why it gives less than was asked."""
    over = _over_said(choice.over_domain, group)
    asked = choice.asked_tokens
    names = {choice.name, *(choice.name[:place] for place, letter in enumerate(choice.name) if letter == "/")}
    why = over or None
    missed = [one for one in mixed.missed if one.kind == "group" and one.name == choice.name] if mixed else []
    if mixed is not None and missed:
        own = [one.text for one in mixed.binding if one.kind == "group" and one.name == choice.name]
        around = [str(one) for one in mixed.binding if one.kind == "group" and one.name in names - {choice.name}]
        limits = [str(one) for one in mixed.binding if one.kind == "limit"]
        reasons = [*own, *around, *limits] or [str(one) for one in mixed.binding]
        by = f" by {missed[0].key}" if asked is None else ""
        said = f"asked for {missed[0].asked if asked is None else asked:,} tokens{by}"
        got = "" if own == ["no kept document is in it"] else f", got {choice.tokens:,}"
        why = f"{said}{got}{': ' if got else '; '}{'; '.join(reasons)}"
        why += f"; {over}" if over else ""
    elif asked is not None and choice.tokens < 0.99 * min(asked, aimed):
        why = f"asked for {asked:,} tokens, got {choice.tokens:,}: "
        why += "the next document in its order is larger than what is missing"
    return replace(choice, why=why)


def _over_said(over: int, group: Group) -> str:
    return f"{over:,} documents are left out, over {group.max_per_domain:,} of one domain" if over else ""


def _shortfalls(recipe: Recipe, solved: Solved) -> list[str]:
    """What is not as asked, for warnings; an error instead where the recipe wants that."""
    mixed = solved.mix
    if mixed is None:
        return []
    groups = {choice.name: choice for choice in solved.choices}
    short = {one.name for one in mixed.missed if one.kind == "group"}
    lines = [f"blend group {name}: {groups[name].why}" for name in groups if name in short]
    binding = "; ".join(map(str, mixed.binding))
    wider = [one for one in mixed.missed if one.kind != "budget" and one.name not in groups]
    if not lines and not wider:
        wider = list(mixed.missed)
    lines += [
        f"blend{f' {one.kind} {one.name}' if one.name else ''}: asked for {one.asked:,} tokens by {one.key}, "
        f"got {one.tokens:,}: {binding}"
        for one in wider
    ]
    budget = recipe.blend.budget or 0
    if not lines:
        return [
            f"blend group {choice.name}: {choice.why}"
            for choice in solved.choices
            if choice.why and choice.tokens < _FAR_FROM_IT * (choice.asked_tokens or 0)
        ]
    most = (
        f"blend: all that is asked can be had up to {mixed.largest:,} tokens, not {budget:,}" if mixed.largest else
        "blend: what is asked cannot be had together, whatever the budget"
    )  # fmt: skip
    if recipe.blend.short == "error":
        total = sum(choice.tokens for choice in solved.choices)
        nearest = ", ".join(f"{choice.name} {choice.tokens:,}" for choice in solved.choices)
        lower = f"lower blend.tokens to {mixed.largest}, or " if mixed.largest else ""
        raise CurationError(
            "the blend that is asked for cannot be had\n" + "\n".join(f"  {line}" for line in [*lines, most])
            + f"\n  the nearest has {total:,} tokens: {nearest}",
            remedy=f'{lower}change what binds; to take the nearest: blend.short = "warn"',
        )  # fmt: skip
    return [*lines, most]


def _around(recipe: Recipe, choices: tuple[Choice, ...], total: int) -> list[dict[str, Any]]:
    """What the groups that hold others give together."""
    found = []

    def walk(wish: Wish) -> None:
        if wish.parts and wish.name:
            mine = [choice for choice in choices if choice.name.startswith(f"{wish.name}/")]
            tokens = sum(choice.tokens for choice in mine)
            found.append({
                "name": wish.name, "asked": wish.said(), "documents": sum(choice.documents for choice in mine),
                "tokens": tokens, "achieved_share": round(tokens / total, 6) if total else 0.0,
            })  # fmt: skip
        for part in wish.parts:
            walk(part)

    walk(wishes_of(recipe)[0])
    return found


def _limits(recipe: Recipe, solved: Solved, total: int) -> list[dict[str, Any]]:
    """What each limit counts, beside what it asks."""
    _, limits = wishes_of(recipe)
    return [
        {"name": limit.name, "where": recipe.blend.limit[place].where, "asked": limit.bounds.said(),
         "documents": solved.limits[place][0], "tokens": solved.limits[place][1],
         "achieved_share": round(solved.limits[place][1] / total, 6) if total else 0.0}
        for place, limit in enumerate(limits)
    ]  # fmt: skip


def _write_all(task: Assign) -> None:
    connection = connect(task.work)
    tables = [task.work.groups.read(part) for part, _ in task.parts]
    rows = pa.concat_tables(tables)
    place = _PLACE.format(seed=task.recipe.seed)
    is_over = "false"
    bounded = any(task.bounds.values())
    if bounded:
        domains = [task.work.read(part, ["registered_domain"])["registered_domain"] for part, _ in task.parts]
        rows = rows.append_column("registered_domain", pa.chunked_array([c for d in domains for c in d.chunks]))
        connection.register("bounds", _table(task.bounds))
        last = "(bounds.last_rank, bounds.last_place, bounds.last_id)"
        is_over = f"(bounds.last_id IS NOT NULL AND (rank, {place}, id) > {last})"
    rows = rows.append_column("number", pa.array(range(rows.num_rows), pa.int64()))
    connection.register("grouped", rows)
    connection.register("taken", _taken(task.choices))
    join = """LEFT JOIN bounds ON "group" = bounds.in_group AND registered_domain = domain""" if bounded else ""
    found = connection.sql(f"""
        SELECT CASE WHEN "group" IS NULL OR {is_over} THEN 0
            ELSE whole + (taken.last_id IS NOT NULL
                AND (rank, {place}, id) <= (taken.last_rank, taken.last_place, taken.last_id))::INTEGER
            END AS copies
        FROM grouped LEFT JOIN taken ON "group" = taken.in_group AND limits = taken.in_limits {join} ORDER BY number
    """).to_arrow_table()["copies"]
    start = 0
    for (part, made_from), grouped in zip(task.parts, tables, strict=True):
        rows = grouped.append_column("copies", found.slice(start, grouped.num_rows).cast(pa.int32()))
        with task.work.blend.writing(part, made_from) as writer:
            writer.write(rows)
            writer.notes[_ROWS] = _hashed(task, part, rows)
        start += grouped.num_rows


def _published(work: Workspace, recipe: Recipe) -> list[str]:
    """The columns that decide what a row of a shard holds, beside those of the blend.

    The text itself is not one of them, nor are source and URI: the id is a hash of these.
    """
    asked = [*("title", "license", "created_at"), *recipe.release.columns, *recipe.edit.remove, *recipe.edit.replace]
    if recipe.edit.remove or recipe.edit.replace:
        asked += ruling.columns_in(ruling.edits_of(recipe).where, work)
    return sorted(set(asked) - {"id", "text", "source", "uri", "group", "tokens"})


def _hashed(task: Assign, part: Part, rows: pa.Table) -> list[str]:
    """Hashes of the rows of a part that stand in the release, added up, in two halves: their order decides nothing."""
    chosen = pc.greater(rows["copies"], 0)
    if not pc.any(chosen).as_py():
        return ["0", "0"]
    connection = connect(task.work)
    names = _published(task.work, task.recipe)
    beside = task.work.read(part, names).select(names)
    for name in ("id", "group", "copies", "tokens", "bytes"):
        beside = beside.append_column(f"blend {name}", rows[name])
    connection.register("chosen", beside.filter(chosen))
    halves = first_row(connection, """
        SELECT sum(md5_number_lower(row)::HUGEINT), sum(md5_number_upper(row)::HUGEINT)
        FROM (SELECT to_json(chosen)::VARCHAR AS row FROM chosen)
    """)  # fmt: skip
    return [str(half) for half in halves]


def _blended(work: Workspace, parts: Iterable[Part]) -> str:
    """A hash of all rows that stand in the release."""
    halves = [footer.notes[_ROWS] for footer in work.storage.each(work.blend.footer, list(parts)) if footer]
    return fingerprint([str(sum(map(int, half))) for half in zip(*halves, strict=True)])


def _taken(choices: tuple[Choice, ...]) -> pa.Table:
    rows = [
        (choice.name, taken.limits, taken.whole, *(taken.last or (None, None, None)))
        for choice in choices
        for taken in choice.taken
    ]
    kinds = {
        "in_group": pa.string(), "in_limits": pa.int32(), "whole": pa.int32(),
        "last_rank": pa.string(), "last_place": pa.string(), "last_id": pa.string(),
    }  # fmt: skip
    return pa.table({name: pa.array([row[n] for row in rows], kind) for n, (name, kind) in enumerate(kinds.items())})
