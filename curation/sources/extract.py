"""HTML to text: the main content of a page, and what it says of itself, by one of three engines and within bounds.

The bounds exist because some pages of a few hundred kB cost a parser minutes or gigabytes. They count what is in the
page, never time, so that a page is a row with `error` on every machine or on none. The engine `blocks` is our own and
needs none but those of its size and its number of blocks (`curation.sources.extraction`).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from curation.errors import UsageError
from curation.sources.addresses import web_address
from curation.sources.decoding import Fault, decode_page, decode_text, utf8_safe
from curation.sources.extraction import SHIPPED, path_of
from curation.sources.extraction import VERSION as EXTRACTION
from curation.sources.record import MAX_HTML_BYTES

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

#: Raised when the same page gives another text or title with the same engine.
VERSION = 1
ENGINES = ("blocks", "resiliparse", "trafilatura")
FORMS = ("text", "markdown")

#: `<` in a page, for each engine: with 500,000 resiliparse took at most 12 s and 800 MB, trafilatura minutes.
#: The largest of 1,386 real pages has 14,000.
MAX_TAGS = {"resiliparse": 500_000, "trafilatura": 100_000}
#: Nesting of the parsed page; resiliparse climbs to the root from every node. No real page reached 64.
MAX_DEPTH = 256
#: Attributes of one tag; a parser compares each with all before it: 100,000 took more than 20 s.
MAX_ATTRIBUTES = 2_000
#: Unclosed formatting elements times tags: HTML5 opens an unclosed <font> anew in every later block, so that 2,000
#: different ones in 2,000 paragraphs took 950 MB.
MAX_COPIES = 2_000_000
#: End tags times the elements open at each, which a parser may have to look through: 20,000 x 20,000 took 1.3 s.
MAX_STEPS = 100_000_000
_MAX_TITLE = 1_000
#: Where a page says what its address is, the first that holds one.
_ADDRESSES = (("link[rel~='canonical' i][href]", "href"), ("meta[property='og:url' i][content]", "content"))

#: Below these, no page can be expensive, and most pages need not be looked at more closely.
_FEW_TAGS = 2_000
_MANY_TAGS = 20_000
_LONG_TAG = re.compile(r"<[a-zA-Z][^>]{8192}")
_ATTRIBUTE = r"[\s/]++[^\s/>=][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)|[^\s>]*+))?+"
_MANY_ATTRIBUTES = re.compile(rf"<[a-zA-Z][^\s/>]*+(?:{_ATTRIBUTE}){{{MAX_ATTRIBUTES + 1}}}")
_SCRIPT = re.compile(r"<script\b.*?</script", re.DOTALL | re.IGNORECASE)
#: Without <a> and <nobr>: a second one closes the first.
_FORMATTING = re.compile(r"<(/?)(b|big|code|em|font|i|s|small|strike|strong|tt|u)(?=[\s/>])[^>]*+", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*+)")
_VOID = "area base br col embed hr img input link meta param source track wbr"
_ENDED_BY_THE_NEXT = "p li dt dd tr td th thead tbody tfoot option optgroup rt rp colgroup html head body"
_NOT_NESTING = frozenset([*_VOID.split(), *_ENDED_BY_THE_NEXT.split()])
_DEEP = " > ".join(["*"] * MAX_DEPTH)


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a page says: `text` is "" where no main content was found, all else None where the page does not say it.

    Beside `title` and `address` only the engine `blocks` fills what follows. `license` is an SPDX name or an address;
    `meta` may hold `author`, `canonical`, `modified_at` (ISO 8601) and `page_language`.
    """

    text: str
    title: str | None
    address: str | None = None
    license: str | None = None
    published_at: datetime | None = None
    meta: dict[str, str] = field(default_factory=dict)


