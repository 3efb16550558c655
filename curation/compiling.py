"""Kernels are compiled once on each machine, by all its workers together, before they are first needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from curation import kernels

if TYPE_CHECKING:
    from curation.engine import Engine


def compile_kernels(engine: Engine, group: str) -> None:
    """Compile what an installation has not compiled yet of a group (`kernels.GROUPS`)."""
    if all(engine.everywhere(_are_compiled, [group], label="kernels", little=True)):
        return
    engine.progress.line(f"  compiling the kernels for {group}, once for this installation")
    modules = kernels.GROUPS[group]
    tasks = [task for task in kernels.TASKS if task[0] in modules]
    tasks += [(module,) for module in modules if not any(module in task for task in tasks)]
    engine.everywhere(_compile, tasks, label="compile")
    engine.everywhere(_note_compiled, [group], label="kernels", little=True)


def _are_compiled(group: str) -> bool:
    return bool(kernels.place.are_compiled(group))


def _note_compiled(group: str) -> None:
    kernels.place.note_compiled(group)


def _compile(modules: tuple[str, ...]) -> None:
    for module in modules:
        import_module(f"{kernels.__name__}.{module}")
