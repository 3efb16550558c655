"""What scoring and identifying cost a core, beside the libraries that they are equal to.

    CURATE_DATA=… PYTHONPATH=. python benchmarks/scoring.py

`education` over all of bench/text-mixed.parquet, against words prepared in Python and fastText's prediction, against
that prediction alone, and against fastText over whole texts; `language` against py3langid on the same samples. The
libraries get every twentieth document. Then what a new process pays before its first text. CPU time, one process, in
turns.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from classifiers.language import identified
from classifiers.model import DEFAULT, score
from curation.signals.batch import Batch

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from plain import education as plain_education
from plain import language as plain_language

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 5
STEP = 20

#: Each after the one before it, in one new process.
START = {
    "numba and pyarrow": "import numba, pyarrow; pyarrow.array([1])",
    "another kernel": "from curation import kernels; kernels.characters",
    "education": "from classifiers.model import DEFAULT, scores; scores(DEFAULT, ['a text'])",
    "language": "from classifiers.language import identify; identify('a text')",
}


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Measure, print."""
    file = Path(os.environ["CURATE_DATA"]).expanduser() / "bench" / "text-mixed.parquet"
    text = pq.read_table(file, columns=["text"])["text"]
    batches = [Batch(chunk) for chunk in text.chunks]
    size = sum(int(batch.bounds[-1] - batch.bounds[0]) for batch in batches)
    few = text.to_pylist()[::STEP]
    few_size = sum(len(one.encode()) for one in few)
    lines = [plain_education.prepared(DEFAULT, one) for one in few]
    whole = [" ".join(one.lower().split()) for one in few]
    samples = [plain_language.sample(one) for one in few]
    theirs = plain_language.identifier()
    jobs: dict[str, tuple[Callable[[], object], int, int]] = {
        "education, kernel": (lambda: [score(DEFAULT, one.data, one.bounds) for one in batches], size, len(text)),
        "education, words and fastText": (lambda: plain_education.scores(DEFAULT, few), few_size, len(few)),
        "education, fastText alone": (lambda: plain_education.predicted(DEFAULT, lines), few_size, len(few)),
        "education, fastText alone, whole texts": (
            lambda: plain_education.predicted(DEFAULT, whole),
            few_size,
            len(few),
        ),
        "language, kernel": (lambda: [identified(one.data, one.bounds) for one in batches], size, len(text)),
        "language, py3langid": (lambda: [theirs.classify(one) for one in samples], few_size, len(few)),
    }
    for work, _, _ in jobs.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(REPEATS):
        for name, (work, _, _) in jobs.items():
            taken[name].append(seconds(work))
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}, medians of {REPEATS}")
    print(f"{len(text):,} documents, {size / 1e6:.0f} MB; the libraries {len(few):,} of them, {few_size / 1e6:.1f} MB")
    for name, (_, bytes_read, documents) in jobs.items():
        median = statistics.median(taken[name])
        print(f"{name}: {bytes_read / median / 1e6:.1f} MB/s, {median / documents * 1e6:.0f} microseconds a document")
    mine = np.concatenate([score(DEFAULT, one.data, one.bounds) for one in batches])[::STEP]
    apart = np.abs(mine - plain_education.scores(DEFAULT, few))
    print(f"education: {int((apart > 0).sum())} of {len(few):,} scores differ, by {apart.max():.4f} at most")
    for number in range(1, len(START) + 1):
        name, code = list(START)[number - 1], "; ".join(list(START.values())[:number])
        code = f"import time; began = time.process_time(); {code}; print(time.process_time() - began)"
        starts = [float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
                  for _ in range(REPEATS)]  # fmt: skip
        print(f"a new process, with {name}: {statistics.median(starts):.2f} s")


if __name__ == "__main__":
    main()
