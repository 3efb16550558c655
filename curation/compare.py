"""compare: verified pairs of exact and near-duplicates. It knows no rule; judge decides who stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation import schema
from curation.dataset import Dataset, Footer, Part, Workspace, fingerprint
from curation.dedup import candidates, verifying
from curation.dedup.signatures import band_columns

if TYPE_CHECKING:
    from curation.recipe import Dedup
    from curation.run import Run

#: Raised when the same signatures give other pairs.
VERSION = 1

EXACT = Part("exact", "00000")
#: Candidate pairs that one task verifies.
_PAIRS_A_TASK = 2_000_000


@dataclass(frozen=True, slots=True)
class Compare:
    """A step of comparing, for one band, one part or one prefix of ids."""

    work: Workspace
    parts: list[Part]
    dedup: Dedup
    made_from: str
    key: str

    def __str__(self) -> str:
        return self.key


def compare(run: Run) -> dict[str, Any]:
    """Make `pairs`, unless they are there already."""
    dedup, work = run.recipe.dedup, run.work
    if not dedup.enabled:
        work.pairs.keep_only([])
        return {"pairs": 0}
    made_from = pairs_fingerprint(run)
    there = pair_parts(work)
    if there and all(footer.fingerprint == made_from for footer in there.values()) and EXACT in there:
        return _figures(there)
    work.pairs.keep_only([])
    parts = list(run.parts)
    copies = candidates.exact(work, parts)
    bands = [Compare(work, parts, dedup, made_from, band) for band in band_columns(dedup.bands)]
    found = run.engine.map(_find, bands, label="compare: candidates", unit="bands")
    candidate_parts = [Part("band", task.key) for task in bands]
    values = _values(run, made_from, candidate_parts)
    prefixes = _prefixes(sum(count for count, _ in found))
    tasks = [Compare(work, parts, dedup, made_from, prefix) for prefix in prefixes]
    run.engine.map(_verify, tasks, label="compare: verify", unit="slots")
    notes = {
        "candidates": sum(count for count, _ in found),
        "not_compared": sum(skipped for _, skipped in found),
        "prefixes": len(prefixes),
    }
    with work.pairs.writing(EXACT, made_from) as writer:  # last: it says that all are there
        writer.write(copies)
        writer.notes |= notes
    for folder in (candidates.dataset(work), values):
        if folder.name in ("candidates", "shingles"):
            work.storage.remove(folder.name)
    return _figures(pair_parts(work))


def pair_parts(work: Workspace) -> dict[Part, Footer]:
    """The parts of `pairs` with their footers."""
    return {part: footer for part in work.pairs.parts() if (footer := work.pairs.footer(part)) is not None}


def pairs_fingerprint(run: Run) -> str:
    """What the pairs are made from: the signatures, and how they are compared."""
    dedup = run.recipe.dedup
    signatures = []
    for part in run.parts:
        footer = run.work.signal("signature").footer(part)
        signatures.append(footer.fingerprint if footer else None)
    settings = [dedup.similarity, dedup.verify, candidates.FULL_BUCKET, candidates.NEIGHBOURS]
    return fingerprint("pairs", VERSION, settings, signatures)


def _figures(parts: dict[Part, Footer]) -> dict[str, Any]:
    notes = parts[EXACT].notes
    return {
        "exact": parts[EXACT].rows,
        "near": sum(footer.rows for part, footer in parts.items() if part != EXACT),
        "candidates": notes["candidates"],
        "not_compared": notes["not_compared"],
    }


def _prefixes(pairs: int) -> list[str]:
    """The beginnings of ids by which verifying is divided, so that a task has a bounded number of pairs."""
    digits = "0123456789abcdef"
    if pairs <= _PAIRS_A_TASK:
        return [""]
    return list(digits) if pairs <= 16 * _PAIRS_A_TASK else [a + b for a in digits for b in digits]


def _find(task: Compare) -> tuple[int, int]:
    copies = candidates.exact(task.work, task.parts)
    pairs, skipped = candidates.of_band(task.work, task.parts, task.key, copies)
    candidates.dataset(task.work).write(Part("band", task.key), pairs, task.made_from)
    return pairs.num_rows, skipped


def _values(run: Run, made_from: str, candidate_parts: list[Part]) -> Dataset:
    """What candidates are compared by: their signatures, or their shingles, read from the text now."""
    if run.recipe.dedup.verify == "signature":
        return run.work.signal("signature")
    tasks = [
        Compare(run.work, candidate_parts, run.recipe.dedup, made_from, f"{part.source}/{part.name}")
        for part in run.parts
    ]
    run.engine.map(_write_shingles, tasks, label="compare: read candidates")
    return verifying.shingle_sets(run.work)


def _write_shingles(task: Compare) -> None:
    source, _, name = task.key.partition("/")
    wanted: set[str] = set()
    for band in task.parts:
        pairs = candidates.dataset(task.work).read(band)
        wanted.update(pairs["id_a"].to_pylist())
        wanted.update(pairs["id_b"].to_pylist())
    verifying.write_shingles(task.work, Part(source, name), wanted, task.dedup.ngram, task.made_from)


def _verify(task: Compare) -> None:
    bands = [Part("band", band) for band in band_columns(task.dedup.bands)]
    exact = task.dedup.verify == "exact"
    values = verifying.shingle_sets(task.work) if exact else task.work.signal("signature")
    table = verifying.verified(task.work, bands, values, task.parts, task.key, task.dedup.similarity)
    table = table.append_column("kind", pa.array(["near"] * table.num_rows, pa.string()))
    task.work.pairs.write(Part("near", task.key or "all"), table.cast(schema.PAIRS), task.made_from)
