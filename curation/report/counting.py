"""Counting: everything that the report and the manifest count of documents, from columns alone.

A map over parts: each task counts some, and the counts, all of them whole numbers, are added up. Texts are not read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import rules as ruling
from curation import tokenizing
from curation.dataset import Part, Workspace, connect
from curation.engine import chunks
from curation.report import scorecard
from curation.report.histograms import cells
from curation.report.thresholds import Threshold, thresholds

if TYPE_CHECKING:
    import duckdb

    from curation.run import Run

#: Documents that a task counts.
_DOCUMENTS_A_TASK = 100_000
#: Documents that are looked at for each kind of sample, of which the report shows some.
CANDIDATES = 8
#: Characters of a column of text that are kept with a candidate.
_SHOWN = 120
#: Rules whose borderline documents are looked for: those that alone dropped most.
BORDERLINE_RULES = 10
#: Columns whose distribution is drawn even if no rule compares them with a number.
_ALWAYS = ("word_count", "education_score")

#: A document as a candidate for a sample: what it is sorted by, its id, its part and its row.
Candidate = tuple[str, str, Part, int]


@dataclass
class Counts:
    """What was counted. Tokens are estimated from the bytes of texts as pulled, but for `released` and `copies`."""

    #: (source, fate): documents, bytes of text, tokens.
    fates: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    #: (source, what): `documents` in the blend, `rows` and `tokens` with repetitions, `once` without.
    released: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: (group, copies): documents.
    copies: Counter[tuple[str, int]] = field(default_factory=Counter)
    #: (source, reason): documents for which it was the only reason.
    alone: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: (reason, reason), in the order of the rules: documents that both hit.
    together: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: (language, what): `documents`, `tokens`, `kept`, `kept_tokens`; of documents with text.
    languages: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: (source, column): `documents` and `occurrences`, of kept documents; the columns of the signal `pii`.
    pii: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    #: (source, what): `documents` in which benchmark items were found, and those of them that are `kept`.
    contaminated: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Column: fate: cell of the grid: documents with text.
    cells: dict[str, dict[str, Counter[int]]] = field(default_factory=dict)
    #: Registered domain, documents, kept, kept_tokens.
    domains: list[pa.Table] = field(default_factory=list)
    #: Body of text and measure: what `scorecard` makes of it, and tokens by body, host, length, language and source.
    scores: Counter[tuple[str, str]] = field(default_factory=Counter)
    spreads: list[pa.Table] = field(default_factory=list)
    #: Kind of sample: candidates, the first to be shown first.
    candidates: dict[tuple[str, ...], list[Candidate]] = field(default_factory=dict)
    #: Id: the columns that rules use, of candidates.
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, other: Counts) -> None:
        """Add what others were counted."""
        for name in ("fates", "released", "copies", "alone", "together", "languages", "pii", "contaminated", "scores"):
            getattr(self, name).update(getattr(other, name))
        for column, by_fate in other.cells.items():
            mine = self.cells.setdefault(column, {})
            for fate, counted in by_fate.items():
                mine.setdefault(fate, Counter()).update(counted)
        self.domains += other.domains
        self.spreads += other.spreads
        for kind, found in other.candidates.items():
            self.candidates[kind] = sorted([*self.candidates.get(kind, []), *found])[:CANDIDATES]
        self.values |= other.values
        shown = {candidate[1] for found in self.candidates.values() for candidate in found}
        self.values = {document: values for document, values in self.values.items() if document in shown}


@dataclass(frozen=True, slots=True)
class Count:
    """Parts to count."""

    work: Workspace
    seed: int
    bytes_a_token: int
    parts: list[Part]
    #: The numeric columns to draw, and those that rules use.
    drawn: tuple[str, ...]
    used: tuple[str, ...]
    #: Reasons in the order of the rules, and the thresholds near which documents are looked for.
    reasons: tuple[str, ...]
    borders: tuple[Threshold, ...]
    #: Ids of documents to find.
    wanted: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


def thresholds_of(run: Run) -> list[Threshold]:
    """Every comparison of a numeric column with a number in the rules."""
    numeric = [
        field.name for field in run.work.row if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    ]
    return [found for rule in ruling.rules_of(run.recipe) for found in thresholds(rule.name, rule.predicate, numeric)]


def count(run: Run, *, wanted: tuple[str, ...] = ()) -> Counts:
    """Everything counted; `wanted` documents are candidates of the kind `("wanted", id)`."""
    rules = ruling.rules_of(run.recipe)
    found = thresholds_of(run)
    drawn = dict.fromkeys([threshold.column for threshold in found])
    drawn |= dict.fromkeys(name for name in _ALWAYS if name in run.work.columns)
    used = dict.fromkeys(name for rule in rules for name in ruling.columns_in(rule.predicate, run.work))
    scalars = [name for name in used if not pa.types.is_nested(run.work.row.field(name).type)]
    hits = run.figures["judge"]["rules"]
    busiest = sorted((rule.name for rule in rules if hits.get(rule.name)), key=lambda name: (-hits[name], name))
    bordering = set(busiest[: 2 * BORDERLINE_RULES])
    borders = {(found.rule, found.column, found.value): found for found in found if found.rule in bordering}
    parts = list(run.parts)
    sizes = [run.parts[part].rows for part in parts]
    tasks = [
        Count(
            run.work, run.recipe.seed, tokenizing.bytes_a_token(run.recipe.blend.tokenizer), group, tuple(drawn),
            tuple(scalars), (*ruling.BUILT_IN, *(rule.name for rule in rules)), tuple(borders.values()), wanted,
        )
        for group in chunks(parts, sizes, _DOCUMENTS_A_TASK)
    ]  # fmt: skip
    weights = [sum(run.parts[part].rows for part in task.parts) for task in tasks]
    total = Counts()
    for counts in run.engine.map(
        _count, tasks, label="report: count", sizes=weights, unit="documents", little=run.is_little
    ):
        total.add(counts)
    return total


def domains(counts: Counts, most: int) -> tuple[int, list[tuple[str, int, int, int]]]:
    """How many registered domains there are, and those with most kept tokens: name, documents, kept, kept tokens."""
    if not counts.domains:
        return 0, []
    connection = connect()
    connection.register("counted", pa.concat_tables(counts.domains))
    connection.execute("""
        CREATE TEMP TABLE domains AS
        SELECT name, sum(documents)::BIGINT AS documents, sum(kept)::BIGINT AS kept, sum(tokens)::BIGINT AS tokens
        FROM counted GROUP BY name
    """)
    [(number,)] = connection.execute("SELECT count(*) FROM domains").fetchall()
    rows = connection.execute(f"FROM domains ORDER BY tokens DESC, documents DESC, name LIMIT {most}").fetchall()
    return int(number), rows


def _count(task: Count) -> Counts:
    connection = connect(task.work)
    available = task.work.columns
    side = [name for name in ("language", "registered_domain") if name in available and name in _own(task.work, name)]
    personal = _personal(task.work)
    columns = dict.fromkeys(["source", "error", "byte_count", *task.drawn, *task.used, *side, *personal])
    scored = scorecard.columns(task.work)
    columns |= dict.fromkeys(scored)
    columns |= {"is_contaminated": None} if "contamination" in task.work.corpus else {}
    documents, verdicts, blended, places = [], [], [], []
    for index, part in enumerate(task.parts):
        documents.append(task.work.read(part, columns))
        verdicts.append(task.work.verdicts.read(part, ["keep", "reasons", "duplicate_of"]))
        blended.append(task.work.blend.read(part, ["group", "copies", "tokens"]))
        rows = documents[-1].num_rows
        places.append(
            pa.table({"its part": pa.array([index] * rows, pa.int32()), "its row": pa.array(range(rows), pa.int64())})
        )
    connection.register("documents", pa.concat_tables(documents))
    connection.register("verdicts", pa.concat_tables(verdicts))
    connection.register("blended", pa.concat_tables(blended))
    connection.register("places", pa.concat_tables(places))
    connection.execute(f"""
        CREATE TEMP TABLE rows AS
        SELECT documents.*, reasons, "group", copies, blended.tokens AS "blended tokens", "its part", "its row",
            (byte_count + {task.bytes_a_token - 1}) // {task.bytes_a_token} AS "pulled tokens",
            CASE
                WHEN reasons = ['{ruling.UNREADABLE}'] THEN 'errors'
                WHEN len(reasons) > 0 THEN 'dropped'
                WHEN duplicate_of IS NOT NULL THEN 'duplicates'
                ELSE 'kept'
            END AS "its fate",
            md5(concat({task.seed}, ':', id)) AS "its order"
        FROM documents POSITIONAL JOIN verdicts POSITIONAL JOIN blended POSITIONAL JOIN places
    """)
    counts = Counts()
    _fates(connection, counts)
    _reasons(connection, counts, task.reasons)
    counts.scores.update(scorecard.sums(connection, scored))
    counts.spreads.append(scorecard.spread(connection, scored))
    if "language" in side:
        _languages(connection, counts)
    if "registered_domain" in side:
        _domains(connection, counts)
    if "contamination" in task.work.corpus:
        _contaminated(connection, counts)
    for column in personal:
        _occurrences(connection, counts, column)
    _cells(connection, counts, task.drawn)
    _candidates(connection, counts, task)
    return counts


def _own(work: Workspace, column: str) -> tuple[str, ...]:
    """The columns of the project's signal that this column is of; none where another signal has one of that name."""
    signal = {"language": "language", "registered_domain": "url"}[column]
    return tuple(work.signals.get(signal, ()))


