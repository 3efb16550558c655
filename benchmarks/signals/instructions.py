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
_LENGTHS = (100_000, 1_000_000, 10_000_000, 50_000_000)


def instructions(options: argparse.Namespace, scratch: Path) -> None:
    """Instructions a byte of the presets' signals, counted by Valgrind: ten minutes."""
    del options
    if (valgrind := shutil.which("valgrind")) is None:
        raise SystemExit("instructions are counted by valgrind, which is not there: install it")
    file = scratch / "prose.txt"
    file.write_bytes(prose()[: max(_LENGTHS)])
    environment = {**os.environ, **_PROCESSOR}
    command = [sys.executable, "-m", __spec__.name, str(file)]
    subprocess.run([*command, "1000", "1000000"], check=True, env=environment)  # compiles
    print("\ninstructions a byte, signals of the presets")
    counting = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", "--smc-check=all-non-file", *command]

    def count(length: int, total: int) -> int:
        done = subprocess.run(
            [*counting, str(length), str(total)], check=True, env=environment, capture_output=True, text=True
        )
        return int(re.findall(r"Collected : (\d+)", done.stderr)[0])

    few = count(1_000, 1_000_000)
    a_byte = (count(1_000, 3_000_000) - few) / 2_000_000
    starting = few - 1_000_000 * a_byte
    print(f"  documents of 0.001 MB {a_byte:14.1f}", flush=True)
    for length in _LENGTHS:
        total = max(length, 3_000_000)
        print(f"  documents of {length / 1e6:g} MB {(count(length, total) - starting) / total:14.1f}", flush=True)


def main() -> None:
    """Measure the documents of one length, as the process that is counted."""
    file, length, total = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(file, "rb") as stream:  # noqa: PTH123  # a module less to load
        text = stream.read(total)
    pieces = [text[at : at + length].decode(errors="ignore") for at in range(0, total, length)]
    measure(signals(OF_PRESETS), batches(pa.array(pieces)))


if __name__ == "__main__":
    main()
