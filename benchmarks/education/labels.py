"""Assemble the labelled passages that the shipped model of educational value is trained and tested on.

    CURATE_DATA=… python benchmarks/education/labels.py FOLDER

writes FOLDER/train.jsonl.gz, FOLDER/unseen.jsonl.gz and FOLDER/unseen-passages.jsonl.gz. What is good and what is bad
is said **by kind of source**: lessons, worked answers and reference prose are good; news, forums, marketing, listings,
reviews, mail, messages, headlines and boilerplate are bad. That is what the unseen texts are judged by; what a model
learns of the others is their grades (grades.py). Articles of the web, and mail with its headers, are neither
throughout: they stand in the first file alone, as bad. No site, book or newsgroup stands in the first file and in one
of the others, mail of one company apart, which is in the first alone. Nothing is taken from the evaluation sets
(`benchmarks/`).

Documents to train on are cut into passages of 40 to 640 words, whatever they are, and short messages are joined into
longer ones, so that length does not tell a textbook from a text message. The unseen ones are whole, as a corpus has
them, and once more cut, which is harder. Every second document of a book loses its headings and other layout, so that
these say nothing; the layout of the others stays, so that it can be taken away in an evaluation.
"""

from __future__ import annotations

import gzip
import html
import json
import os
import random
import re
import sys
import tarfile
from dataclasses import dataclass
from email import message_from_string
from email.policy import compat32
from hashlib import blake2b
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from classifiers.language import identify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LENGTHS = (40, 320, 80, 160, 640)

#: Characters of the windows by which English is told: what the signal read when the shipped model was made.
WINDOW = 300

#: Texts of one source at most, chosen by a hash of the seed: no source drowns the others.
MOST = 2_000
#: The same for bad ones to train on, of which there are more sources: good and bad are then about as many.
MOST_BAD = 800
#: Sources that are neither good nor bad throughout.
GRADED = ("raw mail", "web article")

#: Words of a text at least.
FEWEST = 12

#: English throughout, and too short and careless for the identification of languages, which elsewhere keeps English.
SHORT = ("messages", "headlines")


def windows(text: str) -> str:
    """The start, the middle and the end of a text, or all of it, from which its language is told."""
    text = text.strip()
    if len(text) <= 3 * WINDOW:
        return text
    middle = (len(text) - WINDOW) // 2
    return "\n".join((text[:WINDOW], text[middle : middle + WINDOW], text[-WINDOW:]))


@dataclass(frozen=True)
class Text:
    """A document of a source: what it is, whether it is good, and the group that a split keeps together.

    One that is whole is not cut into passages.
    """

    source: str
    kind: str
    license: str
    group: str
    text: str
    is_good: bool
    is_unseen: bool
    is_whole: bool = False


BY, BY_SA, NC, THEIRS, NONE = "CC BY 4.0", "CC BY-SA", "CC BY-NC-SA 4.0", "that of each site", "none stated"


def good(source: str, kind: str, license: str, group: str, text: str, *, unseen: bool = False) -> Text:  # noqa: A002
    """A text that teaches."""
    return Text(source, kind, license, group, text, is_good=True, is_unseen=unseen)


def bad(source: str, kind: str, license: str, group: str, text: str, *, unseen: bool = False) -> Text:  # noqa: A002
    """A text that does not."""
    return Text(source, kind, license, group, text, is_good=False, is_unseen=unseen)


def half(group: str) -> bool:
    """Whether a group is unseen: half of the groups of a source that has many, by a hash."""
    return blake2b(group.encode()).digest()[0] % 2 == 1


# Sources, one function each

_BOOK_END = re.compile(
    r"^(glossary|references|bibliography|test prep.*|suggested readings?|answer key)\s*$", re.IGNORECASE | re.MULTILINE
)
_BOOK_LAYOUT = re.compile(
    r"^(\[[A-Z]{2}\]|[-*] |\||by the end of this section|(section )?learning (objectives|outcomes)|teacher support|"
    r"credit:|key (terms|concepts)|the learning objectives in this section)",
    re.IGNORECASE,
)
#: How a worked example is recognised in a book.
_WORKED = re.compile(r"(?m)^(solution|strategy|worked example|discussion)\b", re.IGNORECASE)
#: Books that share modules with another one, which counts for both.
_SAME = {
    "principles-microeconomics-3e": "principles-economics-3e",
    "principles-macroeconomics-3e": "principles-economics-3e",
    "principles-macroeconomics-ap-courses-2e": "principles-economics-3e",
    "principles-microeconomics-ap-courses-2e": "principles-economics-3e",
}  # fmt: skip
#: Books of the throughput file whose licence nobody states there: for tests alone.
_UNSTATED = (
    "us-history", "world-history-volume-1", "introduction-sociology-3e", "american-government-4e",
    "introduction-business-2e", "anatomy-and-physiology-2e", "business-law-i-essentials-2e", "prealgebra-2e",
)  # fmt: skip


