"""The engine `blocks`: what the blocks of a page are, how those kept are written, what a page says of itself."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import pipeline, pull
from curation.cli import cli
from curation.engine import LocalEngine
from curation.errors import UsageError
from curation.kernels import blocks, html, markup, trees
from curation.kernels.unicode import properties
from curation.recipe import load
from curation.sources.decoding import decode_page, decode_text
from curation.sources.extract import extract, version
from curation.sources.extraction import SHIPPED, claims, gold, model, offers, training
from curation.sources.extraction.figures import TITLES
from curation.sources.extraction.metadata import read as read_metadata
from curation.sources.extraction.page import NAMES, read, table
from curation.sources.extraction.rendering import render
from curation.sources.extraction.training import Example, Settings, example, is_held_out, part_of, train
from curation.sources.warc import pages as warc_pages


def texts(page: str) -> list[str]:
    """The text of each block."""
    found = read(page.encode())
    assert found is not None
    return found.texts()


def whole(page: str, form: str = "text") -> str:
    """A page of which every block is kept."""
    found = read(page.encode())
    assert found is not None
    return render(found, np.ones(len(found.page.blocks), np.bool_), form)


BLOCKS = {
    "paragraphs without ends": ("<p>one<p>two</p>three", ["one", "two", "three"]),
    "white space": ("<p>\n one\t two&nbsp;&#160; three </p>", ["one two three"]),
    "inline elements do not part words": ("<p>un<b>bro</b>ken <i>word</i>s", ["unbroken words"]),
    "cells do": ("<table><tr><td>a<td>b<tr><td>c</table>", ["a", "b", "c"]),
    "a line break": ("<p>one<br>two", ["one\ntwo"]),
    "two line breaks": ("<div>one<br> <br/>two</div>", ["one", "two"]),
    "list items": ("<ul><li>a<ul><li>b</ul><li>c</ul>", ["a", "b", "c"]),
    "definitions": ("<dl><dt>a<dd>b<dt>c<dd>d</dl>", ["a", "b", "c", "d"]),
    "references": (
        "<p>&lt;&amp;&#38;&eacute;&#x1F41D;&hellip;&notit; &nosuch; & &#128;",
        ["<&&é🐝…¬it; &nosuch; & €"],
    ),
    "references that are no characters": ("<p>a&#0;&#xD800;&#x110000;b", ["a\ufffd\ufffd\ufffdb"]),
    "soft hyphens and zero-width spaces": ("<p>soft\u00adly&shy; here\u200b&#8203;", ["softly here"]),
    "script and style": ("<p>a<script>if (a<b) '</p>'</script><style>p{}</style>b", ["ab"]),
    "a script that does not end": ("<p>a<script>b<p>c", ["a"]),
    "comments": ("<p>a<!-- <p> -- > -->b<!-->c<!--->d<!x>e<?php f ?>", ["abcde"]),
    "CDATA is no text in HTML": ("<p>a<![CDATA[ b>c", ["ac"]),
    "less-than": ("<p>a < b <3 c<", ["a < b <3 c<"]),
    "attributes with greater-than": ("<p title='a>b' class=\"c>d\">e", ["e"]),
    "an attribute that does not end": ("<p>a<p title='b>c", ["a"]),
    "forms": ("<p>a<select><option>b</select><textarea>c</textarea>d", ["a", "d"]),
    "templates and drawings": ("<p>a<template><p>b</template><svg><text>c</text></svg>d", ["a", "d"]),
    "two links": ("<a href=1>a</a> <a href=2>b</a>", ["a b"]),
    "a table in a paragraph": ("<p>a<table><tr><td>b</table>c", ["a", "b", "c"]),
    "ends that close nothing": ("</div></p></table>a</b>b", ["ab"]),
    "an end that may not close what is around a table": ("<div><table><tr><td>a</div>b</table>c", ["a", "b", "c"]),
    "noscript beside text": ("<p>" + "word " * 200 + "<noscript><p>b</noscript>", [("word " * 200).strip()]),
    "noscript where there is nothing else": ("<p>a<noscript><p>b</noscript>", ["a", "b"]),
    "body twice": ("<body><p>a<body><p>b", ["a", "b"]),
    "NUL-free control characters": ("<p>a\x01\x0bb", ["a b"]),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks(name: str) -> None:
    """Blocks end where elements of blocks begin and end; their text is what a browser shows."""
    page, expected = BLOCKS[name]
    assert texts(page) == expected


def test_preformatted_text_keeps_its_lines() -> None:
    """Code is one block with its line breaks and indents; only the line break after the tag is none of it."""
    page = '<pre class="x"><code>\ndef <b>bee</b>():\r\n    return &quot;fly&quot;\n\n\tx\n</code></pre>'
    assert texts(page) == ['def bee():\n    return "fly"\n\n\tx']
    assert whole(f"{page}<p>after") == 'def bee():\n    return "fly"\n\n\tx\n\nafter'
    assert whole("<pre>a\n```\nb</pre>", "markdown") == "````\na\n```\nb\n````"


FORMULAS = {
    "MathML": ("<math><mfrac><mi>a</mi><mrow><mi>b</mi><mo>+</mo><mi>c</mi></mrow></mfrac></math>", "a/(b+c)"),
    "powers and indices": (
        "<math><msup><mi>x</mi><mn>2</mn></msup><mo>+</mo><msub><mi>y</mi><mi>i</mi></msub></math>", "x^2+y_i",
    ),
    "roots": ("<math><msqrt><mi>x</mi><mo>-</mo><mn>1</mn></msqrt></math>", "sqrt(x-1)"),
    "its source in TeX": (
        "<math><semantics><mrow><mi>E</mi></mrow>"
        '<annotation encoding="application/x-tex">E &lt; mc^2</annotation></semantics></math>', "$E < mc^2$",
    ),
    "its alternative text": ('<math alttext="\\alpha" display="block"><mi>a</mi></math>', "$$\\alpha$$"),
    "KaTeX": (
        '<span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>x</mi></mrow><annotation encoding='
        '"application/x-tex">x_1</annotation></semantics></math></span><span class="katex-html" aria-hidden="true">'
        "x1</span></span>", "$x_1$",
    ),
    "MathJax": ('<span class="MathJax">x1</span><script type="math/tex">x_1 < y</script>', "$x_1 < y$"),
    "MathJax, displayed": ('<script type="math/tex; mode=display">x_1</script>', "$$x_1$$"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name: str) -> None:
    """A formula is its source where that is given, and else what it is made of; once, in its sentence."""
    markup, expected = FORMULAS[name]
    assert texts(f"<p>so {markup} holds") == [f"so {expected} holds"]


WRITTEN = {
    "headings": ("<h1>One</h1><p>a<h3>Two</h3>", "One\n\na\n\nTwo", "# One\n\na\n\n### Two"),
    "lists": ("<p>a<ul><li>b<ul><li>c</ul><li>d</ul><p>e", "a\n\n- b\n  - c\n- d\n\ne", "a\n\n- b\n  - c\n- d\n\ne"),
    "ordered lists": ("<ol><li>b<li>c<p>d</ol>", "1. b\n2. c\n   d", "1. b\n2. c\n   d"),
    "quotations": ("<blockquote><p>a<p>b</blockquote>c", "a\n\nb\n\nc", "> a\n\n> b\n\nc"),
    "tables": (
        "<table><tr><th>a<th>b<tr><td>1<td>2|3<tr><td><td>4</table>",
        *["| a | b |\n| --- | --- |\n| 1 | 2\\|3 |\n|  | 4 |"] * 2,
    ),
    "tables for layout": ("<table><tr><td><p>a<p>b<td><p>c<p>d</table>", *["a\n\nb\n\nc\n\nd"] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_kept_reads_well(name: str) -> None:
    """Headings, lists, tables and quotations stand as they were meant, in text and in Markdown."""
    page, text, markdown = WRITTEN[name]
    assert whole(page) == text
    assert whole(page, "markdown") == markdown


def test_row_of_a_table_is_kept_whole() -> None:
    """Where most of a row of data is kept, all of it is; blocks elsewhere are kept one by one."""
    found = read(b"<table><tr><td>a<td>bbbbbb<tr><td>c<td>dddddd</table><p>e<p>f")
    assert found is not None
    keep = np.array([False, True, True, False, True, False])
    assert render(found, keep) == "a bbbbbb\n\ne"


def test_markdown_is_written_by_blocks_only() -> None:
    """Asking another engine for Markdown is an error that names one that can."""
    with pytest.raises(UsageError, match="resiliparse writes text only"):
        extract("<p>a", "resiliparse", form="markdown")


PAGE = """<!doctype html><html lang="pt_BR"><head><title>A bee | Site</title>
<meta property="og:title" content="A &amp; bee"><meta name=author content="Not this">
<link rel=canonical href="https://bees.example/1">
<script type="application/ld+json">{"@context":"https://schema.org","@graph":[{"@type":"Article","headline":"x",
"author":[{"name":"Ada  Bee"},{"name":"Bo"}],"datePublished":"2024-05-01T10:00:00+02:00"}]}</script>
<meta property="article:modified_time" content="2024-06-01"></head><body><p>Text.
<a rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/deed.de">CC</a>
<a href="https://creativecommons.org/licenses/by-sa/4.0/">CC</a>"""


def said(page: str):
    """The metadata of a page."""
    found = read(page.encode())
    assert found is not None
    return read_metadata(found)


def test_metadata() -> None:
    """Title, author, dates, language, licence and address, each from where pages say it."""
    found = said(PAGE)
    assert (found.title, found.author) == ("A & bee", "Ada Bee, Bo")
    assert found.published_at == datetime(2024, 5, 1, 8, tzinfo=UTC)
    assert found.modified_at == datetime(2024, 6, 1, tzinfo=UTC)
    assert (found.language, found.license, found.address) == ("pt-BR", "CC-BY-SA-4.0", "https://bees.example/1")


@pytest.mark.parametrize(
    ("page", "license"),
    [
        ("<a rel=license href='http://creativecommons.org/publicdomain/zero/1.0/'>", "CC0-1.0"),
        ("<link rel=license href='https://opensource.org/license/mit'>", "https://opensource.org/license/mit"),
        (
            "<a href='https://creativecommons.org/licenses/by/2.0'>"
            "<a href='https://creativecommons.org/licenses/by-nc/2.0'>", None,
        ),
        ("<a href='https://creativecommons.org/about'>", None),
        ("<a rel=license href='/license'>", None),
    ],
)  # fmt: skip
def test_license(page: str, license: str | None) -> None:  # noqa: A002 - the column's name
    """A licence is what rel=license or all links to Creative Commons agree on; where they differ, none."""
    assert said(page).license == license


def test_metadata_is_a_row_of_the_document() -> None:
    """What a page says of itself reaches the columns and `meta` of its document."""
    page = extract(PAGE, "blocks")
    assert (page.title, page.license, page.published_at) == (
        "A & bee",
        "CC-BY-SA-4.0",
        datetime(2024, 5, 1, 8, tzinfo=UTC),
    )
    assert page.meta == {
        "author": "Ada Bee, Bo", "canonical": "https://bees.example/1", "modified_at": "2024-06-01T00:00:00+00:00",
        "page_language": "pt-BR",
    }  # fmt: skip


@given(
    data=st.binary(max_size=300), charset=st.sampled_from([None, "utf-8", "iso-8859-1", "utf-16", "iso-2022-jp", "x"])
)
@settings(max_examples=300, deadline=None)
def test_page_is_decoded_as_text_is(data: bytes, charset: str | None) -> None:
    """A page as UTF-8 is what its text would be."""
    assert decode_page(data, charset).decode().removeprefix("\ufeff") == decode_text(
        data, charset, html=True
    ).removeprefix("\ufeff")


def test_table_is_made_of_numbers() -> None:
    """What is known of blocks has a column for each name, no two alike, and is finite for any page."""
    assert len(set(NAMES)) == len(NAMES)
    keys, weights = np.zeros(1, np.uint64), np.zeros((1, 4), np.float32)
    for page, _ in BLOCKS.values():
        found = read(page.encode())
        assert found is not None
        known, alike = table(found, keys, weights)
        assert known.shape == (len(found.page.blocks), len(NAMES))
        assert np.isfinite(known).all()
        assert alike.shape == (len(known), 3)


def test_known_of_a_block() -> None:
    """Words, links, sentences, place and repeated siblings are counted as they stand there."""
    found = read(b"<nav><ul><li><a href=1>Home</a><li><a href=2>All</a><li><a href=3>Us</a></ul></nav>"
                 b"<main><h1>Bees</h1><p>Bees fly. They <b>dance</b>!")  # fmt: skip
    assert found is not None
    known, _ = table(found, np.zeros(1, np.uint64), np.zeros((1, 4), np.float32))
    column = {name: known[:, place].tolist() for place, name in enumerate(NAMES)}
    assert column["words"] == [1, 1, 1, 1, 4]
    assert column["linked"] == [1, 1, 1, 0, 0]
    assert column["sentences"] == [0, 0, 0, 0, 2]
    assert column["in_nav"] == [1, 1, 1, 0, 0]
    assert column["in_main"] == [0, 0, 0, 1, 1]
    assert column["heading"] == [0, 0, 0, 1, 0]
    assert column["inner_count"] == [3, 3, 3, 0, 0]
    assert column["blocks_since_heading"][4] == 1
    assert column["bold"][4] == pytest.approx(6 / 21)  # with the space before


def test_known_of_repeated_blocks() -> None:
    """What repeats is known by its place among its siblings, by what stands before it, and by its template."""
    long = (
        "Bees fly from flower to flower and dance for the others when they come home to their hive again."  # 19 words
    )
    comments = "".join(f"<li class=comment-{n}><b>Bee {n}</b><p>{long}</li>" for n in range(3))
    found = read(
        f"<title>Bees & flowers | Site</title><h1>Bees &amp; flowers</h1><p>{long}</p><h2>More</h2>"
        f"<ol>{comments}</ol><div>Site</div>".encode()
    )
    assert found is not None
    known, alike = table(found, np.zeros(1, np.uint64), np.zeros((1, 4), np.float32))
    column = {name: known[:, place].tolist() for place, name in enumerate(NAMES)}
    assert column["words"] == [3, 19, 1, 2, 19, 2, 19, 2, 19, 1]
    assert column["in_title"] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]  # of short blocks
    assert column["to_title"] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert column["inner_member"] == [0, 0, 0, 0, 0, 1, 1, 2, 2, 0]
    assert column["inner_place"] == [0, 0, 0, 0, 0.5, 0, 0.5, 0, 0.5, 0]
    assert column["inner_before"][3:9] == [pytest.approx(1 / 3)] * 6
    assert column["inner_after"][3:9] == [0] * 6
    assert column["template_count"] == [1, 1, 1, 3, 3, 3, 3, 3, 3, 1]
    assert column["template_words"][3:5] == [2, 19]
    assert column["template_distinct"] == [1, 0, 1, 1, 0, 1, 0, 1, 0, 1]
    assert column["page_comments"] == [pytest.approx(3 / 4)] * 10
    assert column["plain_before"] == [0, 0, *[pytest.approx(1 / 4)] * 8]
    assert alike[3:9, 0].tolist() == [alike[3, 0]] * 6
    assert len(set(alike[:, 2].tolist())) == 6


CLAIMING = """<meta name=description content="A shelf of white wood with four rooms for whatever you own.">
<script type="application/ld+json">{"@graph": [{"@type": "Product",
"description": "<p>Hang it up or lay it down &amp; fill it.",
"review": [{"reviewBody": "I put my records in it and now it stands in my kitchen."}]},
{"@type": "FAQPage", "mainEntity": [{"acceptedAnswer": {"text": "Yes, it holds a load of thirty kilos."}}]}]}</script>
<script type="application/ld+json">{"articleBody": broken</script>
<p>Shelf<p>A shelf of white wood, with four rooms for whatever you own.<p>HANG IT UP or lay it down &amp; fill it.
<p>Yes, it holds a load of thirty kilos.<p>A sentence that nobody claims to be anything at all.
<div><div class=r>I put my records in it and now it stands in my kitchen.</div>
<div class=r><b>Bo</b><p>Mine fell on my foot.</div><div class=r>Good enough for its price, I would say.</div></div>"""


def test_what_a_page_claims_of_its_text() -> None:
    """Blocks whose words stand in a page's description, article, reviews or answers are known by it."""
    found = read(CLAIMING.encode())
    assert found is not None
    known, alike = table(found, np.zeros(1, np.uint64), np.zeros((1, 4), np.float32))
    column = {name: known[:, NAMES.index(name)].round(2).tolist() for name in claims.NAMES}
    assert column["is_description"] == [0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert column["is_review"] == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert column["is_answer"] == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert column["to_description"] == list(range(-1, 8))
    assert column["claims_review"] == [1] * 9
    assert column["claims_article"] == column["claims_comment"] == [0] * 9
    # The siblings of a review are reviews; without such a claim nothing is.
    assert claims.reviews(found.claimed, alike).tolist() == [False] * 5 + [True] * 4
    assert not claims.reviews(found.claimed * 0, alike).any()


LINKED = "application/ld+json"
OFFERS = {
    "up to the next heading that is as high": ("<h2>Shipping</h2><p>a<h3>Cost</h3><p>b<h2>Size</h2><p>c", [0, 1, 2, 3]),
    "up to the end of what holds it": ("<div><div><h5>Avis clients</h5></div><p>a<p>b</div><p>c", [0, 1, 2]),
    "up to the end of the page": ("<p>a<h2>Versand &amp; Rückgabe</h2><p>b<p>c", [1, 2, 3]),
    "two beside each other": ("<h2>Отзывы</h2><p>a<h2>Reviews</h2><p>b<h2>More</h2>", [0, 1, 2, 3]),
    "a heading that says more": ("<h2>Return to Oz</h2><p>a<h2>Delivery of the keynote</h2><p>b", []),
    "a heading of other words only": ("<h2>What is this</h2><p>a", []),
    "no heading": ("<p>Delivery<p>a", []),
}


@pytest.mark.parametrize("name", OFFERS)
def test_what_a_shop_says_of_every_order(name: str) -> None:
    """Sections of delivery, returns, payment and reviews are known by their headings."""
    found = read(OFFERS[name][0].encode())
    assert found is not None
    assert np.flatnonzero(offers.terms(found)).tolist() == OFFERS[name][1]


def test_terms_are_dropped_from_pages_of_products() -> None:
    """The same section is main text of a page that does not say that it offers a product."""
    sentence = "We bring bees to your door within three days, and take them back if you do not like them.</p>"
    about = "<p>Bees fly from flower to flower, and carry what they find there home to the hive.</p>"
    page = f"<main><h1>Bees</h1>{about}{about.replace('Bees', 'They')}<h2>Delivery</h2><p>{sentence}</main>"
    assert "your door" in extract(page.encode(), "blocks").text
    for said in (
        '<meta property="og:type" content="product">',
        f'<script type="{LINKED}">{{"@type": "Product"}}</script>',
    ):
        text = extract((said + page).encode(), "blocks").text
        assert "the hive" in text
        assert "your door" not in text


def test_text_is_kept_once() -> None:
    """Of equal texts the one that scores best is kept, of equal scores the first; short ones and code stay."""
    sentence = "Bees fly from flower to flower and then home again."
    found = read(
        f"<p>{sentence}<p>short<p>{sentence}<p>short<p>{sentence}<pre>{sentence}</pre><pre>{sentence}</pre>".encode()
    )
    assert found is not None
    chosen = np.ones(7, np.bool_)
    assert model.once(found, np.array([1.0, 1, 2, 1, 2, 3, 3]), chosen).tolist() == [
        False,
        True,
        True,
        True,
        False,
        True,
        True,
    ]
    chosen[2] = False
    assert model.once(found, np.zeros(7), chosen).tolist() == [True, True, False, True, False, True, True]
    assert chosen.sum() == 6, "what was chosen is not changed"


def test_claims_need_several_words_in_a_row() -> None:
    """Neither a short block nor one of the same words in another order is what the page claims."""
    page = "<meta property='og:description' content='we sell white shelves of wood to you'><p>white shelves of wood"
    found = read(f"{page}<p>you shelves wood of white sell we to".encode())
    assert found is not None
    assert found.claimed[:, 0].tolist() == [0, 0]


@given(text=st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_pairs_of_words(text: str) -> None:
    """A text has a pair less than words, equal for equal words whatever stands between them."""
    words = re.findall(r"[a-z0-9]+", text.lower().encode("ascii", "ignore").decode())
    count = []
    for one in (" ".join(words), "... ".join(words).upper()):
        data = np.frombuffer(one.encode(), np.uint8)
        pairs, owners = np.empty(len(data) + 1, np.uint64), np.empty(len(data) + 1, np.int32)
        found = blocks.hash_pairs(data, np.array([[0, len(data)]], np.int64), properties(), pairs, owners)
        count.append(pairs[:found].tolist())
    assert count[0] == count[1]
    assert len(count[0]) == max(0, len(words) - 1)
    assert len(set(count[0])) == len(set(pairwise(words)))


def test_choice_follows_the_highest_f1_to_be_expected() -> None:
    """Rows are chosen from a share of the F1^1.5 on that a search of all bounds finds, and none below the least."""
    random = np.random.default_rng(0)
    probabilities = 1 / (1 + np.exp(-np.linspace(-8, 8, trees.STEPS)))
    for _ in range(50):
        scores, sizes = random.normal(0, 3, 30), random.integers(1, 50, 30).astype(np.float32)
        steps = np.clip((scores + 8) * 32, 0, trees.STEPS - 1).astype(int)
        likely = probabilities[steps]

        def expected(which, likely=likely, sizes=sizes):
            return 2 * (likely * sizes)[which].sum() / ((likely * sizes).sum() + sizes[which].sum())

        best = max(expected(steps >= bound) for bound in set(steps))
        for share, least, doubt in ((0.5, 0.0, 0.0), (0.8, 0.0, 1.0), (0.1, 0.4, 5.0)):
            chosen = np.empty(30, np.uint8)
            trees.choose(scores, sizes, probabilities, share, least, doubt, chosen)
            bound = max(share * best**1.5, least)
            half = doubt * ((likely * sizes)[sizes >= 15].sum() / (likely * sizes).sum()) ** 4
            assert chosen.tolist() == (likely >= bound + (1 - bound) * half / (half + sizes)).tolist()


def test_words_are_aligned_in_order() -> None:
    """A run of the gold text's words is found where it stands, a word alone that is elsewhere is not."""
    counts, hits, size = gold.found(["Home the News", "Bees fly to the flower.", "the"], "Bees fly to the flower")
    assert counts.tolist() == [3, 5, 1]
    assert hits.tolist() == [0, 5, 0]
    assert size == 5


def test_equal_pages_are_equal_texts_whatever_was_read_before() -> None:
    """A page's text depends on nothing but the page."""
    pages = [page.encode() for page, _ in BLOCKS.values()]
    alone = [extract(page, "blocks") for page in pages]
    assert [extract(page, "blocks") for page in reversed(pages)][::-1] == alone


_TAGS = "div p b i a table tr td ul ol li dl dt dd select svg math mfrac msup annotation script noscript pre h1 br"
NAMES_OF_TAGS = _TAGS.split()
PIECES = st.lists(
    st.one_of(
        st.sampled_from([f"<{name}>" for name in NAMES_OF_TAGS] + [f"</{name}>" for name in NAMES_OF_TAGS]),
        st.text(max_size=8),
        st.sampled_from(["<!--", "-->", "&", "&#x", "&amp", "<p class='", "<math alttext='&lt;'>", "\r\n"]),
    ),
    max_size=60,
)  # fmt: skip


@given(pieces=PIECES)
@settings(max_examples=300, deadline=None)
def test_any_markup_is_blocks(pieces: list[str]) -> None:
    """Blocks lie one after the other in the text, in elements that lie in their parents, whatever the markup is."""
    found = html.scan("".join(pieces).encode("utf-8", "replace"))
    assert found is not None
    starts, ends = found.blocks[:, markup.START], found.blocks[:, markup.END]
    assert (starts < ends).all()
    assert (starts[1:] >= ends[:-1]).all()
    assert (found.blocks[:, markup.LINKED] <= ends - starts).all()
    parents = found.elements[1:, markup.PARENT]
    assert (parents < np.arange(1, len(found.elements))).all()
    assert (found.elements[1:, markup.FIRST] >= found.elements[parents, markup.FIRST]).all()
    assert (found.elements[1:, markup.LAST] <= found.elements[parents, markup.LAST]).all()
    found.text.tobytes().decode()


def test_too_many_blocks_are_refused() -> None:
    """A page of more blocks than the limit is none that can be read; one of as many is."""
    assert read(b"<p>a" * html.MAX_BLOCKS) is not None
    assert read(b"<p>a" * (html.MAX_BLOCKS + 1)) is None


def test_hostile_pages_need_little_memory() -> None:
    """20 MB of tags, of nesting, of attributes and of script take less than 2 GiB, and seconds."""
    code = (
        "import resource\nfrom curation.sources.extract import extract, Fault\n"
        "for page in (b'<div>' * 4_000_000, b'<p a=1 ' + b'class=b ' * 1_000_000 + b'>x', b'<b>' * 6_000_000 + b'x',\n"
        "             b'<script>' + b'x' * 19_000_000, b'&amp;' * 4_000_000, b'<p>x' * 5_000_000,\n"
        "             (b'<script type=application/ld+json>' + b'[' * 250_000 + b'</script>') * 70,\n"
        "             b'<script type=application/ld+json>[' + b'{},' * 80_000 + b'1]</script>' + b'<p>x y' * 99_000,\n"
        "             b'<script type=application/ld+json>{\"text\":\"' + b'<' * 250_000 + b'\"}</script><p>x',\n"
        "             b'<meta name=description content=\"a b c d e f g\">' * 400_000 + b'<p>a b c d e f',\n"
        "             b'<meta property=og:type content=product>' + b'<h6>Reviews</h6>' * 99_000,\n"
        "             b'<meta property=og:type content=product>' + (b'<i>' * 40 + b'<h2>Reviews<p>x') * 40_000):\n"
        "    try:\n        extract(page, 'blocks')\n    except Fault as fault:\n        print(fault)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    *faults, peak = done.stdout.split("\n")[:-1]
    assert faults == ["HTML with more than 100,000 blocks: over the limit"]
    assert int(peak) < 2 * 1024 * 1024


def test_hostile_pages_are_rows(tmp_path: Path) -> None:
    """Whatever its size, nesting, attributes or scripts, each page of a WARC is one row, in bounded time and memory."""
    hostile = {
        "size": "<p>" + "word " * 10_000_000,
        "nesting": "<div>" * 100_000 + "<p>Deep down it says something." + "</div>" * 100_000,
        "attributes": "<p " + "".join(f"a{n}=1 " for n in range(1_000_000)) + ">It has attributes.",
        "unclosed": "<html><body><div><table><tr><td><b><a href=1><ul><li><!-- x --><p title='y'>" * 5_000,
        "scripts": "<script>var x = '<p>no</p>';</script>" * 100_000,
        "ordinary": made(1)[0],
    }
    pages = {f"https://{name}.example/": page for name, page in hostile.items()}
    (tmp_path / "pages.warc.gz").write_bytes(warc(pages))
    (tmp_path / "recipe.toml").write_text(
        'name = "bees"\n[extract]\nengine = "blocks"\n'
        '[[source]]\nname = "web"\nkind = "warc"\npaths = ["pages.warc.gz"]\n'
    )
    code = (
        "import re, sys\nfrom pathlib import Path\nfrom curation import pipeline\n"
        "from curation.engine import LocalEngine\nfrom curation.recipe import load\n"
        "LocalEngine.map = lambda _, function, items, **__: [function(item) for item in items]\n"
        "run = pipeline.run(load(Path(sys.argv[1])), LocalEngine(1), until='pull')\n"
        "for part in run.parts:\n    for row in run.work.documents.read(part).to_pylist():\n"
        "        print(row['uri'], (row['error'] or 'read')[:12], 'bees' in (row['text'] or ''), sep='|')\n"
        r"print(re.findall(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[0])"
    )
    command = [sys.executable, "-c", code, tmp_path / "recipe.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    *rows, peak = done.stdout.splitlines()[-7:]
    assert [tuple(row.split("|")[:2]) for row in rows] == [
        (url, "HTML of 50,0" if "size" in url else "read") for url in pages
    ]
    assert rows[-1].endswith("True")
    assert int(peak) < 2 * 1024 * 1024


# Training -------------------------------------------------------------------------------------------------------------


def made(number: int) -> tuple[str, str]:
    """A page and its main text, of a site of its own."""
    paragraphs = [
        f"Paragraph {n} of page {number} says something about bees, at length and in sentences." for n in range(3)
    ]
    links = "".join(f"<li><a href=/{n}>Link {n}</a>" for n in range(4))
    body = "".join(f"<p>{one}" for one in paragraphs)
    content = f"<div class=content><h1>Title {number}</h1>{body}</div>"
    page = f"<nav><ul>{links}</ul></nav>{content}<div class=footer>Footer {number}</div>"
    return page, "\n".join([f"Title {number}", *paragraphs])


def warc(pages: dict[str, str]) -> bytes:
    """A WARC of these pages, by address."""
    out = io.BytesIO()
    for url, page in pages.items():
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page.encode()
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nContent-Length: {len(block)}\r\n\r\n"
        out.write(gzip.compress(head.encode() + block + b"\r\n\r\n", mtime=0))
    return out.getvalue()


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[Path, Path]:
    """A file of gold texts and the WARC of their pages."""
    sites = {f"https://site{n}.example/": made(n) for n in range(60)}
    (tmp_path / "pages.warc.gz").write_bytes(warc({url: page for url, (page, _) in sites.items()}))
    rows = [json.dumps({"url": url, "text": text, "page_type": "article"}) for url, (_, text) in sites.items()]
    (tmp_path / "gold.jsonl").write_text("\n".join(rows))
    return tmp_path / "gold.jsonl", tmp_path / "pages.warc.gz"


def test_training(labelled: tuple[Path, Path], tmp_path: Path) -> None:
    """The same pages make the same file and a card; the model tells text from what surrounds it on other pages."""
    for name in ("a.npz", "b.npz"):
        call = ["extractor", "train", *map(str, labelled), "--out", str(tmp_path / name), "--trees", "20"]
        call += ["--held-out", "5", "--folds", "2"]
        done = CliRunner().invoke(cli, call, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert "registered domains: " in (tmp_path / "a.md").read_text()
    page, text = made(1234)
    found = read(page.encode())
    assert found is not None
    assert render(found, model.load(tmp_path / "a.npz").keep(found)).split() == text.split()
    call = [
        "extractor",
        "evaluate",
        *map(str, labelled),
        "--model",
        str(tmp_path / "a.npz"),
        "--held-out",
        "5",
        "--json",
    ]
    figures = json.loads(CliRunner().invoke(cli, call, catch_exceptions=False).output)
    assert figures["all"]["f1"] == 1
    assert 0 < figures["all"]["pages"] < 60
    card = (tmp_path / "a.md").read_text()
    assert all(f"## {title}" in card for title in TITLES.values())


def test_pages_are_judged_by_models_that_have_not_seen_their_domain(
    labelled: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With folds every page is judged once, and none by a model that was trained on its domain."""
    taught: list[set[str]] = []

    def learn(examples: list[Example], asked: Settings) -> model.Model:
        taught.append({one.gold.group for one in examples})
        return train(examples, asked)

    monkeypatch.setattr(training, "train", learn)
    pages = gold.read(labelled[0], [labelled[1]])
    asked = Settings(trees=2, last_trees=2)
    found = training.cross_validate(pages, asked, 3)
    groups = {page.group for page in pages}
    assert len(taught) == 3
    assert sorted(group for some in taught for group in groups - some) == sorted(groups)
    assert len(found) == 60
    assert all(found)


def test_named_strings_count_for_more(tmp_path: Path) -> None:
    """A block with a string that is named as main text, or as none, weighs more; not where the gold text says else."""
    page, text = made(1)
    long = "Bees fly from flower to flower and home again. " * 30
    page, text = page.replace("</h1>", f"</h1><p>{long}"), text.replace("Title 1", f"Title 1\n{long}")
    url = "https://site1.example/"
    (tmp_path / "pages.warc.gz").write_bytes(warc({url: page}))
    weights = []
    for named in ({}, {"with": ["Title  1"], "without": [" ", "Footer 1", "Paragraph 1"]}):
        (tmp_path / "gold.jsonl").write_text(json.dumps({"url": url, "text": text} | named))
        read_pages = gold.read(tmp_path / "gold.jsonl", [tmp_path / "pages.warc.gz"])
        one = example(read_pages[0])
        assert one is not None
        assert one.blocks.text(4) == "Title 1"
        assert one.wanted.tolist() == [False] * 4 + [True] * 5 + [False]
        weights.append(one.weight)
    assert (weights[1] > weights[0]).tolist() == [False] * 4 + [True] + [False] * 4 + [True]
    assert weights[1][[0, 1, 2, 3, 5, 6, 7, 8]].tolist() == weights[0][[0, 1, 2, 3, 5, 6, 7, 8]].tolist()
    assert weights[1][4] == weights[1][9] == 0.15


def test_pages_of_a_domain_stay_together() -> None:
    """Whether a page is held out depends on its registered domain only, and one domain in so many is."""
    pages = [gold.Gold(f"https://{n}.example/", b"", "", "", f"{n}.example") for n in range(1000)]
    assert 150 < sum(is_held_out(page, 5) for page in pages) < 250
    assert not any(is_held_out(page, 0) for page in pages)
    assert part_of("a.example", 5, "held") == part_of("a.example", 5, "held")


def test_few_pages_are_refused() -> None:
    """A model of a handful of pages is none."""
    examples = [example(gold.Gold("u", made(n)[0].encode(), made(n)[1], "", "one.example")) for n in range(3)]
    with pytest.raises(UsageError, match="3 pages with gold text are too few"):
        train([one for one in examples if one], Settings())


def test_model_of_other_columns_is_refused(tmp_path: Path) -> None:
    """A file that is no model, or one that this version cannot use, is named with the remedy."""
    (tmp_path / "x.npz").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="not a model of blocks"):
        model.load(tmp_path / "x.npz")
    with np.load(SHIPPED) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["names"] = arrays["names"][1:]
    np.savez(tmp_path / "y.npz", **arrays)
    with pytest.raises(UsageError, match="trained by another version"):
        model.load(tmp_path / "y.npz")
    np.savez(tmp_path / "z.npz", other=np.zeros(1))
    np.save(tmp_path / "w.npy", np.zeros(1))
    for name in ("none.npz", "x.npz", "y.npz", "z.npz", "w.npy"):  # before a page is read: when parts are planned
        with pytest.raises(UsageError, match=name):
            version("blocks", "text", str(tmp_path / name))


def test_shipped_model_has_its_card() -> None:
    """The card beside the model is of that file, and says what it was trained on."""
    import hashlib  # noqa: PLC0415

    card = SHIPPED.with_suffix(".md").read_text()
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() in card
    assert "## Trained on" in card
    assert f"## {TITLES['folds']}" in card


def test_pages_of_a_warc(tmp_path: Path) -> None:
    """Pages are handed out with their address and the header's charset; a cut one is not."""
    data = warc({"https://a.example/": "<p>a", "https://b.example/": "<p>b" * 1000})
    (tmp_path / "cut.warc.gz").write_bytes(data[:-20])
    with (tmp_path / "cut.warc.gz").open("rb") as stream:
        assert list(warc_pages(stream)) == [("https://a.example/", b"<p>a", None)]


def test_documents_are_the_same_whatever_the_size_of_parts(tmp_path: Path, engine: LocalEngine) -> None:
    """A run with `engine = "blocks"` gives the same documents, all columns of them, in one part and in many."""
    (tmp_path / "pages.warc.gz").write_bytes(warc({f"https://site{n}.example/": made(n)[0] for n in range(60)}))
    (tmp_path / "recipe.toml").write_text(
        'name = "bees"\n[extract]\nengine = "blocks"\n'
        '[[source]]\nname = "web"\nkind = "warc"\npaths = ["pages.warc.gz"]\n'
    )
    found, parts = [], []
    for rows in (7, 1000):
        in_this_process = lambda _, function, items, **__: [function(item) for item in items]  # noqa: E731
        with patch.object(pull, "PART_ROWS", rows), patch.object(LocalEngine, "map", in_this_process):
            run = pipeline.run(load(tmp_path / "recipe.toml"), engine, until="pull")
        documents = [row for part in run.parts for row in run.work.documents.read(part).to_pylist()]
        found.append(sorted(documents, key=lambda row: row["id"]))
        parts.append(len(run.parts))
        shutil.rmtree(tmp_path / "work")
    assert parts == [9, 1]
    assert len(found[0]) == 60
    assert all("bees" in row["text"] for row in found[0])
    assert found[0] == found[1]


@pytest.mark.data
def test_real_pages(data: Path) -> None:
    """On the pages that it was trained on the shipped model finds what its card says, to the third digit."""
    warcs = [data / f"web/{name}.warc.gz" for name in ("wcxb-00000", "wcxb-00001", "oldweb", "toolgold")]
    call = ["extractor", "evaluate", str(data / "web/gold.jsonl.gz"), *map(str, warcs)]
    table = CliRunner().invoke(cli, call, catch_exceptions=False).output.strip()
    assert table in SHIPPED.with_suffix(".md").read_text()


@pytest.mark.data
@pytest.mark.parametrize("name", ["multilingual", "snippets"])
def test_real_pages_are_decoded(data: Path, name: str) -> None:
    """No page of many languages and charsets has mojibake that it did not have itself."""
    broken = []
    with (data / f"web/{name}.warc.gz").open("rb") as stream:
        for url, page, charset in warc_pages(stream):
            if "\ufffd".encode() in page:
                continue
            text = extract(page, "blocks", charset).text
            if "\ufffd" in text or re.search("Ã[\u0080-\u00bf]|â€|Ð[\u0080-\u00bf]|Ã¼|Ã¤|Ã¶", text):
                broken.append(url)
    assert broken == []
