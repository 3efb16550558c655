"""Corpus columns: what only the whole corpus can tell of a document, made in compare from sidecars.

A module for each signal that they are made of, with `fingerprint_of` and `make`; `ranks` is for every signal that is a
score alone. Each has its own sidecar, so that a setting of the one makes nothing of the other anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curation.corpus import contamination, lines, ranks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curation.dataset import Part
    from curation.run import Run

_MODULES = {"contamination": contamination, "lines": lines}


def fingerprints(run: Run, signals_from: Mapping[Part, Mapping[str, str]], pairs: str | None) -> dict[str, str]:
    """What every part's corpus columns are made from, by the names of their datasets: the sidecars of all parts.

    `signals_from` has the fingerprints of each part's sidecars, `pairs` that of the pairs, None where there are none.
    """
    return {
        dataset.name: _MODULES.get(name, ranks).fingerprint_of(
            run, [made_from[name] for made_from in signals_from.values()], pairs
        )
        for name, dataset in run.work.corpus.items()
    }


def make(run: Run) -> None:
    """Make the corpus columns that are missing, once the pairs are there."""
    for name, dataset in run.work.corpus.items():
        missing = dataset.not_made({part: made_from[dataset.name] for part, made_from in run.signals_from.items()})
        if missing:
            (made_from,) = set(missing.values())
            if name in _MODULES:
                _MODULES[name].make(run, list(missing), made_from)
            else:
                ranks.make(run, name, list(missing), made_from)
