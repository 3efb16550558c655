"""The same map on the nodes of a Ray cluster: what the local engine does by processes, done by Ray's tasks.

Items go to the nodes and answers come back as pickles, which are small: what is large the nodes read from WORK and
write there themselves. Ray tries nothing again on its own; what a lost node or a killed worker was at is given out anew
here, where it is told and counted.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import pickle
import signal
import socket
import threading
import time
import traceback
import uuid
from collections import Counter, deque
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import pyarrow as pa

from curation.engine import ITEM_SECONDS, named, seconds_for
from curation.errors import UsageError, WorkerError
from curation.progress import Progress, Silent
from curation.storage.file import TRIED
from curation.usage import Usage, own_usage, usage
from curation.workers import at_work, look_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import ModuleType, TracebackType

    from curation.storage import Storage

Item = TypeVar("Item")
Result = TypeVar("Result")

#: What every task asks of its node: a core, and what a worker may hold (promise 10 of the design).
CORES, MEMORY = 1, 2 * 2**30
#: Tasks given out for each core of the cluster, so that the next is there when one is done and few wait at the nodes.
_AHEAD = 2
#: Nodes that may be lost under one item, and seconds without any node that can take a task, before a run fails.
_LOST, _WAITED = 5, 600.0
#: Seconds between two looks at the cluster while nothing is done, and those that tasks are given to end.
_LOOK, _END = 5.0, 10.0
#: Characters of what the work on one item prints that are passed on.
_SAID = 10_000
#: What is sent to nodes that have another version of it, or none.
_PACKAGES = ("curation", "classifiers")
#: Distributions that the bytes of a release may depend on: the same on all nodes, or nothing is done.
_DECIDE = (
    "brotli", "datasketch", "duckdb", "fasttext-community", "ftfy", "idna", "isal", "numba", "numpy",
    "publicsuffixlist", "py3langid", "pyarrow", "resiliparse", "scipy", "tokenizers", "trafilatura", "xxhash",
    "zstandard",
)  # fmt: skip
#: Settings of boto3 that are no secret: the nodes get this process's. Credentials are the nodes' own.
_SETTINGS = (
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
)  # fmt: skip


class RayEngine:
    """The nodes of the Ray cluster that RAY_ADDRESS names; joined when first needed, left at the end.

    `tasks` bounds how many there are at a time; left out, the cores of the cluster do.
    """

    def __init__(
        self, tasks: int | None = None, progress: Progress | None = None, *, item_seconds: float = ITEM_SECONDS
    ) -> None:
        self.workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.progress = progress or Silent()
        self.item_seconds = item_seconds
        #: Bytes that went to the nodes and that came back, by label.
        self.sent, self.received = Counter[str](), Counter[str]()
        self.used = Usage()  # by tasks
        self._tasks = tasks
        self._ray, self._address = _ray(), _address()
        self._places: tuple[Storage, ...] = ()
        self._is_joined = False
        #: What is under way: the item, since when, and the nodes that were known to be lost then.
        self._running: dict[Any, tuple[int, float, frozenset[str]]] = {}
        self._gone: frozenset[str] = frozenset()
        self._looked = 0.0
        self._there: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_joined:
            self._end_tasks()
            self._ray.shutdown()
            self._is_joined = False

    def use(self, places: Iterable[Storage]) -> None:
        """Work in these places: every node must reach them, which is tried once the cluster is joined."""
        self._places = tuple(places)
        if self._is_joined:
            self._refuse_unreached()

    def preload(self, *modules: str) -> None:
        """Each worker of a cluster imports what it needs."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        label: str,
        sizes: Sequence[int] | None = None,
        unit: str = "parts",
        little: bool = False,
    ) -> list[Result]:
        """`[function(item) for item in items]`, in that order, made by the nodes; as `LocalEngine.map`.

        What a lost node was at others do. An item whose worker died or did not come back in time is tried once more,
        alone, after the others. When this raises, what was under way has ended.
        """
        if not items or (little and not self._is_joined):
            return [function(item) for item in items]
        weights = list(sizes) if sizes is not None else [1] * len(items)
        limits = [seconds_for(weight, unit, self.item_seconds) for weight in weights]
        self._join()
        job = _Job(self, function, items, label, limits)
        results: dict[int, Result] = {}
        crashed: list[int] = []
        self.progress.start(label, sum(weights), unit)
        try:
            for index, answer in self._each(job, range(len(items)), crashed):
                results[index] = answer
                self.progress.advance(weights[index])
            for index, answer in self._each(job, crashed, None):
                results[index] = answer
                self.progress.advance(weights[index])
        finally:
            self._end_tasks()
            self.progress.stop()
        return [results[index] for index in range(len(items))]

    def everywhere(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, label: str, little: bool = False
    ) -> list[Result]:
        """What the function gives for each item on each node that there is now; `little` work waits for no core."""
        self._join()
        job = _Job(self, function, items, label, [self.item_seconds] * len(items))
        calls = [job.call(index) for index in range(len(items))]
        found = self._on_nodes(_work, calls, cores=0 if little else CORES)
        return [job.answer(index, data) for _, answers in found for index, data in enumerate(answers)]

    def usage(self) -> Usage:
        """What this process and all tasks that have answered have taken so far."""
        return usage() + self.used

    def _each(
        self, job: _Job[Item, Result], indices: Sequence[int], crashed: list[int] | None
    ) -> Iterator[tuple[int, Result]]:
        """The answers as they come; those whose worker died are added to `crashed`.

        Where that is None each is alone, and the run fails with one whose worker died.
        """
        task = self._ray.remote(num_cpus=CORES, memory=MEMORY, max_retries=0)(_work)
        waiting, idle = deque(indices), time.monotonic()
        while waiting or self._running:
            while waiting and len(self._running) < (1 if crashed is None else self._at_a_time()):
                index = waiting.popleft()
                self._running[task.remote(*job.call(index))] = index, time.monotonic(), self._gone
            done, _ = self._ray.wait(list(self._running), timeout=_LOOK)
            if done or self._has_nodes():
                idle = time.monotonic()
            elif time.monotonic() - idle > _WAITED:
                raise WorkerError(
                    f"{job.label}: for {_WAITED:.0f} s no node of the cluster has had a core and "
                    f"{MEMORY // 2**30} GiB of memory to give",
                    remedy="add a node and run again: finished parts are kept",
                )
            for ref in done:
                index, began, gone = self._running.pop(ref)
                try:
                    data = self._ray.get(ref)
                except self._ray.exceptions.RayError as error:
                    if self._is_crash(job, index, error, gone):
                        if crashed is None:
                            raise job.failure(index, job.why(index, error, time.monotonic() - began)) from error
                        crashed.append(index)
                    else:
                        waiting.append(index)
                else:
                    yield index, job.answer(index, data)

    def _is_crash(self, job: _Job[Any, Any], index: int, error: Exception, gone: frozenset[str]) -> bool:
        """Whether an item's worker died, and no node beside those that were gone before; raises where it is neither.

        Ray often calls it a worker's death when a node dies, so the nodes are asked.
        """
        errors = self._ray.exceptions
        if not isinstance(
            error, (errors.NodeDiedError, errors.ObjectLostError, errors.WorkerCrashedError, errors.OutOfMemoryError)
        ):
            raise WorkerError(
                f"{job.label}: Ray cannot do {named(job.items[index])}: {str(error).strip()}",
                remedy="look at the cluster with `ray status`, and run again: finished parts are kept",
            ) from error
        is_of_worker = isinstance(error, (errors.WorkerCrashedError, errors.OutOfMemoryError))
        nodes = self._ray.nodes()
        self._gone = frozenset(node["NodeID"] for node in nodes if not node["Alive"] or not _answers(node))
        if is_of_worker and self._gone <= gone:
            return True
        self._looked = 0.0  # there are fewer now
        job.lost[index] += 1
        if job.lost[index] > _LOST:
            raise job.failure(index, f"{job.lost[index]} nodes were lost that worked") from error
        self.progress.line(f"  {job.label}: a node was lost; {named(job.items[index])} is done again")
        return False

    def _end_tasks(self) -> None:
        """End what is under way: what it was writing never gets its name."""
        refs = list(self._running)
        self._running.clear()
        with contextlib.suppress(self._ray.exceptions.RayError, RuntimeError):  # the cluster is gone
            for ref in refs:
                self._ray.cancel(ref, force=True)
            if refs:
                self._ray.wait(refs, num_returns=len(refs), timeout=_END)

    # ------------------------------------------------------------------------------------------------------ the cluster

    def _join(self) -> None:
        """Join the cluster, and see that its nodes have what this process has and reach what it reaches."""
        if self._is_joined:
            return
        settings = {name: os.environ[name] for name in _SETTINGS if name in os.environ}
        environment: dict[str, Any] = {"env_vars": settings} if settings else {}
        self._connect(environment)
        try:
            if others := self._others():
                self.progress.line(f"  sending curate's code and models: node {', '.join(others)} has others or none")
                self._ray.shutdown()  # what is sent goes with the whole job
                packages = [str(_folder(name)) for name in _PACKAGES]
                self._connect({**environment, "py_modules": packages, "excludes": ["__pycache__"]})
            self._refuse_unreached()
        except BaseException:
            self._ray.shutdown()
            self._is_joined = False
            raise
        self.progress.line(f"  Ray at {self._address}: {len(self._nodes())} nodes")

    def _connect(self, environment: dict[str, Any]) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            self._ray.init(
                address=self._address, log_to_driver=False, logging_level="ERROR", runtime_env=environment or None
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkerError(
                f"Ray at {self._address}: this machine cannot join: {str(error).strip()}",
                remedy="run curate on a node of the cluster: on its head, or on a machine that has joined it by "
                f"ray start --address={self._address} --num-cpus=0",
            ) from error
        # Ray's words on workers and nodes that died, a page each, would go to standard output; they are told here.
        self._ray._private.worker._worker_logs_enabled = False  # noqa: SLF001
        self._is_joined = True
        self._looked = 0.0

    def _others(self) -> list[str]:
        """The nodes that have other code or models of this project, or none; raises where libraries differ."""
        look = _looker()
        mine = look(_PACKAGES, _DECIDE)
        others = []
        for node, (theirs,) in self._on_nodes(look, [(_PACKAGES, _DECIDE)]):
            for name, version in mine["versions"].items():
                if theirs["versions"][name] != version:
                    raise WorkerError(
                        f"node {node} has {name} {theirs['versions'][name] or '(none)'}, this machine "
                        f"{version or 'none'}: they may give other bytes",
                        remedy="give all nodes the same environment, by the same image or lock file",
                    )
            if theirs["code"] != mine["code"]:
                others.append(node)
        return others

    def _refuse_unreached(self) -> None:
        """Raise where a node does not find what this process has just written to a place of the run."""
        name = f"{TRIED}-{uuid.uuid4().hex}"
        for place in self._places:
            place.write(name, b"")
            try:
                job = _Job(self, _finds, [_Look(place, name)], "looking at the places", [self.item_seconds])
                for node, (data,) in self._on_nodes(_work, [job.call(0)]):
                    if not job.answer(0, data):
                        raise WorkerError(
                            f"{place}: node {node} has another folder there",
                            remedy="a cluster works in S3, or in a folder that all its nodes share under one path",
                        )
            finally:
                place.remove(name)

    def _on_nodes(
        self, function: Callable[..., Any], calls: list[tuple[Any, ...]], *, cores: int = 0
    ) -> list[tuple[str, list[Any]]]:
        """What these calls give on each node, by its address; a node that is lost meanwhile is left out."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

        errors = self._ray.exceptions
        task, asked, found = self._ray.remote(num_cpus=cores, max_retries=0)(function), [], []
        for node in self._nodes():
            here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            pinned = task.options(scheduling_strategy=here)
            asked.append((node["NodeManagerAddress"], [pinned.remote(*call) for call in calls]))
        for address, refs in asked:
            with contextlib.suppress(errors.NodeDiedError, errors.ObjectLostError, errors.TaskUnschedulableError):
                found.append((address, self._ray.get(refs)))
        return found

    def _nodes(self) -> list[dict[str, Any]]:
        """The nodes that can take a task."""
        least = {"CPU": CORES, "memory": MEMORY}
        return [
            node for node in self._ray.nodes()
            if node["Alive"] and all(node["Resources"].get(kind, 0) >= amount for kind, amount in least.items())
        ]  # fmt: skip

    def _has_nodes(self) -> bool:
        """Whether there was a node that can take a task, some seconds ago at the most."""
        if time.monotonic() - self._looked > _LOOK:
            self._there, self._looked = self._nodes(), time.monotonic()
        return bool(self._there)

    def _at_a_time(self) -> int:
        """How many tasks are given out at most."""
        self._has_nodes()
        return self._tasks or max(1, _AHEAD * int(sum(node["Resources"]["CPU"] for node in self._there)))


class _Job(Generic[Item, Result]):
    """What one map gives out."""

    def __init__(
        self, engine: RayEngine, function: Callable[[Item], Result], items: Sequence[Item], label: str,
        limits: list[float],
    ) -> None:  # fmt: skip
        self.engine, self.function, self.items, self.label, self.limits = engine, function, items, label, limits
        self.identity = _identity()
        #: How many nodes were lost under each item.
        self.lost = Counter[int]()

    def call(self, index: int) -> tuple[bytes, float, str]:
        """What `_work` is given for an item."""
        data = pickle.dumps((self.function, self.items[index]))
        self.engine.sent[self.label] += len(data)
        return data, self.limits[index], self.identity

    def answer(self, index: int, data: bytes) -> Result:
        """What the function returned, or the error that it raised, with the item and the node in a note."""
        self.engine.received[self.label] += len(data)
        answer, error, node, said, used = pickle.loads(data)  # noqa: S301  # of this run's own task
        self.engine.used += used
        for line in said.splitlines():
            self.engine.progress.line(f"  {named(self.items[index])} on node {node}: {line}")
        if error is not None:
            error.add_note(f"while {self.label} was working on {named(self.items[index])} on node {node}")
            raise error
        result: Result = answer
        return result

    def why(self, index: int, error: Exception, seconds: float) -> str:
        """What became of the worker, in words."""
        if seconds >= self.limits[index]:
            return f"no answer within {self.limits[index]:.0f} s, twice,"
        return f"the worker process died twice ({type(error).__name__})"

    def failure(self, index: int, why: str) -> WorkerError:
        """The error that ends the run."""
        return WorkerError(
            f"{self.label}: {why} on {named(self.items[index])}",
            remedy="mostly memory ran out: start nodes with fewer --num-cpus. Otherwise look at that input: finished "
            "parts are kept",
        )


def _answers(node: dict[str, Any]) -> bool:
    """Whether Ray's own process of a node can be reached."""
    try:
        socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), 5).close()
    except OSError:
        return False
    return True


