"""Assemble the labelled passages that the shipped model of educational value is trained and tested on.

    CURATE_DATA=… python benchmarks/education/labels.py FOLDER

writes FOLDER/train.jsonl.gz and FOLDER/unseen.jsonl.gz. The grades are rules of thumb by source: nobody read the
passages. No source stands in both files. Nothing is taken from the evaluation sets (`benchmarks/`).

Documents are cut into passages of 20 to 640 words, whatever they are, and short messages are joined into longer ones,
so that length does not tell a textbook from a text message. What is typical of a book's layout rather than of its
explanations (objectives, glossaries, exercises' options, references, front matter) is left out.
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

LENGTHS = (20, 320, 40, 160, 80, 640)

#: Characters of the windows by which English is told: what the signal read when the shipped model was made.
WINDOW = 300

#: Passages of one source at most, chosen by a hash of the seed: no source drowns the others.
MOST = 2_000


#: English throughout, and too short and careless for the identification of languages, which elsewhere keeps English.
SHORT = ("text messages", "video comments", "headlines: clickbait", "headlines: others")


def windows(text: str) -> str:
    """The start, the middle and the end of a text, or all of it, from which its language is told."""
    text = text.strip()
    if len(text) <= 3 * WINDOW:
        return text
    middle = (len(text) - WINDOW) // 2
    return "\n".join((text[:WINDOW], text[middle : middle + WINDOW], text[-WINDOW:]))


@dataclass(frozen=True)
class Text:
    """A document of a source: its grade by rule of thumb, and the group that a split keeps together."""

    source: str
    grade: float
    group: str
    text: str


# Sources, one function each

_BOOK_END = re.compile(
    r"^(glossary|references|bibliography|test prep.*|suggested readings?|answer key)\s*$", re.IGNORECASE | re.MULTILINE
)
_BOOK_LAYOUT = re.compile(
    r"^(\[[A-Z]{2}\]|[-*] |\||by the end of this section|(section )?learning (objectives|outcomes)|teacher support|"
    r"credit:|key (terms|concepts)|the learning objectives in this section)",
    re.IGNORECASE,
)


def openstax(data: Path) -> Iterator[Text]:
    """Textbooks; those under CC BY for training, those under CC BY-NC-SA unseen."""
    table = pq.read_table(data / "textbooks/openstax.parquet", columns=["title", "text", "book_slug", "license"])
    seen = set()
    for row in table.to_pylist():
        if row["title"] in ("Preface", "Chapter summary") or row["text"] in seen:
            continue
        seen.add(row["text"])
        book = row["book_slug"].replace("microeconomics", "economics")
        kind = "openstax" if row["license"] == "CC-BY-4.0" else "openstax, other books"
        yield Text(f"{kind}: {book}", 5, book, prose(_BOOK_END.split(row["text"], maxsplit=1)[0]))


_NOT_A_CHAPTER = re.compile(r"(?i)summary|index|toc|license|conduct|contributing|/appendix-0")


def handbooks(data: Path) -> Iterator[Text]:
    """Tutorials and documentation in Markdown: the Rust book, a Software Carpentry lesson, PowerShell, Dive into DL."""
    grades = {"rust-book": 4, "python-novice-inflammation": 4, "powershell-docs": 3, "d2l-en": 4}
    for name, text in members(data / "internal/docs-markdown.tar.gz"):
        source = name.split("/")[0]
        if name.endswith(".md") and not _NOT_A_CHAPTER.search(name):
            plain = re.sub(r"```.*?```|~~~.*?~~~|^---\n.*?\n---\n|:\w+:`[^`]*`|<[^>\n]+>", " ", text, flags=re.DOTALL)
            yield Text(source, grades[source], source, prose(plain))


def specifications(data: Path) -> Iterator[Text]:
    """PEPs, speeches of presidents."""
    for name, text in members(data / "internal/plain-text.tar.gz"):
        source, _, rest = name.partition("/")
        if source == "peps" and rest.endswith(".rst"):
            body = text.split("\n\n", 1)[-1]
            yield Text("peps", 3, "peps", prose(re.split(r"(?m)^(References|Copyright)\n=", body)[0]))
        elif source in ("state_union", "inaugural"):
            yield Text("speeches", 2, "speeches", prose(text))


_QUOTED = re.compile(r"\s*[>|:#]|.*(writes|wrote|says):\s*$|In article")


def newsgroups(data: Path) -> Iterator[Text]:
    """Usenet posts without header and quotations: those of the sci groups 2, the others 1, for sale 0."""
    for row in jsonl(data / "lowquality/forum-20newsgroups.jsonl.gz"):
        lines = row["text"].split("\n\n", 1)[-1].splitlines()
        body = "\n".join(line for line in lines if not _QUOTED.match(line))
        grade = 2 if row["group"].startswith("sci.") else 0 if row["group"] == "misc.forsale" else 1
        source = "newsgroups sci.*" if grade == 2 else "newsgroups for sale" if grade == 0 else "newsgroups"
        yield Text(source, grade, row["group"], body)


def mail(data: Path) -> Iterator[Text]:
    """Spam 0, other mail 1."""
    for row in jsonl(data / "lowquality/spamassassin.jsonl.gz"):
        grade = 0 if row["label"] == "spam" else 1
        yield Text(f"mail: {row['label']}", grade, f"mail-{row['folder']}", body_of(row["raw"]))


def messages(data: Path) -> Iterator[Text]:
    """Text messages and comments under a video: 0."""
    sms, tube = [], []
    with gzip.open(data / "lowquality/sms-spam-collection.tsv.gz", "rt", encoding="utf-8", errors="replace") as file:
        sms = [line.split("\t", 1)[1].strip() for line in file if "\t" in line]
    tube = [row["text"] for row in jsonl(data / "lowquality/youtube-comment-spam.jsonl.gz")]
    for source, items in (("text messages", sms), ("video comments", tube)):
        yield from (Text(source, 0, source, text) for text in joined(items, (1, 3, 12)))


def headlines(data: Path) -> Iterator[Text]:
    """Headlines, in lists: clickbait 0, others 1. Unseen."""
    for name, grade in (("clickbait", 0), ("non_clickbait", 1)):
        with gzip.open(data / f"lowquality/{name}_data.txt.gz", "rt", encoding="utf-8", errors="replace") as file:
            items = [line.strip() for line in file if line.strip()]
        for text in joined(items[:6_000], (3, 12, 30)):
            yield Text("headlines: " + ("others" if grade else "clickbait"), grade, name, text)


def chatter(data: Path) -> Iterator[Text]:
    """Overheard talk and personal ads 0; bug titles 0; reviews 1."""
    for row in jsonl(data / "lowquality/chatter-and-reviews.jsonl.gz"):
        folder, _, name = row["id"].partition("/")
        text = re.sub(r"(?m)^(\[t\]|[\w ,\[\]+-]*##)|\[[+-]?\d\]", " ", row["text"])
        reviews = folder != "webtext" or name == "wine.txt"
        yield Text("reviews" if reviews else "chatter", 1 if reviews else 0, f"{folder}-{name}", text)


def boilerplate(data: Path) -> Iterator[Text]:
    """Login, search, contact and registration pages with all their text: 0."""
    with (data / "lowquality/boilerplate-pages.warc.gz").open("rb") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
            content = record.reader.read()
            page = bytes_to_str(content, detect_encoding(content))
            text = extract_plain_text(page, alt_texts=False, form_fields=True, noscript=False)
            yield Text("boilerplate pages", 0, host(record.headers.get("WARC-Target-URI") or ""), text)


#: Kinds of pages of the web-extraction benchmark; the others are unseen.
WEB = {"article": 2, "documentation": 3, "service": 1, "listing": 1}
WEB_UNSEEN = {"forum": 1, "product": 1, "collection": 1}


def web(data: Path) -> Iterator[Text]:
    """Main text of web pages by their kind, as people marked it: WCXB. No site is on both sides."""
    pages = [row for row in jsonl(data / "web/gold.jsonl.gz") if row.get("page_type") in WEB | WEB_UNSEEN]
    kept_out = {host(row["url"]) for row in pages if row["page_type"] in WEB_UNSEEN}
    for row in pages:
        kind, site = row["page_type"], host(row["url"])
        if kind in WEB_UNSEEN or site not in kept_out:
            yield Text(f"web {kind}", (WEB | WEB_UNSEEN)[kind], site, row["text"])


def questions(data: Path) -> Iterator[Text]:
    """Posts of Stack Exchange sites: about beer 2, about a site's own affairs 1. Unseen."""
    for site, grade in (("beer.stackexchange.com", 2), ("bicycles.meta.stackexchange.com", 1)):
        with gzip.open(data / f"internal/stackexchange/{site}/Posts.xml.gz") as file:
            for _, row in ET.iterparse(file):  # noqa: S314  # a dump of ours, not input of a run
                body = html.unescape(re.sub(r"<[^>]+>", " ", row.get("Body", "")))
                if row.get("PostTypeId") in ("1", "2"):
                    yield Text(site, grade, site, body)


