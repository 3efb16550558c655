"""Archives read in place: the texts of the unpacked tree, nothing on disk, and every fault a row."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import pipeline, sources
from curation.recipe import load
from curation.sources import archives
from curation.sources.record import Record, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.engine import LocalEngine

#: Name in the archive -> content; None: a folder.
TREE: dict[str, bytes | None] = {
    "docs": None,
    "docs/bees.txt": b"Bees fly.",
    "docs/pic.png": b"\x89PNG\0",
    "docs/.hidden.txt": b"not seen",
    ".git/notes.txt": b"not seen",
    "docs/packed.txt.gz": gzip.compress(b"Bees sleep.", mtime=0),
    "docs/na\u00efve.rst": b"Bees\n====\n",
    f"deep/{'d' * 120}/{'e' * 120}.txt": b"Far down.",
    "docs/binary.txt": b"a\0b",
    "empty.txt": b"",
    "inner.zip": b"PK\3\4",
}
TEXTS = {
    "docs/bees.txt": "Bees fly.",
    "docs/packed.txt.gz": "Bees sleep.",
    "docs/na\u00efve.rst": "Bees\n====\n",
    f"deep/{'d' * 120}/{'e' * 120}.txt": "Far down.",
    "docs/binary.txt": "! the file is binary, not text: it holds NULs",
    "empty.txt": "",
    "inner.zip": "! an archive in an archive: not read",
}


def read(name: str, data: bytes, start: int = 0, kind: str = "text") -> list[Record | Skipped]:
    """All that an archive holds."""
    source: Any = SimpleNamespace(name="s", kind=kind, license=None, fields={})
    extract: Any = SimpleNamespace(engine="resiliparse", format="text", model="default")
    module: Any = sources.load(kind)
    return list(archives.read(io.BytesIO(data), name, start, source, extract, module))


def texts(found: list[Record | Skipped]) -> dict[str | None, str | None]:
    """Name in the archive -> its text, or its error after "! "."""
    rows = [one for one in found if isinstance(one, Record)]
    assert len({row.place for row in rows}) == len(rows)
    return {row.place: row.text if row.error is None else f"! {row.error}" for row in rows}


def tar(tree: dict[str, bytes | None] | list[tuple[str, bytes | None]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of a tree."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in tree.items() if isinstance(tree, dict) else tree:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
    return out.getvalue()


def zipped(tree: dict[str, bytes | None] | list[tuple[str, bytes | None]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of a tree."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in tree.items() if isinstance(tree, dict) else tree:
            archive.writestr(f"{name}/" if content is None else name, content or b"")
    return out.getvalue()


def streamed_zip(tree: dict[str, bytes | None]) -> bytes:
    """A zip as a pipe writes it: sizes stand after the members."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(bytes(data))

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in tree.items():
            if content is not None:
                archive.writestr(name, content)
    return bytes(pipe.data)


MADE: dict[str, Callable[[], tuple[str, bytes]]] = {
    "tar, pax": lambda: ("a.tar", tar(TREE)),
    "tar, GNU": lambda: ("a.tar", tar(TREE, tarfile.GNU_FORMAT)),
    "tar.gz": lambda: ("a.tar.gz", gzip.compress(tar(TREE))),
    "tgz": lambda: ("a.TGZ", gzip.compress(tar(TREE))),
    "tar.zst": lambda: ("a.tar.zst", zstandard.compress(tar(TREE))),
    "zip": lambda: ("a.zip", zipped(TREE)),
    "zip, stored": lambda: ("a.zip", zipped(TREE, zipfile.ZIP_STORED)),
    "zip, streamed": lambda: ("a.zip", streamed_zip(TREE)),
    "zip after a program": lambda: ("a.zip", b"#!/bin/sh\n" * 99 + zipped(TREE)),
}


