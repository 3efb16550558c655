"""The Prefect flow: the stages that `curate run` walks, one task each, in the same order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from prefect import flow, get_run_logger, tags, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from curation import pipeline
from curation.engines import engine_of
from curation.errors import CurationError, InputError, StorageError, WorkerError
from curation.progress import Lines
from curation.recipe import load
from curation.usage import table

if TYPE_CHECKING:
    import logging
    from uuid import UUID

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
    engine: Literal["local", "ray"] = "local",
    workers: Annotated[int, Field(ge=1)] | None = None,
    until: Literal["pull", "measure", "compare", "judge", "blend", "report", "publish"] | None = None,
) -> dict[str, Any]:
    """Run a recipe, as `curate run RECIPE` does, recorded by Prefect; what publish said is returned, or the last stage.

    The tasks keep no results of their own: a part exists = it is finished, and nothing else remembers progress.

    Args:
        recipe: The recipe's file, with its full path on the machine of the worker.
        overrides: Values of the recipe to set for this run, like blend.tokens=20000; as for --set.
        work: A folder or s3:// place to work in instead of the recipe's.
        engine: Processes of this machine, or the nodes of the Ray cluster that RAY_ADDRESS names.
        workers: Processes or tasks at a time; one for each core if left out.
        until: The stage to stop after; left out, all of them.
    """
    loaded = load(recipe, tuple(overrides or ()), work=work)
    with tags("curate", loaded.name), engine_of(engine, workers, Logged(get_run_logger())) as used:
        state = pipeline.run(loaded, used, until=until, call=Recorded(loaded.name, until))
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


class Recorded:
    """Calls stages as Prefect tasks, and shows in an artifact how many of them are done."""

    def __init__(self, recipe: str, until: str | None) -> None:
        names = [stage.__name__ for stage in pipeline.STAGES]
        self._names = names[: names.index(until) + 1] if until else names
        made = create_progress_artifact(0.0, key=_key(recipe, "progress"), description=self._said(0))
        self._artifact = cast("UUID", made)  # a coroutine only in an asynchronous flow

    def __call__(self, stage: pipeline.Stage, run: Run) -> dict[str, Any]:
        """The stage's figures."""
        figures = as_task(stage, run)
        done = self._names.index(stage.__name__) + 1
        update_progress_artifact(self._artifact, 100 * done / len(self._names), description=self._said(done))
        return figures

    def _said(self, done: int) -> str:
        begun = f"at work: {self._names[done]}" if done < len(self._names) else "all done"
        return f"{done} of {len(self._names)} stages, {begun}"


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
    """The summary, the funnel, the blend and the way to the release, shown with the flow run."""
    name, figures = state.recipe.name, state.figures
    create_markdown_artifact(_summary(state), key=_key(name, "summary"), description="The run in short")
    if "judge" in figures:
        keys = ("documents", "errors", "dropped", "duplicates", "kept")
        rows = [{"source": source, **{key: counts[key] for key in keys}}
                for source, counts in figures["judge"]["sources"].items()]  # fmt: skip
        create_table_artifact(
            rows, key=_key(name, "documents"), description="What became of the documents of each source"
        )
    if "blend" in figures:
        shown = ("name", "asked_tokens", "tokens", "achieved_share", "documents", "why")
        rows = [{key: group[key] for key in shown} for group in figures["blend"]["groups"]]
        create_table_artifact(rows, key=_key(name, "blend"), description="What each group was asked for and gave")
    if "publish" in figures:
        path = f"{figures['publish']['release']}/report.html"
        if "://" not in path:  # a browser follows no link into a bucket
            create_link_artifact(
                Path(path).absolute().as_uri(), link_text=path, key=_key(name, "report"),
                description="The release's report",
            )  # fmt: skip


def _summary(state: Run) -> str:
    """The run as Markdown: what is out, warnings, and the stages; nothing of a document's."""
    lines = [f"# {state.recipe.name}", ""]
    if published := state.figures.get("publish"):
        what = "Published" if published["published"] else "Nothing new: the latest release was made from the same,"
        lines += [f"{what} `{published['release']}`", ""]
    if judged := state.figures.get("judge"):
        kept = sum(counts["kept"] for counts in judged["sources"].values())
        lines += [f"{kept:,} of {state.documents:,} documents are kept.", ""]
    lines += [f"- warning: {_plain(warning)}" for warning in state.warnings]
    head, *rows = (f"| {' | '.join(row)} |" for row in table(state.stages))
    lines += ["", head, "|---|--:|--:|--:|--:|", *rows]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """The text as Markdown that means just this."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~-])", r"\\\1", text.replace("\n", " "))


def _key(recipe: str, what: str) -> str:
    """The key of an artifact: each recipe's has its own history."""
    return f"{recipe.replace('_', '-')}-{what}"
