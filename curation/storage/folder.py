"""A folder of this machine as a storage: written under a temporary name and renamed, claimed by hard links."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import re
import shutil
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from curation.errors import StorageError
from curation.storage.file import TRIED, File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedReader

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: Handles of the folders that this process holds.
_held: set[int] = set()
#: Files being written end so; what a killed process leaves behind is recognised by it and removed.
TEMPORARY = ".tmp"


@dataclass(frozen=True, slots=True)
class Folder:
    """A local folder; it need not exist until something is written."""

    root: str

    def __str__(self) -> str:
        return self.root

    @property
    def identity(self) -> str:
        """The folder with every link followed."""
        return os.path.realpath(self.root)

    @property
    def scratch(self) -> str:
        """A folder in it."""
        return self.path("scratch")

    def local_path(self, name: str) -> str:
        """The absolute path."""
        return self.path(name)

    def path(self, name: str) -> str:
        """The absolute path."""
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

    def open(self, name: str, *, from_end: bool = False) -> BufferedReader | None:  # noqa: ARG002  # all the same here
        """The file as a seekable stream, None where there is none."""
        try:
            return open(self.path(name), "rb")
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

    def copy(self, source: str, target: str) -> None:
        """Make `target` another name of the same file; where the file system has no such names, a copy."""
        path, temporary = self.path(target), _temporary(self.path(target))
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                os.link(self.path(source), temporary)
            except FileNotFoundError:
                raise
            except OSError:  # no hard links here, or too many of this file
                with open(self.path(source), "rb") as stream, open(temporary, "wb") as copy:
                    shutil.copyfileobj(stream, copy)
                    copy.flush()
                    os.fsync(copy.fileno())
            os.replace(temporary, path)
        except OSError as error:
            raise _failure("copy", self.path(source), error) from error
        finally:
            with suppress(OSError):  # two names of one file are not renamed to each other
                os.unlink(temporary)

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
        with self._locked(os.path.dirname(self.path(name)), wait=True):
            for left in glob.glob(f"{glob.escape(self.path(name))}.*{TEMPORARY}"):  # by one that was killed in here
                os.unlink(left)
            if self.read(name) != expected:
                return False
            self.write(name, data)
        return True

    @contextmanager
    def lock(self) -> Iterator[Callable[[], None]]:
        """The folder, held by one process at a time and given back even when it is killed; nobody takes it away.

        Raises `StorageError` if another process holds it.
        """
        with self._locked(self.root):
            yield lambda: None

    def refuse_races(self) -> None:
        """Hard links and locks keep what they promise."""

    @contextmanager
    def _locked(self, path: str, *, wait: bool = False) -> Iterator[None]:
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
            _held.add(handle)
            yield
        finally:
            _held.discard(handle)
            os.close(handle)

    def files(self, folder: str = "") -> list[File]:
        """Every finished file below `folder`, sorted by path."""
        files = []
        for place, _, names in os.walk(self.path(folder) if folder else self.root):
            for name in names:
                if not name.endswith(TEMPORARY):
                    path = os.path.join(place, name)
                    status = os.stat(path)
                    files.append(File(os.path.relpath(path, self.root), status.st_size, status.st_mtime_ns))
        return sorted(files, key=lambda file: file.path)

    def is_used(self) -> bool:
        """Whether anything lies in the folder itself, but what a killed process left half written."""
        try:
            names = [entry.name for entry in os.scandir(self.root)]
            return any(not name.endswith(TEMPORARY) and not name.startswith(TRIED) for name in names)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _failure("read", self.root, error) from error

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders directly in `folder`, sorted."""
        try:
            return sorted(entry.name for entry in os.scandir(self.path(folder)) if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, name: str) -> None:
        """Remove a file or a whole folder; nothing happens where there is none."""
        path = self.path(name)
        with suppress(FileNotFoundError):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def each(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """`[function(item) for item in items]`."""
        return [function(item) for item in items]

    def sweep(self, folder: str = "") -> None:
        """Remove what killed processes left half written below `folder`; of the whole place, the scratch too."""
        if not folder:
            for left in (self.scratch, *glob.glob(f"{glob.escape(self.scratch)}.*")):
                shutil.rmtree(left, ignore_errors=True)
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


def _let_go() -> None:
    """In a copy of a process that holds folders: it holds none, so that they are given back when that process ends."""
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
