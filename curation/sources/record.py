"""One record of an input, as every kind of source yields it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

#: HTML larger than this is a row with `error` (bytes; promise 10).
MAX_HTML_BYTES = 20 * 1024 * 1024
#: Text larger than this is a row with `error` (bytes of UTF-8; promise 10).
MAX_TEXT_BYTES = 256 * 1024 * 1024
#: What is counted for a place in an input where no record can be told.
DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one record of an input holds; it becomes one row of `documents`.

    `offset` is where the record starts and `end` where reading goes on after it, in the unit of the source's kind
    (bytes of the file, lines, rows: each module says which). Exactly one of `text` and `error` is None. `type` is what
    it is counted as, `place` where in an archive it lies, `origin` what names where it came from where that is no place
    in the input.
    """

    offset: int
    end: int
    text: str | None = None
    uri: str | None = None
    title: str | None = None
    license: str | None = None
    created_at: datetime | None = None
    fetched_at: datetime | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    type: str = "record"
    place: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """What an input holds beside documents, such as a record that describes another: counted, and no row."""

    offset: int
    end: int
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Consecutive records of one type, in columns: what `Record` says of one, for each of `offsets`.

    Each ends where the next one begins. `text` is valid UTF-8, none over `MAX_TEXT_BYTES`; `meta` is JSON.
    """

    offsets: range
    text: pa.StringArray
    uri: list[str | None]
    title: list[str | None]
    license: list[str | None]
    created_at: list[datetime | None]
    meta: list[str]
    error: list[str | None]
    type: str


_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str)


def as_json(value: Any) -> str:
    """A value as it stands in `meta`: keys in their order, nothing escaped that UTF-8 can hold.

    >>> as_json({"b": "ä", "a": None})
    '{"a": null, "b": "ä"}'
    """
    return _JSON.encode(value)
