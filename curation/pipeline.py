"""The order of the stages, and walking it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from curation import against, kernels, rules
from curation.blend import blend
from curation.compare import compare
from curation.errors import StorageError, UsageError
from curation.judge import judge
from curation.measure import measure
from curation.publish import publish
from curation.pull import cuts_blocks, pull
from curation.report import report
from curation.run import Run, claim_workspace, refuse_overlap, release_place, workspace
from curation.usage import counts_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.engine import Engine
    from curation.recipe import Recipe
    from curation.usage import Usage

STAGES = (pull, measure, compare, judge, blend, report, publish)


Stage = Callable[[Run], dict[str, Any]]


def plainly(stage: Stage, run: Run) -> dict[str, Any]:
    """The stage, called."""
    return stage(run)


def run(
    recipe: Recipe,
    engine: Engine,
    *,
    until: str | None = None,
    call: Callable[[Stage, Run], dict[str, Any]] = plainly,
) -> Run:
    """Walk the stages, up to and with the one called `until`; what is made already is not made again.

    `call` calls each stage; a workflow orchestrator records it there, and may call it again when it failed.
    Raises `RecipeError` before the first byte is read, and whatever a stage raises.
    """
    check_until(until)
    work, signals = workspace(recipe)
    rules.check(recipe, work)
    refuse_overlap(recipe)
    against.check(recipe)
    for place in (work.storage, release_place(recipe)):
        place.refuse_races()
    with work.storage.lock() as confirm:
        state = Run(recipe, work, signals, engine, engine.progress, confirm)
        claim_workspace(recipe)
        engine.use((work.storage, release_place(recipe)))
        work.storage.sweep()
        try:
            for stage in STAGES:
                confirm()
                engine.preload(*_imported(recipe, stage, until))
                _walk(state, stage, call)
                if stage.__name__ == until:
                    break
        except BaseException:
            with suppress(StorageError):  # also where another run holds the workspace now: it may be writing there
                confirm()
                work.storage.sweep()
            raise
        state.save("done")
    return state


def _imported(recipe: Recipe, stage: Stage, until: str | None) -> Iterator[str]:
    """What takes workers long to import that start in this stage, numba with it, unless it must be compiled first."""
    if until != pull.__name__ and kernels.place.are_compiled("texts"):
        yield f"{kernels.__name__}.grouping"  # which copies are found with
        yield f"{kernels.__name__}.blake2b"  # which ids are made with
    if stage is pull and cuts_blocks(recipe) and kernels.place.are_compiled("pages"):
        yield "curation.sources.extraction.model"


def check_until(until: str | None) -> None:
    """Raise `UsageError` unless it is None or the name of a stage."""
    names = [stage.__name__ for stage in STAGES]
    if until is not None and until not in names:
        raise UsageError(f"--until {until}: there is no such stage", remedy=f"the stages are {', '.join(names)}")


def _walk(state: Run, stage: Stage, call: Callable[[Stage, Run], dict[str, Any]]) -> None:
    name = stage.__name__
    began, before = time.monotonic(), state.engine.usage()
    try:
        state.figures[name] = call(stage, state)
    except BaseException:
        state.stages[name] = {**_taken(state, began, before), "state": "failed"}
        with suppress(StorageError):  # a full disk must not hide what went wrong
            state.save("failed")
        raise
    state.stages[name] = {**_taken(state, began, before), "rows": state.documents}
    state.progress.line(f"{name:8} {state.stages[name]['seconds']:7.1f} s  {_said(name, state)}")


def _taken(state: Run, began: float, before: Usage) -> dict[str, Any]:
    """What run.json says that a stage took; bytes are null where the system counts none."""
    seconds, used = time.monotonic() - began, state.engine.usage() - before
    return {
        "seconds": round(seconds, 3), "processor_seconds": round(used.processor, 3),
        "read_bytes": used.read if counts_bytes() else None, "written_bytes": used.written if counts_bytes() else None,
    }  # fmt: skip


def _said(name: str, state: Run) -> str:
    """What a stage did, in a few words."""
    figures = state.figures[name]
    match name:
        case "pull":
            read = f"{figures['inputs_read']:,} of them read"
            left = sum(figures["not_wanted"].values())
            rest = f"; {left:,} not wanted" if figures["not_wanted"] else ""
            return f"{figures['rows']:,} documents from {figures['inputs']:,} inputs, {read}{rest}"
        case "measure":
            outside = sum(entry["measured"] for entry in figures["against"].values())
            said = (
                f"{figures['rows']:,} documents, {len(figures['signals'])} signals" if figures["parts"] else "as before"
            )
            return said + (f"; {outside:,} documents to compare with" if outside else "")
        case "compare":
            return f"{figures.get('exact', 0):,} exact and {figures.get('near', 0):,} near-duplicate pairs"
        case "judge":
            counts = figures["sources"].values()
            totals = {key: sum(count[key] for count in counts) for key in ("errors", "dropped", "duplicates", "kept")}
            return ", ".join(f"{count:,} {key}" for key, count in totals.items())
        case "blend":
            return f"{figures['documents']:,} documents, {figures['tokens']:,} tokens"
        case "report":
            return state.work.storage.path("report.html")
        case _:
            return (
                figures["release"]
                if figures["published"]
                else f"nothing new: {figures['version']} was made from the same"
            )
