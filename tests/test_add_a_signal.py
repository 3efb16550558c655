"""docs/add-a-signal.md followed to the letter: a signal inside the tree, and one outside of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import duckdb
from tree_copy import copy_tree

ROOT = Path(__file__).parents[1]


class Block(NamedTuple):
    """A fenced block of the page that says which file it belongs to."""

    language: str
    path: str
    append: bool
    text: str


def blocks(name: str = "add-a-signal.md") -> list[Block]:
    """The page's blocks that make or change a file, in order."""
    page = (ROOT / "docs" / name).read_text()
    found = re.findall(r'^```(\w+) title="([^"]+)"( append)?\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    return [Block(language, path, bool(append), text) for language, path, append, text in found]


def follow(block: Block, folder: Path) -> None:
    """Do what a block says."""
    path = folder / block.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if block.language == "diff":
        text = path.read_text()
        lines = block.text.splitlines()
        for old, new in zip(lines[::2], lines[1::2], strict=True):
            assert (old[0], new[0]) == ("-", "+")
            assert text.count(old[1:]) == 1, f"{block.path}: {old[1:]!r} does not stand there once"
            text = text.replace(old[1:], new[1:])
        path.write_text(text)
    elif block.append:
        path.write_text((path.read_text() if path.exists() else "") + block.text)
    else:
        assert not path.exists()
        path.write_text(block.text)


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Python in a folder, whose packages come before the installed ones."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_page_has_its_blocks() -> None:
    """Module, list, cases and paragraph inside; module and recipe outside."""
    assert [block.path for block in blocks()] == [
        "curation/signals/shouting.py", "curation/signals/__init__.py", "tests/cases/shouting.jsonl", "docs/signals.md",
        "mypkg/jargon.py", "recipe.toml",
    ]  # fmt: skip


def test_a_signal_inside_the_tree_passes_what_every_signal_must(tmp_path: Path) -> None:
    """In a copy of the project, with nothing done that the page does not say; then a run measures it."""
    copy_tree(tmp_path, ("curation", "classifiers", "recipes", "tests", "docs"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for block in blocks()[:4]:
        follow(block, tmp_path)
    done = python(
        "-m", "pytest", "tests/test_signals.py", "-q", "-k", "shouting", "-p", "no:cacheprovider", folder=tmp_path
    )
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 8
    run = python("-m", "curation", "run", "recipes/quickstart.toml", "--until", "measure", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    work = tmp_path / "recipes" / "work" / "quickstart"
    row = duckdb.sql(f"SELECT max(shouted_word_ratio) > 0 FROM '{work}/signals/shouting/*/*.parquet'").fetchall()
    assert row == [(True,)]


def test_a_signal_outside_the_tree_is_measured_and_judged(sample: Path, tmp_path: Path) -> None:
    """Beside the recipe, with settings; a misspelt one is refused before anything is read."""
    folder = tmp_path / "textbook"
    shutil.copytree(sample.parent, folder, ignore=shutil.ignore_patterns("work", "releases"))
    outside = blocks()[4:]
    follow(outside[0], folder)
    recipe = folder / "recipe.toml"
    appended = outside[1].text
    table, rule = appended.split("[rules]\n")
    recipe.write_text(recipe.read_text().replace("[rules]\n", f"{table}[rules]\n{rule}"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "curation"]
    done = subprocess.run(
        [*command, "run", str(recipe), "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "jargon" in json.loads(done.stdout)["figures"]["measure"]["signals"]
    assert list((folder / "work" / "quickstart" / "signals" / "jargon").rglob("*.parquet"))
    recipe.write_text(recipe.read_text().replace('words = ["synergy"', 'wrds = ["synergy"'))
    done = subprocess.run([*command, "run", str(recipe)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "signals.jargon.wrds" in done.stderr
    recipe.write_text(recipe.read_text().replace("mypkg.jargon", "mypkg.jargn"))
    done = subprocess.run([*command, "run", str(recipe)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "signals.jargon.module: cannot import 'mypkg.jargn'" in done.stderr
