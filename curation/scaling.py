"""How many tokens a model wants, and what repeated ones are worth; each number from the paper that is named with it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

#: Tokens a parameter for the least loss a FLOP: Hoffmann et al. 2022 (arXiv:2203.15556), Table 3, in which 1 B
#: parameters want 20.2 B tokens and 67 B want 1.5 T.
OPTIMAL = 20
#: Tokens a parameter of models that are to be cheap to use rather than to train: LLaMA 7B has 1.0 T, 143 a parameter
#: (Touvron et al. 2023, arXiv:2302.13971, Table 2), Llama 3 8B 15 T, 1,900 (Grattafiori et al. 2024, arXiv:2407.21783);
#: that it pays, and goes on improving to 10,000, is shown by Sardana et al. 2024 (arXiv:2401.00448).
OVER_TRAINED = 200
#: FLOPs of training for each parameter and token: Kaplan et al. 2020 (arXiv:2001.08361), section 2.1.
FLOPS = 6
#: How fast repeated tokens lose their worth: R*_D as fitted by Muennighoff et al. 2023 (arXiv:2305.16264).
REPEATED = 15.39
#: Passes up to which repeated tokens are nearly as good as new: the same.
HARMLESS = 4

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}


@dataclass(frozen=True, slots=True)
class Target:
    """A way to train a model: parameters, tokens, the FLOPs that takes, and where the rule comes from."""

    name: str
    source: str
    parameters: int
    tokens: int
    flops: float


def amount(text: str) -> float:
    """A positive number as people write it; `ValueError` if it is none.

    >>> amount("1.3B"), amount("125M"), amount("1e21")
    (1300000000.0, 125000000.0, 1e+21)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([kmbgt]?)", text.strip().lower())
    value = float(found.group(1)) * _UNITS[found.group(2)] if found else 0.0
    if not 0 < value < 1e40:
        raise ValueError(text)
    return value


def short(value: float) -> str:
    """A large number in three digits, as people say it.

    >>> short(1_300_000_000), short(999.6), short(2.5e13)
    ('1.3 B', '1 k', '25 T')
    """
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g}"


def targets(*, parameters: float | None = None, flops: float | None = None) -> list[Target]:
    """What a model of so many parameters wants, or what is best done with so many FLOPs: optimal, and over-trained.

    >>> [(one.name, one.tokens) for one in targets(parameters=1e9)]
    [('compute-optimal', 20000000000), ('over-trained', 200000000000)]
    >>> [(one.parameters, one.tokens) for one in targets(flops=1.2e20)]
    [(1000000000, 20000000000), (316227766, 63245553203)]
    """
    found = []
    for name, ratio, source in (
        ("compute-optimal", OPTIMAL, "Hoffmann et al. 2022"),
        ("over-trained", OVER_TRAINED, "Touvron et al. 2023, Sardana et al. 2024"),
    ):
        size = parameters if parameters is not None else math.sqrt((flops or 0.0) / (FLOPS * ratio))
        found.append(Target(name, source, round(size), round(ratio * size), FLOPS * ratio * size * size))
    return found


def worth(unique: float, tokens: float) -> float:
    """How many new tokens so many are worth, `unique` of them different: effective data in Muennighoff et al. 2023.

    >>> round(worth(100, 50)), round(worth(100, 400)), round(worth(100, 10_000))
    (50, 373, 1637)
    """
    if tokens <= unique or unique <= 0:
        return min(tokens, unique)
    return unique + unique * REPEATED * (1 - math.exp(-(tokens / unique - 1) / REPEATED))
