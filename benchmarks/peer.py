"""The environments in which peers live, never ours, because their dependencies are not; and one of ours alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_ROOT = Path(__file__).parent.parent

#: English is split into words by spaCy's blank pipeline, which downloads nothing.
DATATROVE = ("datatrove[processing]>=0.10,<0.11", "spacy>=3.8", "pyarrow", "regex", "numpy")
#: What else finds near-duplicates. Each is installed by itself: one that cannot be leaves the others.
DEDUPLICATION = {"datasketch": "2.0.0", "rensa": "0.5.0", "daft": "0.7.26", "text-dedup": "0.4.0"}

_VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


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
        _make(place)
        subprocess.run(_installing(str(executable), *DATATROVE), check=True)
    return str(executable)


def ours(options: argparse.Namespace, scratch: Path) -> str:
    """A Python that has this checkout with what it needs and nothing else, as a user has it.

    What is installed beside costs time: Arrow and DuckDB import pandas where it is there.
    """
    place = scratch.joinpath(options.own_environment or "own").absolute()
    executable = place / "bin" / "python"
    if not executable.exists():
        print(f"making an environment for this checkout in {place}", file=sys.stderr)
        _make(place)
    subprocess.run(_installing(str(executable), "--editable", str(_ROOT)), check=True)
    return str(executable)


def deduplicating(options: argparse.Namespace, scratch: Path) -> tuple[str, list[str]]:
    """The peer's Python, and which of datatrove and `DEDUPLICATION` it has; says why one is missing.

    They are installed where they are missing, but not into a Python that the options name.
    """
    executable = python(options, scratch)
    why = dict.fromkeys(DEDUPLICATION, "it is not in the Python that --peer-python names")
    for name, version in DEDUPLICATION.items():
        if not options.peer_python and _version(executable, name) != version:
            print(f"installing {name} {version} for comparison", file=sys.stderr)
            command = _installing(executable, f"{name}=={version}")
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            why[name] = " ".join(done.stderr.split()[-40:]) or "another peer needs another version"
    found = [name for name, version in DEDUPLICATION.items() if _version(executable, name) == version]
    for name in (one for one in DEDUPLICATION if one not in found):
        print(f"without {name} {DEDUPLICATION[name]}: {why[name]}")
    return executable, ["datatrove", *found]


def _make(place: Path) -> None:
    uv = shutil.which("uv")
    making = [uv, "venv", "-q", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    subprocess.run([*making, str(place)], check=True)


def _installing(executable: str, *requirements: str) -> list[str]:
    """The command that installs them for this Python."""
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "-q", "--python", executable, *requirements]
    return [executable, "-m", "pip", "install", "-q", *requirements]


def _version(executable: str, name: str) -> str:
    """The version that this Python has, "" for none."""
    done = subprocess.run([executable, "-c", _VERSION, name], check=False, capture_output=True, text=True)
    return done.stdout.strip()