def extract(
    html: bytes | str, engine: str, charset: str | None = None, form: str = "text", model: str = "default"
) -> Extracted:
    r"""The main content of a page and its metadata; `charset` is what its HTTP header said of it.

    `form` is "text" or "markdown", `model` a path: for the engine `blocks` alone. Raises Fault for a page out of
    bounds, UsageError where the engine is not installed.

    >>> extract("<title>A  tree</title><main><p>It has leaves.<p>It has roots.</main>", "resiliparse").text
    'It has leaves.\n\nIt has roots.'
    """
    if form not in FORMS or (form != "text" and engine != "blocks"):
        raise UsageError(f"extract.format: {engine} writes text only, not {form!r}", remedy='engine = "blocks"')
    if engine == "blocks":
        return _extract_blocks(html, charset, form, model)
    page, tree = parse(html, engine, charset)
    title = " ".join((tree.title or "").split())[:_MAX_TITLE] or None
    return Extracted(_main_text(page, tree, engine), title, address(tree))


def _extract_blocks(html: bytes | str, charset: str | None, form: str, model: str) -> Extracted:
    # Here, since these import numba, which a run with another engine need not load to pull.
    from curation.kernels.html import MAX_BLOCKS  # noqa: PLC0415
    from curation.sources.extraction import metadata, rendering  # noqa: PLC0415
    from curation.sources.extraction import model as models  # noqa: PLC0415
    from curation.sources.extraction import page as pages  # noqa: PLC0415

    _check_size(html)
    page = utf8_safe(html).encode() if isinstance(html, str) else decode_page(html, charset)
    blocks = pages.read(page.replace(b"\0", b""))
    if blocks is None:
        raise Fault(f"HTML with more than {MAX_BLOCKS:,} blocks: over the limit")
    text = rendering.render(blocks, models.load(path_of(model)).keep(blocks), form)
    said = metadata.read(blocks)
    modified = said.modified_at.isoformat() if said.modified_at else None
    meta = {"author": said.author, "canonical": said.address, "modified_at": modified, "page_language": said.language}
    known = {name: value for name, value in meta.items() if value}
    return Extracted(text, said.title, said.address, said.license, said.published_at, known)


def _decoded(html: bytes | str, charset: str | None) -> str:
    """A page as text that UTF-8 can hold, without NULs; Fault if it is too large."""
    _check_size(html)
    page = utf8_safe(html) if isinstance(html, str) else decode_text(html, charset, html=True)
    return page.replace("\0", "")


def parse(html: bytes | str, engine: str = "resiliparse", charset: str | None = None) -> tuple[str, HTMLTree]:
    """A page as text and as a tree, for an engine's bounds; Fault for a page out of bounds."""
    if engine not in MAX_TAGS:
        raise UsageError(f"extract.engine: expected one of {', '.join(ENGINES)}, got {engine!r}")
    page = _decoded(html, charset)
    _check_source(page, MAX_TAGS[engine])
    tree = HTMLTree.parse(page)
    document = tree.document
    if document is not None and page.count("<") > MAX_DEPTH and document.query_selector(_DEEP) is not None:
        raise Fault(f"HTML nested {MAX_DEPTH} deep or deeper: over the limit")
    return page, tree


def address(tree: HTMLTree) -> str | None:
    """The http(s) address that a page gives itself: its canonical link, else `og:url`; None where there is none.

    >>> address(parse('<link rel="canonical" href="https://bees.example/1"><p>Bees.')[1])
    'https://bees.example/1'
    >>> address(parse('<link rel="canonical" href="/1"><p>Bees.')[1])
    """
    for selector, attribute in _ADDRESSES:
        found = tree.document.query_selector(selector) if tree.document is not None else None
        if url := web_address(found.getattr(attribute) if found is not None else None):
            return url
    return None


def _check_size(html: bytes | str) -> None:
    if len(html) > MAX_HTML_BYTES:
        raise Fault(f"HTML of {len(html):,} bytes: over the limit of {MAX_HTML_BYTES:,}")


