"""The same run by processes, on a Ray cluster, and there with a node killed in each stage.

`python -m benchmarks.cluster [--recipe RECIPE] [--repeats 3]`. The cluster has two nodes, both on this machine, a core
each, so that the clock says what Ray adds. The releases must have the same bytes (the manifest's `created_at` aside);
else it ends with 1. Without `--recipe` it is that of the real input that `CURATE_DATA` names, else the quickstart.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.torture import VERSION, Place, default_recipe
from benchmarks.two_nodes import KillingEngine, TwoNodes
from curation import pipeline
from curation.engines import engine_of
from curation.progress import Silent
from curation.ray_engine import RayEngine
from curation.recipe import load

STAGES = [stage.__name__ for stage in pipeline.STAGES]


class Told(Silent):
    """Remembers the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        """Remember it."""
        self.lines.append(text)


def main() -> None:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, TwoNodes() as nodes:
        os.environ["RAY_ADDRESS"] = nodes.address
        recipe = options.recipe or default_recipe(Path(folder))
        faults = compare(recipe, Path(folder), nodes, options.repeats)
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


def compare(recipe: Path, folder: Path, nodes: TwoNodes, repeats: int) -> list[str]:
    """What differed, a line each; the figures are printed."""
    print(f"{recipe.name}; load {os.getloadavg()[0]:.1f} at the start", flush=True)
    first = Place(folder / "first")
    _run(recipe, first, "local")  # compiles, and fills the cache of files
    expected, documents = first.released(), 0
    seconds: dict[str, list[dict[str, float]]] = {"local": [], "ray": []}
    passed: dict[str, tuple[int, int]] = {}
    faults = []
    for number in range(repeats):
        for name, took_before in seconds.items():  # in turn
            place = Place(folder / f"{name}-{number}")
            took, documents, engine = _run(recipe, place, name)
            took_before.append(took)
            if isinstance(engine, RayEngine):
                passed = _passed(engine)
            faults += [
                f"{name}: other bytes: {file}" for file in expected if place.released().get(file) != expected[file]
            ]
    print(f"{documents:,} documents, 2 workers, medians of {repeats}; load {os.getloadavg()[0]:.1f} at the end")
    print(f"{'':10}{'seconds of the clock':>22}{'of the processor':>22}{'bytes through the process that runs it':>42}")
    print(f"{'':10}" + f"{'local':>11}{'ray':>11}" * 2 + f"{'out':>26}{'back':>16}")
    for stage in [*STAGES, "whole"]:
        figures = [statistics.median(one[kind + stage] for one in seconds[name]) for kind in ("", "processor ")
                   for name in ("local", "ray")]  # fmt: skip
        out, back = passed.get(stage, (sum(one[0] for one in passed.values()), sum(one[1] for one in passed.values())))
        print(f"{stage:10}" + "".join(f"{figure:11.1f}" for figure in figures) + f"{out:26,}{back:16,}", flush=True)
    ratios = [ray["whole"] / local["whole"] for local, ray in zip(seconds["local"], seconds["ray"], strict=True)]
    print(f"ray / local: {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    told, place = Told(), Place(folder / "killed")
    began = time.monotonic()
    with KillingEngine(nodes, folder / "marks", STAGES, told) as engine:
        _walk(recipe, place, engine, engine.call)
        killed = engine.killed
    lost = sum("a node was lost" in line for line in told.lines)
    print(f"a node killed in {', '.join(killed)}; {lost} items done again; {time.monotonic() - began:.1f} s in all")
    faults += [f"killed: other bytes: {file}" for file in expected if place.released().get(file) != expected[file]]
    faults += [f"no node was killed in {stage}" for stage in STAGES if stage not in killed]
    print(f"{len(faults)} faults; largest process of this one's {_megabytes()} MB")
    return faults


def _run(recipe: Path, place: Place, name: str) -> tuple[dict[str, float], int, Any]:
    began = time.monotonic()
    with engine_of(name, 2 if name == "local" else None, Silent()) as engine:
        state = _walk(recipe, place, engine, pipeline.plainly)
    took = {stage: float(figures["seconds"]) for stage, figures in state.stages.items()}
    took |= {f"processor {stage}": float(figures["processor_seconds"]) for stage, figures in state.stages.items()}
    whole = {"whole": time.monotonic() - began, "processor whole": sum(took[f"processor {stage}"] for stage in STAGES)}
    return {**took, **whole}, state.documents, engine


def _walk(recipe: Path, place: Place, engine: Any, call: Any) -> Any:
    loaded = load(
        recipe, (f'release.to="{place.folder / "to"}"', f'release.version="{VERSION}"'), work=str(place.folder / "work")
    )
    return pipeline.run(loaded, engine, call=call)


def _passed(engine: RayEngine) -> dict[str, tuple[int, int]]:
    """Bytes that went out and came back, by stage."""
    passed: dict[str, tuple[int, int]] = {}
    for label, out in engine.sent.items():
        stage = label.partition(":")[0]
        before = passed.get(stage, (0, 0))
        passed[stage] = (before[0] + out, before[1] + engine.received[label])
    return passed


def _megabytes() -> int:
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024


if __name__ == "__main__":
    main()
