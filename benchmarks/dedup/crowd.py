"""One page, very often: what it costs to find that its versions are copies, and who stays."""

from __future__ import annotations

import json
import random
import re
import subprocess
from typing import TYPE_CHECKING

from benchmarks.dedup.commands import bare, cost, until_judge

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

#: Words of a page, and pages that are no versions of it.
_WORDS, _OTHERS = 300, 10


def crowd(options: argparse.Namespace, scratch: Path) -> None:
    """Versions of a page, equal or each with a word of its own, among ten other pages: cost, and who stays."""
    print(f"\nversions of a page of {_WORDS} words, and {_OTHERS} other pages; until judge, one worker")
    print(f"{'':34}CPU s    MB   kept")
    for kind in ("the same", "a word differs"):
        for versions in (25_000, 100_000):
            place = scratch / f"{kind.replace(' ', '-')}-{versions}"
            place.mkdir()
            write(place / "pages.jsonl", versions, is_same=kind == "the same")
            recipe = place / "recipe.toml"
            recipe.write_text(
                'name = "crowd"\n[[source]]\nname = "pages"\nkind = "jsonl"\npaths = ["pages.jsonl"]\nmax_loss = 1.0\n'
                f'[dedup]\nprefer = "byte_count desc"\n{bare()}'
            )
            command = until_judge(recipe, place / "work")
            cpu, _, peak = cost(command)
            said = subprocess.run(command, check=True, capture_output=True, text=True)
            (kept,) = re.findall(r"duplicates, ([\d,]+) kept", said.stdout + said.stderr)
            print(f"{versions:9,}, {kind:20}{cpu:8.1f}{peak:6.0f}{kept:>7}", flush=True)
    del options


def write(file: Path, versions: int, *, is_same: bool) -> None:
    """Write JSON lines: the versions, and the other pages."""
    chosen = random.Random(3)  # noqa: S311  # the same pages each time
    known = ["".join(chosen.choices("abcdefghijklmnopqrstuvwxyz", k=chosen.randint(3, 9))) for _ in range(3_000)]
    page = chosen.choices(known, k=_WORDS)
    with file.open("w") as out:
        for number in range(versions):
            words = list(page)
            if not is_same:
                words[chosen.randrange(_WORDS)] = f"zz{number}"
            out.write(json.dumps({"text": " ".join(words)}) + "\n")
        for _ in range(_OTHERS):
            out.write(json.dumps({"text": " ".join(chosen.choices(known, k=_WORDS))}) + "\n")
