"""Samples: the few documents that the report shows, and the only texts it reads.

They are chosen by columns, in the order of a hash of the seed and the id; then only the row groups that hold them are
read, a bounded number of bounded size, so that it takes as long over a large corpus as over a small one. A document
whose row group would be one too many gives its place to the next of its kind, or is shown without its text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from curation.dataset import connect

if TYPE_CHECKING:
    from curation.dataset import Part, Workspace
    from curation.report.counting import Candidate, Counts
    from curation.run import Run

#: Row groups that are read at most, and how many bytes of text each, and all of them, may hold.
GROUPS = 48
GROUP_BYTES = 24_000_000
BYTES = 96_000_000
#: Pairs of near-duplicates, and clusters, that are shown.
PAIRS = 6
CLUSTERS = 10
#: What is kept of a text, in characters; the page may show less.
CHARACTERS = 1_200
#: What is read of a document besides its text.
_COLUMNS = ("id", "source", "uri", "title", "error")

Kind = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A document to show; `text` is its beginning, None where it was not read, `more` how many characters follow."""

    id: str
    source: str
    fate: str
    reasons: tuple[str, ...]
    values: dict[str, Any]
    uri: str | None = None
    title: str | None = None
    error: str | None = None
    text: str | None = None
    more: int = 0


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What the verdicts say of copies: documents that went, by the kept one and by similarity.

    Copies of documents from outside of the run are counted by similarity alone.
    """

    #: Size of a cluster, its kept document included, and how many there are.
    sizes: list[tuple[int, int]]
    #: The kept document of each of the largest clusters, and the cluster's size.
    largest: list[tuple[str, int]]
    #: Twentieths of similarity and how many documents went at it; exact copies are at 20.
    similar: list[tuple[int, int]]
    #: Near-duplicates to show: the one that went, the kept one, their similarity.
    pairs: list[tuple[str, str, float]]

    @property
    def ids(self) -> tuple[str, ...]:
        """The documents that are to be found."""
        paired = [document for pair in self.pairs for document in pair[:2]]
        return tuple(dict.fromkeys([*(document for document, _ in self.largest), *paired]))


def duplicates(run: Run) -> Duplicates:
    """What there is to show of duplicates, from the verdicts alone."""
    connection = connect(run.work)
    connection.register("verdicts", run.work.verdicts.scan(run.parts))
    connection.execute("""
        CREATE TEMP TABLE gone AS
        SELECT id, duplicate_of AS kept, duplicate_in IS NULL AS is_here, similarity
        FROM verdicts WHERE duplicate_of IS NOT NULL
    """)
    clusters = "SELECT kept, count(*) + 1 AS size FROM gone WHERE is_here GROUP BY kept"
    pairs = connection.execute(f"""
        SELECT id, kept, similarity FROM gone WHERE is_here AND similarity < 1
        ORDER BY md5(concat({run.recipe.seed}, ':', id)), id LIMIT {PAIRS}
    """).fetchall()
    return Duplicates(
        sizes=connection.execute(f"SELECT size, count(*) FROM ({clusters}) GROUP BY size ORDER BY size").fetchall(),
        largest=connection.execute(f"{clusters} ORDER BY size DESC, kept LIMIT {CLUSTERS}").fetchall(),
        similar=connection.execute("""
            SELECT floor(similarity * 20)::INTEGER AS step, count(*) FROM gone GROUP BY step ORDER BY step
        """).fetchall(),
        pairs=[(gone, kept, round(similarity, 4)) for gone, kept, similarity in pairs],
    )


@dataclass
class _Reader:
    """What may still be read, and what will be."""

    work: Workspace
    sizes: dict[Part, list[tuple[int, int]]] = field(default_factory=dict)
    chosen: dict[tuple[Part, int], int] = field(default_factory=dict)

    def place(self, part: Part, row: int) -> tuple[int, int]:
        """The row group that a row is in, and the row in it."""
        if part not in self.sizes:
            self.sizes[part] = self.work.documents.groups(part, "text")
        ends = list(accumulate(rows for rows, _ in self.sizes[part]))
        group = next(number for number, end in enumerate(ends) if row < end)
        return group, row - (ends[group - 1] if group else 0)

    def takes(self, part: Part, row: int) -> bool:
        """Whether the row's group is read, or can be, and is from now on."""
        if len(self.chosen) >= GROUPS and part not in self.sizes:  # its footer is not looked at for nothing
            return False
        group, _ = self.place(part, row)
        size = self.sizes[part][group][1]
        if (part, group) in self.chosen:
            return True
        if len(self.chosen) >= GROUPS or size > GROUP_BYTES or sum(self.chosen.values()) + size > BYTES:
            return False
        self.chosen[part, group] = size
        return True


def samples(run: Run, counts: Counts, wanted: list[tuple[Kind, int]]) -> dict[Kind, list[Sample]]:
    """For each kind of sample as many documents as wanted, if there are; those come first that are asked for first."""
    reader = _Reader(run.work)
    taken: dict[Kind, list[Candidate]] = {kind: [] for kind, _ in wanted}
    left = {kind: list(counts.candidates.get(kind, ())) for kind, _ in wanted}
    for number in range(max((most for _, most in wanted), default=0)):
        for kind, most in wanted:
            if number >= most or not left[kind]:
                continue
            there = [candidate for candidate in left[kind] if reader.takes(candidate[2], candidate[3])][:1]
            for candidate in there or left[kind][:1]:
                taken[kind].append(candidate)
                left[kind].remove(candidate)
    found = _read(reader, taken)
    return {kind: [_sample(counts, candidate, found) for candidate in sorted(taken[kind])] for kind in taken}


def _read(reader: _Reader, taken: dict[Kind, list[Candidate]]) -> dict[str, dict[str, Any]]:
    """The rows of the documents in the row groups that may be read, by id."""
    rows: dict[tuple[Part, int], set[int]] = {}
    for candidates in taken.values():
        for _, _, part, row in candidates:
            if part in reader.sizes:
                group, place = reader.place(part, row)
                if (part, group) in reader.chosen:
                    rows.setdefault((part, group), set()).add(place)
    found = {}
    for (part, group), places in sorted(rows.items()):
        table = reader.work.documents.read_groups(part, [group], [*_COLUMNS, "text"])
        for entry in table.take(sorted(places)).to_pylist():
            found[entry["id"]] = entry
    return found


def _sample(counts: Counts, candidate: Candidate, found: dict[str, dict[str, Any]]) -> Sample:
    document = candidate[1]
    values = dict(counts.values[document])
    del values["id"]
    source, fate, reasons = values.pop("source"), values.pop("its fate"), tuple(values.pop("reasons"))
    row = found.get(document)
    if row is None:
        return Sample(document, source, fate, reasons, values)
    text = row["text"] or ""
    beginning = text[:CHARACTERS]
    return Sample(
        document, source, fate, reasons, values, row["uri"], row["title"], row["error"], beginning,
        len(text) - len(beginning),
    )  # fmt: skip
