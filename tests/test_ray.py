"""The engine over a Ray cluster: as the local one, also where workers and nodes die, with the same bytes in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import ray_work
from click.testing import CliRunner
from s3_servers import FaultyProxy, S3Server, chance
from test_engine import alive
from test_promises import release_bytes
from tree_copy import copy_tree

from curation import cli, pipeline, ray_engine
from curation.engines import engine_of
from curation.errors import InputError, UsageError, WorkerError
from curation.progress import Silent
from curation.ray_engine import RayEngine
from curation.recipe import load
from curation.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.engine import LocalEngine

pytest.importorskip("ray", reason="Ray is not installed: pip install 'curate[ray]'")

from benchmarks.two_nodes import KillingEngine, TwoNodes

ROOT = Path(__file__).parent.parent
VERSION = "2026.01.01"
#: The stages in which a node is killed: all of them in the long form.
STAGES = [stage.__name__ for stage in pipeline.STAGES]
KILLED_IN = STAGES if "CURATE_KILLS" in os.environ else ["publish"]


class Told(Silent):
    """Remembers the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        """Remember it."""
        self.lines.append(text)


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    """A cluster for all tests of this file, which RAY_ADDRESS names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        for name, value in S3Server("", "test", "testing", "").environment().items():
            if name not in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):  # the credentials are the nodes' own
                patch.setenv(name, value)
        with TwoNodes() as two:
            patch.setenv("RAY_ADDRESS", two.address)
            yield two


def run(recipe: Path, place: Path, engine: Any, **options: Any) -> Any:
    """One run of a recipe with WORK and TO in `place`."""
    settings = (f'release.to="{place / "to"}"', f'release.version="{VERSION}"')
    return pipeline.run(load(recipe, settings, work=str(place / "work")), engine, **options)


@pytest.fixture(scope="module")
def expected(sample: Path, engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bytes that local processes publish of the sample."""
    place = tmp_path_factory.mktemp("local")
    run(sample, place, engine)
    return release_bytes(place)


def test_it_maps_as_the_local_engine_does(nodes: TwoNodes) -> None:
    """Results in the order of the items, from both nodes; errors with remedy, notes, item and node; what is printed."""
    told = Told()
    with RayEngine(progress=told) as engine:
        assert engine.map(ray_work.square, [1, 2], label="squares", little=True) == [1, 4]
        assert not told.lines, "little work joins no cluster"
        assert engine.map(ray_work.square, range(40), label="squares") == [number * number for number in range(40)]
        assert len(set(engine.everywhere(ray_work.where, [0], label="nodes"))) == 2
        assert engine.map(ray_work.threads, [0], label="threads") == [1]
        assert engine.map(ray_work.square, [], label="nothing") == []
        with pytest.raises(InputError, match="three is wrong") as caught:
            engine.map(ray_work.fail_at_three, range(5), label="count")
        assert caught.value.remedy == "take four"
        assert caught.value.__notes__[0] == "said where it was raised"
        assert caught.value.__notes__[1].startswith("while count was working on 3 on node ")
        assert "raise error" in str(caught.value.__cause__)
        with pytest.raises(WorkerError, match="Odd: odd") as odd:
            engine.map(ray_work.fail_oddly, ["k"], label="odd")
        assert "while odd was working on k" in odd.value.__notes__[0]
        told.lines.clear()
        assert engine.map(ray_work.talk, ["part"], label="talk") == ["part"]
        assert [line.partition(" on node ")[0] for line in told.lines] == ["  part", "  part"]
        assert [line.rpartition(": ")[2] for line in told.lines] == ["hello part", "beware"]
        before = engine.usage()
        engine.map(ray_work.burn, [0.4, 0.4], label="burn")
        assert 0.7 < (engine.usage() - before).processor < 5
        before = engine.usage()
        assert engine.map(ray_work.read_zeros, [20_000_000], label="zeros") == [20_000_000]
        assert 20_000_000 <= (engine.usage() - before).read < 40_000_000
        assert 0 < engine.sent["squares"] < 10_000
        assert 0 < engine.received["squares"] < 10_000


def test_a_worker_that_dies_or_hangs_is_tried_again_and_then_named(nodes: TwoNodes, tmp_path: Path) -> None:
    """Once more after the others; then the run fails with the item, and the engine goes on."""
    items = [str(tmp_path / name) for name in "abcd"]
    for name in "bcd":
        (tmp_path / name).write_text("")
    with RayEngine() as engine:
        assert engine.map(ray_work.die_once, items, label="files") == ["a", "b", "c", "d"]
        with pytest.raises(WorkerError, match=r"parts: the worker process died twice \(\w+\) on bad") as caught:
            engine.map(ray_work.die, ["a", "bad", "b"], label="parts")
        assert "memory" in str(caught.value.remedy)
        engine.item_seconds = 0.5
        with pytest.raises(WorkerError, match=r"naps: no answer within 0 s, twice, on 60"):
            engine.map(ray_work.sleep, [0, 60], label="naps")
        assert engine.map(ray_work.square, [2], label="again") == [4]


