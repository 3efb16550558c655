"""A night that goes wrong: PostgreSQL, a Prefect server on it and a worker, all killed or refused where they may be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prefect_server import ROOT, ask, free_port, prefect, served

from curation import pipeline
from curation.recipe import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from curation.engine import LocalEngine

pytest.importorskip("prefect")
#: Seconds between runs, and of silence after which a run is dead: 90 in the file. Prefect beats every 30 s at most.
INTERVAL, LIMIT = 10, 45


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The connection URL of a PostgreSQL server; it does not run as root, so another user does it there."""
    on_path = [Path(folder) for folder in os.get_exec_path()]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    names = ("initdb", "postgres", "pg_isready")
    there = [folder for folder in (*debian, *on_path) if all((folder / name).is_file() for name in names)]
    if not there:
        pytest.skip("PostgreSQL's initdb, postgres and pg_isready are not here (Debian: apt install postgresql)")
    programs = there[0]
    folder = Path(tempfile.mkdtemp(prefix="curate-postgres-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        try:
            shutil.chown(folder, "postgres", "postgres")
        except LookupError:
            folder.rmdir()
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    port = free_port()
    try:
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "prefect", "-A", "trust", "-E", "UTF8", "--locale=C",
             "--no-sync"], check=True, capture_output=True, cwd="/", **user,
        )  # fmt: skip
        server = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c",
             "unix_socket_directories=", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **user,
        )  # fmt: skip
        try:
            ready = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
            until(lambda: subprocess.run(ready, check=False).returncode == 0, 120, "PostgreSQL does not answer")
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # without waiting for clients
            server.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


def until(holds: Callable[[], object], seconds: float, otherwise: str, every: float = 0.3) -> Any:
    """What `holds` gives as soon as it is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(every)
    return found


def files(folder: Path) -> tuple[Path, Path]:
    """Deployments and automations of infra/ with this test's times: nightly on an interval, a shorter limit."""
    deployments = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text())
    (nightly,) = (one for one in deployments["deployments"] if one["name"] == "nightly")
    nightly["schedules"] = [{"interval": INTERVAL, "timezone": "UTC", "slug": "often"}]
    nightly["parameters"]["workers"] = 1
    automations = yaml.safe_load((ROOT / "infra" / "automations.yaml").read_text())
    automations["automations"][0]["trigger"]["within"] = LIMIT
    written = folder / "prefect.yaml", folder / "automations.yaml"
    for path, content in zip(written, (deployments, automations), strict=True):
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    return written


@contextmanager
def worker(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process worker of the pool `local`; at the end it and all that it started are gone."""
    with log.open("ab") as to:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local"],
            env=environment, stdout=to, stderr=to, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a process, and then for all that it started, as when a machine loses its power."""
    tree = [process.pid]
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    for pid in tree:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=30)


def parts(work: Path) -> dict[str, tuple[int, int]]:
    """The finished parts, and what tells one from another that was made in its place."""
    found = {}
    for path in work.rglob("*.parquet"):
        with suppress(FileNotFoundError):
            found[str(path.relative_to(work))] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def released(folder: Path) -> dict[str, bytes]:
    """The shards, and the manifest without its time."""
    found = {}
    for path in (folder / "releases").rglob("*"):
        name = str(path.relative_to(folder))
        if path.name == "manifest.json":
            manifest = json.loads(path.read_text())
            assert manifest.pop("created_at")
            found[name] = json.dumps(manifest).encode()
        elif path.suffix == ".parquet":
            found[name] = path.read_bytes()
    return found


def test_a_run_that_is_killed_is_marked_dead_and_the_next_one_finishes_it(
    postgres: str, sample: Path, tmp_path: Path, engine: LocalEngine
) -> None:
    """On an interval, overlaps refused, killed with its worker: dead in time, and the same bytes by the next."""
    folders = [tmp_path / name / "textbook" for name in ("whole", "killed")]
    for folder in folders:
        shutil.copytree(sample.parent, folder, ignore=shutil.ignore_patterns("work", "releases"))
        recipe = folder / "recipe.toml"
        recipe.write_text(recipe.read_text().replace("\n[release]\n", '\n[release]\nversion = "2026.01.01"\n'))
    pipeline.run(load(folders[0] / "recipe.toml"), engine)
    undisturbed = released(folders[0])
    assert len(undisturbed) >= 2

    folder = folders[1]
    (home := tmp_path / "prefect").mkdir()
    settings = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres,
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    deployments, automations = files(tmp_path)
    with served(home, **settings) as environment:
        prefect(environment, "work-pool", "create", "local", "--type", "process")
        prefect(environment, "automation", "create", "--from-file", str(automations))
        places = {"CURATE_RECIPE": str(folder / "recipe.toml"), "CURATE_TEXTBOOKS": str(folder / "no.toml")}
        prefect(environment, "--no-prompt", "deploy", "--all", "--prefect-file", str(deployments), **places)

        def runs(*states: str) -> list[dict[str, Any]]:
            """The runs of the deployment on an interval that are in one of the states, the first first."""
            return ask(environment, "flow_runs", {
                "flow_runs": {"state": {"type": {"any_": states}}}, "deployments": {"name": {"any_": ["nightly"]}},
                "sort": "EXPECTED_START_TIME_ASC",
            })  # fmt: skip

        with worker(environment, home / "worker.log") as first:
            signals = folder / "work" / "quickstart" / "signals"
            until(lambda: list(signals.rglob("*.parquet")), 300, "no run came to the signals", every=0.02)
            kill(first)
        killed_at = time.monotonic()
        before = parts(folder / "work" / "quickstart")
        assert not (folder / "releases" / "quickstart" / "2026.01.01" / "manifest.json").exists()
        (dead,) = runs("RUNNING")

        with worker(environment, home / "worker.log"):
            until(lambda: runs("CANCELLED"), 300, "no overlap was refused")
            # The first beat was in time, the kill after it, and the server looks every 5 s.
            until(lambda: runs("CRASHED"), LIMIT + 30, "the dead run was not marked")
            marked_after = time.monotonic() - killed_at
            (crashed,) = runs("CRASHED")
            assert crashed["id"] == dead["id"]
            assert crashed["state"]["message"].startswith("No heartbeat for 90 s")
            (done, *_) = until(lambda: runs("COMPLETED"), 300, (home / "worker.log").read_text())
            assert done["start_time"] > crashed["end_time"]

    assert marked_after < LIMIT + 30
    after = parts(folder / "work" / "quickstart")
    assert before
    assert {name: after.get(name) for name in before} == before, "finished parts were made again"
    assert released(folder) == undisturbed
