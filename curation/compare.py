"""compare: verified pairs of exact and near-duplicates, and corpus columns. It knows no rule: that is judge's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import schema
from curation.corpus import count_in_corpus
from curation.dataset import Footer, Part, Workspace, connect, fingerprint
from curation.dedup import candidates, verifying
from curation.dedup.signatures import band_columns

if TYPE_CHECKING:
    from curation.recipe import Dedup
    from curation.run import Run

#: Raised when the same signatures give other pairs.
VERSION = 1

#: The part of the pairs that link copies to the first of their group; the others link such firsts.
COPIES = Part("copies", "00000")
#: Beside the bands: pairs of copies, and the ids of all candidates.
_COPIES = Part("all", "copies")
_WANTED = Part("all", "wanted")
#: Candidate pairs that one task verifies.
_PAIRS_A_TASK = 2_000_000


@dataclass(frozen=True, slots=True)
class Compare:
    """What every step of comparing needs."""

    work: Workspace
    parts: list[Part]
    dedup: Dedup
    made_from: str

    @property
    def bands(self) -> list[Part]:
        """The parts of `candidates`."""
        return [Part("band", band) for band in band_columns(self.dedup.bands)]


@dataclass(frozen=True, slots=True)
class Find:
    """Find the candidates of one band."""

    step: Compare
    band: str

    def __str__(self) -> str:
        return self.band


@dataclass(frozen=True, slots=True)
class Read:
    """Read the shingles of one part's candidates."""

    step: Compare
    part: Part

    def __str__(self) -> str:
        return str(self.part)


@dataclass(frozen=True, slots=True)
class Verify:
    """Verify the candidates whose first id begins so."""

    step: Compare
    prefix: str

    def __str__(self) -> str:
        return f"pairs {self.prefix}…"


def compare(run: Run) -> dict[str, Any]:
    """Make `pairs` and the corpus columns, unless they are there already."""
    count_in_corpus(run)
    return _compared(run)


def _compared(run: Run) -> dict[str, Any]:
    dedup, work = run.recipe.dedup, run.work
    if not dedup.enabled:
        work.pairs.keep_only([])
        return {"exact": 0, "near": 0, "candidates": 0, "not_compared": 0}
    step = Compare(work, list(run.parts), dedup, pairs_fingerprint(run))
    there = pair_parts(work)
    if _complete(there, step.made_from):
        return _figures(there)
    work.storage.remove(work.pairs.path(COPIES))  # first: without it nothing is complete
    work.pairs.keep_only([])
    copies = candidates.copies(work, step.parts, by_signature=dedup.verify == "signature")
    work.candidates.write(_COPIES, copies.select(["id_a", "id_b"]), step.made_from)
    bands = [Find(step, band) for band in band_columns(dedup.bands)]
    found = run.engine.map(_find, bands, label="compare: candidates", unit="bands")
    if dedup.verify == "exact":
        work.candidates.write(_WANTED, _wanted(step), step.made_from)
        run.engine.map(_read, [Read(step, part) for part in step.parts], label="compare: read candidates")
    prefixes = _prefixes(sum(count for count, _ in found))
    run.engine.map(_verify, [Verify(step, prefix) for prefix in prefixes], label="compare: verify", unit="slots")
    with work.pairs.writing(COPIES, step.made_from) as writer:  # last: it says that all are there
        writer.write(copies)
        writer.notes |= {
            "exact": pc.sum(pc.equal(copies["kind"], "exact")).as_py() or 0,
            "candidates": sum(count for count, _ in found),
            "not_compared": sum(skipped for _, skipped in found),
            "prefixes": len(prefixes),
        }
    for folder in (work.candidates.name, work.shingles.name):
        work.storage.remove(folder)
    return _figures(pair_parts(work))


def _complete(parts: dict[Part, Footer], made_from: str) -> bool:
    """Whether all the parts of these pairs are there: `COPIES` is written last and says how many others there are."""
    if COPIES not in parts or any(footer.fingerprint != made_from for footer in parts.values()):
        return False
    return len(parts) == 1 + int(parts[COPIES].notes["prefixes"])


def pair_parts(work: Workspace) -> dict[Part, Footer]:
    """The parts of `pairs` with their footers."""
    parts = work.pairs.parts()
    footers = work.storage.each(work.pairs.footer, parts)
    return {part: footer for part, footer in zip(parts, footers, strict=True) if footer is not None}


def pairs_fingerprint(run: Run) -> str:
    """What the pairs are made from: the signatures, and how they are compared."""
    dedup = run.recipe.dedup
    signatures = [run.signals_from[part]["signature"] for part in run.parts]
    settings = [dedup.similarity, dedup.verify, candidates.FULL_BUCKET, candidates.NEIGHBOURS]
    return fingerprint("pairs", VERSION, settings, signatures)


def _figures(parts: dict[Part, Footer]) -> dict[str, Any]:
    notes = parts[COPIES].notes
    return {
        "exact": notes["exact"],
        "near": sum(footer.rows for footer in parts.values()) - notes["exact"],
        "candidates": notes["candidates"],
        "not_compared": notes["not_compared"],
    }


def _prefixes(pairs: int) -> list[str]:
    """The beginnings of ids by which verifying is divided, so that a task has a bounded number of pairs."""
    digits = "0123456789abcdef"
    if pairs <= _PAIRS_A_TASK:
        return [""]
    return list(digits) if pairs <= 16 * _PAIRS_A_TASK else [a + b for a in digits for b in digits]


def _find(task: Find) -> tuple[int, int]:
    step = task.step
    copies = step.work.candidates.read(_COPIES)
    pairs, skipped = candidates.of_band(step.work, step.parts, task.band, copies)
    step.work.candidates.write(Part("band", task.band), pairs, step.made_from)
    return pairs.num_rows, skipped


def _wanted(step: Compare) -> pa.Table:
    """The ids of all candidates, in the columns of pairs."""
    connection = connect(step.work)
    connection.register("candidates", step.work.candidates.scan(step.bands))
    return connection.sql("""
        SELECT id AS id_a, '' AS id_b FROM (SELECT id_a AS id FROM candidates UNION SELECT id_b FROM candidates)
        ORDER BY id
    """).to_arrow_table()


def _read(task: Read) -> None:
    step = task.step
    wanted = step.work.candidates.read(_WANTED, ["id_a"])["id_a"].combine_chunks()
    verifying.write_shingles(step.work, task.part, wanted, step.dedup.ngram, step.made_from)


def _verify(task: Verify) -> None:
    step = task.step
    values = step.work.shingles if step.dedup.verify == "exact" else step.work.signal("signature")
    table = verifying.verified(step.work, step.bands, values, step.parts, task.prefix, step.dedup.similarity)
    table = table.append_column("kind", pa.array(["near"] * table.num_rows, pa.string()))
    step.work.pairs.write(Part("near", task.prefix or "all"), table.cast(schema.PAIRS), step.made_from)
