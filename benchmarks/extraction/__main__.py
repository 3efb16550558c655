"""The engine `blocks` against resiliparse and trafilatura on the same pages in one run, with CURATE_DATA set.

Sections: `quality` (precision, recall, F1 by kind of page; of `blocks`, each page by a model that was trained on other
registered domains, which takes ten minutes), `snippets` (strings that must be and must not be in the text, on domains
that no gold page is of), `languages` (mojibake, and which languages come out), `speed` (WARC to Parquet, pages per
second of CPU time and peak memory, each in a process of its own).
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import trafilatura

from curation.sources.decoding import Fault, decode_text
from curation.sources.extract import extract
from curation.sources.extraction import figures
from curation.sources.extraction.gold import agreement, domain, read
from curation.sources.extraction.training import Settings, cross_validate, is_held_out
from curation.sources.warc import pages

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(os.environ.get("CURATE_DATA", "data"))
GOLD = ("wcxb-00000", "wcxb-00001", "oldweb", "toolgold")
#: Models that `quality` trains, each on the other domains; and the domain in so many that was not looked at at first.
FOLDS = 5
HELD_OUT = 5
SECTIONS = ("quality", "snippets", "languages", "speed")
#: What UTF-8 looks like that was decoded as cp1252 or latin-1, and what could not be decoded at all.
MOJIBAKE = re.compile("\ufffd|Ã[\u0080-\u00bf]|â€|Ð[\u0080-\u00bf]|Ã¼|Ã¤|Ã¶")


def _ours(html: bytes, charset: str | None, engine: str) -> str:
    try:
        return extract(html, engine, charset).text
    except Fault:
        return ""


def _theirs(html: bytes, charset: str | None, **asked: bool) -> str:
    page = decode_text(html, charset, html=True).replace("\0", "")
    return trafilatura.extract(page, include_comments=False, **asked) or ""


EXTRACTORS: dict[str, Callable[[bytes, str | None], str]] = {
    "blocks": lambda html, charset: _ours(html, charset, "blocks"),
    "resiliparse": lambda html, charset: _ours(html, charset, "resiliparse"),
    "trafilatura": _theirs,
    "trafilatura fast": lambda html, charset: _theirs(html, charset, fast=True),
    "trafilatura precision": lambda html, charset: _theirs(html, charset, favor_precision=True),
}


def quality() -> None:
    """F1 of words by kind of page, for each extractor on the same pages, and that of the domains that were held out."""
    golds = read(DATA / "web/gold.jsonl.gz", [DATA / f"web/{name}.warc.gz" for name in GOLD])
    print(f"\n{len(golds)} pages of {len({one.group for one in golds})} domains: precision / recall / F1\n")
    texts = {
        name: cross_validate(golds, Settings(), FOLDS)
        if name == "blocks"
        else [call(one.page, "utf-8") for one in golds]
        for name, call in EXTRACTORS.items()
    }
    f1 = {
        name: np.array([agreement(text, gold.text).f1 for text, gold in zip(some, golds, strict=True)])
        for name, some in texts.items()
    }
    print(f"{'':16}{'pages':>5}  " + "".join(f"{name:>24}" for name in texts) + f"{'more than trafilatura':>24}")
    is_held = np.array([is_held_out(gold, HELD_OUT) for gold in golds])
    kinds = np.array([gold.kind for gold in golds])
    found = {name: figures.evaluate(golds, some) for name, some in texts.items()}
    for kind, told in found["blocks"].items():
        row = [f"{one[kind].precision:.3f} / {one[kind].recall:.3f} / {one[kind].f1:.3f}" for one in found.values()]
        more = (f1["blocks"] - f1["trafilatura"])[(kinds == kind) | (kind == figures.ALL)]
        row.append(f"{more.mean():.3f} ± {more.std(ddof=1) / len(more) ** 0.5:.3f}")
        print(f"{kind:16}{told.pages:5}  " + "".join(f"{text:>24}" for text in row))
    for kind in ("article", "product", figures.ALL):
        which = is_held & ((kinds == kind) | (kind == figures.ALL))
        row = [f"{some[which].mean():.3f}" for some in f1.values()]
        print(f"{kind + ', held out':16}{which.sum():5}  " + "".join(f"{text:>24}" for text in row))


def snippets() -> None:
    """How many strings that must be in the text are, and how many that must not be are too."""
    with gzip.open(DATA / "web/snippets.jsonl.gz", "rt") as lines:
        asked = {row["url"]: row for row in map(json.loads, lines)}
    with gzip.open(DATA / "web/gold.jsonl.gz", "rt") as lines:
        trained_on = {domain(json.loads(line)["url"]) for line in lines}
    with (DATA / "web/snippets.warc.gz").open("rb") as stream:
        found = [page for page in pages(stream) if page[0] in asked and domain(page[0]) not in trained_on]
    print(f"\nsnippets of {len(found)} pages: found of those that must be, found of those that must not be\n")
    for name, call in EXTRACTORS.items():
        counts = Counter[str]()
        for url, html, charset in found:
            text = " ".join(call(html, charset).split())
            for side in ("with", "without"):
                counts[side] += sum(" ".join(one.split()) in text for one in asked[url][side])
                counts[f"all {side}"] += len(asked[url][side])
        print(f"{name:24}{counts['with']:5} of {counts['all with']}{counts['without']:5} of {counts['all without']}")


def languages() -> None:
    """Pages with mojibake, and the languages that come out beside those that stop words of the page were guessed from.

    A guess may be a script: `cyrl` is any language in Cyrillic letters.
    """
    from classifiers.language import identify  # noqa: PLC0415 - its model takes a second to load

    with gzip.open(DATA / "web/pages.jsonl.gz", "rt") as lines:
        guessed = {(row["warc"], row["url"]): row["lang_guess"] for row in map(json.loads, lines)}
    for name in ("multilingual", "snippets"):
        warc = f"{name}.warc.gz"
        with (DATA / "web" / warc).open("rb") as stream:
            texts = {url: extract(html, "blocks", charset).text for url, html, charset in pages(stream)}
        broken = sum(MOJIBAKE.search(text) is not None for text in texts.values())
        empty = sum(not text for text in texts.values())
        print(f"\n{name}: {len(texts)} pages, {empty} without text, {broken} with mojibake; guess: what comes out")
        told: dict[str, Counter[str]] = {}
        for url, text in texts.items():
            told.setdefault(guessed[warc, url], Counter())[identify(text)[0]] += 1
        for guess, found in sorted(told.items(), key=lambda one: (-one[1].total(), one[0])):
            print(f"  {guess}: " + ", ".join(f"{language} {count}" for language, count in found.most_common()))


def speed(most: int) -> None:
    """What WARC to Parquet costs with each extractor."""
    print(f"\n{'WARC to Parquet':24}{'pages':>7}{'CPU s':>9}{'pages/s':>9}{'MB':>7}")
    for name in EXTRACTORS:
        command = [sys.executable, "-m", "benchmarks.extraction", "one", "--extractor", name, "--pages", str(most)]
        done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rate = done["pages"] / done["seconds"]
        print(f"{name:24}{done['pages']:7}{done['seconds']:9.2f}{rate:9.1f}{done['memory'] / 1024:7.0f}")


def one(name: str, most: int) -> None:
    """Read the WARC, extract and write Parquet with one extractor; a first page is not counted, for what it loads."""
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    call = EXTRACTORS[name]
    call(b"<p>A page of one sentence, which loads what there is to load.", None)
    schema = pa.schema([("uri", pa.string()), ("text", pa.string())])
    count, rows = 0, []
    started = time.process_time()
    with (
        tempfile.TemporaryFile() as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
        (DATA / "bench/web-00000.warc.gz").open("rb") as stream,
    ):
        for url, html, charset in pages(stream):
            rows.append({"uri": url, "text": call(html, charset)})
            count += 1
            if len(rows) == 500 or count == most:
                writer.write(pa.Table.from_pylist(rows, schema))
                rows = []
            if count == most:
                break
        writer.write(pa.Table.from_pylist(rows, schema))
    # Not ru_maxrss, which begins with that of the process that started this one.
    memory = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0])
    print(json.dumps({"pages": count, "seconds": time.process_time() - started, "memory": memory}))


def main() -> None:
    """Run the sections that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, "one", []])
    parser.add_argument("--pages", type=int, default=1 << 30, help="read only so many pages of the WARC for `speed`")
    parser.add_argument("--extractor", choices=EXTRACTORS)
    options = parser.parse_args()
    if options.sections == ["one"]:
        one(options.extractor, options.pages)
        return
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    peers = ", ".join(f"{name} {version(name)}" for name in ("resiliparse", "trafilatura"))
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{datetime.now(UTC).date()}, {cores} cores, load {load:.1f}, Python {platform.python_version()}, {peers}")
    for name in options.sections or SECTIONS:
        if name == "speed":
            speed(options.pages)
        else:
            {"quality": quality, "snippets": snippets, "languages": languages}[name]()


if __name__ == "__main__":
    main()
