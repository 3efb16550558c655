"""TOML files that a person writes, read strictly: every fault is told at once, with its place."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from curation.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Table(BaseModel):
    """A table that knows all of its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=Table)


def read(path: Path, model: type[Model], what: str) -> Model:
    """What a TOML file holds; `UsageError` with every fault where it is no such thing."""
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", remedy=f"name a {what} that is there") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not TOML: {error}", remedy="correct that place") from error
    except ValidationError as error:
        faults = [f"{place(one['loc'])}: {_said(one)}" for one in error.errors(include_url=False)]
        raise refused(path, faults, what) from error


def refused(path: Path, faults: list[str], what: str) -> UsageError:
    """The error that lists the faults of a file."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    listed = "\n".join(f"  {fault}" for fault in faults)
    return UsageError(f"{path}: no {what}: {count}\n{listed}", remedy="docs/textbooks.md says what stands in it")


def place(steps: tuple[Any, ...]) -> str:
    """A path in a table.

    >>> place(("subject", 0, "unit", 1, "name"))
    'subject[0].unit[1].name'
    """
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text or "the file"


def _said(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    if fault["type"] == "missing":
        return "missing"
    shown = repr(fault["input"])
    return f"{fault['msg']}, got {shown if len(shown) <= 60 else shown[:57] + '...'}"