def _personal(work: Workspace) -> list[str]:
    """The counts of the signal `pii`."""
    columns = work.signals.get("pii", {})
    return [name for name, kind in columns.items() if name.endswith("_count") and pa.types.is_integer(kind)]


def _fates(connection: duckdb.DuckDBPyConnection, counts: Counts) -> None:
    for source, fate, documents, size, tokens in connection.execute("""
        SELECT source, "its fate", count(*), sum(byte_count)::BIGINT, sum("pulled tokens")::BIGINT
        FROM rows GROUP BY ALL
    """).fetchall():
        for what, number in (("documents", documents), ("bytes", size), ("tokens", tokens)):
            counts.fates[source, fate, what] += number
    for source, group, copies, documents, tokens in connection.execute("""
        SELECT source, "group", copies, count(*), sum("blended tokens")::BIGINT
        FROM rows WHERE copies > 0 GROUP BY ALL
    """).fetchall():
        counts.copies[group, copies] += documents
        released = {"documents": documents, "once": tokens, "rows": documents * copies, "tokens": tokens * copies}
        for what, number in released.items():
            counts.released[source, what] += number


def _reasons(connection: duckdb.DuckDBPyConnection, counts: Counts, order: tuple[str, ...]) -> None:
    rank = {reason: place for place, reason in enumerate(order)}
    for source, reasons, documents in connection.execute("""
        SELECT source, reasons, count(*) FROM rows WHERE "its fate" = 'dropped' GROUP BY ALL
    """).fetchall():
        if len(reasons) == 1:
            counts.alone[source, reasons[0]] += documents
        known = sorted(reasons, key=lambda reason: rank[reason])
        for place, first in enumerate(known):
            for second in known[place + 1 :]:
                counts.together[first, second] += documents


