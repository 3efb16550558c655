"""The Prefect flow: the stages that `curate run` walks, one task each, in the same order."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # Prefect reads the parameters' types when the flow runs
from typing import TYPE_CHECKING, Any, Literal

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from curation import pipeline
from curation.engine import LocalEngine
from curation.errors import CurationError, InputError, StorageError, WorkerError
from curation.progress import Lines
from curation.recipe import load

if TYPE_CHECKING:
    import logging

    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

    from curation.run import Run

#: What may be gone at the next try: a full disk, a worker that was killed, an input that is still being written.
PASSING = (InputError, OSError, StorageError, WorkerError)
#: Seconds before each further try.
DELAYS = (10, 60)


@flow(name="curate", description="Runs a recipe: one task a stage; what is made already is not made again.")
def curate(
    recipe: Path,
    overrides: list[str] | None = None,
    work: str | None = None,
    workers: int | None = None,
    until: Literal["pull", "measure", "compare", "judge", "blend", "report", "publish"] | None = None,
) -> dict[str, Any]:
    """Run a recipe, as `curate run RECIPE` does, recorded by Prefect.

    `overrides` are `key=value` texts, as for `--set`. Returns what publish said, or the last stage. The tasks keep no
    results of their own: a part exists = it is finished, and nothing else remembers progress.
    """
    logger = get_run_logger()
    with LocalEngine(workers, Logged(logger)) as engine:
        state = pipeline.run(load(recipe, tuple(overrides or ()), work=work), engine, until=until, call=as_task)
    _artifacts(state)
    return state.figures[until or "publish"]


class Logged(Lines):
    """Progress as lines of the flow run's log."""

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        super().__init__()
        self._logger = logger

    def line(self, text: str) -> None:
        """Log it; a warning as one."""
        warning = text.strip().startswith("warning: ")
        (self._logger.warning if warning else self._logger.info)(text.strip().removeprefix("warning: "))


def as_task(stage: pipeline.Stage, run: Run) -> dict[str, Any]:
    """Call a stage as a Prefect task of its name."""

    def called() -> dict[str, Any]:
        return stage(run)

    recorded = task(
        name=stage.__name__,
        description=(stage.__doc__ or "").partition("\n")[0],
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(DELAYS),
        retry_delay_seconds=list(DELAYS),
        retry_condition_fn=may_pass,
    )(called)
    return recorded()


async def may_pass(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Whether another try may end better: never for a recipe, a rule or a release that is wrong."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, PASSING) or not isinstance(error, CurationError)


def _artifacts(state: Run) -> None:
    """The funnel, the blend and the way to the release, shown with the flow run."""
    if "judge" in state.figures:
        names = ("documents", "errors", "dropped", "duplicates", "kept")
        rows = [{"source": name, **{key: counts[key] for key in names}}
                for name, counts in state.figures["judge"]["sources"].items()]  # fmt: skip
        create_table_artifact(rows, key="documents", description="What became of the documents of each source")
    if "blend" in state.figures:
        shown = ("name", "asked_tokens", "tokens", "achieved_share", "documents", "why")
        rows = [{key: group[key] for key in shown} for group in state.figures["blend"]["groups"]]
        create_table_artifact(rows, key="blend", description="What each group was asked for and gave")
    if "publish" in state.figures:
        path = f"{state.figures['publish']['release']}/report.html"
        create_link_artifact(f"file://{path}", link_text=path, key="report", description="The release's report")
