"""doctor finds what would stop a run, says the remedy, and changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from curation import doctor
from curation.cli import cli
from curation.doctor import Check, cores_and_memory, examine
from curation.textbooks import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """No PREFECT_API_URL of the machine's."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture
def recipe(sample: Path, tmp_path: Path) -> Path:
    """The sample's recipe in a folder of its own."""
    shutil.copytree(sample.parent, tmp_path / "textbook", ignore=shutil.ignore_patterns("work", "releases"))
    return tmp_path / "textbook" / "recipe.toml"


def found(path: Path | None, *overrides: str, work: str | None = None) -> dict[str, Check]:
    """The checks by name."""
    return {check.name: check for check in examine(path, overrides, work)}


def test_all_is_well_and_nothing_is_left(recipe: Path) -> None:
    """Each check of the sample is ok; no file and no folder is made."""
    before = sorted(map(str, recipe.parent.rglob("*")))
    checks = found(recipe)
    assert {name: check.found for name, check in checks.items() if check.state == "fail"} == {}
    assert checks["source web"].found.startswith("1 file, ")
    assert checks["source handbook"].found.startswith("10 files, ")
    assert re.fullmatch(r"quickstart: sources 3, signals \d+, rules 30", checks["recipe"].found)
    assert {"python", "libraries", "machine", "models", "signals", "public suffixes", "WORK", "TO"} <= set(checks)
    assert sorted(map(str, recipe.parent.rglob("*"))) == before


def _file_for_folder(recipe: Path) -> tuple[str, ...]:
    (recipe.parent / "file").write_text("")
    return ('work="file/work"',)


def _another_recipes(recipe: Path) -> tuple[str, ...]:
    (recipe.parent / "other").mkdir()
    (recipe.parent / "other" / "workspace.json").write_text('{"recipe": "cookbook", "id": "1"}')
    return ('work="other"',)


def _used(recipe: Path) -> tuple[str, ...]:
    return ('work="sample"',)


def _gone(recipe: Path) -> tuple[str, ...]:
    (recipe.parent / "sample" / "web.warc.gz").unlink()
    return ()


