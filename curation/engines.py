"""The engine of a run by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curation.engine import LocalEngine

if TYPE_CHECKING:
    from curation.engine import Engine
    from curation.progress import Progress

#: Processes of this machine, or the nodes of a Ray cluster.
NAMES = ("local", "ray")


def engine_of(name: str, workers: int | None, progress: Progress) -> Engine:
    """The engine with this name, with at most so many workers; raises `UsageError` where Ray is not there."""
    if name == "local":
        return LocalEngine(workers, progress)
    from curation.ray_engine import RayEngine  # noqa: PLC0415  # Ray is an extra, and slow to import

    return RayEngine(workers, progress)
