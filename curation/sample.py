"""The sample that ships with the project, copied to where a person can change it."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from curation.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

#: The shipped recipes, by what they are called where they are copied to; and what they read.
_RECIPES = {"recipe.toml": "quickstart.toml", "written.toml": "written.toml"}
_DATA = (
    "web.warc.gz", "textbook.jsonl", "handbook", "README.md", "written/curriculum.toml", "written/plan.parquet",
    "written/ledger",
)  # fmt: skip


def copy_to(folder: Path) -> list[Path]:
    """Make `folder` with `recipe.toml`, `written.toml` and `sample/`; the paths made.

    Raises `UsageError` when the folder is there already and holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is there already and not empty", remedy="name a new folder")
    sample = folder / "sample"
    with as_file(files("recipes")) as shipped:
        (sample / "written").mkdir(parents=True)
        for name, recipe in _RECIPES.items():
            shutil.copyfile(shipped / recipe, folder / name)
        for name in _DATA:
            source = shipped / "sample" / name
            if source.is_dir():
                shutil.copytree(source, sample / name)
            else:
                shutil.copyfile(source, sample / name)
    return [*(folder / name for name in _RECIPES), sample]
