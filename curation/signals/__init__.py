"""What is measured of a document: one module a signal, listed in `SIGNALS`.

A signal is a module, or an object where a model or settings must be held, with

- `VERSION`: raised when the same text gives another answer (an object with a model puts the model's hash in it);
- `COLUMNS`: column name to Arrow type; every name is unique over all signals;
- `measure(batch) -> dict`: for each column one value a row (a list, a numpy or an Arrow array), never null;
- `stand_ins(spans, key) -> list[str]`, if what its one column of spans finds can be replaced at publish: what to put in
  the place of each of a document's spans, given their texts in order, and 32 bytes that seed and document decide;
- `READS_TEXT = False`, if it looks at the URI alone: then measuring it anew does not read the text.

- `NEEDS = "key"`, if it is off until the recipe sets this key of it.

A table `[signals.NAME]` with a `model` and no `module` is one more classifier, `NAME_score`: `education.Named`.

A module whose signal has settings defines `Settings` (a frozen pydantic model: the keys of `[signals.NAME]`) and
`load(settings)`, which returns the object and must be cheap: models are loaded at the first `measure`.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from pydantic import ValidationError

from classifiers import education, language
from curation.errors import RecipeError
from curation.schema import BLEND, CORPUS, DOCUMENTS, SHARD, SPANS, VERDICTS, corpus_columns
from curation.signals import (
    c4,
    contamination,
    datatrove,
    fineweb,
    gopher_quality,
    gopher_repetition,
    length,
    lines,
    mojibake,
    pii,
    symbols,
    url,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    import pyarrow as pa

    from curation.recipe import Recipe
    from curation.signals.batch import Batch

#: Every signal of the project, in the order of measuring.
SIGNALS: tuple[ModuleType, ...] = (
    length, symbols, gopher_quality, gopher_repetition, c4, fineweb, datatrove, pii, mojibake, contamination,
    url, lines,
    language, education,
)  # fmt: skip


@runtime_checkable
class Signal(Protocol):
    """What a signal offers, be it a module or an object."""

    @property
    def VERSION(self) -> int | str:  # noqa: N802
        """What changes when the same text gives another answer."""

    @property
    def COLUMNS(self) -> Mapping[str, pa.DataType]:  # noqa: N802
        """Column name to Arrow type."""

    def measure(self, batch: Batch) -> Mapping[str, Any]:
        """For each column one value a row."""


def signal_name(module: ModuleType) -> str:
    """The name of a signal: that of its module."""
    return module.__name__.rpartition(".")[2]


def load_signals(recipe: Recipe) -> dict[str, Signal]:
    """The signals of a recipe by name, ready to measure.

    Raises `RecipeError` with every fault: an unknown signal, settings that are wrong, a column that two signals have.
    """
    from curation.dedup import signatures  # noqa: PLC0415  # it is a signal, and imports this package's Batch
    from curation.recipe import faults_text  # noqa: PLC0415

    faults: list[str] = []
    signals: dict[str, Signal] = {}
    for name, module in _modules(recipe, faults).items():
        table = {key: value for key, value in recipe.signals.get(name, {}).items() if key != "module"}
        needs = getattr(module, "NEEDS", None)
        enabled = table.pop("enabled", needs is None or bool(table))
        if not isinstance(enabled, bool):
            faults.append(f"signals.{name}.enabled: expected true or false, got {enabled!r}")
        elif enabled and needs is not None and not table.get(needs):
            faults.append(f"signals.{name}.{needs}: missing, and without it there is nothing to measure")
        elif enabled:
            try:
                signals[name] = _loaded(name, module, table, recipe.base)
            except _Faults as error:
                faults += error.faults
        elif name == "length":
            faults.append("signals.length.enabled: expected true: the blend counts in its byte_count")
    if recipe.dedup.enabled:
        signals["signature"] = signatures.load(recipe.dedup)
    faults += _shared_columns(signals)
    if faults:
        raise RecipeError(faults_text(recipe.path, faults))
    return signals


def with_stand_ins(signals: Mapping[str, Signal]) -> dict[str, Callable[[list[str], bytes], list[str]]]:
    """What gives the stand-ins for the spans of a column, by column: for those that a recipe may replace."""
    return {
        column: stand_ins
        for signal in signals.values()
        if (stand_ins := getattr(signal, "stand_ins", None)) is not None
        for column, kind in signal.COLUMNS.items()
        if kind == SPANS
    }


def _shared_columns(signals: Mapping[str, Signal]) -> list[str]:
    """The faults of columns that two signals have, or that documents have already."""
    owners = dict.fromkeys((*SHARD.names, *BLEND.names, *VERDICTS.names, "key", "copy"), "those that every run makes")
    owners |= dict.fromkeys((column for columns in CORPUS.values() for column in columns), "the corpus columns")
    owners |= dict.fromkeys(DOCUMENTS.names, "documents")
    faults = []
    ranks = {
        name: columns
        for name, columns in corpus_columns({name: signal.COLUMNS for name, signal in signals.items()}).items()
        if name not in CORPUS
    }
    for name, signal in signals.items():
        for column in (*signal.COLUMNS, *ranks.get(name, ())):
            if column.lower() in owners:  # SQL knows no case
                faults.append(f"signals.{name}: its column {column!r} is also one of {owners[column.lower()]}")
            owners[column.lower()] = f"signals.{name}"
    return faults


def _modules(recipe: Recipe, faults: list[str]) -> dict[str, ModuleType]:
    """The project's signals and those that the recipe brings, by name."""
    from curation.recipe import unknown  # noqa: PLC0415

    modules = {signal_name(module): module for module in SIGNALS}
    for name, table in recipe.signals.items():
        if "module" in table:
            if str(recipe.base) not in sys.path:  # so that it may lie beside the recipe
                sys.path.append(str(recipe.base))
            try:
                modules[name] = importlib.import_module(table["module"])
            except ImportError as error:
                faults.append(f"signals.{name}.module: cannot import {table['module']!r}: {error}")
        elif name not in modules and "model" in table:  # a classifier of the recipe's own
            modules[name] = cast("ModuleType", education.Named(name))
        elif name not in modules:
            faults.append(f"signals: {unknown(name, modules, 'signal')}")
    return modules


