"""Which pairs of documents are worth comparing: those that share a band of their signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from curation.dataset import Dataset, connect, first_row

if TYPE_CHECKING:
    from curation.dataset import Part, Workspace

#: Buckets up to this size are compared each with each; in larger ones each document with the next `NEIGHBOURS` in the
#: order of their signatures, where equal ones stand together. What is left out is counted.
FULL_BUCKET = 64
NEIGHBOURS = 32

CANDIDATES = pa.schema(
    [
        pa.field("id_a", pa.string(), nullable=False),
        pa.field("id_b", pa.string(), nullable=False),
    ]
)

_SMALL = """
    SELECT least(a.id, b.id) AS id_a, greatest(a.id, b.id) AS id_b
    FROM members a JOIN members b ON a.band = b.band AND a.place < b.place
    WHERE a.size <= {full}
"""
_LARGE = """
    SELECT least(a.id, b.id), greatest(a.id, b.id)
    FROM (SELECT *, unnest(range(1, {next} + 1)) AS step FROM members WHERE size > {full}) a
    JOIN (SELECT * FROM members WHERE size > {full}) b ON a.band = b.band AND a.place + a.step = b.place
"""


def dataset(work: Workspace) -> Dataset:
    """The candidates of each band, kept only until the pairs are verified."""
    return Dataset(work.storage, "candidates", CANDIDATES)


def exact(work: Workspace, parts: list[Part]) -> pa.Table:
    """A pair for every document whose normalised text another has: (smallest id of the group, id)."""
    connection = connect(work)
    connection.register("signature", work.signal("signature").scan(parts))
    return connection.sql("""
        SELECT first AS id_a, id AS id_b, 1::FLOAT AS similarity, 'exact' AS kind
        FROM (SELECT id, min(id) OVER (PARTITION BY text_hash) AS first FROM signature WHERE text_hash <> '')
        WHERE id <> first
        ORDER BY id_a, id_b
    """).to_arrow_table()


def of_band(work: Workspace, parts: list[Part], band: str, copies: pa.Table) -> tuple[pa.Table, int]:
    """The distinct pairs that share this band, without the exact copies, and how many comparisons were left out.

    Equal texts have equal signatures, so only the first of each exact group takes part.
    """
    connection = connect(work)
    connection.register("signature", work.signal("signature").scan(parts))
    connection.register("copies", copies)
    connection.execute(f"""
        CREATE TEMP TABLE members AS
        SELECT id, band, size, row_number() OVER (PARTITION BY band ORDER BY minhash, id) AS place
        FROM (
            SELECT s.id, s.{band} AS band, s.minhash, count(*) OVER (PARTITION BY s.{band}) AS size
            FROM signature s ANTI JOIN copies c ON s.id = c.id_b
            WHERE s.{band} <> 0
        )
        WHERE size > 1
    """)
    pairs = connection.sql(
        f"SELECT DISTINCT * FROM ({_SMALL} UNION ALL {_LARGE}) ORDER BY id_a, id_b".format(
            full=FULL_BUCKET, next=NEIGHBOURS
        )
    ).to_arrow_table()
    (possible,) = first_row(
        connection,
        """
        SELECT coalesce(sum(size * (size - 1) // 2), 0)::BIGINT FROM (SELECT band, any_value(size) AS size
        FROM members GROUP BY band)
    """,
    )
    return pairs, possible - pairs.num_rows
