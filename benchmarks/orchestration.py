"""What a run costs around its stages, plain and through Prefect: `python -m benchmarks.orchestration [--repeats 3]`.

The quickstart from nothing, in turn: as `curate run` by itself, and recorded by a Prefect server that runs on loopback
with a database of its own. Told are the seconds of the clock and of the processor, from the start of the process to its
end, and how much of both is not in a stage: starting Python, importing, loading the recipe, locks, checks, what Prefect
does, and ending.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
#: The run that its cost is set against.
TEN_MINUTES = 600


@dataclass(frozen=True)
class Took:
    """One run: seconds of the clock, of the processor, and of both outside of stages."""

    clock: float
    processor: float
    around: float
    processor_around: float


def main() -> None:
    """Run in turn, print medians."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.orchestration", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "quickstart.toml")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as prefect:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environments = {"plain": plain, "prefect": {**plain, **prefect}}
        took: dict[str, list[Took]] = {name: [] for name in environments}
        print(f"{options.recipe.name}; load {os.getloadavg()[0]:.1f} at the start", flush=True)
        for number in range(options.repeats + 1):  # the first of each fills caches
            for name, environment in environments.items():
                one = _run(options.recipe, Path(folder) / f"{name}-{number}", environment)
                took[name] += [one] if number else []
    print(f"medians of {options.repeats}; load {os.getloadavg()[0]:.1f} at the end")
    print(f"{'':10}{'clock s':>9}{'processor s':>13}{'around the stages s':>21}{'processor s':>13}")
    medians = {}
    for name, runs in took.items():
        medians[name] = Took(*(statistics.median(getattr(run, key) for run in runs) for key in Took.__annotations__))
        one = medians[name]
        print(f"{name:10}{one.clock:9.2f}{one.processor:13.2f}{one.around:21.2f}{one.processor_around:13.2f}")
    pairs = zip(took["plain"], took["prefect"], strict=True)
    more = [(other.clock - one.clock, other.processor - one.processor) for one, other in pairs]
    clock, processor = (statistics.median(values) for values in zip(*more, strict=True))
    print(f"through Prefect {clock:.2f} s more by the clock, {processor:.2f} s of processor: ", end="")
    print(f"{clock / TEN_MINUTES:.1%} of a run of ten minutes")


def _run(recipe: Path, place: Path, environment: dict[str, str]) -> Took:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "curation", "run", str(recipe), "--work", str(place / "work"), "--workers", "2",
         "--set", f'release.to="{place / "to"}"'],
        env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    clock, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"the run failed:\n{done.stderr}{done.stdout}")
    stages = list(json.loads((place / "work" / "run.json").read_text())["stages"].values())
    inside, processor_inside = (sum(stage[key] for stage in stages) for key in ("seconds", "processor_seconds"))
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(clock, processor, clock - inside, processor - processor_inside)


@contextmanager
def _server(folder: Path) -> Iterator[dict[str, str]]:
    """A Prefect server; the variables by which it is found."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        "PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log)
    try:
        _await(f"{variables['PREFECT_API_URL']}/health", server, folder / "server.log")
        yield variables
    finally:
        server.terminate()
        server.wait(30)


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(400):
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310  # our own
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.3)
        else:
            return
    raise SystemExit(f"Prefect's server does not answer:\n{log.read_text()}")


if __name__ == "__main__":
    main()
