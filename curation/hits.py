"""How often each rule hit on the last run, alone and together with others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from curation import rules as ruling
from curation.dataset import connect
from curation.pull import parts_there
from curation.run import workspace

if TYPE_CHECKING:
    from curation.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Hits:
    """Documents by the reasons that they have in the verdicts.

    `readable` counts the documents that could be read; `hits` those with each reason, `alone` those with no other, and
    `together` those with both of a pair, whose names are in the order of the alphabet. Reasons that hit nothing are not
    there, and 0 if asked for.
    """

    readable: int
    hits: Counter[str]
    alone: Counter[str]
    together: Counter[tuple[str, str]]


def hits_of(recipe: Recipe) -> Hits | None:
    """The hits in the verdicts that are there; None where a part has none yet."""
    work, _ = workspace(recipe)
    parts = list(parts_there(recipe, work))
    if not parts or None in work.storage.each(work.verdicts.footer, parts):
        return None
    connection = connect(work)
    connection.register("verdicts", work.verdicts.scan(parts))
    found = Hits(0, Counter(), Counter(), Counter())
    readable = 0
    for reasons, documents in connection.execute("SELECT reasons, count(*) FROM verdicts GROUP BY reasons").fetchall():
        if reasons == [ruling.UNREADABLE]:
            continue
        readable += documents
        if len(reasons) == 1:
            found.alone[reasons[0]] += documents
        for reason in reasons:
            found.hits[reason] += documents
        for pair in combinations(sorted(reasons), 2):
            found.together[pair] += documents
    return Hits(readable, found.hits, found.alone, found.together)
