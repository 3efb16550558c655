"""What the sandbox does with right solutions, and how fast: `python -m benchmarks.sandbox`, with CURATE_DATA set.

Runs the reference solutions of HumanEval and MBPP against their own tests. They are right, so what does not pass is
refused wrongly; whether that is the sandbox's doing is said by the same code in a Python that may do everything.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from curation.textbooks import sandbox
from curation.textbooks.sandbox import Exercise, Outcome

DATA = Path(os.environ["CURATE_DATA"]) / "benchmarks"


def exercises() -> dict[str, Exercise]:
    """By the name of the item its signature with a docstring, if it has any, its solution, and its tests."""
    found = {}
    for line in (DATA / "humaneval.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        tests = f"{item['test']}\ncheck({item['entry_point']})\n"
        stub = f"{item['text']}    ...\n"
        found[item["id"]] = Exercise(stub, item["text"] + item["solution"], tests, "")
    for line in (DATA / "mbpp.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        found[item["id"]] = Exercise("", item["solution"], "\n".join(item["tests"]), "")
    return found


def plainly(exercise: Exercise) -> bool:
    """Whether the tests pass in a Python without a sandbox."""
    code = f"{exercise.exercise}\n{exercise.solution}\n{exercise.tests}\n"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    """Print the outcomes, and those that a plain Python has otherwise."""
    every = exercises()
    load = os.getloadavg()[0]
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}")
    begun = time.perf_counter()
    outcomes = dict(zip(every, sandbox.run_all(list(every.values())), strict=True))
    seconds = time.perf_counter() - begun
    print(f"{len(every):,} in {seconds:.0f} s: {len(every) / seconds:.1f} a second")
    for benchmark in ("HumanEval", "MBPP"):
        counted = Counter(outcome.name for name, outcome in outcomes.items() if name.startswith(benchmark))
        print(benchmark, dict(sorted(counted.items())))
    odd: dict[str, Outcome] = {name: one for name, one in outcomes.items() if one.name != "passed"}
    for name, outcome in odd.items():
        print(f"{name}: {outcome.name} {outcome.detail}; passes without a sandbox: {plainly(every[name])}")


if __name__ == "__main__":
    main()
