"""A Ray cluster of two nodes on this machine, and an engine under whose tasks the second node is killed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from curation.ray_engine import RayEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from curation.progress import Progress
    from curation.run import Run

ROOT = Path(__file__).parents[1]


class TwoNodes:
    """Two nodes of a core each, to be used as a context manager; the second is set up anew when it was killed."""

    def __enter__(self) -> Self:
        """Start both; tasks on them import from this checkout, and from `places` of PYTHONPATH."""
        from ray.cluster_utils import Cluster  # noqa: PLC0415  # an extra, and slow to import

        self._node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
        with _environment():
            self.cluster = Cluster(initialize_head=True, head_node_args={**self._node, "include_dashboard": False})
            self._second = self.cluster.add_node(**self._node)
        self.address = str(self.cluster.address)
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.shutdown()

    def renew(self) -> None:
        """Set the second node up again."""
        self.cluster.remove_node(self._second, allow_graceful=False)
        with _environment():
            self._second = self.cluster.add_node(**self._node)

    @property
    def has_second(self) -> bool:
        """Whether the second node is alive."""
        return bool(self._second.live_processes())


class _environment:  # noqa: N801
    """What the processes of nodes are started with."""

    def __enter__(self) -> None:
        self._before = dict(os.environ)
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # as local processes have it
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))

    def __exit__(self, *_: object) -> None:
        os.environ.clear()
        os.environ.update(self._before)


@dataclass(frozen=True)
class Deadly:
    """A function under whose first call its node is killed: it does its work all the same, and never answers."""

    function: Callable[[Any], Any]
    mark: str

    def __call__(self, item: Any) -> Any:
        """What the function gives."""
        try:
            Path(self.mark).touch(exist_ok=False)
        except FileExistsError:
            return self.function(item)
        os.kill(os.getppid(), signal.SIGKILL)  # Ray's process of this node, which started this one
        self.function(item)
        time.sleep(3600)  # this process ends when it sees that the other did
        raise AssertionError


class KillingEngine(RayEngine):
    """Kills the second node under the first task of every stage that is named; `folder` is for its notes.

    The first node is kept busy until then, so that the task can only go to the second.
    """

    def __init__(self, nodes: TwoNodes, folder: Path, stages: Sequence[str], progress: Progress | None = None) -> None:
        super().__init__(None, progress)
        self._nodes_here, self._folder, self._stages = nodes, folder, stages
        self._mark: Path | None = None
        folder.mkdir(parents=True)

    def call(self, stage: Callable[[Run], dict[str, Any]], run: Run) -> dict[str, Any]:
        """Call a stage of the run, for `pipeline.run`."""
        if stage.__name__ in self._stages:
            if not self._nodes_here.has_second:
                self._nodes_here.renew()
            self._mark = self._folder / stage.__name__
        return stage(run)

    @property
    def killed(self) -> list[str]:
        """The stages in which the node was killed."""
        return [stage for stage in self._stages if (self._folder / stage).exists()]

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], **options: Any) -> list[Any]:
        """As any engine's."""
        if self._mark is not None and items:
            mark, self._mark = self._mark, None
            self._join()
            self._keep_busy(mark)
            function = Deadly(function, str(mark))
        return super().map(function, items, **options)

    def _keep_busy(self, mark: Path) -> None:
        """Have a task on this process's node that ends when the mark is there."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

        begun = mark.with_suffix(".begun")
        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        self._ray.remote(num_cpus=1, scheduling_strategy=here)(_wait).remote(str(begun), str(mark))
        while not begun.exists():
            time.sleep(0.02)


def _wait(begun: str, mark: str) -> None:
    Path(begun).touch()
    while not Path(mark).exists():
        time.sleep(0.02)
