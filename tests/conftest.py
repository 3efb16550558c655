"""Fixtures that many tests share."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from curation import kernels, pipeline
from curation.compiling import compile_kernels
from curation.engine import LocalEngine
from curation.recipe import load
from curation.sample import copy_to

pytest_plugins = ["s3_servers"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from curation.run import Run


#: Files of tests that wait for servers and for limits of time, the longest first. They begin first, so that no process
#: is left alone with one while the others have ended.
LONGEST = ["test_s3", "test_paid_once", "test_ray", "test_story", "test_promises", "test_flow", "test_writing"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Twice as many processes as cores, up to 16, since many tests wait for a server or for a limit."""
    return min(16, 2 * (os.cpu_count() or 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; the others stay in their order."""
    order = {f"{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    """The kernels are compiled before the first test, so that none waits for them and no run says so.

    One of the processes that test has all cores compile, the others wait.
    """
    with (kernels.place.folder() / "tests.lock").open("w") as lock, LocalEngine() as engine:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for group in kernels.GROUPS:
            compile_kernels(engine, group)


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


#: Measures no more than lengths and signatures, so that a run over a few documents takes a second.
_BARE = "".join(
    f"[signals.{name}]\nenabled = false\n"
    for name in (
        "symbols",
        "gopher_quality",
        "gopher_repetition",
        "c4",
        "fineweb",
        "pii",
        "mojibake",
        "lines",
        "language",
        "education",
    )
)


@pytest.fixture
def tiny(tmp_path: Path, engine: LocalEngine) -> Callable[..., Run]:
    """A function that runs the stages over documents given as rows of JSONL, by source.

    `tiny({"web": [{"text": "…"}]}, '[rules]short = "word_count < 5"', "seed=1", until="judge")`; of the signals only
    the lengths are measured unless `bare` is False. WORK, TO and the inputs lie in `tmp_path` and are used again.
    """

    def run(
        sources: dict[str, list[dict[str, Any]]], more: str = "", *overrides: str, bare: bool = True,
        until: str | None = None,
    ) -> Run:  # fmt: skip
        text = 'name = "tiny"\n' + ("" if "[dedup]" in more else '[dedup]\nprefer = "word_count desc"\n')
        for name, rows in sources.items():
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            text += f'[[source]]\nname = "{name}"\nkind = "jsonl"\npaths = ["{name}.jsonl"]\n'
        (tmp_path / "recipe.toml").write_text(f"{text}{_BARE if bare else ''}{more}\n")
        return pipeline.run(load(tmp_path / "recipe.toml", overrides), engine, until=until)

    return run