@pytest.mark.parametrize("form", MADE)
def test_members_are_documents_and_the_others_are_counted(form: str) -> None:
    """Each file that the kind reads is a row under its name; reading resumes after any member."""
    name, data = MADE[form]()
    found = read(name, data)
    assert texts(found) == TEXTS
    counted = Counter(one.type for one in found)
    folders = {} if form == "zip, streamed" else {"directory": 1}
    assert counted == {"file": 6, "archive": 1, "hidden": 2, "other": 1, **folders}
    for at, one in enumerate(found):
        assert read(name, data, one.end) == found[at + 1 :]


def test_each_kind_reads_its_own() -> None:
    """Of the same archive."""
    tree: dict[str, bytes | None] = {
        "a.md": b"# Bees",
        "b.HTML": b"<title>Ants</title><p>Ants walk.",
        "c.txt": b"text",
        "d.jsonl": b'{"text": "one"}\n\n[1]\n{"text": "two", "url": "u"}',
    }
    data = zipped(tree)
    assert texts(read("a.zip", data, kind="markdown")) == {"a.md": "# Bees"}
    assert texts(read("a.zip", data, kind="html")) == {"b.HTML": "Ants walk."}
    lines = read("a.zip", data, kind="jsonl")
    assert texts(lines) == {
        "d.jsonl#0": "one",
        "d.jsonl#2": "! expected an object, got an array",
        "d.jsonl#3": "two",
    }
    for at, one in enumerate(lines):
        assert read("a.zip", data, one.end, kind="jsonl") == lines[at + 1 :]


