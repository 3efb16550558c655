"""Where compiled kernels lie: beside the kernels, or in the user's cache where that cannot be written."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

#: Other states of the sources that are kept compiled: those of branches, and of other versions of Python.
_STATES = 8


@cache
def folder() -> Path:
    """The folder of this state of the kernels' sources, of numba's and of Python's version."""
    here = Path(__file__).parent
    state = blake2b(f"{sys.version} {version('numba')}".encode(), digest_size=8)
    for source in sorted(here.glob("*.py")):
        state.update(source.name.encode() + b"\0" + source.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    for place in (here / "__pycache__", home / "curate"):
        mine = place / f"kernels-{state.hexdigest()}"
        with suppress(OSError):
            mine.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=mine):
                return mine
    return Path(tempfile.mkdtemp(prefix="curate-kernels-"))


def are_compiled(group: str) -> bool:
    """Whether a run has compiled all kernels of a group of this state before."""
    return (folder() / f"compiled-{group}").exists()


def note_compiled(group: str) -> None:
    """Let later runs know that a group's kernels are compiled, and remove what was compiled of states long gone."""
    with suppress(OSError):  # then the next run asks for each once more
        (folder() / f"compiled-{group}").touch()
        others = [place for place in folder().parent.glob("kernels-*") if place != folder()]
        for place in sorted(others, key=lambda place: place.stat().st_mtime)[:-_STATES]:
            shutil.rmtree(place, ignore_errors=True)