def openstax(data: Path) -> Iterator[Text]:
    """Textbooks; those under CC BY for training, those under CC BY-NC-SA unseen."""
    table = pq.read_table(data / "textbooks/openstax.parquet", columns=["title", "text", "book_slug", "license"])
    seen = set()
    for row in table.to_pylist():
        if row["title"] in ("Preface", "Chapter summary") or row["text"] in seen:
            continue
        seen.add(row["text"])
        book = _SAME.get(row["book_slug"], row["book_slug"])
        unseen = row["license"] != "CC-BY-4.0"
        body = _BOOK_END.split(row["text"], maxsplit=1)[0]
        yield good(f"book: {book}", "lesson", NC if unseen else BY, book, body, unseen=unseen)


def other_books(data: Path) -> Iterator[Text]:
    """Textbooks of which no licence is at hand, for tests alone."""
    table = pq.read_table(data / "bench/text-mixed.parquet", columns=["id", "text", "source"])
    for row in table.to_pylist():
        book = row["id"].partition("/")[0]
        if row["source"] == "openstax" and book in _UNSTATED:
            yield good(f"book: {book}", "lesson", NONE, book, _BOOK_END.split(row["text"], maxsplit=1)[0], unseen=True)


_NOT_A_CHAPTER = re.compile(r"(?i)summary|index|toc|license|conduct|contributing|/appendix-0")


def handbooks(data: Path) -> Iterator[Text]:
    """Tutorials and documentation in Markdown: the Rust book, a Software Carpentry lesson, PowerShell, Dive into DL."""
    kinds = {
        "rust-book": ("lesson", "MIT or Apache-2.0"), "python-novice-inflammation": ("lesson", BY),
        "powershell-docs": ("reference", BY), "d2l-en": ("lesson", BY_SA),
    }  # fmt: skip
    for name, text in members(data / "internal/docs-markdown.tar.gz"):
        source = name.split("/")[0]
        if name.endswith(".md") and not _NOT_A_CHAPTER.search(name):
            body = re.sub(r"\A---\n.*?\n---\n|:\w+:`[^`]*`", " ", text, flags=re.DOTALL)
            yield good(source, *kinds[source], source, body, unseen=source == "d2l-en")


def specifications(data: Path) -> Iterator[Text]:
    """Python's enhancement proposals."""
    for name, text in members(data / "internal/plain-text.tar.gz"):
        source, _, rest = name.partition("/")
        if source == "peps" and rest.endswith(".rst"):
            body = text.split("\n\n", 1)[-1]
            body = re.split(r"(?m)^(References|Copyright)\n=", body)[0]
            yield good("peps", "reference", "public domain", "peps", body)


_QUOTED = re.compile(r"\s*[>|:#]|.*(writes|wrote|says):\s*$|In article")


def newsgroups(data: Path) -> Iterator[Text]:
    """Usenet posts without header and quotations."""
    for row in jsonl(data / "lowquality/forum-20newsgroups.jsonl.gz"):
        lines = row["text"].split("\n\n", 1)[-1].splitlines()
        body = "\n".join(line for line in lines if not _QUOTED.match(line))
        kind = "listing" if row["group"] == "misc.forsale" else "forum"
        yield bad(f"newsgroups: {kind}", kind, NONE, row["group"], body, unseen=half(row["group"]))


def mail(data: Path) -> Iterator[Text]:
    """Spam, for training; other mail, unseen."""
    for row in jsonl(data / "lowquality/spamassassin.jsonl.gz"):
        spam = row["label"] == "spam"
        kind = "marketing" if spam else "mail"
        yield bad(f"mail: {row['label']}", kind, NONE, f"mail-{row['folder']}", body_of(row["raw"]), unseen=not spam)


def messages(data: Path) -> Iterator[Text]:
    """Text messages, and comments under videos."""
    with gzip.open(data / "lowquality/sms-spam-collection.tsv.gz", "rt", encoding="utf-8", errors="replace") as file:
        sms = [line.split("\t", 1)[1].strip() for line in file if "\t" in line]
    tube = [row["text"] for row in jsonl(data / "lowquality/youtube-comment-spam.jsonl.gz")]
    for source, items, unseen in (("text messages", sms, False), ("video comments", tube, True)):
        for text in joined(items, (3, 12, 30)):
            yield bad(source, "messages", NONE, source, text, unseen=unseen)


