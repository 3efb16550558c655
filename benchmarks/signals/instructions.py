"""Instructions for each byte of a text: what work there is, whatever the caches and the machine's load."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa

from benchmarks.signals.measuring import OF_PRESETS, batches, measure, prose, signals

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

#: The last processor that Valgrind knows; kernels are compiled for it.
_PROCESSOR = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
#: Length of the documents in bytes, and of all of them.
_LENGTHS = (
    (1_000, 1_000_000), (1_000, 3_000_000), (100_000, 3_000_000), (1_000_000, 3_000_000), (10_000_000, 10_000_000),
    (50_000_000, 50_000_000),
)  # fmt: skip


def instructions(options: argparse.Namespace, scratch: Path) -> None:
    """Instructions a byte of the presets' signals, counted by Valgrind, for documents of 1 KB to 50 MB: ten minutes."""
    del options
    if (valgrind := shutil.which("valgrind")) is None:
        raise SystemExit("instructions are counted by valgrind, which is not there: install it")
    file = scratch / "prose.txt"
    file.write_bytes(prose()[: max(total for _, total in _LENGTHS)])
    environment = {**os.environ, **_PROCESSOR}
    command = [sys.executable, "-m", __spec__.name, str(file)]
    subprocess.run([*command, "1000", "1000000"], check=True, env=environment)  # compiles
    counts = {}
    for length, total in _LENGTHS:
        counting = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", "--smc-check=all-non-file"]
        done = subprocess.run(
            [*counting, *command, str(length), str(total)], check=True, env=environment, capture_output=True, text=True
        )
        counts[length, total] = int(re.findall(r"Collected : (\d+)", done.stderr)[0])
    a_byte = (counts[1_000, 3_000_000] - counts[1_000, 1_000_000]) / 2_000_000
    starting = counts[1_000, 1_000_000] - 1_000_000 * a_byte
    print("\ninstructions a byte, signals of the presets")
    for length, total in _LENGTHS[1:]:
        print(f"  documents of {length / 1e6:g} MB {(counts[length, total] - starting) / total:14.1f}")


def main() -> None:
    """Measure the documents of one length, as the process that is counted."""
    file, length, total = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(file, "rb") as stream:  # noqa: PTH123  # a module less to load
        text = stream.read(total)
    pieces = [text[at : at + length].decode(errors="ignore") for at in range(0, total, length)]
    measure(signals(OF_PRESETS), batches(pa.array(pieces)))


if __name__ == "__main__":
    main()