# -------------------------------------------------------------------------------------------------------- on the nodes


def _work(data: bytes, seconds: float, identity: str) -> bytes:
    """Call a function for an item, both pickled: what it returned or raised, on which node, and what it printed."""
    _prepare()
    answer, error, said, before = None, None, io.StringIO(), own_usage()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever it is doing
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            if _identity() != identity:
                raise WorkerError(  # noqa: TRY301
                    "this node has another version of curate or of a library than the others",
                    remedy="give all nodes the same environment, by the same image or lock file",
                )
            function, item = pickle.loads(data)  # noqa: S301  # of the run's own process
            with at_work():
                answer = function(item)
    except Exception as raised:  # noqa: BLE001  # told to the process that gave it out
        error = _portable(raised)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return pickle.dumps((answer, error, _node(), said.getvalue()[:_SAID], own_usage() - before))


def _portable(error: Exception) -> Exception:
    """The error, with its traceback as its cause, if it can be sent; else one that says the same."""
    told = "".join(traceback.format_exception(error))
    try:
        notes = getattr(error, "__notes__", [])
        sent = pickle.loads(pickle.dumps(error))  # noqa: S301  # made here
        sent.__notes__ = list(notes)
    except Exception:  # noqa: BLE001  # whatever its class does when it is pickled
        sent = WorkerError(f"{type(error).__name__}: {error}")
    return _Sent(sent, told)