def _languages(connection: duckdb.DuckDBPyConnection, counts: Counts) -> None:
    names = ("documents", "tokens", "kept", "kept_tokens")
    for language, *numbers in connection.execute("""
        SELECT language, count(*), sum("pulled tokens")::BIGINT, count(*) FILTER ("its fate" = 'kept'),
            coalesce(sum("pulled tokens") FILTER ("its fate" = 'kept'), 0)::BIGINT
        FROM rows WHERE error IS NULL AND byte_count > 0 GROUP BY language
    """).fetchall():
        for name, number in zip(names, numbers, strict=True):
            counts.languages[language, name] += number


def _domains(connection: duckdb.DuckDBPyConnection, counts: Counts) -> None:
    counts.domains.append(
        connection.sql("""
        SELECT registered_domain AS name, count(*) AS documents, count(*) FILTER ("its fate" = 'kept') AS kept,
            coalesce(sum("pulled tokens") FILTER ("its fate" = 'kept'), 0)::BIGINT AS tokens
        FROM rows WHERE registered_domain <> '' GROUP BY registered_domain
    """).to_arrow_table()
    )


def _occurrences(connection: duckdb.DuckDBPyConnection, counts: Counts, column: str) -> None:
    for source, documents, found in connection.execute(f"""
        SELECT source, count(*) FILTER ("{column}" > 0), sum("{column}")::BIGINT
        FROM rows WHERE "its fate" = 'kept' GROUP BY source
    """).fetchall():
        counts.pii[source, column, "documents"] += documents
        counts.pii[source, column, "occurrences"] += found


