"""Which pairs of documents are worth comparing: those that share a band of their signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curation.dataset import connect, first_row

if TYPE_CHECKING:
    import pyarrow as pa

    from curation.dataset import Part, Workspace

#: Buckets up to this size are compared each with each; in larger ones each document with the next `NEIGHBOURS` in the
#: order of their signatures, where equal ones stand together. What is left out is counted.
FULL_BUCKET = 64
NEIGHBOURS = 32

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


def copies(work: Workspace, parts: list[Part], *, by_signature: bool) -> pa.Table:
    """A pair for every document that is a copy of one with a smaller id: (smallest id of the group, id).

    Copies are exact where the normalised text is the same. With `by_signature`, documents whose whole signatures are
    equal are near ones of similarity 1: thousands of pages that differ in a word need not be compared each with each.
    """
    connection = connect(work)
    connection.register("signature", work.signal("signature").scan(parts, ["id", "text_hash", "minhash"]))
    key = "CASE WHEN minhash = ''::BLOB THEN text_hash::BLOB ELSE minhash END" if by_signature else "text_hash::BLOB"
    return connection.sql(f"""
        SELECT first AS id_a, id AS id_b, 1::FLOAT AS similarity,
            CASE WHEN text_hash = first_hash THEN 'exact' ELSE 'near' END AS kind
        FROM (
            SELECT id, text_hash, first_value(id) OVER same AS first, first_value(text_hash) OVER same AS first_hash
            FROM signature WHERE text_hash <> '' WINDOW same AS (PARTITION BY {key} ORDER BY id)
        )
        WHERE id <> first
        ORDER BY id_a, id_b
    """).to_arrow_table()


def of_band(work: Workspace, parts: list[Part], band: str, copies: pa.Table) -> tuple[pa.Table, int]:
    """The distinct pairs that share this band, and how many comparisons were left out.

    Copies have the signature of the first of their group, so only that one takes part.
    """
    connection = connect(work)
    connection.register("signature", work.signal("signature").scan(parts, ["id", "minhash", band]))
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
