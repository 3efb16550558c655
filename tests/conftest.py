"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real input that `CURATE_DATA` names; a test that needs it skips where it is not set."""
    folder = os.environ.get("CURATE_DATA")
    if not folder:
        pytest.skip("CURATE_DATA is not set: no real input here")
    path = Path(folder).expanduser().resolve()
    if not path.is_dir():
        pytest.fail(f"CURATE_DATA names {path}, which is not a folder")
    return path
