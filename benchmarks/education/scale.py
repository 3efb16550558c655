"""How long training and evaluating take on many labelled documents.

    CURATE_DATA=… PYTHONPATH=. python benchmarks/education/scale.py [DOCUMENTS]

The passages of labels.py are repeated until there are 100,000 documents, each made of two passages of one source with a
tenth of their words replaced by others of the same source, so that no two are near-copies of each other.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from classifiers.evaluate import evaluate
from classifiers.labels import Labelled, read
from classifiers.train import train


def many(rows: list[Labelled], count: int) -> list[Labelled]:
    """So many documents like these, in groups of 50."""
    chance = random.Random(0)  # noqa: S311  # a sample, not a secret
    sources: dict[str, list[Labelled]] = {}
    for row in rows:
        sources.setdefault(row.source, []).append(row)
    pools = {name: [word for row in found for word in row.text.split()] for name, found in sources.items()}
    made = []
    for number in range(count):
        one = rows[number % len(rows)]
        words = f"{one.text} {chance.choice(sources[one.source]).text}".split()
        for place in chance.sample(range(len(words)), len(words) // 10):
            words[place] = chance.choice(pools[one.source])
        made.append(
            Labelled(" ".join(words), one.grade, f"{one.source} {number // 50}", one.source, one.kind, one.license)
        )
    return made


def main() -> None:
    """Print how long each step took."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(__file__).with_name("labels.py")
        subprocess.run([sys.executable, str(labels), folder], check=True, env=os.environ, capture_output=True)
        rows = many(read([Path(folder) / "train.jsonl.gz"]), count)
        size = sum(len(row.text) for row in rows)
        start = time.perf_counter()
        trained = train(rows, Path(folder) / "model.bin")
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        evaluate(trained.path, rows, keep_seen=True)
        again = time.perf_counter() - start
    print(f"{count:,} documents, {size / 1e6:,.0f} MB")
    print(f"trained and tested in {seconds / 60:.1f} minutes: {trained.documents:,} texts, {trained.words:,} words")
    print(f"all of them evaluated in {again / 60:.1f} minutes")
    print("\n".join(trained.warnings))


if __name__ == "__main__":
    main()