@pytest.mark.parametrize("make", [tar, zipped])
def test_no_name_is_trusted(
    make: Callable[[list[tuple[str, bytes | None]]], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that lead out are rows with error, absolute ones lose their root, a name that comes again gets a number."""
    name = "a.tar" if make is tar else "a.zip"
    monkeypatch.chdir(tmp_path)
    found = texts(
        read(
            name,
            make(
                [
                    ("../out.txt", b"1"),
                    ("a/../../out.txt", b"2"),
                    ("/etc/motd.txt", b"3"),
                    ("C:/windows.txt", b"4"),
                    ("./a//b/../c.txt", b"5"),
                    ("a/c.txt", b"6"),
                    ("x" * 5000 + ".txt", b"7"),
                ]
            ),
        )
    )
    assert found == {
        "../out.txt": "! the name '../out.txt' leads out of the archive",
        "a/../../out.txt": "! the name 'a/../../out.txt' leads out of the archive",
        "etc/motd.txt": "3",
        "windows.txt": "4",
        "a/c.txt": "5",
        "a/c.txt#5": "6",
        "x" * 100 + "…" + "x" * 16 + ".txt": "! a name of 5,004 bytes: over the limit of 4,096",
    }
    assert list(tmp_path.iterdir()) == []


def test_links_and_devices_are_counted_and_never_followed() -> None:
    """Whatever they are called and lead to."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo("a.txt")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert [one.type for one in read("a.tar", out.getvalue())] == ["link", "link", "device", "device", "directory"]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        info = zipfile.ZipInfo("a.txt")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        packed.writestr(info, "/etc/passwd")
    assert [one.type for one in read("a.zip", out.getvalue())] == ["link"]


def test_names_that_are_not_utf_8() -> None:
    """Bytes that are not UTF-8 are written as names of files are; a zip without the flag has code page 437."""
    raw = tar({"b\udce9e.txt": b"1"}, tarfile.GNU_FORMAT)
    assert b"b\xe9e.txt" in raw
    assert texts(read("a.tar", raw)) == {"b%E9e.txt": "1"}
    data = zipped({"bAe.txt": b"1"}).replace(b"bAe.txt", b"b\x82e.txt")
    assert texts(read("a.zip", data)) == {"b\u00e9e.txt": "1"}
    data = zipped({"bAAe.txt": b"1"}).replace(b"bAAe.txt", "b\u00e9e.txt".encode())
    assert texts(read("a.zip", data)) == {"b\u00e9e.txt": "1"}


# Damage ---------------------------------------------------------------------------------------------------------------


def big_tree(count: int = 20) -> dict[str, bytes | None]:
    """Files that do not compress to nothing."""
    return {f"{n:02}.txt": f"{n} bees. ".encode() + os.urandom(300).hex().encode() for n in range(count)}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_archive_gives_what_was_read_and_a_row(name: str, share: float) -> None:
    """Never half a text as if whole."""
    tree = big_tree(60)
    data = {"a.tar": tar, "a.tar.gz": lambda tree: gzip.compress(tar(tree)), "a.zip": zipped}[name](tree)
    data = data.rstrip(b"\0")  # a tar is filled up with blocks of NULs
    whole = texts(read(name, data))
    found = read(name, data[: int(len(data) * share)])
    good = {place: text for place, text in texts(found).items() if text and not text.startswith("! ")}
    assert good.items() <= whole.items()
    assert len(good) >= 60 * (share - 0.1)
    last = found[-1]
    assert isinstance(last, Record)
    assert "end" in str(last.error)


@pytest.mark.parametrize("kind", ["text", "jsonl"])
def test_reading_resumes_in_a_cut_tar(kind: str) -> None:
    """Wherever it is cut, and wherever reading begins: the rows are those of a run that was not killed."""
    tree: dict[str, bytes | None] = {
        f"{n}.{suffix}": b'{"text": "Bees fly."}\n' * 99 for n in range(2) for suffix in ("txt", "jsonl", "png")
    }
    whole = tar(tree, tarfile.GNU_FORMAT)
    seen = set()
    for length in range(1, 512 * 42, 400):
        found = read("a.tar", whole[:length], kind=kind)
        seen |= {str(one.error).partition(":")[0] for one in found if isinstance(one, Record)}
        for at, one in enumerate(found):
            assert read("a.tar", whole[:length], one.end, kind=kind) == found[at + 1 :]
    assert {"the archive ends in the middle of a member", "the archive ends in the middle of a header"} < seen


def test_a_zip_that_lies_about_sizes_is_read_to_its_end() -> None:
    """Its directory is missing, and a header says more than a file can hold."""
    data = zipped({"a.txt": b"Bees fly."}, zipfile.ZIP_STORED)
    for packed in (2**64 - 1, 2**63 - 40, 10**6):
        lie = bytearray(data[: data.index(b"PK\1\2")])
        lie[18:26] = b"\xff" * 8
        extra = struct.pack("<2H2Q", 1, 16, packed, packed)
        lie[28:30] = len(extra).to_bytes(2, "little")
        lie[35:35] = extra
        found = read("a.zip", bytes(lie))
        assert texts(found) == {
            "a.txt": "! the archive ends in the middle of this member, after 9 bytes",
            None: "! the archive is cut: its directory, which stands at its end, is missing",
        }


def test_a_directory_of_no_members_over_bytes_is_a_row() -> None:
    """A comment may hold what looks like an end; an archive that is empty has none."""
    data = bytearray(zipped({"a.txt": b"Bees fly."}))
    nothing = zipped({})
    data[-2:] = len(nothing).to_bytes(2, "little")
    found = texts(read("a.zip", bytes(data) + nothing))
    assert found == {None: "! the archive's directory lists no members, yet something stands before it"}
    assert read("a.zip", nothing) == []


class Counted(io.BytesIO):
    """Bytes that know where they were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.places: list[int] = []

    def read(self, size: int | None = -1, /) -> bytes:
        """As it is, and noted."""
        self.places.append(self.tell())
        return super().read(size)


def test_only_members_that_are_read_are_opened() -> None:
    """In S3 each is a request: none for what is skipped, none for what was read before."""
    tree = {f"{n:03}.{'txt' if n % 10 == 0 else 'png'}": os.urandom(2000).hex().encode() for n in range(200)}
    data = zipped(tree)
    source: Any = SimpleNamespace(fields={})
    directory = data.index(b"PK\1\2")
    for start, wanted in ((0, 20), (195 << 40, 0), (190 << 40, 1)):
        file = Counted(data)
        found = list(archives.read(file, "a.zip", start, source, source, sources.load("text")))  # type: ignore[arg-type]
        assert len(found) == 200 - (start >> 40)
        headers = {data.index(name.encode()) - 30 for name in tree}
        assert len(headers & set(file.places)) == wanted
        assert sum(place < directory for place in file.places) <= 3 * wanted + 2


def test_no_more_of_a_directory_is_read_than_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many it lists."""
    data = zipped({f"{n}.txt": b"Bees." for n in range(50)})
    seen = []
    listed = archives._entries

    def watched(*arguments: Any) -> Any:
        for entry in listed(*arguments):
            seen.append(entry)
            yield entry

    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    monkeypatch.setattr(archives, "_entries", watched)
    found = read("a.zip", data)
    assert [one.type for one in found] == ["file"] * 5 + ["damaged"]
    assert len(seen) == 12


def test_a_long_directory_is_not_copied_for_each_member() -> None:
    """Only what is left is, when more is read."""
    copied = 0

    class Held(bytes):
        def __getitem__(self, place: Any) -> Any:
            nonlocal copied
            part = Held(super().__getitem__(place))
            copied += len(part)
            return part

        def __radd__(self, front: bytes) -> Held:
            return Held(bytes(front) + bytes(self))

        def __add__(self, more: bytes) -> Held:
            return Held(bytes(self) + bytes(more))

    class File(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return Held(super().read(size))

    entry = zipped({"a.txt": b""})
    entry = entry[entry.index(b"PK\1\2") : entry.index(b"PK\5\6")]
    directory = entry * 30_000
    assert sum(1 for _ in archives._entries(File(directory), 0, len(directory), 0)) == 30_000
    assert 0 < copied < 2 * len(directory)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_damaged_member_of_a_zip_is_a_row(method: int) -> None:
    """The others are there."""
    data = bytearray(zipped(big_tree(), method))
    at = data.index(b"07.txt") + 60
    data[at] ^= 0xFF
    found = texts(read("a.zip", bytes(data)))
    (bad,) = [place for place, text in found.items() if str(text).startswith("! ")]
    assert bad == "07.txt"
    assert str(found[bad]).startswith("! damaged member: ")
    assert len(found) == 20


def test_a_damaged_header_of_a_tar_is_a_row() -> None:
    """Reading goes on at the next header."""
    data = bytearray(tar(big_tree(), tarfile.GNU_FORMAT))
    at = data.index(b"07.txt")
    data[at + 148 : at + 156] = b"99999999"
    found = texts(read("a.tar", bytes(data)))
    assert found.pop(None) == "! 1,536 bytes that are no member of the archive"
    assert len(found) == 19
    assert "07.txt" not in found


def test_encrypted_and_unknown_compression_are_rows() -> None:
    """With the method's name."""
    data = bytearray(zipped({"a.txt": b"Bees fly." * 9, "b.txt": b"Ants."}))
    entry = data.index(b"PK\1\2")
    data[entry + 8] |= 1
    assert texts(read("a.zip", bytes(data))) == {"a.txt": "! encrypted: not read", "b.txt": "Ants."}
    data = bytearray(zipped({"a.txt": b"Bees fly." * 9, "b.txt": b"Ants."}, zipfile.ZIP_LZMA))
    assert texts(read("a.zip", bytes(data)))["a.txt"] == "! compressed with LZMA: not read"


def test_members_that_share_their_bytes_are_rows() -> None:
    """A zip of 42 kB that would be petabytes has many names for the same bytes."""
    data = zipped({"a.txt": b"Bees fly."})
    entry = data[data.index(b"PK\1\2") : data.index(b"PK\5\6")]
    end = bytearray(data[data.index(b"PK\5\6") :])
    end[8:12] = b"\2\0\2\0"
    end[12:16] = (2 * len(entry)).to_bytes(4, "little")
    bomb = data[: data.index(b"PK\1\2")] + entry + entry.replace(b"a.txt", b"b.txt") + bytes(end)
    assert zipfile.ZipFile(io.BytesIO(bomb)).namelist() == ["a.txt", "b.txt"]
    what = "! its bytes are those of another member, too"
    assert texts(read("a.zip", bomb)) == {"a.txt": what, "b.txt": what}


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.tar", b"", "not a tar archive"),
        ("a.tar", b"no tar at all " * 99, "1,386 bytes that are no member of the archive"),
        ("a.tar.gz", b"\x1f\x8b\x08garbage", "the archive ends too early: the gzip stream is damaged: Error -3 while"),
        ("a.zip", b"", "not a zip archive"),
        ("a.zip", b"no zip at all", "not a zip archive"),
        ("a.tar", tar({"a.png": b"x" * 200})[:600], "the archive ends in the middle of a member"),
        ("a.tar", tar({"a.png": b"x"})[:1024], "the archive ends without the mark of its end: members may be missing"),
        ("a.tar", tar({"a.png": b"x"}) + b"more", "more follows the mark of the archive's end: not read"),
    ],
)  # fmt: skip
def test_what_is_no_archive_is_a_row(name: str, data: bytes, error: str) -> None:
    """Which says so."""
    rows = [one for one in read(name, data) if isinstance(one, Record)]
    ((said, kind),) = [(row.error, row.type) for row in rows]
    assert str(said).startswith(error)
    assert kind == "damaged"


GOOD = {form: MADE[form]() for form in ("tar, pax", "tar, GNU", "tar.gz", "zip", "zip, stored", "zip, streamed")}


@given(data=st.data(), form=st.sampled_from(sorted(GOOD)))
@settings(max_examples=300, deadline=None)
def test_no_damage_makes_it_raise(data: st.DataObject, form: str) -> None:
    """Bytes changed, taken out or put in become rows, each in a place of its own."""
    name, good = GOOD[form]
    at = data.draw(st.integers(0, len(good)))
    junk = data.draw(st.binary(max_size=20))
    found = read(name, good[:at] + junk + good[at + data.draw(st.integers(0, 20)) :])
    for one in found:
        if isinstance(one, Record):
            assert (one.text is None) != (one.error is None)
    assert len({one.offset for one in found}) == len(found)


def test_bombs_take_little_memory(tmp_path: Path) -> None:
    """A member of 4 GB of NULs, a long name of 1 GB and a header that claims more than there is."""
    big = zipfile.ZipInfo("big.txt")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(big, "w", force_zip64=True) as out:
            for _ in range(600):
                out.write(bytes(1 << 20))
        archive.writestr("b.txt", "Bees.")
    name = bytearray(tar({"x": b""})[:512])
    name[156:157] = b"L"
    name[124:136] = b"%011o\0" % (1 << 30)
    name[148:156] = b" " * 8
    name[148:156] = b"%06o\0 " % sum(name)
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as out:
        out.write(name)
        for _ in range(1 << 10):
            out.write(bytes(1 << 20))
        out.write(tar({"c.txt": b"lost name", "d.txt": b"Ants."}))
    script = (
        "import sys; from types import SimpleNamespace as N; from curation.sources import archives, text\n"
        "e = N(engine='resiliparse', format='text', model='default')\n"
        "for name in sys.argv[1:]:\n"
        "    for r in archives.read(open(name, 'rb'), name, 0, N(fields={}), e, text):\n"
        "        print(r.error or r.text)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0] if sys.platform == 'linux' else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.zip", tmp_path / "a.tar.gz"],
        cwd=Path(__file__).parent.parent, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    *lines, kilobytes = done.stdout.splitlines()
    assert lines == [
        "text of more than 268,435,456 bytes: over the limit",
        "Bees.",
        "a header of more than 1,048,576 bytes: over the limit",
        "Ants.",
    ]
    assert int(kilobytes) < 800_000


# Runs -----------------------------------------------------------------------------------------------------------------


def recipe(place: Path, sources_: str) -> Any:
    """A recipe over files of this folder."""
    (place / "recipe.toml").write_text(f'name = "archives"\n{sources_}')
    return load(place / "recipe.toml")


def test_a_run_over_an_archive(tmp_path: Path, engine: LocalEngine) -> None:
    """Rows are called after archive and member; the licence is the source's; what was skipped is counted."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "docs.tar.gz").write_bytes(gzip.compress(tar(TREE)))
    (tmp_path / "in" / "loose.txt").write_bytes(b"Loose.")
    (tmp_path / "in" / "bad.zip").write_bytes(b"no zip")
    made = recipe(tmp_path, '[[source]]\nname = "docs"\nkind = "text"\npaths = ["in/"]\nlicense = "MIT"\n')
    run = pipeline.run(made, engine, until="pull")
    rows = {row["origin"]: row for part in run.parts for row in run.work.documents.read(part).to_pylist()}
    assert rows["docs.tar.gz!/docs/bees.txt"]["uri"] == "docs.tar.gz!/docs/bees.txt"
    assert rows["docs.tar.gz!/docs/bees.txt"]["text"] == "Bees fly."
    assert rows["loose.txt"]["text"] == "Loose."
    assert (rows["bad.zip#0"]["uri"], rows["bad.zip#0"]["error"]) == ("bad.zip", "not a zip archive")
    assert len(rows) == len(TEXTS) + 2 == len({row["id"] for row in rows.values()})
    assert {row["license"] for row in rows.values()} == {"MIT"}
    counted = {"archive": 1, "damaged": 1, "directory": 1, "file": 7, "hidden": 2, "other": 1}
    assert run.figures["pull"]["records"] == {"docs": counted}
    assert (
        json.loads((tmp_path / "work/archives/run.json").read_text())["figures"]["pull"]["records"]["docs"] == counted
    )
    again = pipeline.run(made, engine, until="pull")
    assert again.figures["pull"]["inputs_read"] == 0
    assert again.figures["pull"]["records"] == {"docs": counted}


@pytest.mark.data
@pytest.mark.parametrize(("name", "kind"), [("docs-markdown", "markdown"), ("plain-text", "text")])
def test_a_real_archive_is_its_unpacked_tree(
    data: Path, tmp_path: Path, engine: LocalEngine, name: str, kind: str
) -> None:
    """The same texts, titles and licences, file for file; packed as a zip too."""
    tree = tmp_path / "tree"
    with tarfile.open(data / "internal" / f"{name}.tar.gz") as archive:
        archive.extractall(tree, filter="data")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(tree.rglob("*")):
            packed.write(path, path.relative_to(tree).as_posix())
    patterns = ", ".join(f'"tree/**/*{suffix}"' for suffix in ({"markdown": [".md"], "text": [".txt", ".rst"]}[kind]))
    made = recipe(
        tmp_path,
        f'[[source]]\nname = "tree"\nkind = "{kind}"\npaths = [{patterns}]\nroot = "tree"\n'
        f'[[source]]\nname = "tar"\nkind = "{kind}"\npaths = ["{data}/internal/{name}.tar.gz"]\n'
        f'[[source]]\nname = "zip"\nkind = "{kind}"\npaths = ["a.zip"]\n',
    )
    run = pipeline.run(made, engine, until="pull")
    found: dict[str, dict[str, Any]] = {}
    for part in run.parts:
        table = pq.read_table(tmp_path / f"work/archives/documents/{part}.parquet")
        for row in table.to_pylist():
            place = row["origin"].rpartition("!/")[2]
            found.setdefault(part.source, {})[place] = {**row, "id": None, "source": "", "origin": "", "uri": ""}
    assert len(found["tree"]) > 500
    assert found["tar"] == found["tree"]
    assert found["zip"] == found["tree"]
