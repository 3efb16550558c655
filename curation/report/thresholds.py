"""Thresholds: the comparisons of a column with a number that stand in a rule's predicate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_TOKEN = re.compile(
    r"""
    (?P<skipped> \s+ | --[^\n]* | /\*.*?\*/ )
  | (?P<text> '(?:[^']|'')*' )
  | (?P<number> (?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]) )
  | (?P<name> "[^"]+" | [^\W\d]\w* )
  | (?P<sign> <> | != | >= | <= | :: | \S )
    """,
    re.VERBOSE | re.DOTALL,
)
_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
#: What may stand before and after a comparison that is not part of a larger expression.
_BEFORE = ("", "(", "and", "or", "not")
_AFTER = ("", ")", "and", "or")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A rule compares `column` with `value`; `alone` where that is all the rule does, `sign` as it stands there."""

    rule: str
    column: str
    sign: str
    value: float
    alone: bool


def thresholds(rule: str, predicate: str, columns: Collection[str]) -> list[Threshold]:
    """The comparisons of one of the columns with a number in a predicate, in its order.

    What is not that simple is left out: a sum, a function of a column, a comparison inside a CASE.

    >>> thresholds("short", "word_count < 50", ["word_count"])
    [Threshold(rule='short', column='word_count', sign='<', value=50.0, alone=True)]
    >>> [(t.sign, t.value, t.alone) for t in thresholds("odd", "source = 'a' and (-1e-3 >= x or y + x < 3)", ["x"])]
    [('<=', -0.001, False)]
    >>> [(t.sign, t.value) for t in thresholds("between", "not x between 2 and 5", ["x"])]
    [('>=', 2.0), ('<=', 5.0)]
    """
    known = {name.lower(): name for name in columns}
    tokens = _tokens(predicate)
    while len(tokens) > 1 and (tokens[0], tokens[-1]) == ("(", ")") and _closes(tokens) == len(tokens) - 1:
        tokens = tokens[1:-1]
    found = []
    for place in range(len(tokens)):
        if (tokens[place - 1] if place else "") not in _BEFORE:
            continue
        here, length = _comparison(tokens[place : place + 5], known)
        if here and _at(tokens, place + length) in _AFTER:
            found += [Threshold(rule, name, sign, value, length == len(tokens)) for name, sign, value in here]
    return found


def _tokens(sql: str) -> list[str]:
    """Words in lower case and without quotes; a minus that is a number's is part of it."""
    tokens: list[str] = []
    for match in _TOKEN.finditer(sql):
        kind, token = match.lastgroup, match[0]
        if kind == "skipped":
            continue
        if kind == "number" and tokens[-1:] == ["-"] and (len(tokens) < 2 or not _is_value(tokens[-2])):
            tokens[-1] = f"-{token}"
        else:
            tokens.append(token.strip('"').lower() if kind == "name" else token)
    return tokens


def _is_value(word: str) -> bool:
    """Whether a minus behind this word takes something from it."""
    return word == ")" or (re.fullmatch(r"[\w.']+", word) is not None and word not in ("and", "or", "not", "between"))


def _closes(tokens: list[str]) -> int:
    """Where the bracket that stands first is closed."""
    depth = 0
    for place, word in enumerate(tokens):
        depth += (word == "(") - (word == ")")
        if depth == 0:
            return place
    return -1


def _comparison(tokens: list[str], known: dict[str, str]) -> tuple[list[tuple[str, str, float]], int]:
    """The bounds that begin here, and how many tokens they take."""
    first, sign, last = (_at(tokens, place) for place in range(3))
    if first in known and sign in _TURNED and (value := _number(last)) is not None:
        return [(known[first], sign, value)], 3
    if last in known and sign in _TURNED and (value := _number(first)) is not None:
        return [(known[last], _TURNED[sign], value)], 3
    if first in known and sign == "between" and _at(tokens, 3) == "and":
        low, high = _number(last), _number(_at(tokens, 4))
        if low is not None and high is not None:
            return [(known[first], ">=", low), (known[first], "<=", high)], 5
    return [], 0


def _at(tokens: list[str], place: int) -> str:
    return tokens[place] if place < len(tokens) else ""


def _number(token: str) -> float | None:
    return float(token) if re.match(r"-?\.?\d", token) else None
