"""The four qualities of a good textbook (clear, self-contained, instructive, balanced) of raw, kept and blended text.

Each is told by a few measures over columns that exist already. Means weigh a document by its tokens, in the blend as
often as it stands there; sums are of whole numbers, so that parts and workers cannot change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from curation.dataset import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import duckdb

    from curation.dataset import Workspace

#: Bodies of text that are compared, and SQL for the tokens that a document has in each.
BODIES = {
    "raw": '"pulled tokens"',
    "kept": """CASE WHEN "its fate" = 'kept' THEN "pulled tokens" ELSE 0 END""",
    "blended": 'coalesce(copies * "blended tokens", 0)',
}
#: What each quality looks at.
ABOUT = {
    "clear": "noise and repetition",
    "self-contained": "cut-offs, boilerplate and references to elsewhere",
    "instructive": "educational score",
    "balanced": "spread over hosts, lengths, languages and sources",
}
#: A document from this score on is good, as `curate classifier evaluate` has it.
_GOOD = 2.5
#: Values are summed as so many parts of one.
_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Mean:
    """A number that a document has, by `sql`, where the column `needs` is there; its mean is told `scale` times."""

    quality: str
    name: str
    needs: str
    sql: str
    what: str
    better: Literal["less", "more"]
    unit: Literal["share", "number"]
    scale: int = 1


@dataclass(frozen=True, slots=True)
class Spread:
    """How evenly tokens are spread over the values of `sql`: as many equal ones as have this entropy, and how many."""

    name: str
    needs: str
    sql: str
    what: str


MEANS = (
    Mean("clear", "repeated lines", "duplicate_line_char_ratio", "duplicate_line_char_ratio",
         "characters in lines that stood before in the document", "less", "share"),
    Mean("clear", "repeated phrases", "duplicate_5gram_char_ratio", "duplicate_5gram_char_ratio",
         "characters in runs of 5 words that stood before in it", "less", "share"),
    Mean("clear", "symbols", "symbol_ratio", "symbol_ratio", "characters that are symbols", "less", "share"),
    Mean("clear", "broken characters", "mojibake_count",
         "CASE WHEN mojibake_count + replacement_char_count > 0 THEN 1 ELSE 0 END",
         "text in documents with wrongly decoded characters", "less", "share"),
    Mean("self-contained", "cut-off lines", "ellipsis_line_ratio", "ellipsis_line_ratio",
         "lines that end in an ellipsis", "less", "share"),
    Mean("self-contained", "unfinished lines", "terminal_punctuation_line_ratio",
         "1 - terminal_punctuation_line_ratio", "lines that end without punctuation", "less", "share"),
    Mean("self-contained", "boilerplate", "shared_line_ratio", "shared_line_ratio",
         "characters in lines that many documents of many hosts share", "less", "share"),
    Mean("self-contained", "links", "url_count", "url_count / greatest(word_count, 1)",
         "addresses in 1,000 words, which refer to elsewhere", "less", "number", scale=1_000),
    Mean("instructive", "educational score", "education_score", "education_score", "from 0 to 5", "more", "number"),
    Mean("instructive", "good text", "education_score", f"CASE WHEN education_score >= {_GOOD} THEN 1 ELSE 0 END",
         f"text in documents of a score from {_GOOD} on", "more", "share"),
)  # fmt: skip

SPREADS = (
    Spread("hosts", "registered_domain", "coalesce(nullif(registered_domain, ''), source)",
           "registered domains; a source counts as one for documents without"),
    Spread("lengths", "word_count", "floor(log2(greatest(word_count, 1)))::INTEGER::VARCHAR",
           "bands of length, each twice as long as the one before"),
    Spread("languages", "language", "language", "as recognised"),
    Spread("sources", "source", "source", "sources of the recipe"),
)  # fmt: skip


def columns(work: Workspace) -> list[str]:
    """The columns that the measures need, of those there are."""
    names = [mean.needs for mean in MEANS] + [spread.needs for spread in SPREADS]
    names += ["replacement_char_count", "word_count"]
    return [name for name in dict.fromkeys(names) if name in work.columns and name != "source"]


def sums(connection: duckdb.DuckDBPyConnection, there: Iterable[str]) -> dict[tuple[str, str], int]:
    """Over the table `rows`: by body and measure the sum of value times tokens in parts, and by body its tokens."""
    names = {*there, "source"}
    means = [(place, mean) for place, mean in enumerate(MEANS) if mean.needs in names]
    picked = ", ".join(f"round(({mean.sql}) * {_PARTS})::BIGINT AS m{place}" for place, mean in means)
    wanted = []
    for body in BODIES:
        wanted.append(f"sum({body})::BIGINT")
        wanted += [f"sum(m{place}::HUGEINT * {body})::VARCHAR" for place, _ in means]
    weights = ", ".join(f"({sql})::BIGINT AS {body}" for body, sql in BODIES.items())
    row = connection.execute(f"""
        SELECT {", ".join(wanted)} FROM (
            SELECT {weights}{", " + picked if picked else ""} FROM rows WHERE error IS NULL AND byte_count > 0
        )
    """).fetchall()[0]
    found: dict[tuple[str, str], int] = {}
    values = iter(row)
    for body in BODIES:
        found[body, ""] = int(next(values) or 0)
        found |= {(body, mean.name): int(next(values) or 0) for _, mean in means}
    return found


def spread(connection: duckdb.DuckDBPyConnection, there: Iterable[str]) -> pa.Table:
    """Over the table `rows`: `kind`, `value`, and the tokens of each body."""
    names = {*there, "source"}
    totals = ", ".join(f"sum({sql})::BIGINT AS {body}" for body, sql in BODIES.items())
    selects = [
        f"SELECT '{one.name}' AS kind, {one.sql} AS value, {totals} FROM rows "
        "WHERE error IS NULL AND byte_count > 0 GROUP BY ALL"
        for one in SPREADS
        if one.needs in names
    ]
    return connection.sql(" UNION ALL ".join(selects)).to_arrow_table()


def scorecard(totals: Mapping[tuple[str, str], int], spreads: list[pa.Table]) -> list[dict[str, Any]]:
    """The qualities, each with `quality`, `about` and `measures`; of a body without tokens a measure is None."""
    rows: dict[str, list[dict[str, Any]]] = {quality: [] for quality in ABOUT}
    for mean in MEANS:
        if ("raw", mean.name) in totals:
            values = {
                body: round(totals[body, mean.name] * mean.scale / _PARTS / totals[body, ""], 4)
                if totals[body, ""] else None
                for body in BODIES
            }  # fmt: skip
            rows[mean.quality].append(
                {"name": mean.name, "what": mean.what, "better": mean.better, "unit": mean.unit, **values}
            )
    rows["balanced"] = _spreads(spreads)
    return [{"quality": name, "about": ABOUT[name], "measures": found} for name, found in rows.items() if found]


def _spreads(tables: list[pa.Table]) -> list[dict[str, Any]]:
    if not tables:
        return []
    connection = connect()
    connection.register("spread", pa.concat_tables(tables))
    totals = ", ".join(f"sum({body})::BIGINT AS {body}" for body in BODIES)
    connection.execute(f"CREATE TEMP TABLE together AS SELECT kind, value, {totals} FROM spread GROUP BY ALL")
    found = []
    for one in SPREADS:
        row: dict[str, Any] = {
            "name": one.name, "what": one.what,
            "better": "more", "unit": "spread",
        }  # fmt: skip
        for body in BODIES:
            tokens = connection.execute(
                f"SELECT {body} FROM together WHERE kind = '{one.name}' AND {body} > 0 ORDER BY 1"
            ).fetchnumpy()[body]
            row[body], row[f"{body}_there"] = even(np.asarray(tokens, dtype=np.float64)), len(tokens)
        if row["raw_there"]:
            found.append(row)
    return found


def even(tokens: Any) -> float | None:
    """How many equal shares have the entropy of these amounts (float64, sorted); None where there are none.

    >>> even(np.array([5.0, 5.0, 5.0])), even(np.array([1.0, 999.0]))
    (3.0, 1.0079)
    """
    if not len(tokens):
        return None
    shares = tokens / tokens.sum()
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 4)