@cache
def absent_columns(on: frozenset[str]) -> dict[str, str]:
    """The columns of the project's signals that are not among these, with why they are not there."""
    found: dict[str, str] = {}
    for module in SIGNALS:
        name = signal_name(module)
        if name not in on:
            needs = getattr(module, "NEEDS", "enabled")
            why = f"the signal {name} is off, see signals.{name}.{needs}"
            columns = bare(module).COLUMNS
            found |= dict.fromkeys(
                (*columns, *CORPUS.get(name, ()), *corpus_columns({name: columns}).get(name, ())), why
            )
    return found


def bare(module: ModuleType) -> Signal:
    """A signal of the project with the settings it has where a recipe says nothing."""
    return _loaded(signal_name(module), module, {}, Path())


class _Faults(Exception):  # noqa: N818
    def __init__(self, *faults: str) -> None:
        super().__init__(*faults)
        self.faults = faults


def _loaded(name: str, module: ModuleType, table: dict[str, Any], base: Path) -> Signal:
    settings = getattr(module, "Settings", None)
    if settings is None:
        if table:
            raise _Faults(*(f"signals.{name}: unknown key {key!r}; it has no settings" for key in table))
        signal: object = module
    else:
        try:
            signal = module.load(settings.model_validate(table, context={"base": base}))  # where relative paths start
        except ValidationError as error:
            raise _Faults(
                *(f"signals.{name}.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            ) from error
    for attribute in ("VERSION", "COLUMNS", "measure"):
        if not hasattr(signal, attribute):
            raise _Faults(f"signals.{name}.module: {module.__name__} has no {attribute}; see docs/add-a-signal.md")
    return cast("Signal", signal)
