"""The environment in which a peer lives: never ours, because its dependencies are not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

#: English is split into words by spaCy's blank pipeline, which downloads nothing.
DATATROVE = ("datatrove[processing]>=0.10,<0.11", "spacy>=3.8", "pyarrow", "regex", "numpy")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the peer's Python is, or is to be made."""
    parser.add_argument("--peer-python", help="a Python that has datatrove 0.10 and spaCy")
    parser.add_argument("--peer-environment", help="make the peer's environment in this folder, or find it there")


def python(options: argparse.Namespace, scratch: Path) -> str:
    """The peer's Python, which is made first unless the options name one."""
    if options.peer_python:
        return str(options.peer_python)
    place = scratch.joinpath(options.peer_environment or "peer").absolute()
    executable = place / "bin" / "python"
    if not executable.exists():
        print(f"making the peer's environment in {place}", file=sys.stderr)
        uv = shutil.which("uv")
        if uv:
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(place)], check=True)
            subprocess.run([uv, "pip", "install", "-q", "--python", str(executable), *DATATROVE], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            subprocess.run([str(executable), "-m", "pip", "install", "-q", *DATATROVE], check=True)
    return str(executable)
