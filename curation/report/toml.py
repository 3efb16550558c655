"""A recipe written as TOML again, for people to read: in the report and on the card."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.recipe import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from curation.recipe import Recipe


def written(semantic: Mapping[str, Any]) -> str:
    """What `Recipe.semantic()` gives, as the TOML that says the same; defaults are filled in, paths are left out."""
    return "\n".join(_lines(_table(semantic), ())).strip() + "\n"


def recipe_of(semantic: Mapping[str, Any]) -> Recipe:
    """The recipe that `Recipe.semantic()` was taken of, as a manifest keeps it; without its paths."""
    table = _table(semantic)
    table["source"] = [{**source, "paths": ["-"]} for source in table["source"]]
    return parse(table, Path("recipe.toml"))


def _table(semantic: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's own rules stand beside `presets` in TOML, and what is not set is not there."""
    rules = dict(semantic["rules"])
    table: dict[str, Any] = _set({**semantic, "rules": rules | rules.pop("own", {})})
    return table


def _set(value: Any) -> Any:
    """The value without what is not set in it: null, and empty tables."""
    if isinstance(value, dict):
        return {key: _set(item) for key, item in value.items() if item is not None and item != {}}
    return [_set(item) for item in value] if isinstance(value, list) else value


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for key, value in table.items():
        if not _has_heading(value, path):
            yield f"{_key(key)} = {inline(value)}"
    for key, value in table.items():
        if _has_heading(value, path):
            place = (*path, key)
            name = ".".join(map(_key, place))
            heading, tables = (f"[[{name}]]", value) if isinstance(value, list) else (f"[{name}]", [value])
            for each in tables:
                lines = list(_lines(each, place))
                begins_with_table = bool(lines) and not lines[0]  # whose heading is enough
                if isinstance(value, list) or (lines and not begins_with_table):
                    lines = ["", heading, *lines]
                yield from lines


def _has_heading(value: Any, path: tuple[str, ...]) -> bool:
    """Tables get a heading of their own, but small ones inside `[[source]]` stand on one line."""
    if isinstance(value, dict):
        return path[:1] != ("source",)
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else inline(key)


def inline(value: Any) -> str:
    r"""A value in TOML.

    >>> inline({"a b": [True, 0.5, 'x"y']})
    '{ "a b" = [true, 0.5, "x\\"y"] }'
    """
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
