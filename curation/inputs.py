"""Files that sources read: finding them, opening them, and their hashes, remembered."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from curation.errors import InputError
from curation.storage import in_s3

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BufferedReader
    from pathlib import Path

    from curation.storage import Storage
    from curation.storage.bucket import Bucket


@dataclass(frozen=True, slots=True)
class Input:
    """A file that a source reads: `path` to open it by, `name` relative to the source's root, `size` in bytes.

    `changed` is when it was last changed, in nanoseconds, or its ETag in S3: with the size it tells whether it still is
    what was hashed.
    """

    path: str
    name: str
    size: int
    changed: int | str

    def open(self) -> BufferedReader:
        """The file opened for reading, seekable; `InputError` when it cannot be."""
        if _is_object(self.path):
            place, name = _split(self.path)
            stream = place.open(name)
            if stream is None:
                raise _gone(self.path)
            return stream
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def refuse_change(self) -> None:
        """Raise `InputError` if the file is no more what it was when it was found."""
        if _state(self.path) != (self.size, self.changed):
            raise InputError(
                f"{self.path}: changed while it was being read",
                remedy="run again when it is complete; move files into place instead of writing them there",
            )


def _gone(path: str) -> InputError:
    return InputError(f"{path}: is gone", remedy="run again when all inputs are there")


def _unreadable(path: str, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}", remedy="check that it can be read")


def find_inputs(
    patterns: Iterable[str], base: str | Path, *, root: str | None = None, without: Iterable[str] = ()
) -> list[Input]:
    """The files that the patterns of a source name, sorted by name, each once.

    Names are relative to `root`; if it is None, to the folder that all patterns have in common before their first
    wildcard. So they do not change when more files appear, nor when the whole folder moves. A folder stands for every
    file below it that is not hidden. Files below the folders `without` are passed over. What is not UTF-8 in a name is
    written as %FF. Raises `InputError` for a pattern that matches nothing, for a folder that cannot be read and for a
    file that is not below `root`.
    """
    patterns = list(patterns)
    if any(_is_object(_expanded(pattern)) for pattern in patterns):
        return _find_objects(patterns, root, tuple(without))
    absolute = [_absolute(pattern, base) for pattern in patterns]
    top = (
        os.path.commonpath([_fixed_folder(pattern) for pattern in absolute]) if root is None else _absolute(root, base)
    )
    outside = tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in without)
    found: dict[str, Input] = {}
    for pattern, path in zip(patterns, absolute, strict=True):
        everything = _matches(path)
        matches = [match for match in everything if not os.path.realpath(match).startswith(outside)]
        if not matches:
            what = f"{pattern}: what matches is of the run's own making" if everything else _nothing(pattern, path)
            raise InputError(what, remedy="correct `paths` of the source, or remove the entry")
        for match in matches:
            name = _printable(os.path.relpath(match, top).replace(os.sep, "/"))
            if name.startswith("../"):
                raise InputError(
                    f"{match}: not below the source's root {top}", remedy="give a `root` that holds them all"
                )
            found[name] = Input(match, name, *_state(match))
    return [found[name] for name in sorted(found)]


def located(pattern: str, base: str | Path) -> str:
    """A path or pattern with its variables filled in: absolute, or in S3. `InputError` for one that is not set."""
    expanded = _expanded(pattern)
    return expanded.rstrip("/") if _is_object(expanded) else _absolute(pattern, base)


def _printable(name: str) -> str:
    r"""The name with the bytes that are not UTF-8 written as %FF.

    >>> _printable("caf\udce9.txt")
    'caf%E9.txt'
    """
    return "".join(f"%{ord(letter) - 0xDC00:02X}" if "\udc80" <= letter <= "\udcff" else letter for letter in name)


def _absolute(pattern: str, base: str | Path) -> str:
    return os.path.normpath(os.path.join(os.path.abspath(base), os.path.expanduser(_expanded(pattern))))


def _expanded(pattern: str) -> str:
    expanded = os.path.expandvars(pattern)
    unset = re.search(r"\$(\w+|\{\w+\})", expanded)
    if unset:
        raise InputError(
            f"{pattern}: the environment variable {unset.group(1).strip('{}')} is not set",
            remedy=f"set it: export {unset.group(1).strip('{}')}=/a/folder",
        )
    return expanded


def _state(path: str) -> tuple[int, int | str]:
    """The size and what changes when the file does; `InputError` where it is gone or shut."""
    if _is_object(path):
        place, name = _split(path)
        head = place.head(name)
        if head is None:
            raise _gone(path)
        return int(head["ContentLength"]), str(head["ETag"])
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    return status.st_size, status.st_mtime_ns


def _fixed_folder(pattern: str) -> str:
    """The folder part of a pattern before its first wildcard.

    >>> _fixed_folder("/data/web/*/a-*.warc.gz"), _fixed_folder("/data/notes.txt")
    ('/data/web', '/data')
    """
    if os.path.exists(pattern):
        return pattern if os.path.isdir(pattern) else os.path.dirname(pattern)
    return os.path.dirname(re.split(r"[*?\[]", pattern, maxsplit=1)[0]) or "/"


def _matches(pattern: str) -> list[str]:
    if os.path.isdir(pattern):
        return _below(pattern)
    if os.path.isfile(pattern):
        return [pattern]
    _refuse_shut(pattern)
    matches = glob.glob(pattern, recursive=True)
    return [match for match in matches if os.path.isfile(match) or not os.path.exists(match)]  # a broken link is named


def _refuse_shut(pattern: str) -> None:
    """Raise `InputError` for a folder that the pattern matches or leads through and that cannot be read."""
    folder, top = pattern, os.path.dirname(_fixed_folder(pattern))
    while folder not in (top, "/"):
        for match in glob.iglob(folder, recursive=True):
            if os.path.isdir(match) and not os.access(match, os.R_OK | os.X_OK):
                raise InputError(f"{match}: the folder cannot be read", remedy="check its permissions")
        folder = os.path.dirname(folder)


def _below(folder: str) -> list[str]:
    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename}: the folder cannot be read", remedy="check its permissions") from error

    files = []
    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [os.path.join(place, name) for name in names if not name.startswith(".")]
    return files


def _nothing(pattern: str, path: str) -> str:
    if re.search(r"[*?\[]", path):
        return f"{pattern}: no file matches (looked in {_fixed_folder(path)})"
    if os.path.isdir(path):
        return f"{pattern}: the folder holds no file"
    return f"{pattern}: there is no such file (looked for {path})"


def _is_object(path: str) -> bool:
    return path.startswith("s3://")


def _split(url: str) -> tuple[Bucket, str]:
    """The folder of a URL as a storage, and the rest.

    >>> place, name = _split("s3://bucket/a/b.gz")
    >>> str(place), name
    ('s3://bucket/a', 'b.gz')
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    folder, _, name = key.rpartition("/")
    return in_s3(f"s3://{bucket}/{folder}"), name


