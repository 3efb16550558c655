"""Kill whole runs at random moments and run them again: `python -m benchmarks.torture [--kills 100] [--recipe RECIPE]`.

Each trial begins from nothing, is killed with all its processes by SIGKILL at a moment drawn between its start and the
time that an undisturbed run takes, and is run again to its end. Then the release has the bytes of the undisturbed one
(the manifest's `created_at` aside), the same files lie in workspace and release, and no part that was there when the
run was killed was made again: only what was in flight was lost.

Without `--recipe` it is the recipe of the real input that `CURATE_DATA` names, else the quickstart.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from curation.pipeline import STAGES

ROOT = Path(__file__).parents[1]
VERSION = "2026.01.01"
#: Files that say when or how fast something was done, or can be deleted at any time.
_PASSING = ("run.json", "report.html", "index.json")


@dataclass(frozen=True)
class Place:
    """Where one run works and publishes."""

    folder: Path

    def command(self, recipe: Path, workers: int) -> list[str]:
        """The run that is killed, and run again."""
        return [
            sys.executable, "-m", "curation", "run", str(recipe), "--workers", str(workers), "--work",
            str(self.folder / "work"), "--set", f'release.to="{self.folder / "to"}"', "--set",
            f'release.version="{VERSION}"',
        ]  # fmt: skip

    def files(self) -> dict[str, Path]:
        """Every file of workspace and release, by its place in the folder."""
        return {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*") if path.is_file()}

    def released(self) -> dict[str, bytes]:
        """What a training job reads, and the manifest without its time."""
        found = {name: path.read_bytes() for name, path in self.files().items() if name.endswith(".parquet")
                 and name.startswith("to/")}  # fmt: skip
        for name, path in self.files().items():
            if name.endswith("manifest.json"):
                manifest = json.loads(path.read_text())
                found[name] = json.dumps({**manifest, "created_at": None}, sort_keys=True).encode()
        return found

    def parts(self) -> dict[str, tuple[int, int]]:
        """The finished parts of the workspace, and what tells one from another that was made in its place."""
        found = {}
        for name, path in self.files().items():
            if name.startswith("work/") and name.endswith(".parquet"):
                with suppress(FileNotFoundError):
                    found[name] = (path.stat().st_ino, path.stat().st_mtime_ns)
        return found

    def stage(self) -> str:
        """The stage that was under way, as far as the workspace tells."""
        names = set(self.files())
        made = {"measure": "work/signals/", "compare": "work/candidates/", "judge": "work/hits/",
                "blend": "work/groups/", "report": "work/report.html", "publish": "to/"}  # fmt: skip
        begun = [stage for stage, start in made.items() if any(name.startswith(start) for name in names)]
        return begun[-1] if begun else STAGES[0].__name__


def main() -> None:
    """Kill, run again, compare; end with 1 where anything differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe = options.recipe or default_recipe(Path(folder))
        faults = torture(recipe, Path(folder), options.kills, options.seed, options.workers)
    sys.exit(1 if faults else 0)


def torture(recipe: Path, folder: Path, kills: int, seed: int, workers: int) -> list[str]:
    """What differed, a line each; progress is printed."""
    random_ = random.Random(seed)  # noqa: S311  # moments, no secrets
    whole = Place(folder / "whole")
    _finish(whole, recipe, workers)  # the first run of an installation also compiles
    _remove(whole.folder)
    began = time.monotonic()
    _finish(whole, recipe, workers)
    seconds = time.monotonic() - began
    released, files = whole.released(), _lasting(whole)
    print(f"{recipe.name}: an undisturbed run takes {seconds:.1f} s, {len(files)} files", flush=True)
    faults, stages, ended, kept = list[str](), Counter[str](), 0, 0
    for number in range(kills):
        place, moment = Place(folder / f"kill-{number}"), random_.uniform(0, seconds)
        if not _killed(place, recipe, workers, moment):
            ended += 1
        stages[place.stage()] += 1
        before = place.parts()
        kept += len(before)
        _finish(place, recipe, workers)
        after = place.parts()
        # A part that the rerun removed is judged by the files at the end; one that it made again was finished in vain.
        again = sorted(name for name, said in before.items() if name in after and after[name] != said)
        mine = [f"made again: {name}" for name in again]
        mine += [f"other bytes: {name}" for name in released if place.released().get(name) != released[name]]
        mine += [f"stray: {name}" for name in sorted(_lasting(place) - files)]
        mine += [f"missing: {name}" for name in sorted(files - _lasting(place))]
        faults += [f"kill {number} at {moment:.2f} s: {fault}" for fault in mine]
        for fault in mine[:5]:
            print(f"  kill {number} at {moment:.2f} s: {fault}", flush=True)
        _remove(place.folder)
        if (number + 1) % 10 == 0:
            print(f"  {number + 1} kills, {len(faults)} faults", flush=True)
    told = ", ".join(f"{stage.__name__} {stages[stage.__name__]}" for stage in STAGES if stages[stage.__name__])
    print(f"{kills} kills ({told}; {ended} after the end), {kept:,} finished parts: {len(faults)} faults", flush=True)
    return faults


def _lasting(place: Place) -> set[str]:
    return {name for name in place.files() if Path(name).name not in _PASSING}


def _killed(place: Place, recipe: Path, workers: int, moment: float) -> bool:
    """Run, and kill all processes at that moment; whether the run was still going on."""
    with subprocess.Popen(
        place.command(recipe, workers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(moment)
            return False
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return True


def _finish(place: Place, recipe: Path, workers: int) -> None:
    done = subprocess.run(place.command(recipe, workers), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the run failed:\n{done.stderr}{done.stdout}")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)


def default_recipe(folder: Path) -> Path:
    """The recipe over the real input, or the sample's."""
    if "CURATE_DATA" not in os.environ:
        return ROOT / "recipes" / "quickstart.toml"
    with tarfile.open(Path(os.environ["CURATE_DATA"]) / "internal" / "docs-markdown.tar.gz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    os.environ["UNPACKED"] = str(folder / "unpacked")
    return ROOT / "tests" / "real.toml"


if __name__ == "__main__":
    main()
