"""A page as blocks, and all that is known of each before a model is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.kernels import blocks as kernels
from curation.kernels import html
from curation.kernels.markup import END, PROPERTIES, START, TAG, Page
from curation.kernels.unicode import properties
from curation.sources.extraction import claims

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Kinds that a page says it is of, in `og:type`, by how they begin; and in `@type` of JSON-LD, by what they hold.
OG_TYPES = ("article", "website", "product", "video", "profile", "object")
_OFFER = ("Product", "Offer")
LD_TYPES = (
    ("Article", "BlogPosting", "Report"), _OFFER, ("DiscussionForumPosting", "QAPage", "Question"),
    ("ItemList", "CollectionPage"), ("BreadcrumbList",), ("Organization", "LocalBusiness", "Service"), ("FAQPage",),
    ("Recipe",), ("WebPage", "WebSite"), ("VideoObject",),
)  # fmt: skip
#: The columns of `table`, in order.
NAMES = (*kernels.NAMES, *claims.NAMES, *(f"og_{name}" for name in OG_TYPES), *(f"ld_{names[0]}" for names in LD_TYPES))
#: The columns of `second_table`.
SECOND = (*kernels.NAMES[: kernels.OWN], *kernels.AROUND)

_LD_TYPE = re.compile(rb'"@type"\s{0,9}:\s{0,9}"(\w{1,40})"')
_LETTERS = re.compile(r"[^\W\d_]+")
_MOST_TITLE = 1_000
_CONTENT = re.compile(rb"content\s*=\s*[\"']?\s*(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A page and the blocks in it.

    `local` [blocks, kernels.LOCAL], `claimed` [blocks, claims.NAMES] and `kind` (one row for the page) are columns of
    `table`; `data` are the values of the page's JSON-LD. `whole` hashes each block's text, `words` those of short
    blocks, of the block in `word_blocks`; `title` those of the page's title, in order.
    """

    source: bytes
    page: Page
    local: NDArray[np.float32]
    data: list[Any]
    claimed: NDArray[np.float32]
    kind: NDArray[np.float32]
    whole: NDArray[np.uint64]
    words: NDArray[np.uint64]
    word_blocks: NDArray[np.int32]
    title: NDArray[np.uint64]

    def text(self, block: int) -> str:
        """The text of one block; its lines end in line feeds."""
        start, end = self.page.blocks[block, START], self.page.blocks[block, END]
        return self.page.text[start:end].tobytes().decode()

    @property
    def is_offer(self) -> bool:
        """Whether the page says that it offers a product."""
        return bool(self.kind[OG_TYPES.index("product")] or self.kind[len(OG_TYPES) + LD_TYPES.index(_OFFER)])

    def texts(self) -> list[str]:
        """The text of each block."""
        return [self.text(block) for block in range(len(self.page.blocks))]


def read(source: bytes) -> Blocks | None:
    """The blocks of a page, UTF-8 without NULs; None where there are more than `html.MAX_BLOCKS`."""
    page = html.scan(source)
    if page is None:
        return None
    rows = len(page.blocks)
    local, whole = np.empty((rows, len(NAMES)), np.float32), np.empty(rows, np.uint64)
    most = len(page.text) + 1
    words, word_blocks = np.empty(most, np.uint64), np.empty(most, np.int32)
    count = kernels.read_text(page.text, page.blocks, properties(), local, whole, words, word_blocks)
    data = claims.linked_data(source, page)
    claimed = claims.measure(page, claims.read(source, page, data))
    return Blocks(
        source, page, local, data, claimed, _kind(source, page), whole, words[:count].copy(),
        word_blocks[:count].copy(), _title(source, page),
    )  # fmt: skip


def table(blocks: Blocks, keys: NDArray[Any], weights: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """What is known of each block, float32 [blocks, NAMES], and the siblings that it is alike with [blocks, 3].

    `keys` are hashes of tokens in order, `weights` [keys, 4] what each says near a block, far from it, in its text and
    in the heading above it.
    """
    page = blocks.page
    sums = np.empty((len(page.elements), 2), np.float32)
    named = np.empty(len(page.elements), np.int64)
    kernels.weigh(page.token_elements, page.tokens, keys, weights, *kernels.named_words(), sums, named)
    known, alike = blocks.local.copy(), np.empty((len(page.blocks), 3), np.int32)
    kernels.measure(
        page.elements, page.classes, page.blocks, sums, named, blocks.whole, blocks.words, blocks.word_blocks,
        blocks.title, keys, weights, PROPERTIES, known, alike,
    )  # fmt: skip
    claimed = len(kernels.NAMES)
    known[:, claimed : claimed + len(claims.NAMES)] = blocks.claimed
    known[:, claimed + len(claims.NAMES) :] = blocks.kind
    return known, alike


def second_table(
    blocks: Blocks, known: NDArray[np.float32], alike: NDArray[np.int32], scores: NDArray[np.float64]
) -> NDArray[np.float32]:
    """What the scores of a first model say of each block's surroundings, beside what the block itself is.

    float32 [blocks, SECOND].
    """
    found = np.empty((len(scores), len(kernels.AROUND)), np.float32)
    kernels.surround(blocks.page.elements, blocks.page.blocks, alike, known, scores, found)
    return np.hstack([known[:, : kernels.OWN], found])


def _kind(source: bytes, page: Page) -> NDArray[np.float32]:
    found = np.zeros(len(OG_TYPES) + len(LD_TYPES), np.float32)
    for tag, start, content, end in page.marks.tolist():
        if tag == TAG["meta"]:
            raw = source[start:content]
            if b"og:type" in raw and (said := _CONTENT.search(raw)):
                kind = said[1].decode("ascii", "replace").lower()
                found[: len(OG_TYPES)] = [kind.startswith(name) for name in OG_TYPES]
        elif tag == TAG["script"]:
            for name in set(_LD_TYPE.findall(source, content, end)):
                for place, parts in enumerate(LD_TYPES, len(OG_TYPES)):
                    if any(part.encode() in name for part in parts):
                        found[place] = 1
    return found


def _title(source: bytes, page: Page) -> NDArray[np.uint64]:
    """The hashes of the words of the first title, as `read_text` makes those of blocks."""
    for _, _, start, end in page.marks[page.marks[:, 0] == TAG["title"]].tolist():
        words = _LETTERS.findall(unescape(source[start:end][:_MOST_TITLE].decode(errors="replace")).lower())
        return np.array(sorted({kernels.hash_word(word) for word in words}), np.uint64)
    return np.empty(0, np.uint64)
