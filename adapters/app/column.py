"""A measure as a column for people: one scale and one number of decimals throughout, the best marked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from foreshade.adapters.app.comparison import Case, Measure
from foreshade.training.estimate import Estimate

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
UNKNOWN = "–"
_PPM = -4  # power of ten of a per cent
_NAMED = {("%", _PPM): "ppm", ("s", -3): "ms", ("kWh", -3): "Wh"}


@dataclass(frozen=True, slots=True)
class Figures:
    """The writing of one column: values are divided by ``10 ** exponent``."""

    unit: str
    exponent: int
    decimals: int

    @classmethod
    def of(cls, measure: Measure, estimates: Iterable[Estimate]) -> Figures:
        """Four digits of the largest value, at most three decimals; a tiny column gets ppm or a power of ten."""
        shown = [e for e in estimates if math.isfinite(e.mean)]
        largest = max((abs(e.mean) for e in shown), default=0.0)
        if largest <= 0.0:
            return cls(measure.unit, 0, 0 if measure.decimals is None else measure.decimals)
        if measure.decimals is not None and largest >= 0.1:
            return cls(measure.unit, 0, measure.decimals)
        if not measure.unit:  # a count; its mean over seeds need not be whole
            return cls("", 0, 0 if all(e.mean.is_integer() for e in shown) else 1)
        power = math.floor(math.log10(largest))
        exponent = _exponent(measure.unit, power)
        return cls(_unit(measure.unit, exponent), exponent, min(3, max(0, 3 - (power - exponent))))

    def number(self, value: float) -> str:
        """``1,234.5``, or a dash where there is no number."""
        if not math.isfinite(value):
            return UNKNOWN
        written = f"{value / 10.0**self.exponent:,.{self.decimals}f}".replace("-", "−")
        return written.removeprefix("−") if not written.strip("−0.,") else written

    def signed(self, value: float) -> str:
        """A difference with its sign, also when it is positive."""
        written = self.number(value)
        return f"+{written}" if value > 0 and written.strip("0.,") and written != UNKNOWN else written

    def spread(self, half_width: float) -> str:
        """``± 1.2``, or nothing where there is no interval."""
        return f"± {self.number(half_width)}" if math.isfinite(half_width) else ""


@dataclass(frozen=True, slots=True)
class Column:
    """One measure of every agent of a case."""

    measure: Measure
    figures: Figures
    estimates: Mapping[str, Estimate]  # by agent, over its seeds
    best: frozenset[str]  # agents; empty where all are level or the measure is no outcome

    @classmethod
    def of(cls, case: Case, measure: Measure) -> Column:
        """The column of ``measure``; agents whose numbers read the same as the lowest are as good as it."""
        estimates = {agent: case.estimate(agent, measure) for agent in case.agents}
        figures = Figures.of(measure, estimates.values())
        known = {agent: e.mean for agent, e in estimates.items() if math.isfinite(e.mean)}
        best: frozenset[str] = frozenset()
        if measure.outcome and known:
            lowest = figures.number(min(known.values()))
            best = frozenset(agent for agent, mean in known.items() if figures.number(mean) == lowest)
        return cls(measure, figures, estimates, best if len(best) < len(known) else frozenset())


def _exponent(unit: str, power: int) -> int:
    """That a column is divided by whose largest value is of this power of ten."""
    if power >= -2:
        return 0
    return _PPM if unit == "%" and power >= _PPM - 2 else 3 * math.floor(power / 3)


def _unit(unit: str, exponent: int) -> str:
    """``10⁻⁶ kWh``, ``ms``, ``ppm``; another power of ten of a per cent is written as a plain fraction's."""
    if exponent == 0:
        return unit
    if (unit, exponent) in _NAMED:
        return _NAMED[unit, exponent]
    power, unit = (exponent - 2, "") if unit == "%" else (exponent, unit)
    return f"10{str(power).translate(_SUPERSCRIPT)} {unit}".rstrip()


def share(part: float, whole: float) -> str:
    """A change relative to ``whole``, without sign: ``12.3 %``, or nothing where it means nothing."""
    if not (math.isfinite(part) and math.isfinite(whole)) or whole <= 0.0:
        return ""
    per_cent = abs(100.0 * part / whole)
    return f"{per_cent:.1f} %" if per_cent < 99.95 else f"{per_cent:,.0f} %"