class _Sent(Exception):  # noqa: N818
    """An error on its way, which arrives as itself: pickled, an error loses its notes and its cause."""

    def __init__(self, error: Exception, told: str) -> None:
        super().__init__(error, told)

    def __reduce__(self) -> tuple[Any, ...]:
        error, told = self.args
        return _arrived, (error, list(getattr(error, "__notes__", [])), told)


def _arrived(error: Exception, notes: list[str], told: str) -> Exception:
    error.__notes__ = notes
    error.__cause__ = _There(f'\n"""\n{told}"""')
    return error


class _There(Exception):  # noqa: N818
    """The traceback on the node, as text."""


@functools.cache
def _prepare() -> None:
    """One thread a library, since a task is one core's work; and an end when Ray's process of this node is gone.

    By itself Ray lets such a task go on, and waits for it.
    """
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pa.set_memory_pool(pa.system_memory_pool())  # as `curate` has it: it gives back what another thread took too
    threading.Thread(target=look_after, args=(os.getppid(),), daemon=True).start()


def _node() -> str:
    """The address by which Ray knows the node of this task."""
    import ray  # noqa: PLC0415

    return str(ray.util.get_node_ip_address())


@dataclass(frozen=True, slots=True)
class _Look:
    """A file to be looked for."""

    place: Storage
    name: str

    def __str__(self) -> str:
        return str(self.place)


