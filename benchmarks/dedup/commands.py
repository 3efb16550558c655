"""Commands of ours, and what a command costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from curation.signals import SIGNALS, signal_name

if TYPE_CHECKING:
    from pathlib import Path

#: Runs a command by itself, so that what the system says of ended children is said of it alone.
_ALONE = """
import json, resource, subprocess, sys, time
began = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 1024]))
"""


def cost(command: list[str]) -> tuple[float, float, float]:
    """CPU and clock seconds of a command with all its processes, and MB of the largest of them.

    What Python compiled of modules is kept, as it usually is: else each process compiles all that it imports.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, *command], check=False, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    cpu, wall, peak = json.loads(done.stdout)
    return cpu, wall, peak


def ours_until_judge(documents: Path, work: Path, verify: str, python: str = sys.executable) -> list[str]:
    """The command that finds and judges the copies among the documents of Parquet files, nothing else."""
    recipe = work.with_suffix(".toml")
    recipe.write_text(
        f'name = "mixed"\n[[source]]\nname = "mixed"\nkind = "parquet"\npaths = ["{documents}"]\n'
        f'fields = {{ uri = "id" }}\nmax_loss = 1.0\n[dedup]\nverify = "{verify}"\nprefer = "byte_count desc"\n'
        f"{bare()}"
    )
    return until_judge(recipe, work, python)


def bare() -> str:
    """The tables of a recipe that switch every signal off but the length and the signature."""
    names = [signal_name(module) for module in SIGNALS]
    return "".join(f"[signals.{name}]\nenabled = false\n" for name in names if name != "length")


def until_judge(recipe: Path, work: Path, python: str = sys.executable) -> list[str]:
    """The command that runs a recipe up to its verdicts, on one worker."""
    return [python, "-m", "curation", "run", str(recipe), "--work", str(work), "--workers", "1", "--until", "judge"]