def _contaminated(connection: duckdb.DuckDBPyConnection, counts: Counts) -> None:
    for source, documents, kept in connection.execute("""
        SELECT source, count(*), count(*) FILTER ("its fate" = 'kept') FROM rows WHERE is_contaminated GROUP BY source
    """).fetchall():
        counts.contaminated[source, "documents"] += documents
        counts.contaminated[source, "kept"] += kept


def _cells(connection: duckdb.DuckDBPyConnection, counts: Counts, drawn: tuple[str, ...]) -> None:
    rows = connection.sql("SELECT * FROM rows WHERE error IS NULL AND byte_count > 0").to_arrow_table()
    for fate in ("kept", "duplicates", "dropped"):
        mine = rows.filter(pc.equal(rows["its fate"], fate))
        for column in drawn:
            counts.cells.setdefault(column, {})[fate] = cells(mine[column].to_numpy(zero_copy_only=False))


def _candidates(connection: duckdb.DuckDBPyConnection, counts: Counts, task: Count) -> None:
    """The documents that come first in the order of a hash, or lie nearest to a threshold, for each kind of sample."""
    found: dict[tuple[str, ...], list[tuple[str, str, int, int]]] = defaultdict(list)
    row = 'struct_pack(o := "its order", i := id, p := "its part", r := "its row")'
    for fate, what in (("kept", "source"), ("errors", "source")):
        for name, nearest in connection.execute(f"""
            SELECT {what}, arg_min({row}, "its order", {CANDIDATES})
            FROM rows WHERE "its fate" = '{fate}' GROUP BY {what}
        """).fetchall():
            found[fate, name] = [tuple(entry.values()) for entry in nearest]
    for reason, nearest in connection.execute(f"""
        SELECT reason, arg_min(entry, "its order", {CANDIDATES}) FROM (
            SELECT unnest(reasons) AS reason, "its order", {row} AS entry FROM rows WHERE "its fate" = 'dropped'
        ) GROUP BY reason
    """).fetchall():
        found["dropped", reason] = [tuple(entry.values()) for entry in nearest]
    for border in task.borders:
        distance = f'abs("{border.column}"::DOUBLE - ({border.value!r}))'
        for side, where in (("kept", "\"its fate\" = 'kept'"), ("dropped", f"reasons = ['{border.rule}']")):
            found["borderline", border.rule, border.column, repr(border.value), side] = [
                (f"{far:024.9f} {order}", document, part, place) for far, order, document, part, place in
                connection.execute(f"""
                    SELECT {distance} AS far, "its order", id, "its part", "its row" FROM rows
                    WHERE {where} AND isfinite({distance}) ORDER BY far, "its order" LIMIT 2
                """).fetchall()
            ]  # fmt: skip
    if task.wanted:
        for document, part, place in connection.execute(
            'SELECT id, "its part", "its row" FROM rows WHERE id IN (SELECT unnest($1))', [list(task.wanted)]
        ).fetchall():
            found["wanted", document] = [("", document, part, place)]
    counts.candidates = {
        kind: sorted((order, document, task.parts[part], place) for order, document, part, place in entries)
        for kind, entries in found.items()
        if entries
    }
    columns = dict.fromkeys(["id", "source", "its fate", "reasons", *task.used, *task.drawn])
    ids = pa.table({"id": sorted({candidate[1] for entries in counts.candidates.values() for candidate in entries})})
    connection.register("ids", ids.cast(pa.schema([("id", pa.string())])))
    types = task.work.row
    names = ", ".join(
        f'left("{name}", {_SHOWN}) AS "{name}"' if name in task.used and pa.types.is_string(types.field(name).type)
        else f'"{name}"' for name in columns
    )  # fmt: skip
    for values in connection.sql(f"SELECT {names} FROM rows SEMI JOIN ids USING (id)").to_arrow_table().to_pylist():
        counts.values[values["id"]] = values
