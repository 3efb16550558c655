"""The parts of an input's documents, row after row; the plain definition of what `curation.documents` cuts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation import pull, schema
from curation.documents import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.dataset import PartWriter
    from curation.pull import Pull


def write_parts(task: Pull, group_bytes: int, group_rows: int) -> None:
    """Write all parts of a task, a row group ending at so many bytes or rows."""
    items = pull._items(task, 0)
    index, last = 0, False
    while not last:
        with task.documents.writing(task.part(index), task.fingerprint(index)) as writer:
            last = _fill(writer, items, group_bytes, group_rows)
            writer.notes |= {"index": index, "last": last}
        index += 1


def _fill(writer: PartWriter, items: Iterator[Any], group_bytes: int, group_rows: int) -> bool:
    group: list[dict[str, Any]] = []
    in_group = in_part = rows = 0
    records: Counter[str] = Counter()
    writer.notes |= {"text_bytes": 0, "records": records, "not_wanted": 0}
    for item in items:
        records[item.type if item.type in records or len(records) < TYPES else "other"] += 1
        writer.notes["end"] = item.end
        writer.notes["not_wanted"] += not item.is_wanted
        if item.row is None:
            continue
        row, rows = item.row, rows + 1
        group.append(row)
        text = len(row["text"].encode()) if row["text"] else 0
        size = text + sum(len(row[name]) for name in ("meta", "uri", "title", "license", "error") if row[name])
        in_group += size
        in_part += size
        writer.notes["text_bytes"] += text
        if in_group >= group_bytes or len(group) >= group_rows:
            writer.write(pa.Table.from_pylist(group, schema.DOCUMENTS))
            group, in_group = [], 0
        if in_part >= pull.PART_BYTES or rows >= pull.PART_ROWS:
            break
    else:
        writer.write(pa.Table.from_pylist(group, schema.DOCUMENTS))
        return True
    writer.write(pa.Table.from_pylist(group, schema.DOCUMENTS))
    return False
