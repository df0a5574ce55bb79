"""SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), so that both simulators draw the same failures."""

from __future__ import annotations

import math

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    """The finaliser of SplitMix64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class RandomStream:
    """One stream of one seed; the n-th draw depends on nothing but (seed, stream, n)."""

    def __init__(self, seed: int, stream: int) -> None:
        self.state = mix((seed & MASK) ^ mix((stream + GOLDEN) & MASK))

    def next(self) -> int:
        """64 random bits."""
        self.state = (self.state + GOLDEN) & MASK
        return mix(self.state)

    def uniform(self) -> float:
        """In [0, 1)."""
        return (self.next() >> 11) * 2.0**-53

    def exponential(self, mean: float) -> float:
        """With the given mean."""
        return -mean * math.log1p(-self.uniform())
