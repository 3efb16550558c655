"""Releases: list, find, verify, open for reading. What makes them is `curation.publish`.

`open` gives the rows of one to a training job; `place` knows where they lie, `checking` whether they are whole.
"""

from __future__ import annotations

from curation.releases.checking import ids, verify, where_is
from curation.releases.place import VERSION_PATTERN, Release, find, latest, named, names, order, releases
from curation.releases.reading import Reader, open  # noqa: A004  # as one opens a file

__all__ = [
    "VERSION_PATTERN", "Reader", "Release", "find", "ids", "latest", "named", "names", "open", "order", "releases",
    "verify", "where_is",
]  # fmt: skip