SOURCES = (
    openstax, handbooks, specifications, newsgroups, mail, messages, headlines, chatter, boilerplate, web, questions
)  # fmt: skip


def is_unseen(text: Text) -> bool:
    """Whether a source is kept for the test on sources that the model was not trained on."""
    return text.source.startswith(("openstax, other", "d2l", "headlines", "mail: ham")) or (
        text.source in {f"web {kind}" for kind in WEB_UNSEEN} or text.source.endswith("stackexchange.com")
    )


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
    words = text.split()
    at = 0
    while at < len(words):
        size = next(lengths)
        piece = words[at : at + size]
        if len(piece) >= 12 or at == 0:
            yield " ".join(piece)
        at += size


def assemble(data: Path, seed: int = 0) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """The rows for training and the unseen ones."""
    rows: dict[str, list[dict[str, object]]] = {}
    unseen: set[str] = set()
    for source in SOURCES:
        lengths = cycle(LENGTHS)
        for text in source(data):
            if is_unseen(text):
                unseen.add(text.source)
            for passage in passages(text.text, lengths):
                if text.source not in SHORT and identify(windows(passage), 4 * WINDOW)[0] != "en":
                    continue
                rows.setdefault(text.source, []).append(
                    {"text": passage, "label": text.grade, "group": text.group, "source": text.source}
                )
    for name, found in rows.items():
        rows[name] = random.Random(f"{seed}/{name}").sample(found, min(len(found), MOST))  # noqa: S311
    train = [row for name, found in rows.items() if name not in unseen for row in found]
    return train, [row for name, found in rows.items() if name in unseen for row in found]


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
    train, unseen = assemble(Path(os.environ["CURATE_DATA"]))
    write(out / "train.jsonl.gz", train)
    write(out / "unseen.jsonl.gz", unseen)
    print(f"{len(train):,} passages to train on, {len(unseen):,} of unseen sources")


if __name__ == "__main__":
    main()