def headlines(data: Path) -> Iterator[Text]:
    """Headlines, in lists: those of clickbait for training, the others unseen."""
    for name in ("clickbait", "non_clickbait"):
        with gzip.open(data / f"lowquality/{name}_data.txt.gz", "rt", encoding="utf-8", errors="replace") as file:
            items = [line.strip() for line in file if line.strip()]
        for text in joined(items[:6_000], (6, 12, 30)):
            unseen = name != "clickbait"
            yield bad("headlines: " + ("others" if unseen else name), "headlines", "MIT", name, text, unseen=unseen)


def chatter(data: Path) -> Iterator[Text]:
    """Overheard talk and personal ads, bug titles, reviews of products and wines."""
    for row in jsonl(data / "lowquality/chatter-and-reviews.jsonl.gz"):
        folder, _, name = row["id"].partition("/")
        text = re.sub(r"(?m)^(\[t\]|[\w ,\[\]+-]*##)|\[[+-]?\d\]", " ", row["text"])
        reviews = folder != "webtext" or name == "wine.txt"
        license_name = BY if folder != "webtext" else NONE
        group = f"{folder}-{name}"
        unseen = half(group) if folder != "webtext" else name == "singles.txt"
        yield bad("reviews" if reviews else "chatter", "review" if reviews else "messages", license_name, group, text,
                  unseen=unseen)  # fmt: skip


def boilerplate(data: Path) -> Iterator[Text]:
    """Login, search, contact and registration pages with all their text."""
    with (data / "lowquality/boilerplate-pages.warc.gz").open("rb") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
            content = record.reader.read()
            page = bytes_to_str(content, detect_encoding(content))
            text = extract_plain_text(page, alt_texts=False, form_fields=True, noscript=False)
            site = host(record.headers.get("WARC-Target-URI") or "")
            yield bad("boilerplate pages", "boilerplate", THEIRS, site, text, unseen=half(site))


#: What the kinds of pages of the web-extraction benchmark are; articles explain and sell in turns: see `articles`.
WEB = {
    "documentation": "reference", "service": "marketing", "product": "marketing", "listing": "listing",
    "collection": "listing", "forum": "forum",
}  # fmt: skip


def web(data: Path) -> Iterator[Text]:
    """Main text of web pages by their kind, as people marked it (WCXB), and articles of newspapers and magazines."""
    for row in jsonl(data / "web/gold.jsonl.gz"):
        page, site = row.get("page_type"), host(row["url"])
        if page in WEB:
            make = good if page == "documentation" else bad
            yield make(f"web {page}", WEB[page], THEIRS, site, row["text"], unseen=half(site))
        elif row.get("warc") == "toolgold.warc.gz" and site != "raw.githubusercontent.com":
            yield bad("web news", "news", THEIRS, site, row["text"], unseen=half(site))


def office_mail(data: Path) -> Iterator[Text]:
    """Mail of a company, without its headers. For training."""
    table = pq.read_table(data / "bench/text-mixed.parquet", columns=["id", "text", "source"])
    for row in table.to_pylist()[::8]:
        if row["source"].startswith("Enron") and "/no_deseado/" not in row["id"]:
            yield bad("mail of a company", "mail", NONE, "enron", body_of(row["text"]))


def raw_mail(data: Path) -> Iterator[Text]:
    """The same mail as it was sent, headers and all. For training, by its grades."""
    table = pq.read_table(data / "bench/text-mixed.parquet", columns=["text", "source"])
    for row in table.to_pylist()[::8]:
        if row["source"].startswith("Enron"):
            yield Text("raw mail", "mail", NONE, "enron", row["text"], is_good=False, is_unseen=False, is_whole=True)


def articles(data: Path) -> Iterator[Text]:
    """Articles of the web, which explain and sell in turns. For training, by their grades."""
    for row in jsonl(data / "web/gold.jsonl.gz"):
        site = host(row["url"])
        if row.get("page_type") == "article" and not half(site):
            yield bad("web article", "article", THEIRS, site, row["text"])


def talk(data: Path) -> Iterator[Text]:
    """Posts of Stack Exchange about the affairs of a site."""
    for site in ("bicycles.meta.stackexchange.com", "datascience.meta.stackexchange.com"):
        with gzip.open(data / f"internal/stackexchange/{site}/Posts.xml.gz") as file:
            for _, row in ET.iterparse(file):  # noqa: S314  # a dump of ours, not input of a run
                body = html.unescape(re.sub(r"<[^>]+>", " ", row.get("Body", "")))
                if row.get("PostTypeId") in ("1", "2"):
                    yield bad(site, "forum", BY_SA, site, body, unseen=site.startswith("datascience"))


def written(_data: Path) -> Iterator[Text]:
    """What was written for this project: worked answers, explanations, and what talks about learning and sells it."""
    lines = Path(__file__).with_name("written.jsonl").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        row = json.loads(line)
        make = good if row["label"] == "good" else bad
        yield make("written for this project", row["kind"], "Apache-2.0", f"written-{number}", row["text"])


