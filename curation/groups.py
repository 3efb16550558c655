"""The groups of a blend as SQL over a document's columns: which one takes it, which limits count it, how it ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curation import expressions
from curation.mixing import Bounds, Limit, Wish
from curation.recipe import Group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.recipe import Recipe


def groups_of(recipe: Recipe) -> list[Group]:
    """The recipe's groups that hold documents; one for everything where it names none.

    A group inside another is called by both names, `web/long`.
    """
    return list(_leaves(top_of(recipe), ""))


def top_of(recipe: Recipe) -> list[Group]:
    """The groups that share out the whole budget."""
    if recipe.blend.group:
        return recipe.blend.group
    return [Group(name="all", where="true", share=1.0 if recipe.blend.budget else None)]


def _leaves(groups: list[Group], around: str) -> Iterator[Group]:
    for group in groups:
        name = around + group.name
        if group.group:
            yield from _leaves(group.group, f"{name}/")
        else:
            yield group.model_copy(update={"name": name})


def wishes_of(recipe: Recipe) -> tuple[Wish, tuple[Limit, ...]]:
    """What the recipe asks of its groups and across them."""
    limits = [Limit(one.name, Bounds(one.min_share, one.max_share, one.min_tokens, one.max_tokens))
              for one in recipe.blend.limit]  # fmt: skip
    return Wish("", parts=_wishes(top_of(recipe), "")), tuple(limits)


def _wishes(groups: list[Group], around: str) -> tuple[Wish, ...]:
    return tuple(
        Wish(
            around + group.name, group.share, group.tokens,
            Bounds(group.min_share, group.max_share, group.min_tokens, group.max_tokens), group.max_copies,
            _wishes(group.group, f"{around}{group.name}/"),
        )
        for group in groups
    )  # fmt: skip


def asked_of(recipe: Recipe) -> dict[str, tuple[float | None, int | None]]:
    """The share and the tokens that each group with documents is asked for, where that is one number."""
    root, _ = wishes_of(recipe)
    budget = recipe.blend.budget
    found: dict[str, tuple[float | None, int | None]] = {}

    def walk(wish: Wish, share: float | None) -> None:
        mine = None
        if budget is not None and wish.tokens is not None:
            mine = wish.tokens / budget
        elif wish.share is not None and share is not None:
            mine = share * wish.share
        if not wish.parts:
            tokens = None if budget is None or mine is None else wish.tokens or round(budget * mine)
            found[wish.name] = (None if mine is None else round(mine, 12), tokens)
        for part in wish.parts:
            walk(part, mine)

    for wish in root.parts:
        walk(wish, 1.0 if budget is not None else None)
    return found


def group_sql(recipe: Recipe) -> str:
    """SQL for the name of the first group whose predicate is true, null where there is none.

    Inside a group only its sub-groups are asked: what none of them takes is in no group.
    """
    return _case(top_of(recipe), "")


def _case(groups: list[Group], around: str) -> str:
    name = "WHEN ({}\n) THEN {}"
    cases = " ".join(
        name.format(
            group.where,
            _case(group.group, f"{around}{group.name}/") if group.group else f"'{around}{group.name}'",
        )
        for group in groups
    )
    return f"CASE {cases} END"


def limits_sql(recipe: Recipe) -> str:
    """SQL for the limits that count a document: bit n is set for the one that stands at place n of the recipe."""
    bits = [
        f"CASE WHEN ({limit.where}\n) THEN {1 << place} ELSE 0 END" for place, limit in enumerate(recipe.blend.limit)
    ]
    return f"({' + '.join(bits) or '0'})::INTEGER"


def rank_sql(recipe: Recipe, group: str = '"group"') -> str:
    """SQL for a text by which the documents of a group are ordered before their hash is looked at.

    It is empty for a fair sample. `group` is SQL for the name of a document's group.
    """
    cases = " ".join(
        f"WHEN '{one.name}' THEN hex(create_sort_key({', '.join(_keys(one.order))}))"
        for one in groups_of(recipe)
        if one.order is not None
    )
    return f"CASE {group} {cases} ELSE '' END" if cases else "''"


def _keys(order: str) -> list[str]:
    return [piece for sql, way in expressions.order_terms(order) for piece in (f"({sql}\n)", f"'{way}'")]


def expressions_of(recipe: Recipe) -> list[str]:
    """Every expression over columns that the blend needs."""
    found: list[str] = [limit.where for limit in recipe.blend.limit]
    waiting = list(top_of(recipe))
    while waiting:
        group = waiting.pop(0)
        found += [group.where, *([group.order] if group.order is not None else [])]
        waiting += group.group
    return found
