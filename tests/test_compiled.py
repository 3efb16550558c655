"""Arrays that are made once for an installation."""

from __future__ import annotations

import numpy as np
import pytest

from curation.kernels import compiled


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
    assert {file.suffix for file in place.parent.rglob("*") if file.is_file()} <= {".npy", ""}


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