def _finds(look: _Look) -> bool:
    return look.place.exists(look.name)


@functools.cache
def _identity() -> str:
    """What differs where the code, the models or a library that decides bytes do."""
    return hashlib.sha256(repr(_looker()(_PACKAGES, _DECIDE)).encode()).hexdigest()


def _looker() -> Callable[[tuple[str, ...], tuple[str, ...]], dict[str, Any]]:
    """A function that says of packages which code it finds, and of distributions which versions.

    It is made in here, so that it goes to nodes as it is: they need not have this project to run it.
    """

    def look(packages: tuple[str, ...], distributions: tuple[str, ...]) -> dict[str, Any]:
        import hashlib  # noqa: PLC0415
        import platform  # noqa: PLC0415
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415
        from importlib.util import find_spec  # noqa: PLC0415
        from pathlib import Path  # noqa: PLC0415

        digest = hashlib.sha256()
        for name in packages:
            spec = find_spec(name)
            for place in (spec.submodule_search_locations or []) if spec else []:
                for path in sorted(Path(place).rglob("*")):
                    if path.is_file() and "__pycache__" not in path.parts:
                        digest.update(f"{name}/{path.relative_to(place)}\0".encode() + path.read_bytes())
        versions: dict[str, str | None] = {"python": platform.python_version()}
        for name in distributions:
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                versions[name] = None
        return {"code": digest.hexdigest(), "versions": versions}

    return look


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None  # noqa: S101  # it is this project's
    assert spec.submodule_search_locations is not None  # noqa: S101
    return Path(next(iter(spec.submodule_search_locations)))


# ------------------------------------------------------------------------------------------------------ what is asked


def _ray() -> ModuleType:
    try:
        import ray  # noqa: PLC0415  # an extra, and seconds to import
    except ImportError as error:
        raise UsageError("--engine ray: Ray is not installed", remedy="pip install 'curate[ray]'") from error
    module: ModuleType = ray
    return module


def _address() -> str:
    """The cluster's address from RAY_ADDRESS; raises where nothing answers there."""
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition(":")
    if address != "auto" and (not host or "://" in address or not port.isdecimal()):
        raise UsageError(
            f"--engine ray: RAY_ADDRESS is {address or 'not set'}: expected HOST:PORT of a cluster's head, or auto",
            remedy="start a cluster: ray start --head --port=6379 --disable-usage-stats --include-dashboard=false; "
            "then: export RAY_ADDRESS=127.0.0.1:6379",
        )
    if address != "auto":
        try:
            socket.create_connection((host, int(port)), 10).close()
        except (OSError, OverflowError) as error:
            raise WorkerError(
                f"--engine ray: RAY_ADDRESS is {address}, and no Ray answers there: {error}",
                remedy="start its head, or correct RAY_ADDRESS",
            ) from error
    return address
