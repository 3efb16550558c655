"""How many tokens each kind of document gives to a blend: wishes of shares and bounds, solved as linear programs.

Everything is counted in tokens, repetitions included. Documents are in cells: those of one group that the same limits
count. Here lives the arithmetic alone; `curation.blend` finds the cells and takes documents from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: What is less than this, of all the tokens there could be, is nothing: the solver's own tolerance is 1e-7.
_NOTHING = 1e-6
#: A result that is this near to all that a cell can give is all of it.
_NEARLY = 1 - 1e-6
#: How far inside the largest blend its fairest mix is looked for, so that rounding leaves some room.
_INSIDE = 1e-7
#: Rounds in which departures from a fair sample are made smaller.
_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Bounds:
    """A minimum and a maximum: as shares, and as tokens of a budget; None = there is none."""

    min_share: float | None = None
    max_share: float | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None

    def said(self) -> str:
        """In words.

        >>> Bounds(max_share=0.1, min_tokens=5_000).said()
        'at most 10 %, at least 5,000 tokens'
        """
        said = [
            f"at {bound} {share * 100:g} %"
            for bound, share in (("least", self.min_share), ("most", self.max_share))
            if share is not None
        ]
        said += [
            f"at {bound} {tokens:,} tokens"
            for bound, tokens in (("least", self.min_tokens), ("most", self.max_tokens))
            if tokens is not None
        ]
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a group: `share` is of what the group around it gets, `tokens` of none.

    One with `parts` has no documents of its own. `copies` is how often its documents may stand.
    """

    name: str
    share: float | None = None
    tokens: int | None = None
    bounds: Bounds = Bounds()
    copies: int = 1
    parts: tuple[Wish, ...] = ()

    def said(self) -> str:
        """What is asked, in words."""
        if self.tokens is not None:
            return f"{self.tokens:,} tokens"
        return self.bounds.said() if self.share is None else f"{self.share * 100:g} %"

    def leaves(self) -> Iterator[Wish]:
        """The groups that have documents, in order."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()


def scaled(wish: Wish, factor: float) -> Wish:
    """The same wish with every number of tokens times a factor, as it is of a budget that is so many times as large."""
    bounds = wish.bounds
    least, most = (None if one is None else round(one * factor) for one in (bounds.min_tokens, bounds.max_tokens))
    return replace(
        wish, tokens=None if wish.tokens is None else round(wish.tokens * factor),
        bounds=replace(bounds, min_tokens=least, max_tokens=most),
        parts=tuple(scaled(part, factor) for part in wish.parts),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limit:
    """Bounds on documents of any group; the shares are of the whole blend."""

    name: str
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Cell:
    """The documents of one group that the same limits count: their tokens, each document once."""

    group: str
    limits: frozenset[str]
    tokens: int


@dataclass(frozen=True, slots=True)
class Binding:
    """A condition that keeps a blend from what was asked: of a group or a limit, and in words."""

    kind: Literal["group", "limit", "budget"]
    name: str
    key: str
    text: str

    def __str__(self) -> str:
        return self.text if self.kind == "budget" else f"{self.kind} {self.name}: {self.text}"


@dataclass(frozen=True, slots=True)
class Missed:
    """A wish that is not met: what was asked, and what the nearest blend has, in tokens."""

    kind: Literal["group", "limit", "budget"]
    name: str
    key: str
    asked: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Mix:
    """The tokens of each cell, in order; the largest budget for which all wishes can be met; and why this one is not.

    `binding` and `missed` are empty where everything is as asked.
    """

    tokens: tuple[int, ...]
    largest: int
    binding: tuple[Binding, ...] = ()
    missed: tuple[Missed, ...] = ()


def mix(root: Wish, limits: tuple[Limit, ...], cells: tuple[Cell, ...], budget: int) -> Mix:
    """The mix that meets all wishes, or the nearest where there is none.

    Maxima and copies always hold, and no group takes the place of another that is short. Of what meets the wishes, or
    comes nearest to them, the mix is the one whose largest departure from a fair sample is smallest, then its second
    largest, and so on. Budgets that can be met lie on one path, on which no cell ever gets less as the budget grows:
    from nothing to the largest blend without repetitions, and from there to the largest of all.

    >>> web, wiki = Wish("web", share=0.75, copies=2), Wish("wiki", share=0.25, copies=2)
    >>> mix(Wish("", parts=(web, wiki)), (), (Cell("web", frozenset(), 600), Cell("wiki", frozenset(), 100)), 400)
    Mix(tokens=(300, 100), largest=800, binding=(), missed=())
    """
    if shares := _plain(root, limits, budget):
        return _by_shares(root, shares, cells, budget)
    problem = _Problem(root, limits, cells, budget)
    ends = problem.ends()
    if budget <= ends.budget * (1 + _NOTHING):
        return Mix(problem.rounded(problem.at(budget, ends)), max(budget, problem.largest()))
    nearest = problem.nearest()
    return Mix(
        problem.rounded(nearest.tokens), min(budget - 1, problem.largest()), tuple(nearest.binding),
        tuple(nearest.missed),
    )  # fmt: skip


def _plain(root: Wish, limits: tuple[Limit, ...], budget: int) -> dict[str, float] | None:
    """The share of the whole of each group, where shares and tokens are all that is asked; else None."""
    shares: dict[str, float] = {}

    def walk(wish: Wish, share: float) -> bool:
        if not wish.parts:
            shares[wish.name] = share
        for part in wish.parts:
            mine = part.tokens / budget if part.tokens is not None else share * part.share if part.share else None
            if mine is None or part.bounds != Bounds() or not walk(part, mine):
                return False
        return True

    return shares if not limits and walk(root, 1.0) else None


def _by_shares(root: Wish, shares: dict[str, float], cells: tuple[Cell, ...], budget: int) -> Mix:
    copies = {wish.name: wish.copies for wish in root.leaves()}
    there = {cell.group: cell.tokens for cell in cells}
    room = {name: copies[name] * there.get(name, 0) for name in shares}
    asked = {name: round(budget * share) for name, share in shares.items()}
    short = [name for name in asked if room[name] < asked[name]]
    largest = min(int(room[name] / share) for name, share in shares.items())
    if short and _counts_tokens(root):  # another budget would be another share
        largest = 0
    return Mix(
        tuple(min(asked[cell.group], room[cell.group]) for cell in cells),
        largest,
        tuple(_all_of(name, there.get(name, 0), copies[name]) for name in short),
        tuple(Missed("group", name, "share", asked[name], room[name]) for name in short),
    )


def _counts_tokens(wish: Wish) -> bool:
    return wish.tokens is not None or any(map(_counts_tokens, wish.parts))


def _all_of(group: str, tokens: int, copies: int) -> Binding:
    said = f"its {tokens:,} tokens may stand at most {copies} times" if tokens else "no kept document is in it"
    return Binding("group", group, "max_copies", said)


#: A linear form: by the place of a variable its factor. The last variable is the budget.
Form = dict[int, float]


@dataclass(frozen=True, slots=True)
class _Row:
    """`form` <= 0, or = 0; what may be missed has a form of what is asked of it, which `form` takes away from."""

    form: Form
    binding: Binding
    may_be_missed: bool = False
    asked: Form = field(default_factory=dict)
    got: Form = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ends:
    """The two ends of the path, in tokens: without repetitions, and with."""

    budget: float
    tokens: NDArray[np.float64]
    once_budget: float
    once_tokens: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Nearest:
    tokens: NDArray[np.float64]
    binding: list[Binding]
    missed: list[Missed]


class _Problem:
    """The wishes as rows over the tokens of cells and the budget, all in parts of what there is at most."""

    def __init__(self, root: Wish, limits: tuple[Limit, ...], cells: tuple[Cell, ...], budget: int) -> None:
        self.root, self.limits, self.cells, self.budget = root, limits, cells, budget
        copies = {wish.name: wish.copies for wish in root.leaves()}
        self.copies = [copies[cell.group] for cell in cells]
        once = np.array([cell.tokens for cell in cells], dtype=np.float64)
        most = once * np.array(self.copies, dtype=np.float64)
        self.unit = float(most.sum()) or 1.0
        self.once, self.most = once / self.unit, most / self.unit
        self.target = len(cells)
        self.rows: list[_Row] = []
        self._ask_for_groups(root, {self.target: 1.0})
        everything = self._of(lambda _: True)
        whole = Binding("budget", "", "tokens", f"the budget of {budget:,} tokens")
        self.rows.append(_Row(_minus(everything, {self.target: 1.0}), whole))
        self.rows.append(self._wanted(everything, {self.target: 1.0}, whole))
        for limit in limits:
            mine = self._of(lambda cell, name=limit.name: name in cell.limits)  # type: ignore[misc]
            self._ask_for_bounds("limit", limit.name, limit.bounds, mine, everything, {self.target: 1.0})

    def _of(self, chosen: Callable[[Cell], bool]) -> Form:
        return {place: 1.0 for place, cell in enumerate(self.cells) if chosen(cell)}

    def _wanted(self, got: Form, asked: Form, binding: Binding) -> _Row:
        return _Row(_minus(asked, got), binding, may_be_missed=True, asked=asked, got=got)

    def _ask_for_groups(self, around: Wish, target: Form) -> None:
        everything = self._tokens_of(around)
        for wish in around.parts:
            mine, exact = self._tokens_of(wish), None
            if wish.share is not None:
                exact, key, said = _times(target, wish.share), "share", f"share {wish.share:g}"
            elif wish.tokens is not None:
                exact = {self.target: wish.tokens / self.budget}
                key, said = "tokens", f"tokens {wish.tokens:,}"
            if exact is not None:
                binding = Binding("group", wish.name, key, said)
                self.rows += [_Row(_minus(mine, exact), binding), self._wanted(mine, exact, binding)]
            self._ask_for_bounds("group", wish.name, wish.bounds, mine, everything, target)
            self._ask_for_groups(wish, mine if exact is None else exact)

    def _ask_for_bounds(
        self, kind: Literal["group", "limit"], name: str, bounds: Bounds, mine: Form, everything: Form, target: Form
    ) -> None:
        for key, share in (("max_share", bounds.max_share), ("min_share", bounds.min_share)):
            if share is not None:
                binding = Binding(kind, name, key, f"{key} {share:g}")
                self.rows.append(
                    _Row(_minus(mine, _times(everything, share)), binding) if key == "max_share"
                    else self._wanted(mine, _times(target, share), binding)
                )  # fmt: skip
        for key, tokens in (("max_tokens", bounds.max_tokens), ("min_tokens", bounds.min_tokens)):
            if tokens is not None:
                binding = Binding(kind, name, key, f"{key} {tokens:,}")
                form = {self.target: tokens / self.budget}
                self.rows.append(
                    _Row(_minus(mine, form), binding) if key == "max_tokens" else self._wanted(mine, form, binding)
                )

    def _tokens_of(self, wish: Wish) -> Form:
        names = {leaf.name for leaf in wish.leaves()}
        return self._of(lambda cell: cell.group in names)

    # solving

    def ends(self) -> _Ends:
        """The largest blends that meet every wish, without repetitions and with, the first inside the second."""
        budget = self._most(self.most) * (1 - _INSIDE)
        tokens = self._fairest(budget, self.most)
        room = np.minimum(self.once, tokens)
        once = self._most(room) * (1 - _INSIDE) if budget > _NOTHING else 0.0
        once = min(once, budget)
        first = np.minimum(self._fairest(once, room), room)
        unit = self.unit
        return _Ends(budget * unit, np.maximum(tokens, first) * unit, once * unit, first * unit)

    def largest(self) -> int:
        """The largest budget for which all wishes can be met, those in tokens as they stand; 0 if there is none."""
        return int(self._most(self.most, are_fixed=True) * self.unit * (1 + _INSIDE))

    def at(self, budget: int, ends: _Ends) -> NDArray[np.float64]:
        """The tokens of each cell on the path to the largest blend; none of them falls as the budget grows."""
        if budget <= ends.once_budget:
            return ends.once_tokens * (budget / ends.once_budget)
        way = min(1.0, (budget - ends.once_budget) / max(ends.budget - ends.once_budget, 1e-12))
        return ends.once_tokens + way * (ends.tokens - ends.once_tokens)

    def nearest(self) -> _Nearest:
        """The blend that misses the wishes by the fewest tokens, and what keeps it from them."""
        soft = [row for row in self.rows if row.may_be_missed]
        hard = [row for row in self.rows if not row.may_be_missed]
        budget = self.budget / self.unit
        columns = len(self.cells)
        count = columns + len(soft)
        matrix = np.zeros((len(hard) + len(soft), count))
        right = np.zeros(len(hard) + len(soft))
        for place, row in enumerate([*hard, *soft]):
            for column, factor in row.form.items():
                if column == self.target:
                    right[place] = -factor * budget
                else:
                    matrix[place, column] = factor
        matrix[len(hard) :, columns:] = -np.eye(len(soft))
        bounds = [*((0.0, float(most)) for most in self.most), *[(0.0, None)] * len(soft)]
        cost = np.concatenate([np.zeros(columns), np.ones(len(soft))])
        found = _solved(cost, matrix, right, bounds)
        if found is None:
            return _Nearest(np.zeros(columns), [], [])
        gaps = found.x[columns:]
        least = np.concatenate([np.zeros(columns), np.ones(len(soft))])
        extra = (np.vstack([matrix, least]), np.append(right, gaps.sum() + 1e-9), bounds)
        tokens = self._leximin(found.x, extra, budget)
        values = np.append(tokens, budget)
        missed = []
        for row in soft:
            asked, got = (
                sum(factor * values[place] for place, factor in form.items()) for form in (row.asked, row.got)
            )
            if asked - got > _NOTHING * max(budget, 1e-12):
                what = row.binding
                missed.append(Missed(what.kind, what.name, what.key, round(asked * self.unit), round(got * self.unit)))
        return _Nearest(tokens * self.unit, self._binding(found, hard, soft), missed)

    def _binding(self, found: Any, hard: list[_Row], soft: list[_Row]) -> list[Binding]:
        """What more room would bring the blend nearer to the wishes, by the prices that the linear program finds."""
        prices = np.abs(found.ineqlin.marginals)
        full = np.abs(found.upper.marginals[: len(self.cells)])
        groups = dict.fromkeys(
            cell.group for cell, price in zip(self.cells, full, strict=True) if price > _NOTHING
        )  # fmt: skip
        empty = [wish for wish in self.root.leaves() if not any(cell.group == wish.name for cell in self.cells)]
        wanted = {row.binding.name for row in soft if row.binding.key in ("share", "tokens", "min_share", "min_tokens")}
        groups |= dict.fromkeys(wish.name for wish in empty if wish.name in wanted)
        copies = {wish.name: wish.copies for wish in self.root.leaves()}
        tokens = {name: sum(cell.tokens for cell in self.cells if cell.group == name) for name in groups}
        is_dear = {id(row): price > _NOTHING for row, price in zip([*hard, *soft], prices, strict=True)}
        limits = [row.binding for row in hard if is_dear[id(row)] and row.binding.key.startswith("max")]
        nothing = [
            Binding("limit", limit.name, "where", "no kept document is counted by it")
            for limit in self.limits
            if not any(limit.name in cell.limits and cell.tokens for cell in self.cells)
            and (limit.bounds.min_share or limit.bounds.min_tokens)
        ]
        binding = [*(_all_of(name, tokens[name], copies[name]) for name in groups), *limits, *nothing]
        if not binding:  # wishes against each other
            binding = [row.binding for row in (*soft, *hard) if is_dear[id(row)]]
        return list(dict.fromkeys(binding))

    def rounded(self, tokens: NDArray[np.float64]) -> tuple[int, ...]:
        """Whole tokens, rounded down so that maxima hold; all that a cell can give where it is nearly all."""
        return tuple(
            copies * cell.tokens if value >= _NEARLY * copies * cell.tokens else int(value + 0.01)
            for cell, copies, value in zip(self.cells, self.copies, tokens.tolist(), strict=True)
        )

    def _matrix(self) -> NDArray[np.float64]:
        """All rows, none to be missed, over cells and budget; wishes in tokens are parts of the budget."""
        matrix = np.zeros((len(self.rows), len(self.cells) + 1))
        for place, row in enumerate(self.rows):
            for column, factor in row.form.items():
                matrix[place, column] = factor
        return matrix

    def _most(self, room: NDArray[np.float64], *, are_fixed: bool = False) -> float:
        """The largest budget for which every wish can be met with at most this much of each cell.

        With `are_fixed` wishes in tokens stay what they are as the budget grows.
        """
        matrix, right = self._matrix(), np.zeros(len(self.rows))
        if are_fixed:
            for place, row in enumerate(self.rows):
                if row.binding.kind != "budget" and row.binding.key.endswith("tokens"):
                    right[place] = -matrix[place, -1] * self.budget / self.unit
                    matrix[place, -1] = 0.0
        cost = np.zeros(len(self.cells) + 1)
        cost[-1] = -1.0
        found = _solved(cost, matrix, right, [*((0.0, float(most)) for most in room), (0.0, 1.0)])
        return 0.0 if found is None else max(0.0, float(found.x[-1]))

    def _fairest(self, budget: float, room: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the blends that meet every wish for this budget the one nearest to a fair sample."""
        if budget <= _NOTHING:
            return np.zeros(len(self.cells))
        matrix = self._matrix()
        right = -matrix[:, -1] * budget + 1e-9
        bounds = [(0.0, float(most)) for most in room]
        found = _solved(np.zeros(len(self.cells)), matrix[:, :-1], right, bounds)
        if found is None:
            return np.zeros(len(self.cells))
        return self._leximin(found.x, (matrix[:, :-1], right, bounds), budget)

    def _leximin(
        self, start: NDArray[np.float64], inside: tuple[NDArray[np.float64], NDArray[np.float64], Any], budget: float
    ) -> NDArray[np.float64]:
        """The point whose largest relative departure from a fair sample is smallest, then the second largest."""
        matrix, right, bounds = inside
        bounds = list(bounds)
        fair = self._fair(budget)
        free = [place for place in range(len(self.cells)) if fair[place] > 0]
        count, point = len(start), start
        for _ in range(_ROUNDS):
            if not free:
                break
            more = np.zeros((2 * len(free), count + 1))
            sides = np.zeros(2 * len(free))
            for place, column in enumerate(free):
                more[2 * place, column], more[2 * place + 1, column] = 1 / fair[column], -1 / fair[column]
                sides[2 * place], sides[2 * place + 1] = 1.0, -1.0
            more[:, -1] = -1.0
            whole = np.vstack([np.column_stack([matrix, np.zeros(len(matrix))]), more])
            cost = np.append(np.zeros(count), 1.0)
            found = _solved(cost, whole, np.append(right, sides), [*bounds, (0.0, None)])
            if found is None:
                break
            point = found.x[:-1]
            if found.x[-1] <= _NOTHING:
                break
            prices = np.abs(found.ineqlin.marginals[len(matrix) :]).reshape(-1, 2).sum(axis=1)
            settled = [column for column, price in zip(free, prices, strict=True) if price > _NOTHING]
            if not settled:
                break
            for column in settled:
                low, high = bounds[column]
                value = float(point[column])
                bounds[column] = (max(low, value - 1e-9), min(high, max(value + 1e-9, low)))
            free = [column for column in free if column not in settled]
        return np.asarray(point[: len(self.cells)], dtype=np.float64)

    def _fair(self, budget: float) -> NDArray[np.float64]:
        """The tokens of each cell in a fair sample: shares as asked, and elsewhere in proportion to what there is."""
        there = {
            wish.name: sum(cell.tokens for cell in self.cells if cell.group == wish.name) for wish in self.root.leaves()
        }
        given: dict[str, float] = {}

        def share_out(wish: Wish, mass: float) -> None:
            if not wish.parts:
                given[wish.name] = mass
                return
            exact = {part.name: mass * part.share for part in wish.parts if part.share is not None}
            exact |= {part.name: part.tokens * budget / self.budget for part in wish.parts if part.tokens is not None}
            rest = max(0.0, mass - sum(exact.values()))
            amounts = {part.name: sum(there[leaf.name] for leaf in part.leaves()) for part in wish.parts}
            loose = sum(amounts[part.name] for part in wish.parts if part.name not in exact) or 1
            for part in wish.parts:
                share_out(part, exact.get(part.name, rest * amounts[part.name] / loose))

        share_out(self.root, budget)
        return np.array([given[cell.group] * cell.tokens / (there[cell.group] or 1) for cell in self.cells])


def _minus(left: Form, right: Form) -> Form:
    return {place: left.get(place, 0.0) - right.get(place, 0.0) for place in {**left, **right}}


def _times(form: Form, factor: float) -> Form:
    return {place: value * factor for place, value in form.items()}


def _solved(cost: NDArray[np.float64], matrix: NDArray[np.float64], right: NDArray[np.float64], bounds: Any) -> Any:
    """The answer of HiGHS, one thread, always the same; None where there is none."""
    from scipy.optimize import linprog  # noqa: PLC0415  # a fifth of a second, and most blends need none

    found = linprog(cost, A_ub=matrix, b_ub=right, bounds=bounds, method="highs-ds")
    return found if found.status == 0 else None
