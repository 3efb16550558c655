"""The Prefect flow, as it is used: a server on loopback, a deployment from infra/prefect.yaml, a process worker."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from chat_server import refused, serving
from click.testing import CliRunner
from prefect_server import ROOT, ask, prefect, served

from curation import cli, pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3_servers import S3Server

pytest.importorskip("prefect")


@contextmanager
def messages() -> Iterator[tuple[str, list[str]]]:
    """The address of a web hook, and what was posted to it."""
    posted: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", posted
        server.shutdown()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables under which `prefect` speaks to a server of these tests' own."""
    with served(tmp_path_factory.mktemp("prefect")) as variables:
        yield variables


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
    assert json.loads(manifest.read_text())["documents"] == 28
    keys = {str(artifact["key"]) for artifact in ask(environment, "artifacts", {})}
    shown = {"documents", "blend", "report", "progress", "summary"}
    assert {f"quickstart-{what}" for what in shown} <= keys
    artifacts = {str(one["key"]): one for one in ask(environment, "artifacts", {})}
    assert artifacts["quickstart-progress"]["data"] == 100
    assert artifacts["quickstart-progress"]["description"] == "7 of 7 stages, all done"
    assert "41 of 67 documents are kept." in str(artifacts["quickstart-summary"]["data"])
    assert all("curate" in one["tags"] and "quickstart" in one["tags"] for one in tasks)  # type: ignore[operator]
    said = [str(entry["message"]) for entry in ask(environment, "logs", {"limit": 200})]
    assert any("41 kept" in message for message in said)
    schedules = json.loads(prefect(environment, "deployment", "inspect", "curate/nightly", "--output", "json"))[
        "schedules"
    ]
    assert schedules[0]["schedule"]["cron"] == "0 2 * * *"