def test_a_node_killed_in_a_stage_changes_no_byte(
    nodes: TwoNodes, sample: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    """The second node dies under a task of each of these stages, and what it was at is done by the first."""
    told = Told()
    with KillingEngine(nodes, tmp_path / "marks", KILLED_IN, told) as engine:
        state = run(sample, tmp_path, engine, call=engine.call)
        assert engine.killed == KILLED_IN
        assert max(engine.received.values()) < 200_000, "nothing large passes through this process"
    lost = [line for line in told.lines if "a node was lost" in line]
    assert len(lost) == len(KILLED_IN)
    assert [line.split()[0].rstrip(":") for line in lost] == KILLED_IN
    assert state.figures["publish"]["published"] is True
    assert release_bytes(tmp_path) == expected
    if not nodes.has_second:
        nodes.renew()


def test_s3_with_faults_gives_the_same_bytes(
    nodes: TwoNodes, moto: S3Server, sample: Path, expected: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """WORK and TO wholly there, one request in twenty failing: as by processes in folders. test_s3 has it of those."""
    with FaultyProxy(moto, chance(1 / 20)) as proxy:
        for variable, value in proxy.server.environment().items():
            monkeypatch.setenv(variable, value)
        url = f"s3://{moto.bucket}"
        loaded = load(sample, (f'release.to="{url}/to"', f'release.version="{VERSION}"'), work=f"{url}/work")
        with engine_of("ray", 2, Silent()) as engine:
            pipeline.run(loaded, engine)
        assert len(proxy.faults) >= 4
        to = open_storage(f"{url}/to")
        for file in to.files():
            path = tmp_path / "to" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(to.read(file.path) or b"")
    assert release_bytes(tmp_path) == expected


SENT = """
import sys
from curation.engines import engine_of
from curation.progress import Lines
from curation.sent_for_tests import double
with engine_of("ray", None, Lines()) as engine:
    print(engine.map(double, [1, 2, 3], label="double"))
"""


def test_nodes_with_other_code_are_sent_this_one(nodes: TwoNodes, tmp_path: Path) -> None:
    """A function that only this checkout has is called on the nodes."""
    copy_tree(tmp_path, ("curation", "classifiers"))
    (tmp_path / "curation" / "sent_for_tests.py").write_text("def double(number):\n    return 2 * number\n")
    done = subprocess.run(
        [sys.executable, "-c", SENT], cwd="/", env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "[2, 4, 6]\n", done.stderr
    assert "sending curate's code and models" in done.stderr


MAIN = """
import sys
from curation.ray_engine import RayEngine
import ray_work
from click.testing import CliRunner
try:
    with RayEngine() as engine:
        engine.map(ray_work.tell, [sys.argv[1]] * 5, label="long")
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_the_tasks_end_with_the_run(nodes: TwoNodes, tmp_path: Path, by: signal.Signals) -> None:
    """Ctrl-C ends what the nodes are doing; so they do when the run's process is killed."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, tmp_path], env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        ids: set[int] = set()
        end = time.monotonic() + 60
        while len(ids) < 2 and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
            ids = {int(path.name) for path in tmp_path.iterdir()}
        assert len(ids) == 2, process.communicate()
        process.send_signal(by)
        out, _ = process.communicate(timeout=20)
    if by is signal.SIGINT:
        assert out == "stopped\n"
    end = time.monotonic() + 20
    while alive(ids) and time.monotonic() < end:
        time.sleep(0.1)
    assert alive(ids) == set()


def test_a_node_with_other_libraries_is_refused(nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may give other bytes: the node, the library and both versions are named."""

    def looker() -> Any:
        def look(packages: tuple[str, ...], distributions: tuple[str, ...]) -> dict[str, Any]:
            import os as system  # noqa: PLC0415  # it goes to the nodes as it is

            return {"code": "same", "versions": {"numpy": f"0.{system.getpid()}"}}

        return look

    monkeypatch.setattr(ray_engine, "_looker", looker)
    with pytest.raises(WorkerError, match=r"node .* has numpy 0\.\d+, this machine 0\.\d+"), RayEngine() as engine:
        engine.map(ray_work.square, [1], label="squares")


def test_a_place_that_nodes_do_not_share_is_refused(nodes: TwoNodes, tmp_path: Path) -> None:
    """Before anything is made: else shards would lie on many machines."""
    refused = pytest.raises(WorkerError, match=r"/data/work: node .* has another folder there")
    with RayEngine() as engine:
        engine.use((ray_work.OneProcess(os.getpid()), open_storage(str(tmp_path))))  # type: ignore[arg-type]
        with refused:
            engine.map(ray_work.square, [1], label="squares")
        engine.use((open_storage(str(tmp_path)),))
        assert engine.map(ray_work.square, [3], label="squares") == [9]
        with refused:
            engine.use((ray_work.OneProcess(os.getpid()),))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "kind", "message"),
    [
        ("", UsageError, "RAY_ADDRESS is not set"),
        ("ray://head:10001", UsageError, "expected HOST:PORT"),
        ("127.0.0.1:9", WorkerError, "no Ray answers there"),
    ],
)
def test_an_address_that_is_none_is_told_at_once(
    address: str, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how to start a cluster."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(kind, match=message) as caught:
        RayEngine()
    assert "start" in str(getattr(caught.value, "remedy", ""))


def test_without_ray_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="Ray is not installed") as caught:
        engine_of("ray", None, Silent())
    assert caught.value.remedy == "pip install 'curate[ray]'"


def test_the_command_line_knows_it(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--engine ray` without a cluster is a wrong call, told before anything is made."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = CliRunner().invoke(cli.cli, ["run", str(sample), "--engine", "ray"], standalone_mode=False)
    assert isinstance(done.exception, UsageError)
    assert "ray start --head" in str(done.exception.remedy)
    assert not (sample.parent / "work").exists()
