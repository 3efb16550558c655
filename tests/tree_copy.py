"""A copy of the project's tree, for tests that change it."""

from __future__ import annotations

import shutil
from hashlib import sha1
from pathlib import Path

from curation.kernels.place import folder as compiled

ROOT = Path(__file__).parents[1]


def copy_tree(folder: Path, names: tuple[str, ...]) -> None:
    """Copy these folders of the project, without what runs made there, and take the compiled kernels along.

    Numba files what it compiled under the path of the source: of the copy, which holds the same bytes, it has another.
    """
    made = {"recipes": ("work", "releases")}
    for name in names:
        ignored = shutil.ignore_patterns("__pycache__", *made.get(name, ()))
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    there = folder / "curation" / "kernels"
    kept = there / "__pycache__" / compiled().name
    shutil.copytree(compiled(), kept, ignore=shutil.ignore_patterns("*.lock"))
    (kept / _filed(ROOT / "curation" / "kernels")).rename(kept / _filed(there))


def _filed(source: Path) -> str:
    """The folder in which numba keeps what it compiled of the files of a folder."""
    return f"{source.name}_{sha1(str(source).encode(), usedforsecurity=False).hexdigest()}"
