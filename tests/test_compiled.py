"""What is made once for an installation: machine code, and arrays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from curation.kernels import compiled
from curation.kernels import place as place_of_kernels


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of the kernels that is empty."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    monkeypatch.setattr(compiled, "folder", lambda: folder)
    return folder


def made(calls):
    """Two arrays, and a note that they were made."""

    def make():
        calls.append(1)
        return np.arange(5, dtype=np.int16), np.array(["de", "und"])

    return make


@pytest.mark.parametrize("version", [None, "1+lib-0.4.0"])
def test_arrays_are_made_once(place, version):
    """The second time they are read, all of them, in order, with their types; and they cannot be written to."""
    calls = []
    for _ in range(2):
        numbers, names = compiled.kept("things", made(calls), version)
        assert numbers.tolist() == [0, 1, 2, 3, 4]
        assert names.tolist() == ["de", "und"]
        assert numbers.dtype == np.int16
    assert len(calls) == 1
    with pytest.raises(ValueError, match="read-only"):
        numbers[0] = 1
    assert {file.suffix for file in place.parent.rglob("*") if file.is_file()} <= {".npy", ".lock"}


def test_another_version_is_made_anew(place):
    """What was kept for one version is not given for another."""
    calls = []
    for version in ("1", "2", "1"):
        compiled.kept("things", made(calls), version)
    assert len(calls) == 2
    assert place.exists()


def test_without_room_the_arrays_are_given_all_the_same(place, monkeypatch):
    """A full disk costs time, no answer; and no half-written file is taken for the whole."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    calls = []
    for _ in range(2):
        assert compiled.kept("things", made(calls))[0].tolist() == [0, 1, 2, 3, 4]
    assert len(calls) == 2
    assert not list(place.glob("*.npy"))


def test_a_run_compiles_what_is_missing_and_says_so_once(tiny, monkeypatch):
    """All modules of kernels are imported by the workers before a part is measured; the next run finds it noted."""
    noted = []
    monkeypatch.setattr(place_of_kernels, "are_compiled", lambda group: group in noted)
    monkeypatch.setattr(place_of_kernels, "note_compiled", noted.append)
    said = []
    monkeypatch.setattr("curation.progress.Silent.line", lambda _, text: said.append(text))
    tiny({"s": [{"text": "One two three."}]}, until="measure")
    tiny({"s": [{"text": "One two three. Four."}]}, until="measure")
    assert noted == ["texts"]
    assert sum("compiling the kernels" in text for text in said) == 1


def test_processes_that_start_together_compile_each_kernel_once(tmp_path):
    """Also where the package cannot be written: then what is compiled lies in the user's cache."""
    package = tmp_path / "curation"
    shutil.copytree(Path(compiled.__file__).parent, package / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").touch()
    (package / "kernels" / "__pycache__").touch()  # a file: no folder can be made here
    code = """
from curation.kernels import minhash
stats = [function.stats for function in (minhash._shingle, minhash._sign)]
print(sum(sum(one.cache_hits.values()) for one in stats), sum(sum(one.cache_misses.values()) for one in stats))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-B", "-c", code]
    running = [
        subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = [tuple(map(int, process.communicate(timeout=120)[0].split())) for process in running]
    assert sum(hits for hits, _ in answers) == 4
    assert sum(misses for _, misses in answers) == 2
    assert list((tmp_path / "cache" / "curate").glob("kernels-*/**/*.nbi"))
