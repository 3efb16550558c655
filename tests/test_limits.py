"""Hostile and huge inputs: a row each, bounded memory, and every other document of the same file is there."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import textwrap
import zlib
from typing import TYPE_CHECKING

import duckdb
import pytest

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes of resident memory that no process of a run may exceed (promise 10).
MOST = 2 * 1024**3
_MEASURED = textwrap.dedent("""
    import resource, subprocess, sys
    done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
    sys.stderr.write(done.stderr)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    sys.exit(done.returncode)
""")


def peak_of(*command: str) -> int:
    """The peak memory of the largest process among a command and all that it starts; the command must succeed."""
    done = subprocess.run([sys.executable, "-c", _MEASURED, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def warc_record(number: int, body: bytes, headers: bytes = b"") -> bytes:
    """A response record for one page."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n" + headers + b"\r\n" + body
    return (
        f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-{number:012d}>\r\n"
        f"WARC-Target-URI: https://limits.example/{number}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    ).encode() + http + b"\r\n\r\n"  # fmt: skip


def page(number: int) -> bytes:
    """A page with a paragraph of its own."""
    text = f"Page {number} explains how things work. " * 20
    return f"<html><body><article><p>{text}</p></article></body></html>".encode()


def zeros(size: int) -> bytes:
    """A gzip member that expands to so many zero bytes, made without holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    return b"".join([*(packer.compress(block) for _ in range(size >> 20)), packer.flush()])


def bomb_record(number: int, size: int) -> bytes:
    """A gzip member that holds a record of so many zero bytes."""
    head = warc_record(number, b"")[: -len(b"\r\n\r\n")]
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    head = head.replace(f"Content-Length: {length}".encode(), f"Content-Length: {length + size}".encode())
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    blocks = (packer.compress(block) for _ in range(size >> 20))
    return b"".join([packer.compress(head), *blocks, packer.compress(b"\r\n\r\n"), packer.flush()])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """One run over all of it, and the peak memory of its largest process."""
    place = tmp_path_factory.mktemp("limits")
    with (place / "long.jsonl").open("w") as stream:
        stream.write(json.dumps({"text": "a short one before"}) + "\n")
        stream.write(
            json.dumps({"text": "the quick brown fox jumps over lazy dogs " * 1_250_000}) + "\n"
        )  # 51 MB, one line
        stream.write(json.dumps({"text": " ".join(map(str, range(6_000_000)))}) + "\n")  # 47 MB, no word twice
        stream.write(json.dumps({"text": "a short one after"}) + "\n")
    (place / "line.txt").write_text("word" * 12_500_000)  # 50 MB, one word
    members = [gzip.compress(warc_record(n, page(n)), mtime=0) for n in range(6)]
    body = gzip.compress(warc_record(7, zeros(1 << 30), b"Content-Encoding: gzip\r\n"), mtime=0)
    (place / "bombs.warc.gz").write_bytes(
        b"".join([*members[:2], bomb_record(6, 1 << 30), *members[2:4], body, *members[4:]])
    )
    whole = b"".join(members)
    (place / "cut.warc.gz").write_bytes(whole[: len(whole) - len(members[-1]) // 2])
    plain = b"".join(warc_record(n, page(n)) for n in range(6))
    (place / "cut.warc").write_bytes(plain[: len(plain) // 2 + 100])
    lines = "".join(json.dumps({"text": f"line {n}"}) + "\n" for n in range(1000)).encode()
    (place / "cut.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0)[:-2000])
    (place / "recipe.toml").write_text("""
        name = "limits"
        [dedup]
        max_loss = 1.0
        [rules]
        presets = ["gopher-quality", "gopher-repetition", "c4", "fineweb"]
        [[source]]
        name = "long"
        kind = "jsonl"
        paths = ["long.jsonl"]
        [[source]]
        name = "line"
        kind = "text"
        paths = ["line.txt"]
        [[source]]
        name = "bombs"
        kind = "warc"
        paths = ["bombs.warc.gz"]
        [[source]]
        name = "cut"
        kind = "warc"
        paths = ["cut.warc.gz", "cut.warc"]
        [[source]]
        name = "lines"
        kind = "jsonl"
        paths = ["cut.jsonl.gz"]
    """)
    return place, peak_of(
        sys.executable, "-m", "curation", "run", str(place / "recipe.toml"), "--workers", "2", "--until", "report"
    )  # nothing of it is kept, so there is nothing to publish


def rows(place: Path, source: str) -> list[dict[str, object]]:
    """The documents of a source with their measures, in order."""
    folder = f"{place}/work/limits"
    table = duckdb.sql(f"""
        SELECT origin, uri, error, text, word_count FROM '{folder}/documents/{source}/*.parquet' AS documents
        JOIN '{folder}/signals/length/{source}/*.parquet' USING (id)
    """)
    found = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
    return sorted(
        found, key=lambda row: (str(row["origin"]).split("#")[0], int(str(row["origin"]).partition("#")[2] or 0))
    )


def test_no_worker_exceeds_its_memory(ran: tuple[Path, int]) -> None:
    """All of it under 2 GiB a process."""
    assert ran[1] < MOST


def test_long_texts_are_measured(ran: tuple[Path, int]) -> None:
    """A 50 MB line, one of six million different words, and one word of 50 MB are rows like any other."""
    place, _ = ran
    assert [row["word_count"] for row in rows(place, "long")] == [4, 10_000_000, 6_000_000, 4]
    assert [row["word_count"] for row in rows(place, "line")] == [1]


def test_a_member_that_expands_to_a_gigabyte_is_a_row(ran: tuple[Path, int]) -> None:
    """Whether the record or its body does; the pages before, between and after are there."""
    found = rows(ran[0], "bombs")
    assert [row["uri"] for row in found if row["error"] is None] == [f"https://limits.example/{n}" for n in range(6)]
    assert all(row["text"] for row in found if row["error"] is None)
    assert len([row for row in found if row["error"]]) == 2
    assert all("limit of 20,971,520" in str(row["error"]) for row in found if row["error"])


def test_a_file_cut_in_the_middle_keeps_every_whole_document(ran: tuple[Path, int]) -> None:
    """And the cut is a row that says so, in a WARC, compressed or not, and in compressed lines."""
    found = rows(ran[0], "cut")
    packed = [row for row in found if str(row["origin"]).startswith("cut.warc.gz#")]
    assert [row["error"] is None for row in packed] == [True] * 5 + [False]
    plain = [row for row in found if str(row["origin"]).startswith("cut.warc#")]
    assert [row["error"] is None for row in plain] == [True] * 3 + [False]
    lines = rows(ran[0], "lines")
    assert [row["text"] for row in lines if row["error"] is None] == [f"line {n}" for n in range(len(lines) - 1)]
    assert len(lines) > 100
    assert lines[-1]["error"]