def _find_objects(patterns: list[str], root: str | None, without: tuple[str, ...]) -> list[Input]:
    """`find_inputs` in S3: the same names as for the same tree of files, and nothing hidden."""
    local = [pattern for pattern in patterns if not _is_object(_expanded(pattern))]
    if local:
        raise InputError(f"{local[0]}: stands beside paths in S3", remedy="make it a source of its own")
    matches: dict[str, Input] = {}
    folders = []
    for pattern in patterns:
        url = _expanded(pattern).rstrip("/")
        fixed = re.split(r"[*?\[]", url, maxsplit=1)[0]
        place, beginning = _split(fixed)
        found = {place.path(file.path): file for file in place.files(beginning=beginning)}
        odd = next((one for one in found if "//" in one.removeprefix("s3://") or one.startswith("s3:///")), None)
        if odd:
            raise InputError(f"{odd}: an empty step in the key", remedy="give the object another key")
        try:
            matching = [one for one in found if re.fullmatch(_regex(url), one)]
        except re.error as error:
            raise InputError(f"{pattern}: not a pattern: {error}", remedy="correct `paths` of the source") from error
        if fixed == url and not matching:  # a folder: every file below it that is not hidden
            matching, place = [one for one in found if re.fullmatch(_regex(f"{url}/**"), one)], in_s3(url)
        kept = [one for one in matching if not one.startswith(tuple(f"{folder}/" for folder in without))]
        if not kept:
            what = "what matches is of the run's own making" if matching else "nothing in the bucket matches"
            raise InputError(f"{pattern}: {what}", remedy="correct `paths` of the source, or remove the entry")
        folders.append(place.root)
        matches |= {one: Input(one, one, found[one].size, found[one].changed) for one in kept}
    top = os.path.commonpath([folder.removeprefix("s3://") for folder in folders]) if root is None else _expanded(root)
    top = f"s3://{top.removeprefix('s3://').rstrip('/')}/"
    strangers = [url for url in matches if not url.startswith(top)]
    if strangers:
        raise InputError(
            f"{strangers[0]}: not below the source's root {top}", remedy="give a `root` that holds them all"
        )
    named = [replace(file, name=file.name.removeprefix(top)) for file in matches.values()]
    return sorted(named, key=lambda file: file.name)


