"""Seconds that `curate plan RECIPE --rule …` takes on 100,000 documents, the whole command; median of five.

python benchmarks/plan_rule.py [FOLDER]: CURATE_DATA names the real input (its bench/text-mixed.parquet is cut into
pieces of 1,200 characters); the workspace is made in FOLDER, or a temporary one, and used again if it is there.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

#: Documents to make, and the most characters of each.
DOCUMENTS = 110_000
PIECE = 1_200

RECIPE = """
name = "pieces"
[[source]]
name = "pieces"
kind = "jsonl"
paths = ["pieces-*.jsonl"]
[dedup]
max_loss = 1.0
[rules]
too_short = "word_count < 20"
low_value = "education_score < 1"
[blend]
tokens = 10_000_000
"""
OFF = ("symbols", "gopher_quality", "gopher_repetition", "c4", "fineweb", "url", "language")
CALLS = {
    "a changed rule": ["--rule", "low_value=education_score < 2"],
    "a new rule": ["--rule", "short=word_count < 60"],
    "a rule switched off": ["--rule", "low_value=false"],
}


def make(folder: Path) -> Path:
    """The recipe of a workspace with `DOCUMENTS` documents, run up to the blend."""
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE + "".join(f"[signals.{name}]\nenabled = false\n" for name in OFF))
    if not (folder / "pieces-0.jsonl").exists():
        texts = pq.read_table(Path(os.environ["CURATE_DATA"]) / "bench/text-mixed.parquet", columns=["id", "text"])
        pieces = (
            {"uri": f"{row['id']}#{start}", "text": row["text"][start : start + PIECE]}
            for batch in texts.to_batches(max_chunksize=1_000)
            for row in batch.to_pylist()
            for start in range(0, min(len(row["text"]), 4 * PIECE), PIECE)
        )
        files = [(folder / f"pieces-{number}.jsonl").open("w") for number in range(4)]
        for number, piece in zip(range(DOCUMENTS), pieces, strict=False):
            files[number % len(files)].write(json.dumps(piece) + "\n")
        for file in files:
            file.close()
    subprocess.run([sys.executable, "-m", "curation", "run", str(recipe), "--until", "blend"], check=True)
    return recipe


def main(folder: Path) -> None:
    """Make the workspace and time each call as a process of its own."""
    recipe = make(folder)
    for name, options in CALLS.items():
        command = [sys.executable, "-m", "curation", "plan", str(recipe), *options]
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds.append(time.perf_counter() - began)
        print(f"{name:20} median {statistics.median(seconds):.2f} s, from {min(seconds):.2f} to {max(seconds):.2f}")
        print("\n".join(f"  {line}" for line in done.stdout.splitlines()[:12]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place))
