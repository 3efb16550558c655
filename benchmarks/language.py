"""How large a sample of a document `language` must read: accuracy on labelled text, and cost.

    CURATE_DATA=… PYTHONPATH=. python benchmarks/language.py
    CURATE_DATA=… PYTHONPATH=. python benchmarks/language.py --labels labels.jsonl

The second writes the labelled text for `curate classifier evaluate language`.

Labelled are the Universal Declaration of Human Rights in some hundred languages, the messages of Django in each of its
translations (downloaded from PyPI into a temporary folder), and web pages whose language a list of stop words tells.
"""

from __future__ import annotations

import gettext
import gzip
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from classifiers.language import identified
from classifiers.model import joined
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(os.environ["CURATE_DATA"])
DJANGO = "django==5.2.8"
WINDOWS = (20, 40, 60, 80, 100, 150, 200, 300, 600, 10**9)
#: Bytes of messages that make a document, so that every window but the last two is a sample of it.
BYTES = 3_000

#: The Declaration's files whose languages the model knows: name=code.
DECLARATIONS = """
    afr=af amh=am arb=ar bel=be bul=bg ben=bn bre=br cat=ca ces=cs cym=cy dan=da deu_1996=de ell_monotonic=el eng=en
    epo=eo spa=es est=et eus=eu pes_1=fa fin=fi fra=fr gle=ga gla=gd glg=gl guj=gu heb=he hin=hi hun=hu hye=hy
    isl=is ita=it jpn=ja kat=ka kaz=kk khm=km kan=kn kor=ko kir=ky lao=lo lit=lt mkd=mk mal=ml khk=mn mar=mr
    mya=my nld=nl pan=pa pol=pl por_BR=pt ron=ro rus=ru slk=sk slv=sl swe=sv swh=sw tam=ta tha=th tur=tr ukr=uk
    urd=ur vie=vi cmn_hans=zh jav=jv lvs=lv mlt=mt sin=si som=so als=sq tel=te tgl=tl uzn_latn=uz xho=xh yor=yo zul=zu
    hat=ht ibo=ig hau_NG=ha kin=rw lin=ln ltz=lb nob=no oci_1=oc pus=ps que=qu san=sa sna=sn sot=st srp_cyrl=sr tat=tt
    tgk=tg tuk_latn=tk uig_arab=ug plt=mg lat=la fao=fo fry=fy gug=gug hrv=hr ind=id azj_latn=az nep=ne
"""


def declarations() -> Iterator[tuple[str, str]]:
    """Each translation and its language."""
    codes = dict(pair.split("=") for pair in DECLARATIONS.split())
    with tarfile.open(DATA / "internal/plain-text.tar.gz") as archive:
        for one in archive:
            if "udhr2/" in one.name and (code := codes.get(Path(one.name).stem)):
                yield code, archive.extractfile(one).read().decode("utf-8")


def messages(folder: Path) -> Iterator[tuple[str, str]]:
    """Django's messages in each language, joined into documents."""
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, DJANGO], check=True)
    texts: dict[str, list[str]] = {}
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        for name in sorted(wheel.namelist()):
            if found := re.search(r"locale/(\w+)/LC_MESSAGES/django\.mo$", name):
                with wheel.open(name) as file:
                    catalog = gettext.GNUTranslations(file)._catalog  # noqa: SLF001  # gettext lists it no other way
                code = {"nb": "no"}.get(found[1].split("_")[0], found[1].split("_")[0])
                texts.setdefault(code, []).extend(
                    re.sub(r"%(\(\w+\))?\w|\{\w*\}|<[^>]+>", " ", text)
                    for key, text in catalog.items()
                    if key and text != key
                )
    for code, parts in texts.items():
        document, size = [], 0
        for part in parts:
            document.append(part)
            size += len(part.encode())
            if size >= BYTES:
                yield code, "\n".join(document)
                document, size = [], 0


def pages() -> Iterator[tuple[str, str]]:
    """Whole web pages, menus and all, with the language that the stop words tell."""
    with gzip.open(DATA / "web/pages.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = map(json.loads, file)
        guesses = {row["url"]: row["lang_guess"] for row in rows if row["warc"] == "multilingual.warc.gz"}
    with (DATA / "web/multilingual.warc.gz").open("rb") as file:
        for record in ArchiveIterator(file, WarcRecordType.response):
            raw = record.reader.read()
            if code := guesses.get(record.headers["WARC-Target-URI"]):
                yield code, extract_plain_text(bytes_to_str(raw, detect_encoding(raw)))


def english() -> Iterator[tuple[str, str]]:
    """The main texts of web pages, all but four of them English."""
    with gzip.open(DATA / "web/gold.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from (("en", json.loads(line)["text"]) for line in file)


def right(labelled: list[tuple[str, str]], window: int, least: float = 0.0) -> float:
    """The share of the texts whose language is found, with this score at least."""
    languages, scores = identified(*joined(text for _, text in labelled), window)
    found = np.array(languages) == np.array([code for code, _ in labelled])
    return float((found & (scores >= least)).mean())


def labelled() -> dict[str, list[tuple[str, str]]]:
    """Each set of texts with their languages."""
    with tempfile.TemporaryDirectory() as folder:
        sets = [list(declarations()), list(messages(Path(folder))), list(pages()), list(english())]
    known = set(DECLARATIONS.replace("=", " ").split()) | {code for code, _ in sets[2]}
    sets[1] = [(code, text) for code, text in sets[1] if code in known]
    return dict(zip(("declarations", "messages", "pages", "English texts"), sets, strict=True))


def write(path: Path) -> None:
    """Write the texts as labels, each set as a source, and each line of the declarations as a short text.

    Left out are pages whose language nobody knows, and lines that repeat or hold a number: "Article 1", "Article 2".
    """
    sets = labelled()
    lines = [(code, line.strip()) for code, text in sets["declarations"] for line in text.splitlines()]
    sets["lines"] = list(dict.fromkeys(one for one in lines if one[1] and not any(map(str.isdigit, one[1]))))
    with path.open("w", encoding="utf-8") as file:
        for source, texts in sets.items():
            for code, text in texts:
                if re.fullmatch("[a-z]{2,3}", code):
                    row = {"text": text, "label": code, "source": source}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main() -> None:
    """Print the table."""
    sets = list((named := labelled()).values())
    text = pq.read_table(DATA / "bench/text-mixed.parquet", columns=["text"])["text"]
    batches = [Batch(chunk) for chunk in text.chunks]
    total = sum(int(batch.bounds[-1] - batch.bounds[0]) for batch in batches)
    print(f"{datetime.now(UTC).date()}, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    for name, one in named.items():
        print(f"{name}: {len(one):,} in {len({code for code, _ in one})} languages")
    print("| window | declarations | messages | pages | English at 0.65 | microseconds a document | MB/s |")
    for window in WINDOWS:
        shares = [right(one, window) for one in sets[:3]] + [right(sets[3], window, 0.65)]
        cost = "| | |"
        if window < WINDOWS[-1]:
            taken = []
            for _ in range(3):
                began = time.process_time()
                for batch in batches:
                    identified(batch.data, batch.bounds, window)
                taken.append(time.process_time() - began)
            seconds = float(np.median(taken))
            cost = f"| {seconds / len(text) * 1e6:.0f} | {total / seconds / 1e6:.0f} |"
        name = f"3 x {window}" if window < WINDOWS[-1] else "all"
        print("|", name, "|", " | ".join(f"{100 * share:.1f} %" for share in shares), cost, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--labels"]:
        write(Path(sys.argv[2]))
    else:
        main()
