"""The sample that ships with the project, copied to where a person can change it."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from curation.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

#: What of the shipped sample a recipe reads.
_DATA = ("web.warc.gz", "textbook.jsonl", "handbook", "README.md")


def copy_to(folder: Path) -> list[Path]:
    """Make `folder` with `recipe.toml` and `sample/`; the paths made.

    Raises `UsageError` when the folder is there already and holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is there already and not empty", remedy="name a new folder")
    made = [folder / "recipe.toml", folder / "sample"]
    with as_file(files("recipes")) as shipped:
        made[1].mkdir(parents=True)
        shutil.copyfile(shipped / "quickstart.toml", made[0])
        for name in _DATA:
            source = shipped / "sample" / name
            if source.is_dir():
                shutil.copytree(source, made[1] / name)
            else:
                shutil.copyfile(source, made[1] / name)
    return made