SOURCES = (
    openstax, other_books, handbooks, specifications, newsgroups, mail, messages, headlines, chatter, boilerplate, web,
    office_mail, raw_mail, articles, talk, written,
)  # fmt: skip


# Reading and cutting


def jsonl(path: Path) -> Iterator[dict[str, str]]:
    """The objects of a JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def members(path: Path) -> Iterator[tuple[str, str]]:
    """The files of an archive by name, in the order of their names."""
    with tarfile.open(path) as archive:
        for member in sorted((one for one in archive if one.isfile()), key=lambda one: one.name):
            file = archive.extractfile(member)
            if file:
                yield member.name.removeprefix("./"), file.read().decode("utf-8", "replace")


def host(url: str) -> str:
    """The host of a URL."""
    return urlsplit(url).netloc.removeprefix("www.")


def body_of(raw: str) -> str:
    """The text of a mail, without its headers and markup."""
    for part in message_from_string(raw, policy=compat32).walk():
        if part.get_content_maintype() == "text":
            content = part.get_payload(decode=True) or b""
            text = content.decode("utf-8", "replace") if isinstance(content, bytes) else ""
            return html.unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE))
    return ""


def prose(text: str) -> str:
    """The paragraphs that explain: of eight words or more, and not layout."""
    blocks = (block.strip() for block in re.split(r"\n\s*\n", text))
    return "\n\n".join(block for block in blocks if len(block.split()) >= 8 and not _BOOK_LAYOUT.match(block))


def joined(items: list[str], sizes: tuple[int, ...]) -> Iterator[str]:
    """Short messages, joined by ones and by several."""
    sizes_of, at = cycle(sizes), 0
    while at < len(items):
        size = next(sizes_of)
        yield "\n".join(items[at : at + size])
        at += size


def passages(text: str, lengths: Iterator[int]) -> Iterator[str]:
    """A text cut into passages of varied length; what is left over below 12 words is dropped unless it is all."""
    words = list(re.finditer(r"\S+", text))
    at = 0
    while at < len(words):
        size = next(lengths)
        piece = words[at : at + size]
        if len(piece) >= 12 or at == 0:
            yield text[piece[0].start() : piece[-1].end()]
        at += size


def assemble(data: Path, seed: int = 0) -> dict[str, list[dict[str, object]]]:
    """The rows of each file by its name."""
    files: dict[str, dict[str, list[dict[str, object]]]] = {}
    for source in SOURCES:
        lengths = cycle(LENGTHS)
        for number, text in enumerate(source(data)):
            body = prose(text.text) if text.is_good and number % 2 else text.text
            cut = [body] if text.is_whole else list(passages(body, lengths))
            if text.is_unseen:
                _add(files.setdefault("unseen", {}), text, [body] if cut else [])
            _add(files.setdefault("unseen-passages" if text.is_unseen else "train", {}), text, cut)
    return {
        name: [
            row
            for source_name, found in sources.items()
            for row in random.Random(f"{seed}/{source_name}").sample(found, min(len(found), _most(name, found)))  # noqa: S311
        ]
        for name, sources in files.items()
    }


def _most(name: str, rows: list[dict[str, object]]) -> int:
    return MOST_BAD if name == "train" and rows[0]["label"] == "bad" and rows[0]["source"] not in GRADED else MOST


def _add(sources: dict[str, list[dict[str, object]]], text: Text, pieces: list[str]) -> None:
    for piece in pieces:
        if len(piece.split()) < FEWEST:
            continue
        if text.kind in SHORT or identify(windows(piece), 4 * WINDOW)[0] == "en":
            is_short = len(piece.split()) <= max(LENGTHS)  # a whole chapter nearly always holds an example
            kind = "worked answer" if text.kind == "lesson" and is_short and _WORKED.search(piece) else text.kind
            row = {"text": piece, "label": "good" if text.is_good else "bad", "group": text.group,
                   "source": text.source, "kind": kind, "license": text.license}  # fmt: skip
            sources.setdefault(text.source, []).append(row)


def write(path: Path, rows: Iterable[dict[str, object]]) -> None:
    """A JSONL file, the same bytes for the same rows."""
    with path.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed:
        for row in rows:
            packed.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def main() -> None:
    """Write both files into the folder that the command names."""
    if len(sys.argv) != 2 or "CURATE_DATA" not in os.environ:
        sys.exit("usage: CURATE_DATA=… python benchmarks/education/labels.py FOLDER")
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in assemble(Path(os.environ["CURATE_DATA"])).items():
        write(out / f"{name}.jsonl.gz", rows)
        print(f"{name}: {len(rows):,} texts")


if __name__ == "__main__":
    main()
