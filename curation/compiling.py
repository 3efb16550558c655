"""Kernels are compiled once for an installation, by all workers together, before they are first needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from curation import kernels

if TYPE_CHECKING:
    from curation.engine import LocalEngine


def compile_kernels(engine: LocalEngine, group: str) -> None:
    """Compile what this installation has not compiled yet of a group (`kernels.GROUPS`)."""
    if kernels.place.are_compiled(group):
        return
    engine.progress.line(f"  compiling the kernels for {group}, once for this installation")
    modules = kernels.GROUPS[group]
    tasks = [task for task in kernels.TASKS if task[0] in modules]
    tasks += [(module,) for module in modules if not any(module in task for task in tasks)]
    engine.map(_compile, tasks, label="compile", unit="tasks")
    kernels.place.note_compiled(group)


def _compile(modules: tuple[str, ...]) -> None:
    for module in modules:
        import_module(f"{kernels.__name__}.{module}")
