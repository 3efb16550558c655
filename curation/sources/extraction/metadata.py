"""What a page says of itself: title, author, dates, language, licence, address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from itertools import islice
from typing import TYPE_CHECKING, Any

from curation.kernels.markup import TAG
from curation.sources.addresses import web_address
from curation.sources.jsonl import to_utc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from curation.sources.extraction.page import Blocks

_MAX_TITLE, _MAX_AUTHOR = 1_000, 200
#: Objects of JSON-LD that are looked at: more than any page needs to say who wrote it.
_MAX_OBJECTS = 64
#: Tags that are looked at; a page of a hundred thousand links says its licence in the first ones or the last.
_MAX_LINKS = 2_000

_ATTRIBUTE = re.compile(r"([a-zA-Z:_-]{1,40})\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"']+))")
_TITLES = ("og:title", "twitter:title", "dc.title", "citation_title")
_AUTHORS = ("author", "article:author", "dc.creator", "dcterms.creator", "citation_author", "parsely-author",
            "sailthru.author", "byl")  # fmt: skip
_PUBLISHED = ("article:published_time", "datepublished", "og:published_time", "citation_publication_date",
              "dc.date", "dc.date.issued", "dcterms.created", "dcterms.date", "parsely-pub-date", "sailthru.date",
              "publish-date", "publication_date", "pubdate", "date")  # fmt: skip
_MODIFIED = ("article:modified_time", "datemodified", "og:updated_time", "dcterms.modified", "last-modified", "revised")
_LANGUAGES = ("content-language", "dc.language", "og:locale")
_LANGUAGE = re.compile(r"[a-zA-Z]{2,3}(?:[-_][a-zA-Z0-9]{2,8}){0,3}")
_TAGS_IN_TEXT = re.compile(r"<[^>]{0,500}>")
#: An address of Creative Commons, and the words by which its licences are named in SPDX.
_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-sa|-nd)?)/(\d\.\d)|publicdomain/(zero|mark)/(\d\.\d))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What was found; None where the page does not say it. `license` is an SPDX name, or what rel=license points at."""

    title: str | None = None
    author: str | None = None
    published_at: datetime | None = None
    modified_at: datetime | None = None
    language: str | None = None
    license: str | None = None
    address: str | None = None


def read(blocks: Blocks) -> Metadata:  # noqa: C901, PLR0912 - a page is passed over once
    """What a page says of itself, in its head, in JSON-LD, and in elements that are named for it."""
    said: dict[str, str] = {}
    title = language = canonical = None
    licenses: list[str] = []
    links = 0
    source = blocks.source
    for tag, start, content, end in blocks.page.marks.tolist():
        if tag == _A:
            links += 1
            raw = source[start:content]
            if links > _MAX_LINKS or (b"license" not in raw and b"creativecommons" not in raw and b"author" not in raw):
                continue
            attributes = _attributes(raw)
            relations = attributes.get("rel", "").lower().split()
            if "license" in relations:
                licenses.insert(0, attributes.get("href", ""))
            elif _COMMONS.search(attributes.get("href", "")):
                licenses.append(attributes["href"])
            if "author" in relations and "rel=author" not in said:
                said["rel=author"] = _text(source[content : content + 300].partition(b"</a")[0])
        elif tag == _META:
            attributes = _attributes(source[start:content])
            name = attributes.get("property") or attributes.get("name") or attributes.get("itemprop")
            name = (name or attributes.get("http-equiv") or "").strip().lower()
            if name and name not in said and (value := attributes.get("content", "").strip()):
                said[name] = value
        elif tag == _LINK:
            raw = source[start:content]
            if b"canonical" not in raw and b"license" not in raw:
                continue
            attributes = _attributes(raw)
            relations = attributes.get("rel", "").lower().split()
            if "canonical" in relations and canonical is None:
                canonical = attributes.get("href")
            elif "license" in relations:
                licenses.insert(0, attributes.get("href", ""))
        elif tag == _TITLE and title is None:
            title = _text(source[content:end])
        elif tag == _HTML and language is None:
            language = _attributes(source[start:content]).get("lang")
        elif tag == _TIME and "time" not in said:
            attributes = _attributes(source[start:content])
            if attributes.get("datetime"):
                said["time"] = attributes["datetime"]
    objects = [one for value in blocks.data for one in islice(_flattened(value), _MAX_OBJECTS)]
    about = [one for one in objects[:_MAX_OBJECTS] if "headline" in one or "datePublished" in one or "author" in one]
    names = [said.get(name) for name in _TITLES]
    return Metadata(
        title=_cut(next((unescape(name) for name in names if name), None) or title, _MAX_TITLE),
        author=_author(said, about),
        published_at=_date(
            [*(one.get("datePublished") for one in about), *map(said.get, _PUBLISHED), said.get("time")]
        ),
        modified_at=_date([*(one.get("dateModified") for one in about), *map(said.get, _MODIFIED)]),
        language=_language([language, *map(said.get, _LANGUAGES)]),
        license=_license(licenses),
        address=web_address(canonical) or web_address(said.get("og:url")),
    )


