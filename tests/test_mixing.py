"""What a blend's wishes come to: met where they can be, else the nearest, with what is in the way."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.mixing import Bounds, Cell, Limit, Mix, Wish, mix

if TYPE_CHECKING:
    from collections.abc import Callable


def cell(group: str, tokens: int, *limits: str) -> Cell:
    """Documents of one kind."""
    return Cell(group, frozenset(limits), tokens)


def groups(*wishes: Wish) -> Wish:
    """What is asked of the groups of a blend."""
    return Wish("", parts=wishes)


def least(share: float) -> Bounds:
    """At least this share."""
    return Bounds(min_share=share)


def most(share: float) -> Bounds:
    """At most this share."""
    return Bounds(max_share=share)


WEB, WIKI, CODE = Wish("web", 0.5, copies=2), Wish("wiki", 0.3, copies=4), Wish("code", 0.2)
THREE = groups(WEB, WIKI, CODE)
PLENTY = (cell("web", 10_000), cell("wiki", 2_000), cell("code", 3_000))

#: Wishes that cannot be met, by name: groups, limits, what there is, the budget; the nearest blend by cell, what binds,
#: and the wishes that are missed. All worked out by hand.
INFEASIBLE: dict[str, tuple[Wish, tuple[Limit, ...], tuple[Cell, ...], int, tuple[int, ...], list[str], set[str]]] = {
    "a group is too small": (
        THREE, (), (cell("web", 10_000), cell("wiki", 50), cell("code", 3_000)), 1_000, (500, 200, 200),
        ["group wiki: its 50 tokens may stand at most 4 times"], {"wiki share 300 200"},
    ),
    "a group has no document": (
        THREE, (), (cell("web", 10_000), cell("code", 3_000)), 1_000, (500, 200),
        ["group wiki: no kept document is in it"], {"wiki share 300 0"},
    ),
    "two groups are too small": (
        THREE, (), (cell("web", 200), cell("wiki", 2_000), cell("code", 30)), 1_000, (400, 300, 30),
        ["group web: its 200 tokens may stand at most 2 times", "group code: its 30 tokens may stand at most 1 times"],
        {"web share 500 400", "code share 200 30"},
    ),
    "a limit is against a group's share": (  # of code only what is within a tenth of the whole: a ninth of the rest
        THREE, (Limit("source code", most(0.1)),), (*PLENTY[:2], cell("code", 3_000, "source code")), 1_000,
        (500, 300, 89), ["limit source code: max_share 0.1"], {"code share 200 89", " tokens 1000 889"},
    ),
    "there is too little of what a limit wants": (
        THREE, (Limit("french", least(0.1)),), (*PLENTY[:2], cell("code", 2_990), cell("code", 10, "french")), 1_000,
        (500, 300, 190, 10), ["group code: its 3,000 tokens may stand at most 1 times"],
        {"french min_share 100 10"},
    ),
    "there is nothing of what a limit wants": (
        THREE, (Limit("french", least(0.1)),), PLENTY, 1_000, (500, 300, 200),
        ["limit french: no kept document is counted by it"], {"french min_share 100 0"},
    ),
    "two limits are against each other": (
        groups(Wish("web", 1.0)), (Limit("long", least(0.6)), Limit("foreign", most(0.2))),
        (cell("web", 5_000), cell("web", 5_000, "long", "foreign")), 1_000, (800, 200),
        ["limit foreign: max_share 0.2"], {"long min_share 600 200"},
    ),
    "minima are more than the whole": (
        groups(Wish("web", bounds=least(0.7)), Wish("wiki", bounds=least(0.6))), (), PLENTY[:2], 1_000, (),
        ["group web: min_share 0.7", "group wiki: min_share 0.6", "the budget of 1,000 tokens"], set(),
    ),
    "a group's maximum leaves the rest to one that is too small": (
        groups(Wish("web", bounds=Bounds(max_tokens=300)), Wish("wiki", bounds=most(1.0))), (),
        (cell("web", 10_000), cell("wiki", 400)), 1_000, (300, 400),
        ["group wiki: its 400 tokens may stand at most 1 times", "group web: max_tokens 300"], {" tokens 1000 700"},
    ),
    "a group in a group is too small": (
        groups(Wish("web", 0.5, parts=(Wish("web/long", 0.4), Wish("web/short", 0.6))), Wish("wiki", 0.5)),
        (), (cell("web/long", 50), cell("web/short", 900), cell("wiki", 2_000)), 1_000, (50, 300, 500),
        ["group web/long: its 50 tokens may stand at most 1 times"], {"web/long share 200 50"},
    ),
    "a limit in tokens is against a group's share": (
        THREE, (Limit("old", Bounds(max_tokens=120)),), (cell("web", 10_000, "old"), *PLENTY[1:]), 1_000,
        (120, 300, 200), ["limit old: max_tokens 120"], {"web share 500 120", " tokens 1000 620"},
    ),
    "a minimum in tokens is more than there is": (
        groups(Wish("web", bounds=Bounds(min_tokens=600)), Wish("wiki", bounds=most(1.0))), (),
        (cell("web", 250), cell("wiki", 2_000)), 1_000, (250, 750),
        ["group web: its 250 tokens may stand at most 1 times"], {"web min_tokens 600 250"},
    ),
}  # fmt: skip


def test_the_table_has_its_cases() -> None:
    """At least ten."""
    assert len(INFEASIBLE) >= 10


@pytest.mark.parametrize("name", INFEASIBLE)
def test_what_cannot_be_had_gets_what_binds_and_the_nearest_blend(name: str) -> None:
    """Each kind of case: the nearest mix, the condition that binds, and what is missed by how much."""
    root, limits, cells, budget, nearest, binding, missed = INFEASIBLE[name]
    found = mix(root, limits, cells, budget)
    assert found.missed
    assert sorted(map(str, found.binding)) == sorted(binding)
    if nearest:
        assert found.tokens == pytest.approx(nearest, abs=1)
        assert {f"{one.name} {one.key} {one.asked} {one.tokens}" for one in found.missed} == missed
    else:
        assert sum(found.tokens) == pytest.approx(budget, abs=1)
    assert found.largest < budget
    if found.largest:  # what is said to be possible is, and no more
        assert not mix(root, limits, cells, found.largest - 2).missed
        assert mix(root, limits, cells, found.largest + 10).missed


def test_a_fair_sample_where_nothing_binds() -> None:
    """Kinds in a group are mixed as they are there; a limit that does not bind changes nothing."""
    cells = (cell("web", 900), cell("web", 100, "foreign"), cell("wiki", 1_000))
    root = groups(Wish("web", 0.5), Wish("wiki", 0.5))
    assert mix(root, (Limit("foreign", most(0.5)),), cells, 1_000).tokens == (450, 50, 500)
    assert mix(root, (Limit("foreign", most(0.02)),), cells, 1_000).tokens == (480, 20, 500)
    assert mix(root, (Limit("foreign", least(0.1)),), cells, 1_000).tokens == (400, 100, 500)


def test_a_limit_takes_from_all_groups_alike() -> None:
    """Each group gives up the same part of what is limited, where the largest blend leaves the choice."""
    cells = (cell("web", 6_000), cell("web", 4_000, "foreign"), cell("wiki", 6_000), cell("wiki", 4_000, "foreign"))
    root = groups(Wish("web", 0.5), Wish("wiki", 0.3), Wish("code", 0.2))
    tokens = mix(root, (Limit("foreign", most(0.2)),), (*cells, cell("code", 1_000)), 1_000).tokens
    assert tokens == pytest.approx((375, 125, 225, 75, 200), abs=1)


def test_what_the_largest_blend_needs_is_left_for_it() -> None:
    """Where web can grow only by all that is allowed of what is foreign, smaller blends do not take that from wiki."""
    cells = (cell("web", 6_000), cell("web", 4_000, "foreign"), cell("wiki", 60_000), cell("wiki", 40_000, "foreign"))
    root = groups(Wish("web", 0.6), Wish("wiki", 0.4))
    limits = (Limit("foreign", most(0.2)),)
    small, large = (mix(root, limits, cells, budget) for budget in (1_500, 15_000))
    assert large.tokens == pytest.approx((6_000, 3_000, 6_000, 0), abs=5)
    assert small.tokens == pytest.approx((600, 300, 600, 0), abs=1)


def test_nothing_repeats_before_it_must() -> None:
    """Groups between bounds are mixed as they are there, as long as each document need stand but once."""
    root = groups(Wish("web", bounds=most(1.0)), Wish("code", bounds=most(1.0), copies=4))
    cells = (cell("web", 100), cell("code", 1_000))
    assert mix(root, (), cells, 110).tokens == pytest.approx((10, 100), abs=1)
    assert mix(root, (), cells, 1_100).tokens == pytest.approx((100, 1_000), abs=1)
    assert mix(root, (), cells, 4_100).tokens == (100, 4_000)


def test_tokens_in_place_of_shares() -> None:
    """A group that says its tokens gets them; one between bounds gets the rest."""
    root = groups(Wish("web", tokens=300), Wish("wiki", bounds=most(1.0)))
    assert mix(root, (), (cell("web", 900), cell("wiki", 5_000)), 1_000).tokens == pytest.approx((300, 700), abs=1)


def test_shares_of_a_group_whose_share_is_not_fixed() -> None:
    """They are of what it gets."""
    inner = Wish("web", bounds=Bounds(0.2, 0.6), parts=(Wish("web/a", 0.75), Wish("web/b", 0.25)))
    root = groups(inner, Wish("wiki", bounds=most(1.0)))
    cells = (cell("web/a", 9_000), cell("web/b", 9_000), cell("wiki", 900))
    a, b, wiki = mix(root, (), cells, 1_000).tokens
    assert a + b + wiki == pytest.approx(1_000, abs=2)
    assert a + b == pytest.approx(600, abs=2)
    assert a == pytest.approx(3 * b, abs=4)


def test_no_documents_at_all() -> None:
    """Every group is empty."""
    found = mix(THREE, (), (), 100)
    assert (found.tokens, found.largest, len(found.missed)) == ((), 0, 3)
    found = mix(THREE, (Limit("x", most(0.5)),), (), 100)
    assert (found.tokens, found.largest) == ((), 0)
    assert found.missed


@st.composite
def problems(draw: Callable[..., int]) -> tuple[Wish, tuple[Limit, ...], tuple[Cell, ...]]:
    """Up to three groups, some of them with bounds or others in them, with up to two limits."""
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    raw = [draw(st.integers(1, 9)) for _ in names]
    shares = [number / sum(raw) for number in raw]
    wishes = []
    for name, share in zip(names, shares, strict=True):
        copies = draw(st.integers(1, 4))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            wishes.append(Wish(name, bounds=Bounds(share / 2, min(1.0, share * 1.5)), copies=copies))
        elif kind == 1:
            half = draw(st.integers(1, 9)) / 10
            parts = (Wish(f"{name}/x", half, copies=copies), Wish(f"{name}/y", 1 - half, copies=copies))
            wishes.append(Wish(name, bounds=Bounds(share / 2, min(1.0, share * 1.5)), parts=parts))
        else:
            wishes.append(Wish(name, bounds=Bounds(share * 0.9, min(1.0, share * 1.1)), copies=copies))
    limits = []
    for name in ["m", "n"][: draw(st.integers(0, 2))]:
        bound = draw(st.integers(1, 9)) / 10
        limits.append(Limit(name, least(bound) if draw(st.integers(0, 1)) else most(bound)))
    root = groups(*wishes)
    cells = tuple(
        cell(leaf.name, draw(st.integers(1, 5_000)), *sides)
        for leaf in root.leaves()
        for sides in ((), ("m",), ("n",), ("m", "n"))
        if draw(st.integers(0, 2))
    )
    return root, tuple(limits), cells


def holds(root: Wish, limits: tuple[Limit, ...], cells: tuple[Cell, ...], found: Mix, budget: int, near: float) -> None:
    """Every wish is met, to `near` tokens; worked out from the tokens alone."""
    copies = {leaf.name: leaf.copies for leaf in root.leaves()}
    assert all(0 <= t <= copies[c.group] * c.tokens for t, c in zip(found.tokens, cells, strict=True))

    def total(wish: Wish) -> int:
        names = {leaf.name for leaf in wish.leaves()}
        return sum(t for t, c in zip(found.tokens, cells, strict=True) if c.group in names)

    def check(wish: Wish) -> None:
        for part in wish.parts:
            share = total(part)
            around = total(wish)
            if part.share is not None:
                assert share == pytest.approx(part.share * around, abs=near)
            if part.bounds.min_share is not None:
                assert share >= part.bounds.min_share * around - near
            if part.bounds.max_share is not None:
                assert share <= part.bounds.max_share * around + near
            check(part)

    assert sum(found.tokens) == pytest.approx(budget, abs=near)
    check(root)
    for limit in limits:
        counted = sum(t for t, c in zip(found.tokens, cells, strict=True) if limit.name in c.limits)
        if limit.bounds.min_share is not None:
            assert counted >= limit.bounds.min_share * budget - near
        if limit.bounds.max_share is not None:
            assert counted <= limit.bounds.max_share * budget + near


@given(problems(), st.lists(st.integers(1, 30_000), min_size=2, max_size=6))
@settings(deadline=None, max_examples=60)
def test_a_larger_budget_takes_no_less_of_anything(
    problem: tuple[Wish, tuple[Limit, ...], tuple[Cell, ...]], budgets: list[int]
) -> None:
    """Among budgets that can be met, every cell only grows, and every wish holds; largest is the same for all."""
    root, limits, cells = problem
    found = {budget: mix(root, limits, cells, budget) for budget in sorted(budgets)}
    met = {budget: one for budget, one in found.items() if not one.missed}
    for budget, one in met.items():
        holds(root, limits, cells, one, budget, near=len(cells) + 1)
    for small, large in pairwise(met.values()):
        assert all(before <= after for before, after in zip(small.tokens, large.tokens, strict=True))
    largest = [one.largest for one in found.values()]
    assert max(largest) - min(largest) <= 1 or min(largest) < min(budgets)


@given(problems(), st.integers(10, 30_000))
@settings(deadline=None, max_examples=60)
def test_maxima_hold_though_wishes_are_missed(
    problem: tuple[Wish, tuple[Limit, ...], tuple[Cell, ...]], budget: int
) -> None:
    """No more than copies, limits and budget allow; what is not met has a reason."""
    root, limits, cells = problem
    found = mix(root, limits, cells, budget)
    total = sum(found.tokens)
    near = len(cells) + 1
    assert total <= budget + near
    for limit in limits:
        counted = sum(t for t, c in zip(found.tokens, cells, strict=True) if limit.name in c.limits)
        assert limit.bounds.max_share is None or counted <= limit.bounds.max_share * total + near
    assert not found.missed or found.binding
