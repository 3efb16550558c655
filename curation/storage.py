"""Where bytes lie: files written whole or not at all, claims, locks. Nothing above knows what a file is made of.

Every path here is relative to the storage's root and uses `/`. This is the only module that touches a file system;
Parquet goes through `filesystem` (pyarrow's), by `dataset.py` alone.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from curation.errors import InputError, RecipeError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader

#: Files being written end so; what a killed process leaves behind is recognised by it and removed.
TEMPORARY = ".tmp"


@dataclass(frozen=True, slots=True)
class File:
    """A file as a listing shows it; `path` is relative to the storage's root."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Storage:
    """A local folder; it need not exist until something is written."""

    root: str

    @classmethod
    def at(cls, place: str, base: str | Path = ".") -> Storage:
        """The storage at `place`; a relative one is taken from the folder `base`."""
        if re.match(r"[a-z][a-z0-9+.-]*://", place):
            raise RecipeError(f"{place}: this version reads and writes local folders only", remedy="give a local path")
        return cls(os.path.normpath(Path(base).resolve() / Path(place).expanduser()))

    def __str__(self) -> str:
        return self.root

    def path(self, name: str) -> str:
        """The absolute path, for libraries that open files themselves."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether a finished file of this name is there."""
        return os.path.isfile(self.path(name))

    def read(self, name: str) -> bytes | None:
        """The whole file, None where there is none."""
        try:
            return Path(self.path(name)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _failure("read", self.path(name), error) from error

    @contextmanager
    def reading(self, name: str) -> Iterator[BufferedReader]:
        """The file opened for reading, as a context manager."""
        try:
            with open(self.path(name), "rb") as stream:
                yield stream
        except OSError as error:
            raise _failure("read", self.path(name), error) from error

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A new file that appears under its name only when the block ends well, flushed to the disk before.

        Raises `StorageError` when the disk is full or the folder cannot be written.
        """
        path = self.path(name)
        temporary = _temporary(path)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(temporary, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            with suppress(OSError):
                os.unlink(temporary)
            if isinstance(error, OSError):
                raise _failure("write", path, error) from error
            raise

    def write(self, name: str, data: bytes) -> None:
        """Put the whole file, replacing one of the same name at once."""
        with self.writing(name) as stream:
            stream.write(data)

    def create(self, name: str, data: bytes) -> bool:
        """Put the whole file if there is none of its name; False, and nothing written, if there is.

        Of several processes that try at the same time exactly one is told True.
        """
        path = self.path(name)
        temporary = _temporary(path)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(temporary, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        except OSError as error:
            raise _failure("write", path, error) from error
        finally:
            with suppress(OSError):
                os.unlink(temporary)
        return True

    def swap(self, name: str, data: bytes, expected: bytes | None) -> bool:
        """Replace the file if it still holds `expected` (None: if there is none); False if it does not."""
        folder = os.path.dirname(name)
        with self.lock(folder, wait=True):
            for left in glob.glob(f"{glob.escape(self.path(name))}.*{TEMPORARY}"):  # by one that was killed in here
                os.unlink(left)
            if self.read(name) != expected:
                return False
            self.write(name, data)
        return True

    @contextmanager
    def lock(self, folder: str = "", *, wait: bool = False) -> Iterator[None]:
        """The folder, held by one process at a time and given back even when it is killed.

        Raises `StorageError` if another process holds it, unless told to wait.
        """
        path = self.path(folder) if folder else self.root
        try:
            os.makedirs(path, exist_ok=True)
            handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise _failure("write", path, error) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(
                    f"{path}: another run is using this folder",
                    remedy="wait for it to end, or give this run a folder of its own with --work",
                ) from error
            yield
        finally:
            os.close(handle)

    def files(self, folder: str = "") -> list[File]:
        """Every finished file below `folder`, sorted by path."""
        files = []
        for place, _, names in os.walk(self.path(folder) if folder else self.root):
            for name in names:
                if not name.endswith(TEMPORARY):
                    path = os.path.join(place, name)
                    files.append(File(os.path.relpath(path, self.root), os.path.getsize(path)))
        return sorted(files, key=lambda file: file.path)

    def is_used(self) -> bool:
        """Whether anything lies in the folder itself, but what a killed process left half written."""
        try:
            return any(not entry.name.endswith(TEMPORARY) for entry in os.scandir(self.root))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _failure("read", self.root, error) from error

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders directly in `folder`, sorted."""
        try:
            return sorted(entry.name for entry in os.scandir(self.path(folder)) if entry.is_dir())
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """Remove a file or a whole folder; nothing happens where there is none."""
        path = self.path(name)
        with suppress(FileNotFoundError):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def sweep(self, folder: str = "") -> None:
        """Remove what killed processes left half written below `folder`."""
        for place, _, names in os.walk(self.path(folder) if folder else self.root):
            for name in names:
                if name.endswith(TEMPORARY):
                    with suppress(FileNotFoundError):
                        os.unlink(os.path.join(place, name))


def _temporary(path: str) -> str:
    """A name beside `path` that no other process or thread writes to."""
    return f"{path}.{uuid.uuid4().hex[:16]}{TEMPORARY}"


def _failure(action: str, path: str, error: OSError) -> StorageError:
    remedies = {
        errno.ENOSPC: "free some space, or give --work a folder on a larger disk, and run the same command again: "
        "finished parts are kept",
        errno.EDQUOT: "free some of the quota and run the same command again: finished parts are kept",
        errno.EACCES: "check the permissions of that folder",
        errno.EFBIG: "raise the limit on file sizes (ulimit -f), or choose another place for --work",
        errno.EROFS: "choose a folder that can be written",
        errno.ENOENT: "check the path",
    }
    code = error.errno if error.errno is not None else _errno_in(str(error))
    reason = os.strerror(code) if code else str(error)
    return StorageError(f"cannot {action} {path}: {reason}", remedy=remedies.get(code or 0))


def _errno_in(message: str) -> int | None:
    """The errno that pyarrow puts into the text of an OSError instead of its attribute."""
    found = re.search(r"\[errno (\d+)\]", message, re.IGNORECASE)
    return int(found.group(1)) if found else None


@dataclass(frozen=True, slots=True)
class Input:
    """A file that a source reads: `path` to open it by, `name` relative to the source's root, `size` in bytes.

    `changed` is when it was last changed, in nanoseconds: with the size it tells whether it still is what was hashed.
    """

    path: str
    name: str
    size: int
    changed: int

    def open(self) -> BufferedReader:
        """The file opened for reading; `InputError` when it cannot be."""
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def refuse_change(self) -> None:
        """Raise `InputError` if the file is no more what it was when it was found."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if (status.st_size, status.st_mtime_ns) != (self.size, self.changed):
            raise InputError(
                f"{self.path}: changed while it was being read",
                remedy="run again when it is complete; move files into place instead of writing them there",
            )


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
            try:
                status = os.stat(match)
            except OSError as error:
                raise _unreadable(match, error) from error
            found[name] = Input(match, name, status.st_size, status.st_mtime_ns)
    return [found[name] for name in sorted(found)]


def _printable(name: str) -> str:
    r"""The name with the bytes that are not UTF-8 written as %FF.

    >>> _printable("caf\udce9.txt")
    'caf%E9.txt'
    """
    return "".join(f"%{ord(letter) - 0xDC00:02X}" if "\udc80" <= letter <= "\udcff" else letter for letter in name)


def _absolute(pattern: str, base: str | Path) -> str:
    expanded = os.path.expanduser(os.path.expandvars(pattern))
    unset = re.search(r"\$(\w+|\{\w+\})", expanded)
    if unset:
        raise InputError(
            f"{pattern}: the environment variable {unset.group(1).strip('{}')} is not set",
            remedy=f"set it: export {unset.group(1).strip('{}')}=/a/folder",
        )
    return os.path.normpath(os.path.join(os.path.abspath(base), expanded))


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
        if time.time_ns() - file.changed > 2_000_000_000:
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
