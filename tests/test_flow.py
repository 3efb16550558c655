"""The Prefect flow, as it is used: a server on loopback, a deployment from infra/prefect.yaml, a process worker."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation import pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("prefect")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables under which `prefect` speaks to a server of this test's own."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
        "CURATE_CHECKOUT": str(ROOT),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env=variables, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2)
                    break
                except OSError:
                    assert server.poll() is None, (home / "server.log").read_text()
                    time.sleep(0.3)
            yield variables
        finally:
            server.terminate()
            server.wait(timeout=30)


def prefect(environment: dict[str, str], *arguments: str, **more: str) -> str:
    """What a `prefect` command prints; it must succeed."""
    done = subprocess.run([sys.executable, "-m", "prefect", *arguments], env={**environment, **more}, cwd=ROOT,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(environment: dict[str, str], path: str, body: dict[str, object]) -> list[dict[str, object]]:
    """The answer of the server's API to a filter."""
    request = urllib.request.Request(  # noqa: S310  # a server of ours on loopback
        f"{environment['PREFECT_API_URL']}/{path}/filter",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        found: list[dict[str, object]] = json.load(answer)
    return found


def test_a_deployment_runs_the_stages_and_publishes(environment: dict[str, str], sample: Path, tmp_path: Path) -> None:
    """Deployed, started with a parameter, taken by a worker: seven tasks in order, logs, artifacts, and the release."""
    folder = tmp_path / "textbook"
    shutil.copytree(sample.parent, folder, ignore=shutil.ignore_patterns("work", "releases"))
    recipe = folder / "recipe.toml"
    prefect(environment, "work-pool", "create", "local", "--type", "process")
    prefect(
        environment, "--no-prompt", "deploy", "--all", "--prefect-file", "infra/prefect.yaml", CURATE_RECIPE=str(recipe)
    )
    prefect(environment, "deployment", "run", "curate/on-demand", "--param", "workers=1")
    prefect(environment, "worker", "start", "--pool", "local", "--run-once")
    deadline = time.monotonic() + 120
    runs: list[dict[str, object]] = []
    while time.monotonic() < deadline:
        runs = ask(environment, "flow_runs", {"flow_runs": {"tags": {"all_": ["curate"]}}, "sort": "START_TIME_DESC"})
        runs = [run for run in runs if run["state_type"] not in ("SCHEDULED", "PENDING", "RUNNING")]
        if runs:
            break
        time.sleep(0.5)
    assert [run["state_type"] for run in runs] == ["COMPLETED"]
    tasks = ask(environment, "task_runs", {"sort": "EXPECTED_START_TIME_ASC"})
    names = [str(one["name"]).rsplit("-", 1)[0] for one in tasks if one["state_type"] == "COMPLETED"]
    assert names == [stage.__name__ for stage in pipeline.STAGES]
    (manifest,) = (folder / "releases").glob("quickstart/*/manifest.json")
    assert json.loads(manifest.read_text())["documents"] == 27
    keys = {str(artifact["key"]) for artifact in ask(environment, "artifacts", {})}
    assert {"documents", "blend", "report"} <= keys
    said = [str(entry["message"]) for entry in ask(environment, "logs", {"limit": 200})]
    assert any("41 kept" in message for message in said)
    schedules = json.loads(prefect(environment, "deployment", "inspect", "curate/nightly", "--output", "json"))[
        "schedules"
    ]
    assert schedules[0]["schedule"]["cron"] == "0 2 * * *"


def test_curate_run_is_recorded_where_a_server_is_named(
    environment: dict[str, str], sample: Path, tmp_path: Path
) -> None:
    """With PREFECT_API_URL set the same command runs the flow, and prints where the release is."""
    done = subprocess.run(
        [sys.executable, "-m", "curation", "run", str(sample), "--work", str(tmp_path / "work"),
         "--set", f'release.to="{tmp_path / "to"}"'],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"release  {tmp_path / 'to' / 'quickstart'}" in done.stdout
    runs = ask(environment, "flow_runs", {"sort": "START_TIME_DESC", "limit": 1})
    assert runs[0]["state_type"] == "COMPLETED"
    assert runs[0]["parameters"]["work"] == str(tmp_path / "work")  # type: ignore[index]


def test_a_wrong_recipe_is_not_tried_again(environment: dict[str, str], sample: Path, tmp_path: Path) -> None:
    """The flow fails with the recipe's faults before any task starts."""
    script = (
        "import sys\n"
        "from flows.curate import curate\n"
        "from curation.errors import RecipeError\n"
        "try:\n"
        f"    curate({str(sample)!r}, overrides=['seed=-1'], work={str(tmp_path / 'work')!r})\n"
        "except RecipeError as error:\n"
        "    sys.exit('seed: expected' not in str(error))\n"
        "sys.exit(2)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(("kind", "again"), [("RuleError", False), ("WipeOutError", False), ("StorageError", True)])
def test_what_may_pass_is_tried_again(kind: str, again: bool) -> None:
    """A full disk may have room later; a rule that has no answer has none then either."""
    from prefect.states import Failed  # noqa: PLC0415

    from curation import errors  # noqa: PLC0415
    from flows.curate import may_pass  # noqa: PLC0415

    state = Failed(data=getattr(errors, kind)("it failed"))
    assert asyncio.run(may_pass(None, None, state)) is again  # type: ignore[arg-type]
