"""Helpers for kernels: arithmetic that is the same on every machine."""

from __future__ import annotations

import math
from typing import Any

from curation.kernels.compiled import helper

# ln 2 in two parts, the first with so few digits that its product with a whole number is exact.
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10

#: Taylor: with a rest of at most 0.35 what is left out is below 1e-17.
_TERMS = tuple(1 / math.factorial(power) for power in range(13, -1, -1))


@helper
def exponential(value: float) -> Any:
    """Euler's number to the power of a value that is not positive, right to 15 digits.

    The C library's answer differs by machine in the last bit. Below -700, where it is of the order 1e-304, this is 0.
    """
    if value < -700.0:
        return 0.0
    whole = math.floor(value * 1.4426950408889634 + 0.5)
    rest = (value - whole * _LN2_HIGH) - whole * _LN2_LOW
    total = 0.0
    for term in _TERMS:
        total = total * rest + term
    return math.ldexp(total, whole)