_A, _META, _LINK, _TITLE, _HTML, _TIME = map(TAG.get, ("a", "meta", "link", "title", "html", "time"))


def _attributes(raw: bytes) -> dict[str, str]:
    """The attributes of a start tag, names in lower case; the first of equal names counts."""
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(raw[:8192].decode("utf-8", "replace")):
        found.setdefault(name.lower(), unescape(double or single or bare))
    return found


def _text(raw: bytes) -> str:
    return " ".join(unescape(_TAGS_IN_TEXT.sub(" ", raw[:8192].decode("utf-8", "replace"))).split())


def _cut(text: str | None, most: int) -> str | None:
    return " ".join(text.split())[:most].strip() or None if text else None


def _flattened(value: Any) -> Iterator[dict[str, Any]]:
    """The objects that a value of JSON-LD is a list of, those of their graphs too."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            yield one
            graph = one.get("@graph")
            if isinstance(graph, list):
                yield from (inner for inner in graph if isinstance(inner, dict))


def _author(said: dict[str, str], about: list[dict[str, Any]]) -> str | None:
    names = [name for one in about for name in _names(one.get("author"))]
    if names:
        return _cut(", ".join(dict.fromkeys(names)), _MAX_AUTHOR)
    for name in (*_AUTHORS, "rel=author"):
        value = _cut(said.get(name), _MAX_AUTHOR)
        if value and not value.startswith(("http://", "https://", "@")):
            return unescape(value)
    return None


def _names(value: Any) -> Iterator[str]:
    for one in value[:10] if isinstance(value, list) else [value]:
        name = one.get("name") if isinstance(one, dict) else one
        if isinstance(name, str) and name.strip() and not name.startswith(("http://", "https://")):
            yield unescape(" ".join(name.split()))


def _date(values: list[Any]) -> datetime | None:
    """The first that is a time between 1990 and 2100."""
    for value in values:
        found = to_utc(value) if isinstance(value, str) else None
        if found and 1990 <= found.year < 2100:
            return found
    return None


def _language(values: list[str | None]) -> str | None:
    """The first that is a language tag: `en`, `pt-BR`."""
    for value in values:
        if value and _LANGUAGE.fullmatch(found := value.strip().split(",")[0]):
            return found.replace("_", "-")
    return None


def _license(addresses: list[str]) -> str | None:
    """The licence that the page is under: the first that rel=license names, else the one that all links agree on.

    >>> _license(["https://creativecommons.org/licenses/by-sa/4.0/deed.de"])
    'CC-BY-SA-4.0'
    """
    named = list(dict.fromkeys(name for address in addresses if (name := _spdx(address))))
    return named[0] if len(named) == 1 else None


def _spdx(address: str) -> str | None:
    found = _COMMONS.search(address)
    if found is None:
        return address[:200] if web_address(address) else None
    if found[1]:
        return f"CC-{found[1].upper()}-{found[2]}"
    return f"CC0-{found[4]}" if found[3].lower() == "zero" else "public domain"
