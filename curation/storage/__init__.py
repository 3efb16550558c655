"""Where bytes lie: files written whole or not at all, claims, locks. Nothing above knows what a file is made of.

`folder` is a folder of this machine, `bucket` a place in S3. Every name here is relative to the storage's root and uses
`/`. This package alone touches a file system or S3.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, TypeVar

from curation.errors import RecipeError, StorageError
from curation.storage.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from io import BufferedReader

    from curation.storage.bucket import Bucket
    from curation.storage.file import File


Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Storage(Protocol):
    """A place for files; it need not exist until something is written.

    Every method raises `StorageError` where the place cannot be read or written.
    """

    @property
    def root(self) -> str:
        """The place as a person writes it: an absolute path, or `s3://bucket/prefix`."""

    @property
    def identity(self) -> str:
        """What no other place has, however it is written: links are followed, the S3 server is named."""

    @property
    def scratch(self) -> str:
        """A folder of this machine for what is spilled, and for copies; it can be deleted whenever nothing runs."""

    def local_path(self, name: str) -> str | None:
        """The file's path on this machine, for libraries that open files themselves; None where it lies elsewhere."""

    def path(self, name: str) -> str:
        """The file as a person writes it, to be shown."""

    def exists(self, name: str) -> bool:
        """Whether a finished file of this name is there."""

    def read(self, name: str) -> bytes | None:
        """The whole file, None where there is none."""

    def open(self, name: str, *, from_end: bool = False) -> BufferedReader | None:
        """The file as a seekable stream, None where there is none; `from_end` where its end is read first."""

    def reading(self, name: str) -> AbstractContextManager[BufferedReader]:
        """The file opened for reading, as a context manager."""

    def writing(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A new file that appears under its name only when the block ends well, safe on its disk."""

    def write(self, name: str, data: bytes) -> None:
        """Put the whole file, replacing one of the same name at once."""

    def copy(self, source: str, target: str) -> None:
        """Make `target` hold what `source` holds, which never changes, without its bytes passing through this process.

        Raises `StorageError` where `source` is not there.
        """

    def create(self, name: str, data: bytes) -> bool:
        """Put the whole file if there is none of its name; False, and nothing written, if there is.

        Of several processes that try at the same time exactly one is told True.
        """

    def swap(self, name: str, data: bytes, expected: bytes | None) -> bool:
        """Replace the file if it still holds `expected` (None: if there is none); False if it does not."""

    def lock(self) -> AbstractContextManager[Callable[[], None]]:
        """The place, held by one process at a time and given back even when it is killed.

        Gives a function that raises `StorageError` when it is held no more. Raises `StorageError` if another process
        holds it.
        """

    def refuse_races(self) -> None:
        """Raise `StorageError` unless `create` and `swap` keep what they promise here."""

    def files(self, folder: str = "") -> list[File]:
        """Every finished file below `folder`, sorted by path."""

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders directly in `folder`, sorted."""

    def is_used(self) -> bool:
        """Whether anything lies in the place, but what a killed process left half written."""

    def remove(self, name: str) -> None:
        """Remove a file or a whole folder; nothing happens where there is none."""

    def each(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """`[function(item) for item in items]`, many at a time where every answer is long in coming."""

    def sweep(self, folder: str = "") -> None:
        """Remove what killed processes left half written below `folder`; of a whole folder, its scratch too."""


def open_storage(
    place: str, base: str | Path = ".", *, single_writer: bool = False, options: Mapping[str, str] | None = None
) -> Storage:
    """The storage at `place`: `s3://bucket/prefix`, or a path, taken from the folder `base` if it is relative.

    `single_writer` says that nothing else writes there, so that a server without safe conditional writes will do;
    `options`, by boto3's names, go with every object that is written: encryption, access, class of storage.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", place)
    if scheme and scheme.group(1) == "s3":
        return in_s3(place, single_writer=single_writer, options=options)
    if scheme:
        raise RecipeError(f"{place}: a place is a local path or s3://…", remedy="give one of these")
    return Folder(os.path.normpath(Path(base).resolve() / Path(place).expanduser()))


def in_s3(place: str, *, single_writer: bool = False, options: Mapping[str, str] | None = None) -> Bucket:
    """The place in S3; `StorageError` where boto3 is not installed."""
    try:
        from curation.storage.bucket import Bucket  # noqa: PLC0415  # boto3 is an extra, and slow to import
    except ModuleNotFoundError as error:
        raise StorageError(f"{place}: boto3 is not installed", remedy="pip install 'curate[s3]'") from error
    return Bucket.at(place, single_writer=single_writer, options=tuple(sorted((options or {}).items())))
