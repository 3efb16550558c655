"""What whole runs cost: over the real input that `CURATE_DATA` names, with the recipe of the tests.

    CURATE_DATA=… python benchmarks/real_run.py [RUNS]

Each figure is the median of RUNS (3) runs of the command line from the start of the process to its end: from nothing,
again with nothing changed, and with another threshold until before publishing. Peak memory is the largest process's.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

RECIPE = Path(__file__).parents[1] / "tests" / "real.toml"


def main() -> None:
    """Run and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    data = Path(os.environ["CURATE_DATA"])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with tarfile.open(data / "internal" / "docs-markdown.tar.gz") as archive:
            archive.extractall(place / "unpacked", filter="data")
        os.environ["UNPACKED"] = str(place / "unpacked")
        fresh, again, changed = [], [], []
        stages: dict[str, list[float]] = {}
        for number in range(runs):
            shutil.rmtree(place / "work", ignore_errors=True)
            shutil.rmtree(place / "to", ignore_errors=True)
            fresh.append(timed(place))
            for name, stage in json.loads((place / "work" / "run.json").read_text())["stages"].items():
                stages.setdefault(name, []).append(stage["seconds"])
            again.append(timed(place))
            rule = f"rules.low_value=\"source <> 'openstax' and education_score < {1.6 + number / 10}\""
            changed.append(timed(place, "--set", rule, "--until", "report"))
        record = json.loads((place / "work" / "run.json").read_text())
        size = sum(entry["bytes"] for entry in record["inputs"])
        print(f"{record['stages']['pull']['rows']:,} documents, {len(record['inputs']):,} inputs, {size / 1e6:.1f} MB")
        print(f"from nothing {statistics.median(fresh):.1f} s: " + ", ".join(
            f"{name} {statistics.median(seconds):.1f}" for name, seconds in stages.items()))  # fmt: skip
        print(f"again, nothing changed {statistics.median(again):.1f} s")
        print(f"another threshold, until publish {statistics.median(changed):.1f} s")
        print(f"largest process {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB")


def timed(place: Path, *options: str) -> float:
    """The seconds of one run, which must be a good one."""
    command = [sys.executable, "-m", "curation", "run", str(RECIPE), "--work", str(place / "work"), "--workers", "2"]
    command += ["--set", f'release.to="{place / "to"}"', *options]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
