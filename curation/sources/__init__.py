"""The kinds of input, one module each: bytes in, `Record` after `Record` out.

A source is a module with

- `VERSION`: an integer, raised when the same bytes give other records;
- `WHOLE_FILES`: True where a file is one document (small files share parts), False where it holds many;
- `MEMBERS`, only where archives are read: what the names of the members end with that are;
- `EXTRACTS = True`, only where HTML becomes text: the extraction engine and its version count for what is read;
- `NAMED_BY_FOLDER = True`, only where the folder of an input says what it is: `name` then always has a folder;
- `ASKS = True`, only where what is read is asked of an endpoint: `read` takes an `Asking` too, and `made_from(service)`
  says what of the endpoint counts for what is read;
- `read(stream, name, start, source, extract)`: the records of an input from `start` on, and what it skips (`Skipped`);
- `read_columns(stream, name, start, source)`, only where an input lies in columns: the same records, many at once
  (`Records`) where no row of them needs a look of its own. A source with `where` is read by `read`.

`stream` is a seekable binary file at its beginning, `name` the input's path relative to the source's root, `source`
and `extract` the recipe's tables. A record that cannot be read is yielded with `error`; so is the end of an input that
stops too early. Nothing a record holds makes `read` raise.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.endpoint.service import Service
    from curation.recipe import Extract, Source
    from curation.sources.record import Record, Records, Skipped
    from curation.textbooks.asking import Asking
    from curation.textbooks.checking import Acceptance

#: Every kind of source a recipe may name; each is a module of this package.
KINDS = ("warc", "wet", "html", "markdown", "text", "jsonl", "parquet", "stackexchange", "textbooks")


class SourceModule(Protocol):
    """What a module of this package offers."""

    VERSION: int
    WHOLE_FILES: bool

    def read(
        self, stream: BinaryIO, name: str, start: int, source: Source, extract: Extract
    ) -> Iterator[Record | Skipped]:
        """The records of one input from `start` on."""


class InColumns(SourceModule, Protocol):
    """What a module offers whose inputs lie in columns."""

    def read_columns(self, stream: BinaryIO, name: str, start: int, source: Source) -> Iterator[Record | Records]:
        """The records of one input from `start` on, many at once where that is possible."""


class Asks(Protocol):
    """What a module offers whose documents are asked of an endpoint."""

    def made_from(self, service: Service, acceptance: Acceptance) -> list[Any]:
        """What of the endpoint, and of what is taken, decides the documents."""

    def read(
        self, stream: BinaryIO, name: str, start: int, source: Source, extract: Extract, asking: Asking | None = None,
        acceptance: Acceptance | None = None,
    ) -> Iterator[Record | Skipped]:  # fmt: skip
        """The records of one input from `start` on."""


def load(kind: str) -> SourceModule:
    """The module that reads this kind of input."""
    return cast("SourceModule", import_module(f"curation.sources.{kind}"))