FAULTS: dict[str, tuple[Callable[[Path], tuple[str, ...]], str, str]] = {
    "a fault in the recipe": (lambda _: ("seed=-1",), "recipe", "seed: expected a whole number"),
    "a rule over no column": (lambda _: ("rules.x=no_such < 1",), "recipe", "there is no column 'no_such'"),
    "an input that is gone": (_gone, "source web", "there is no such file"),
    "WORK below a file": (_file_for_folder, "WORK", "Not a directory"),
    "WORK of another recipe": (_another_recipes, "WORK", "belongs to the recipe cookbook"),
    "WORK with other files": (_used, "WORK", "holds files and is no workspace"),
    "releases in WORK": (lambda _: ('release.to="work/quickstart/to"',), "recipe", "lie in each other"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_would_stop_a_run_fails(case: str, recipe: Path) -> None:
    """The check that is meant fails, with what was found and a remedy."""
    prepare, name, message = FAULTS[case]
    check = found(recipe, *prepare(recipe))[name]
    assert check.state == "fail"
    assert message in check.found
    assert check.remedy


def test_an_endpoint_without_its_key_is_told(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the variable is set is said, what it holds is not."""
    overrides = ('endpoint.a.url="http://localhost/v1"', 'endpoint.a.model="m"', 'endpoint.a.key="$CURATE_TEST_KEY"')
    monkeypatch.delenv("CURATE_TEST_KEY", raising=False)
    check = found(recipe, *overrides)["endpoint a"]
    assert (check.state, check.found) == ("warn", "the variable CURATE_TEST_KEY is not set")
    monkeypatch.setenv("CURATE_TEST_KEY", "sk-of-nobody-at-all")
    check = found(recipe, *overrides)["endpoint a"]
    assert check.state == "ok"
    assert "nobody" not in check.found


def test_a_recipe_that_runs_code_needs_a_sandbox(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is one is said where the recipe asks for it, and only there."""
    recipe.with_name("plan.parquet").write_bytes(b"")
    overrides = ('source.1.kind="textbooks"', 'source.1.paths=["plan.parquet"]', 'source.1.endpoint="a"',
                 'endpoint.a.url="http://localhost/v1"', 'endpoint.a.model="m"')  # fmt: skip
    assert "sandbox" not in found(recipe, *overrides)
    monkeypatch.setattr(sandbox, "fault", lambda: "no Linux")
    check = found(recipe, *overrides, "source.1.run_code=true")["sandbox"]
    assert (check.state, check.found) == ("fail", "no Linux")
    assert check.remedy
    monkeypatch.setattr(sandbox, "fault", lambda: None)
    assert found(recipe, *overrides, "source.1.run_code=true")["sandbox"].state == "ok"


@pytest.mark.parametrize(
    ("versions", "name", "state"),
    [
        ({"prefect": "3.8.8", "fastapi": "0.151.0"}, "prefect", "fail"),
        ({"prefect": "3.8.8", "fastapi": "0.150.2"}, "prefect", "ok"),
        ({"prefect": "3.9.1", "fastapi": "0.151.0"}, "prefect", "ok"),
        ({"prefect": "3.8.8", "sqlalchemy": "2.1.9"}, "sqlalchemy", "warn"),
        ({"s3fs": "0.4.2"}, "s3fs", "warn"),
        ({"fasttext-wheel": "0.9.2"}, "fasttext", "fail"),
        ({"duckdb": ""}, "libraries", "fail"),
        ({"publicsuffixlist": "1.0.2.20200101"}, "public suffixes", "warn"),
        ({"publicsuffixlist": "1.0.2"}, "public suffixes", "warn"),
    ],
)
def test_versions_known_bad_are_told(
    versions: dict[str, str], name: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs that do not start, and what overwrites what."""
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda one: (versions[one] or None) if one in versions else real(one))
    assert found(None)[name].state == state


def test_limits_of_a_container_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a core is one; memory is what the group has left; too little of it is a warning with the option to use."""
    files = {
        "/proc/meminfo": ["MemTotal: 64000000 kB", "MemAvailable: 60000000 kB"],
        "/sys/fs/cgroup/cpu.max": ["50000 100000"],
        "/sys/fs/cgroup/memory.max": [str(3 * 2**30)],
        "/sys/fs/cgroup/memory.current": [str(2**30)],
    }
    monkeypatch.setattr(doctor, "_lines", lambda path: files[path])
    assert cores_and_memory() == (1, 2 * 2**30)
    files["/sys/fs/cgroup/cpu.max"] = ["max 100000"]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    check = found(None)["machine"]
    assert (check.state, check.remedy) == ("warn", "curate run … --workers 1")


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """PREFECT_API_URL is tried, and only as http."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert found(None)["PREFECT_API_URL"].state == "fail"
    monkeypatch.setenv("PREFECT_API_URL", "http://a b/api")
    assert "does not answer" in found(None)["PREFECT_API_URL"].found
    monkeypatch.setenv("PREFECT_API_URL", "file:///etc/passwd")
    assert "no http address" in found(None)["PREFECT_API_URL"].found


def test_the_command_ends_with_one_if_anything_fails(recipe: Path) -> None:
    """Text and JSON say the same; every line has its state."""
    done = CliRunner().invoke(cli, ["doctor", str(recipe), "--json"])
    assert done.exit_code == 0, done.output
    assert {check["state"] for check in json.loads(done.output)} <= {"ok", "warn"}
    done = CliRunner().invoke(cli, ["doctor", str(recipe), "--set", "seed=-1"])
    assert done.exit_code == 1
    assert "fail  recipe" in done.output
    assert "seed: expected a whole number" in done.output


def test_a_remedy_cannot_move_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may name a path, and a path may hold anything."""
    monkeypatch.setattr(doctor, "examine", lambda *_: [Check("x", "fail", "\x1b[2Jfound", "rm \x1b[2Jfile")])
    done = CliRunner().invoke(cli, ["doctor"])
    assert "-> rm \\x1b[2Jfile" in done.output
    assert "\x1b" not in done.output