def _regex(pattern: str) -> str:
    """A regular expression for what a glob matches: `*` and `?` within a step, `**` across steps, nothing hidden.

    >>> bool(re.fullmatch(_regex("s3://b/**/*.gz"), "s3://b/x/y/a.gz")), bool(re.fullmatch(_regex("s3://b/*"), "s3://b/.x"))
    (True, False)
    """
    steps = pattern.split("/")
    made = ""
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        if step == "**":
            made += r"(?:(?!\.)[^/]+/)*" + (r"(?!\.)[^/]+" if last else "")
            continue
        made += r"(?!\.)" if step[:1] in ("*", "?", "[") and step else ""
        for piece in re.findall(r"\[!?\]?[^\]]*\]|.", step, re.DOTALL):
            if piece == "*":
                made += "[^/]*"
            elif piece == "?":
                made += "[^/]"
            elif len(piece) > 1:  # a set
                out = piece[1] == "!"
                made += "(?!/)[" + "^" * out + re.sub(r"([\\\[^])", r"\\\1", piece[1 + out : -1]) + "]"
            else:
                made += re.escape(piece)
        made += "" if last else "/"
    return made


class HashIndex:
    """SHA-256 of input files, remembered by path, size and time of change, so that they are hashed once.

    The index may be deleted at any time. A file changed less than two seconds before it was hashed is not
    remembered: a later change could leave its time as it is.
    """

    def __init__(self, storage: Storage, name: str = "inputs.json") -> None:
        self.storage = storage
        self.name = name
        try:
            known = json.loads(storage.read(name) or b"{}")
        except (ValueError, RecursionError):
            known = {}
        self.known: dict[str, Any] = known if isinstance(known, dict) else {}

    def get(self, file: Input) -> str | None:
        """The remembered hash, None if the file is new or has changed."""
        match self.known.get(file.path):
            case {"stat": stat, "sha256": str(digest)} if stat == [file.size, file.changed]:
                return digest
        return None

    def put(self, file: Input, sha256: str) -> None:
        """Remember a hash that was just made."""
        if isinstance(file.changed, str) or time.time_ns() - file.changed > 2_000_000_000:
            self.known[file.path] = {"stat": [file.size, file.changed], "sha256": sha256}

    def save(self, files: Iterable[Input]) -> None:
        """Write the index, with these files alone."""
        known = {file.path: self.known[file.path] for file in files if file.path in self.known}
        self.storage.write(self.name, json.dumps(known, indent=0, sort_keys=True).encode())


def sha256(file: Input) -> str:
    """The SHA-256 of an input's bytes, in hex; `InputError` if it changed since it was found."""
    with file.open() as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    file.refuse_change()
    return digest
