"""A journal: lines in files that only grow, on the disk before anything depends on them.

A line that was written outlives the process; one that was synced too outlives a power cut. Whoever opens a journal to
write begins a file of its own, so that a line which a kill or a power cut left unfinished is the last of its file.
Local folders only: objects in S3 cannot grow.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from curation.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedWriter
    from pathlib import Path

SUFFIX = ".jsonl"

_ROOM = "free some space or correct its permissions, and run the same command again"


@dataclass
class Journal:
    """A file of a journal that is being written."""

    path: Path
    _file: BufferedWriter | None = None
    _end: int = 0
    _is_broken: bool = False

    @classmethod
    def begin(cls, path: Path) -> Self:
        """A file that does not exist yet; it is made with its first line."""
        return cls(path)

    def write(self, line: dict[str, Any]) -> int:
        """Write a line, which need not be on the disk yet; the place where it begins, in bytes.

        Raises `StorageError` where that fails, and for every line after: behind half a line none could be read.
        """
        if self._is_broken:
            raise StorageError(f"{self.path}: an earlier line could not be written", remedy=_ROOM)
        with self._breaking():
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("xb")
                _sync_folder(self.path.parent)
            place = self._end
            data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
            self._file.write(data)
            self._file.flush()
            self._end += len(data)
        return place

    def sync(self) -> None:
        """Wait until every line that was written before is on the disk; any thread may, while others write."""
        if self._file is not None:
            with self._breaking():
                os.fsync(self._file.fileno())

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._is_broken = True
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}", remedy=_ROOM) from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a file with the places where they begin; a last one that was not finished is left out.

    Raises `StorageError` where another line cannot be read.
    """
    try:
        with path.open("rb") as file:
            place = 0
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield place, _parsed(path, place, line)
                place += len(line)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}", remedy="check its permissions") from error


def line_at(path: Path, place: int) -> dict[str, Any]:
    """The line that begins at this place."""
    try:
        with path.open("rb") as file:
            file.seek(place)
            return _parsed(path, place, file.readline())
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}", remedy="check its permissions") from error


def _parsed(path: Path, place: int, line: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
    except ValueError as error:
        raise StorageError(
            f"{path}: damaged at byte {place:,}: {error}", remedy="restore the file: it says what was asked and paid"
        ) from error
    if not isinstance(parsed, dict):
        raise StorageError(f"{path}: damaged at byte {place:,}: no object", remedy="restore the file")
    return parsed


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