@cache
def version(engine: str, form: str = "text", model: str = "default") -> str:
    """What the text of a page depends on beside the page; part of a fingerprint.

    >>> version("resiliparse").startswith(f"{VERSION}-resiliparse-")
    True
    """
    if engine == "blocks":
        return f"{VERSION}-blocks-{EXTRACTION}-{_digest(path_of(model))}-{form}"
    try:
        parts = [str(VERSION)] + [f"{name}-{package_version(name)}" for name in dict.fromkeys((engine, "resiliparse"))]
    except PackageNotFoundError:
        raise _not_installed(engine) from None
    return "-".join(parts)


def _digest(model: Path) -> str:
    """Eight hex digits of a model's file; UsageError if it is none, which the shipped one need not be asked."""
    if model != SHIPPED:
        from curation.sources.extraction.model import load  # noqa: PLC0415  # as above

        load(model)
    return blake2b(model.read_bytes(), digest_size=4).hexdigest()


def _main_text(page: str, tree: HTMLTree, engine: str) -> str:
    if engine == "resiliparse":
        text = extract_plain_text(
            tree,
            preserve_formatting=True,
            main_content=True,
            list_bullets=True,
            alt_texts=False,
            links=False,
            form_fields=False,
            noscript=False,
            comments=False,
        )
        return utf8_safe(text).strip()
    try:
        trafilatura = import_module("trafilatura")
    except ModuleNotFoundError:
        raise _not_installed(engine) from None
    # It logs for each page what that page lacks: a hundred thousand lines about pages without text.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    try:
        text = trafilatura.extract(page, favor_precision=True, include_comments=False)
    except MemoryError:
        raise
    except Exception as error:  # it has no errors of its own: whatever a page provokes in it is this page's fault
        raise Fault(f"trafilatura failed: {type(error).__name__}: {str(error)[:200]}") from error
    return utf8_safe(text or "").strip()


def _not_installed(engine: str) -> UsageError:
    return UsageError(f"extract.engine: {engine} is not installed", remedy=f"pip install 'curate[{engine}]'")


def _check_source(page: str, max_tags: int) -> None:
    """Raise Fault for a page that would cost a parser more than its size; runs in a small part of the parser's time."""
    tags = page.count("<")
    if tags > max_tags:
        raise Fault(f"HTML with {tags:,} tags: over the limit of {max_tags:,}")
    if _LONG_TAG.search(page) and _MANY_ATTRIBUTES.search(_SCRIPT.sub("", page)):
        raise Fault(f"HTML with more than {MAX_ATTRIBUTES:,} attributes in one tag: over the limit")
    if tags > _FEW_TAGS:
        _check_formatting(page, tags)
    if tags > _MANY_TAGS:
        _check_nesting(page)


def _check_formatting(page: str, tags: int) -> None:
    """Raise Fault if open formatting elements, times the tags after them, could become too many nodes."""
    unclosed: Counter[str] = Counter()
    most = 0
    seen: Counter[str] = Counter()
    for tag in _FORMATTING.finditer(page):
        name = tag[2].lower()
        if tag[1]:
            unclosed[name] = max(0, unclosed[name] - 1)
        else:
            # A parser keeps at most three that are alike open, so more of them make no more copies.
            seen[tag[0]] += 1
            if seen[tag[0]] <= 3 or unclosed[name] < 3:
                unclosed[name] += 1
                most = max(most, unclosed.total())
    if most * tags > MAX_COPIES:
        raise Fault(f"HTML with {most:,} unclosed formatting elements in {tags:,} tags: over the limit")


def _check_nesting(page: str) -> None:
    """Raise Fault if end tags, times the elements open at each, are too many."""
    opened: Counter[str] = Counter()
    depth = steps = 0
    for tag in _TAG.finditer(page):
        name = tag[2].lower()
        if name in _NOT_NESTING:
            continue
        if not tag[1]:
            opened[name] += 1
            depth += 1
            continue
        steps += depth
        if opened[name]:
            opened[name] -= 1
            depth -= 1
    if steps > MAX_STEPS:
        raise Fault(f"HTML with {depth:,} unclosed elements: over the limit")
