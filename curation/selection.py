"""Documents of the last run that are chosen to be labelled, the same ones for the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from classifiers.rubric import Document
from curation.errors import UsageError
from curation.pull import parts_there
from curation.query import open_views
from curation.run import workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.dataset import Workspace
    from curation.recipe import Recipe

#: Upper bounds of length bands, in words.
LENGTHS = (100, 300, 1_000, 3_000)

#: How documents are chosen, each an order of `population`, of which the first are taken. `lot` is a number from 0 to 1
#: that a hash of seed and id draws. Unsure: the weight of a document is the variance of a yes or no of its score, and
#: a sample without putting back is that of the greatest lot^(1/weight) (Efraimidis and Spirakis 2006). Stratified: each
#: stratum gives its first by lot, then each its second, and so on.
STRATEGIES = {
    "uniform": "SELECT * FROM population ORDER BY lot, id LIMIT $number",
    "unsure": """
        SELECT * FROM population WHERE score > 0 AND score < 5
        ORDER BY ln(lot) / (score * (5 - score)) DESC, id LIMIT $number
    """,
    "stratified": """
        SELECT * FROM population
        ORDER BY row_number() OVER (PARTITION BY source, length_band, floor(least(score, 4.9999)) ORDER BY lot, id),
                 lot, id LIMIT $number
    """,
}
#: Columns that a strategy asks for, and the signal that measures each.
_NEEDS = {"uniform": (), "unsure": ("education_score",), "stratified": ("education_score", "word_count")}
_SIGNALS = {"education_score": "education", "word_count": "length"}


def select(recipe: Recipe, number: int, strategy: str, seed: int, where: str = "true") -> list[Document]:
    """So many documents that the last run could read, in an order of chance; all of them where there are fewer.

    Copies of others are left out, where the run was judged. `where` is SQL over the columns of `corpus`.
    Raises `UsageError` where that is wrong, or a column that the strategy needs was not measured, and `StorageError`
    where nothing was run.
    """
    work, _ = workspace(recipe)
    connection = open_views(recipe, "")
    there = {row[0] for row in connection.execute("SELECT column_name FROM (DESCRIBE corpus)").fetchall()}
    for needed in _NEEDS[strategy]:
        if needed not in there:
            raise UsageError(
                f"--strategy {strategy}: {needed} was not measured",
                remedy=f"run with the signal {_SIGNALS[needed]}, or choose uniformly",
            )

    def column(name: str, otherwise: str = "NULL") -> str:
        return f'"{name}"' if name in there else otherwise

    band = " + ".join(f"({column('word_count', '0')} >= {bound})::INTEGER" for bound in LENGTHS)
    # 13 hex digits are 52 bits, which a double holds; half of one more, so that no lot is 0 or 1.
    population = f"""
        SELECT id, source, uri, nullif({column("registered_domain")}, '') AS "group",
               {column("education_score")}::DOUBLE AS score, {band} AS length_band,
               (('0x' || left(md5('{seed}:' || id), 13))::BIGINT + 0.5) / (1::BIGINT << 52) AS lot
        FROM corpus
        WHERE error IS NULL AND {column("word_count", "1")} > 0 AND {column("duplicate_of")} IS NULL AND ({where}
        )
    """
    try:
        chosen = connection.execute(
            f"WITH population AS ({population}) {STRATEGIES[strategy]}", {"number": number}
        ).fetchall()
        names = [one[0] for one in connection.description or ()]
    except duckdb.Error as error:
        raise UsageError(
            f"--where: {error}", remedy="it is SQL over the columns of `corpus`: curate signals"
        ) from error
    rows = [dict(zip(names, row, strict=True)) for row in chosen]
    if not rows:
        raise UsageError(
            "no document to label", remedy='see what --where leaves: curate sql RECIPE "select count(*) …"'
        )
    texts = dict(_texts(recipe, work, [row["id"] for row in rows]))
    return [
        Document.of(
            texts[row["id"]], id=row["id"], source=row["source"], uri=row["uri"], group=row["group"],
            score=None if row["score"] is None else round(row["score"], 4),
        )
        for row in rows
    ]  # fmt: skip


def _texts(recipe: Recipe, work: Workspace, ids: list[str]) -> Iterator[tuple[str, Any]]:
    """The texts of documents, from the row groups that hold any."""
    wanted = np.array(sorted(ids))
    for part in parts_there(recipe, work):
        names = np.asarray(work.documents.read(part, ["id"])["id"].to_numpy(zero_copy_only=False), dtype=wanted.dtype)
        rows = np.flatnonzero(np.isin(names, wanted))
        if len(rows):
            for table in work.documents.pick(part, rows, ["id", "text"]):
                yield from zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