def curate(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A `curate` command that may speak to the server."""
    command = [sys.executable, "-m", "curation", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("release", "link"),
    [("/a b/100% #1/t/2026.11.23", "file:///a%20b/100%25%20%231/t/2026.11.23/report.html"), ("s3://b/t/2026", None)],
)
def test_the_report_is_linked_where_a_browser_can_follow(
    release: str, link: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any path is a URL; of what lies in S3 there is no link."""
    from flows import curate as flow  # noqa: PLC0415  # imports Prefect

    made: list[str] = []
    monkeypatch.setattr(flow, "create_link_artifact", lambda to, **_: made.append(to))
    monkeypatch.setattr(flow, "create_markdown_artifact", lambda *_, **__: None)
    published = {"publish": {"release": release, "published": True}}
    flow._artifacts(SimpleNamespace(recipe=SimpleNamespace(name="t"), figures=published, warnings=[], stages={}))  # type: ignore[arg-type]
    assert made == ([link] if link else [])


def test_curate_deploy_makes_and_changes_a_deployment(environment: dict[str, str], sample: Path) -> None:
    """With a pool of its own, a schedule, one run at a time; again under the same name it is another, not one more."""
    done = curate(environment, "deploy", str(sample), "--cron", "0 3 * * *", "--timezone", "Europe/Berlin", "--pool",
                  "laptop", "--workers", "1", "--set", "blend.tokens=9000")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'deployed  curate/quickstart, at "0 3 * * *" (Europe/Berlin)' in done.stdout
    assert "pool      laptop, made just now" in done.stdout
    assert "prefect worker start --pool laptop" in done.stdout
    assert f"{environment['PREFECT_API_URL'].removesuffix('/api')}/deployments/deployment/" in done.stdout
    found = inspect(environment)
    assert found["parameters"] == {"recipe": str(sample), "overrides": ["blend.tokens=9000"], "workers": 1}
    assert [one["schedule"]["cron"] for one in found["schedules"]] == ["0 3 * * *"]
    assert found["global_concurrency_limit"]["limit"] == 1
    assert found["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert found["tags"] == ["curate", "quickstart"]
    assert found["job_variables"] == {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}
    described = found["parameter_openapi_schema"]["properties"]
    assert all(one["description"] for one in described.values())
    assert curate(environment, "deploy", str(sample), "--interval", "6h", "--pool", "laptop").returncode == 0
    assert [one["schedule"]["interval"] for one in inspect(environment)["schedules"]] == [21_600]
    again = curate(environment, "deploy", str(sample), "--pool", "laptop")
    assert "deployed  curate/quickstart, when asked to\npool      laptop\n" in again.stdout
    assert inspect(environment)["schedules"] == []
    assert inspect(environment)["id"] == found["id"]


def test_deploying_has_dead_runs_marked(environment: dict[str, str], sample: Path) -> None:
    """Once for a server, as the file in infra/ says; what was changed is set again, but one switched off stays off."""
    from prefect.events.schemas.automations import AutomationCore  # noqa: PLC0415  # slow

    wanted = [
        AutomationCore.model_validate(one)
        for one in yaml.safe_load((ROOT / "infra" / "automations.yaml").read_text())["automations"]
    ]
    assert curate(environment, "deploy", str(sample), "--pool", "laptop").returncode == 0
    made = [one for one in ask(environment, "automations", {}) if "is dead" in str(one["name"])]
    assert sorted(str(one["name"]) for one in made) == sorted(one.name for one in wanted)
    silent = next(one for one in made if "silent" in str(one["name"]))
    changed = {**silent, "enabled": False, "description": "another"}
    request = urllib.request.Request(  # noqa: S310  # a server of ours on loopback
        f"{environment['PREFECT_API_URL']}/automations/{silent['id']}",
        json.dumps({key: changed[key] for key in ("name", "description", "enabled", "trigger", "actions")}).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
    assert curate(environment, "deploy", str(sample), "--pool", "laptop").returncode == 0
    again = {one["name"]: one for one in ask(environment, "automations", {})}
    assert {one["id"] for name, one in again.items() if "is dead" in str(name)} == {one["id"] for one in made}
    for one in wanted:
        found = AutomationCore.model_validate(again[one.name])
        assert found.description == one.description
        assert found.trigger.model_dump(exclude={"id"}) == one.trigger.model_dump(exclude={"id"})
        assert [action.model_dump() for action in found.actions] == [action.model_dump() for action in one.actions]
        assert found.enabled is (one.name != silent["name"])


#: Saves a block for a web hook, makes the automation of infra/notifications.yaml with it, and has a run crash.
CRASH = """
import sys
import yaml
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Crashed, Running

@flow(name="curate")
def curate():
    pass

block = CustomWebhookNotificationBlock(name="ops", url=sys.argv[1], json_data={"text": "{{subject}}: {{body}}"})
made = yaml.safe_load(open("infra/notifications.yaml"))["automations"][0]
made["actions"][0]["block_document_id"] = str(block.save("ops"))
with get_client(sync_client=True) as client:
    client.create_automation(AutomationCore.model_validate(made))
    for tags in (["another"], ["curate"]):
        run = client.create_flow_run(curate, name=f"run-of-{tags[0]}", tags=tags)
        client.set_flow_run_state(run.id, Running(), force=True)
        client.set_flow_run_state(run.id, Crashed(message="No heartbeat"), force=True)
"""


def test_a_run_that_crashed_is_told_of(environment: dict[str, str]) -> None:
    """infra/notifications.yaml, with the id of a block, posts which run it was and why; not of other flows' runs."""
    with messages() as (hook, told):
        subprocess.run([sys.executable, "-c", CRASH, hook], env=environment, cwd=ROOT, check=True, capture_output=True)
        deadline = time.monotonic() + 120
        while not told and time.monotonic() < deadline:
            time.sleep(0.2)
    (message,) = told
    assert "run-of-curate" in message
    assert "is Crashed: No heartbeat" in message
    assert "/runs/flow-run/" in message


def inspect(environment: dict[str, str]) -> dict[str, Any]:
    """The deployment of the sample."""
    answer: dict[str, Any] = json.loads(
        prefect(environment, "deployment", "inspect", "curate/quickstart", "--output", "json")
    )
    return answer


DEPLOYED_WRONG = {
    "a wrong recipe": (("--set", "seed=-1"), "seed: expected a whole number"),
    "a rule over no column": (("--set", "rules.x=no_such < 1"), "there is no column 'no_such'"),
    "a wrong cron": (("--cron", "0 2 * *"), "--cron 0 2 * *: Invalid cron string"),
    "a wrong time zone": (("--cron", "0 2 * * *", "--timezone", "Mars/Base"), "--timezone Mars/Base: Invalid timezone"),
    "a wrong interval": (("--interval", "6 hours"), "--interval 6 hours: expected a span"),
    "a very short interval": (("--interval", "1s"), "a minute or more"),
    "two schedules": (("--cron", "0 2 * * *", "--interval", "6h"), "--cron and --interval: one of them"),
    "no processes": (("--workers", "0"), "0 is not in the range"),
}


@pytest.mark.parametrize("case", DEPLOYED_WRONG)
def test_what_is_wrong_is_refused_before_anything_is_made(case: str, sample: Path) -> None:
    """Exit 2 and what is wrong, whatever server there is or is not."""
    options, message = DEPLOYED_WRONG[case]
    done = CliRunner().invoke(cli.cli, ["deploy", str(sample), *options], standalone_mode=False)
    said = done.output + str(done.exception) + str(getattr(done.exception, "message", ""))
    assert message in said, said
    assert getattr(done.exception, "exit_code", None) == 2 or getattr(done.exception, "exit_status", None) == 2


def test_without_a_server_it_says_how_to_start_one(sample: Path, tmp_path: Path) -> None:
    """Both commands, and exit 2; for one that does not answer its address, and exit 1."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    bare |= {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = curate(bare, "deploy", str(sample))
    assert done.returncode == 2, done.stderr
    assert "prefect server start" in done.stderr
    assert "export PREFECT_API_URL=" in done.stderr
    done = curate({**bare, "PREFECT_API_URL": "http://127.0.0.1:1/api"}, "deploy", str(sample))
    assert done.returncode == 1, done.stderr
    assert "http://127.0.0.1:1/api: no Prefect server answers there" in done.stderr


def test_serving_needs_no_worker(environment: dict[str, str], sample: Path, tmp_path: Path) -> None:
    """`deploy --serve` runs what is asked for until it is stopped."""
    shutil.copytree(sample.parent, tmp_path / "served", ignore=shutil.ignore_patterns("work", "releases"))
    recipe = tmp_path / "served" / "recipe.toml"
    command = [sys.executable, "-m", "curation", "deploy", str(recipe), "--serve", "--name", "served", "--workers", "1"]
    with (tmp_path / "served.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--set", 'blend.rest="drop"'], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 120
            wanted: dict[str, object] = {"deployments": {"name": {"any_": ["served"]}}}
            while not (made := ask(environment, "deployments", wanted)) and time.monotonic() < deadline:
                time.sleep(0.3)
            assert made, (tmp_path / "served.log").read_text()
            prefect(environment, "deployment", "run", "curate/served", "--param", "until=pull")
            runs: list[dict[str, object]] = []
            mine: dict[str, object] = {"flow_runs": {"deployment_id": {"any_": [str(made[0]["id"])]}}}
            while not [run for run in runs if run["end_time"]] and time.monotonic() < deadline:
                time.sleep(0.5)
                runs = ask(environment, "flow_runs", mine)
            assert [run["state_type"] for run in runs] == ["COMPLETED"], (tmp_path / "served.log").read_text()
            assert list(recipe.parent.rglob("documents/web/*.parquet"))
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=60)


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
    completed = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    runs = ask(environment, "flow_runs", {**completed, "sort": "START_TIME_DESC", "limit": 1})
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


#: What must turn up nowhere: the key of an endpoint, and that of a bucket.
KEY, SECRET = "sk-planted-9f41c7d20b6e", "planted+secret/key83a1c5e7d9"


def test_secrets_turn_up_nowhere(
    environment: dict[str, str], moto: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Not in what is printed, WORK, release, the server's database (logs, parameters, artifacts, states) or its logs.

    One run publishes into S3; another asks an endpoint, which sends the key back in its error.
    """
    folder = tmp_path_factory.mktemp("secrets") / "recipes"
    shutil.copytree(ROOT / "recipes" / "sample", folder / "sample")
    text = (ROOT / "recipes" / "written.toml").read_text()
    planted = {**environment, **moto.environment(), "AWS_SECRET_ACCESS_KEY": SECRET, "PLANTED_KEY": KEY}
    with serving(lambda body, count: refused(401, f"Incorrect API key provided: {KEY}")) as server:
        text = text.replace('url = "http://localhost:8000/v1"', f'url = "{server.url}"\nkey = "$PLANTED_KEY"')
        (recipe := folder / "recipe.toml").write_text(text)
        places = ("--work", f"s3://{moto.bucket}/work", "--set", f'release.to="s3://{moto.bucket}/releases"')
        said = [curate(planted, "run", str(recipe), "--workers", "1", *places)]
        assert said[0].returncode == 0, said[0].stderr
        unwritten = ("--set", f'endpoint.writer.ledger="{folder / "empty"}"', "--work", str(folder / "work"))
        said.append(curate(planted, "run", str(recipe), "--workers", "1", *unwritten, "--until", "pull"))
        assert said[1].returncode != 0
        assert "the key is not accepted" in said[1].stderr
        assert KEY in str(server.headers)
    said.append(curate(planted, "deploy", str(recipe), "--name", "planted", *places))
    assert said[2].returncode == 0, said[2].stderr
    looked_at = {f"output of run {number}": (one.stdout + one.stderr).encode() for number, one in enumerate(said)}
    client = moto.client()
    listed = client.list_objects_v2(Bucket=moto.bucket)["Contents"]
    for name in [one["Key"] for one in listed]:
        looked_at[name] = client.get_object(Bucket=moto.bucket, Key=name)["Body"].read()
    for place in (folder, Path(environment["PREFECT_HOME"])):
        looked_at |= {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for expected in ("run.json", "manifest.json", "report.html", "README.md", "prefect.db", "server.log"):
        assert any(name.endswith(expected) for name in looked_at), expected
    assert any(b"planted" in content for content in looked_at.values()), "the deployment's name is in the database"
    found = [name for name, content in looked_at.items() if KEY.encode() in content or SECRET.encode() in content]
    assert found == []
