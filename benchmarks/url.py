"""What a million blocked domains cost against pulling the pages: `python benchmarks/url.py`, with CURATE_DATA set.

Pulls bench/web-00000.warc.gz with one worker, then measures `url` over its URLs with a list of a million generated
domains, all in one run. The list is read once by `curate` itself and once by each worker: both are counted.
"""

from __future__ import annotations

import os
import platform
import random
import string
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from curation import pipeline
from curation.engine import LocalEngine
from curation.recipe import load
from curation.signals import url
from curation.signals.batch import Batch

ENTRIES = 1_000_000
REPEATS = 5
TOP = ("com", "net", "org", "info", "co.uk", "de", "ru", "xyz")


def write_list(path: Path) -> None:
    """A list of so many domains as they look in lists of blocked hosts, a line each."""
    chance = random.Random(0)  # noqa: S311
    letters = string.ascii_lowercase + string.digits + "-"
    names: set[str] = set()
    while len(names) < ENTRIES:
        name = "".join(chance.choices(letters, k=chance.randint(4, 20))).strip("-") or "x"
        names.add(f"{chance.choice(('', '', 'www.'))}{name}.{chance.choice(TOP)}")
    path.write_text("\n".join(sorted(names)) + "\n")


def main() -> None:
    """Pull, measure, print."""
    data = Path(os.environ["CURATE_DATA"]).expanduser().resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_list(folder / "domains")
        (folder / "recipe.toml").write_text(
            'name = "bench"\n[extract]\nengine = "resiliparse"\n'
            f'[[source]]\nname = "web"\nkind = "warc"\npaths = ["{data}/bench/web-00000.warc.gz"]\n'
        )
        with LocalEngine(1) as engine:
            run = pipeline.run(load(folder / "recipe.toml"), engine, until="pull")
        pull = run.stages["pull"]["seconds"]
        uris = pa.concat_arrays(
            [chunk for part in run.parts for chunk in run.work.documents.read(part, ["uri"])["uri"].chunks]
        )
        settings = url.Settings(blocked_domains=(str(folder / "domains"),))
        rounds = []
        for _ in range(REPEATS):
            url._listed_domains.cache_clear()  # noqa: SLF001  # as in a process that has just begun
            url.registered_domain.cache_clear()
            url._suffixes.cache_clear()  # noqa: SLF001
            began = time.perf_counter()
            signal = url.load(settings)
            loaded = time.perf_counter()
            signal.measure(Batch(pa.nulls(len(uris), pa.string()), uris))
            rounds.append((loaded - began, time.perf_counter() - loaded))
        reading, measuring = (sorted(times)[REPEATS // 2] for times in zip(*rounds, strict=True))
        cost = 2 * reading + measuring
        table = url._listed_domains(signal.domains)  # noqa: SLF001
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}")
    print(f"pull: {len(uris):,} documents in {pull:.2f} s")
    print(f"list: {ENTRIES:,} domains, read in {reading:.2f} s, {table.nbytes:,} bytes held")
    print(f"url: {measuring * 1000:.1f} ms, {len(uris) / measuring:,.0f} URLs/s (medians of {REPEATS})")
    print(f"cost: 2 x {reading:.2f} s + {measuring:.3f} s = {cost:.2f} s, {cost / pull:.1%} of the pull")


if __name__ == "__main__":
    main()
