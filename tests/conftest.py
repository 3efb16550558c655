"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation.engine import LocalEngine
from curation.sample import copy_to

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture(scope="session")
def engine() -> Iterator[LocalEngine]:
    """Two worker processes that all tests share, since starting them takes a second."""
    with LocalEngine(2) as shared:
        yield shared


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe and sample as `curate init` writes them."""
    folder = tmp_path_factory.mktemp("sample") / "textbook"
    copy_to(folder)
    return folder / "recipe.toml"
