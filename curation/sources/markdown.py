"""Markdown files, one document each; `offset` is 0. Front matter goes to `meta`, all other markup stays as written."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any, BinaryIO

import yaml

from curation.sources.decoding import Fault
from curation.sources.jsonl import clean, to_utc
from curation.sources.record import Record
from curation.sources.text import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from curation.recipe import Extract, Source

VERSION = 1
WHOLE_FILES = True
#: What the names of an archive's members end with that are read.
MEMBERS = (".md", ".markdown", ".mdown", ".mkd")

MAX_FRONT_MATTER = 64 * 1024
#: Where a front matter says when the document was written, the first that holds a date.
_DATE_KEYS = ("created_at", "date", "created", "published", "ms.date")

_FENCED = re.compile(r"---[ \t]*\r?\n(?P<yaml>.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_CODE_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*$")
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(stream: BinaryIO, name: str, start: int, source: Source, extract: Extract) -> Iterator[Record]:
    """The one document of a file."""
    del name, source, extract
    if start > 0:
        return
    try:
        text = read_text(stream)
    except Fault as fault:
        yield Record(offset=0, end=1, type="file", error=str(fault))
        return
    front, body, fault_in_front = split_front_matter(text)
    title, license_ = (_string(front, key) for key in ("title", "license"))
    created_at = _created_at(front)
    if fault_in_front:
        front["front_matter"] = fault_in_front
    yield Record(
        offset=0,
        end=1,
        type="file",
        text=body,
        title=title or first_heading(body),
        license=license_,
        created_at=created_at,
        meta=front,
    )


def split_front_matter(text: str) -> tuple[dict[str, Any], str, str | None]:
    r"""The front matter, the text after it, and why there is none although the text starts with `---`.

    Front matter that cannot be read stays in the text, where nothing of it is lost. YAML's aliases are refused: nine
    lines of them can stand for a billion values.

    >>> split_front_matter("---\ntitle: Bees\n---\n# Bees\n")
    ({'title': 'Bees'}, '# Bees\n', None)
    >>> split_front_matter("---\ntitle: [\n---\nBees")
    ({}, '---\ntitle: [\n---\nBees', 'not read: not valid YAML')
    """
    found = _FENCED.match(text, 0, MAX_FRONT_MATTER)
    if not found:
        return {}, text, None
    block = found["yaml"]
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(block, Loader=_LOADER)):
            return {}, text, "not read: YAML aliases"
        front = clean(yaml.load(block, Loader=_LOADER))  # noqa: S506 - a safe loader, the fast one where there is one
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError, AttributeError):
        return {}, text, "not read: not valid YAML"
    if front is None:
        front = {}
    if not isinstance(front, dict):
        return {}, text, None
    return front, text[found.end() :].lstrip("\r\n"), None


def first_heading(text: str) -> str | None:
    r"""The text of the first heading that is not in a code fence.

    >>> first_heading("```\n# no\n```\nBees\n====\n"), first_heading("## Ants ##")
    ('Bees', 'Ants')
    """
    fence = previous = ""
    for line in text.splitlines():
        mark = _CODE_FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
            continue
        if mark:
            fence, previous = mark[1], ""
        elif atx := _ATX.match(line):
            if atx[1].strip():
                return atx[1].strip()[:1000]
            previous = ""
        elif previous and _SETEXT.match(line):
            return previous[:1000]
        else:
            previous = "" if line.lstrip().startswith(("-", "*", "+", ">", "|", "<")) else line.strip()
    return None


def _string(front: dict[str, Any], key: str) -> str | None:
    """The value of a key if it is a string, taken out of the front matter."""
    value = front.get(key)
    return str(front.pop(key)).strip() or None if isinstance(value, str) else None


def _created_at(front: dict[str, Any]) -> datetime | None:
    for key in _DATE_KEYS:
        value = front.get(key)
        if isinstance(value, str) and (time := to_utc(value) or _us_date(value)):
            del front[key]
            return time
    return None


def _us_date(value: str) -> datetime | None:
    """03/24/2025, as much technical documentation has it; a first number over 12 is no month and is not guessed at."""
    found = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", value)
    try:
        return to_utc(date(int(found[3]), int(found[1]), int(found[2]))) if found else None
    except ValueError:
        return None
