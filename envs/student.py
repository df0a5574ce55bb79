"""Student's t distribution, for intervals: whole degrees of freedom, nothing but the standard library."""

from __future__ import annotations

import math
from functools import cache


@cache
def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution for a whole number of degrees of freedom, by bisection."""
    if not 0.5 <= probability < 1.0 or degrees < 1:
        raise ValueError(
            f"t quantile: expected 0.5 <= p < 1 and df >= 1, got p = {probability}, df = {degrees}"
        )
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < probability:
        high *= 2.0
    while high - low > 1e-12 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if t_cdf(middle, degrees) < probability else (low, middle)
    return 0.5 * (low + high)


def t_cdf(t: float, degrees: int) -> float:
    """P(T <= t): the finite sums for whole degrees, Abramowitz & Stegun (1964), 26.7.3 and 26.7.4."""
    theta = math.atan(t / math.sqrt(degrees))
    cos2 = math.cos(theta) ** 2
    even = degrees % 2 == 0
    term = total = 1.0
    for k in range(2 if even else 3, degrees, 2):
        term *= cos2 * (k - 1) / k
        total += term
    if even:
        return 0.5 + 0.5 * math.sin(theta) * total
    inside = theta + (math.sin(theta) * math.cos(theta) * total if degrees > 1 else 0.0)
    return 0.5 + inside / math.pi
