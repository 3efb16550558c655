"""Who stays of documents that are copies of each other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Copy:
    """What a removed document is a copy of, and how similar the two are."""

    of: str
    similarity: float


def choose(
    exact: Iterable[tuple[str, str]], near: Iterable[tuple[str, str, float]], rank: Mapping[str, int]
) -> dict[str, Copy]:
    """The documents that go, each with the kept one it was verified similar to.

    `rank` orders the documents that may stay, best first: those that no rule hit. The others take no part, so nothing
    is removed for a copy that a rule dropped. `exact` links every copy to the first of its group; `near` links such
    firsts, and what it says of them holds for their whole groups, whose signatures are equal.

    Documents are taken best first; one goes if a kept one is its verified neighbour: of several the most similar,
    then the better one. So none goes for being near one that went.

    >>> gone = choose([], [("a", "b", 0.9), ("b", "c", 0.9)], {"a": 0, "b": 1, "c": 2})
    >>> gone == {"b": Copy("a", 0.9)}
    True
    """
    first_of = dict.fromkeys(rank, "")
    for first, copy in exact:
        if copy in rank:
            first_of[copy] = first
    groups: dict[str, list[str]] = defaultdict(list)
    for document in sorted(rank, key=rank.__getitem__):
        groups[first_of[document] or document].append(document)
    neighbours: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for a, b, similarity in near:
        neighbours[a].append((b, similarity))
        neighbours[b].append((a, similarity))
    gone: dict[str, Copy] = {}
    kept: dict[str, str] = {}  # first of the group -> its kept member
    for group, members in sorted(groups.items(), key=lambda item: rank[item[1][0]]):
        best = members[0]
        beside = [
            (-similarity, rank[kept[other]], kept[other]) for other, similarity in neighbours[group] if other in kept
        ]
        if beside:
            similarity, _, other = min(beside)
            gone |= {member: Copy(other, -similarity) for member in members}
        else:
            kept[group] = best
            gone |= {member: Copy(best, 1.0) for member in members[1:]}
    return gone
