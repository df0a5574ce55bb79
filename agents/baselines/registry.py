"""Agents by their label on the command line, e.g. ``thr-mmt-0.8``: a name and, for some, one parameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from foreshade.agents.agent import Agent
from foreshade.envs.errors import InputError


def _npa() -> Agent:
    from foreshade.agents.baselines.static import NonPowerAware  # noqa: PLC0415

    return NonPowerAware()


def _dvfs() -> Agent:
    from foreshade.agents.baselines.static import FrequencyScaling  # noqa: PLC0415

    return FrequencyScaling()


def _first_fit() -> Agent:
    from foreshade.agents.baselines.fit import Fit  # noqa: PLC0415

    return Fit("first-fit")


def _best_fit() -> Agent:
    from foreshade.agents.baselines.fit import Fit  # noqa: PLC0415

    return Fit("best-fit")


def _worst_fit() -> Agent:
    from foreshade.agents.baselines.fit import Fit  # noqa: PLC0415

    return Fit("worst-fit")


def _thr_mmt(threshold: float) -> Agent:
    from foreshade.agents.baselines.consolidation import Consolidation  # noqa: PLC0415
    from foreshade.agents.baselines.overload import StaticThreshold  # noqa: PLC0415

    return Consolidation("thr", StaticThreshold(threshold))


def _iqr_mmt(safety: float) -> Agent:
    from foreshade.agents.baselines.consolidation import Consolidation  # noqa: PLC0415
    from foreshade.agents.baselines.overload import InterquartileRange  # noqa: PLC0415

    return Consolidation("iqr", InterquartileRange(safety))


def _mad_mmt(safety: float) -> Agent:
    from foreshade.agents.baselines.consolidation import Consolidation  # noqa: PLC0415
    from foreshade.agents.baselines.overload import MedianAbsoluteDeviation  # noqa: PLC0415

    return Consolidation("mad", MedianAbsoluteDeviation(safety))


def _lr_mmt(safety: float) -> Agent:
    from foreshade.agents.baselines.consolidation import Consolidation  # noqa: PLC0415
    from foreshade.agents.baselines.overload import LocalRegression  # noqa: PLC0415

    return Consolidation("lr", LocalRegression(safety))


def _lrr_mmt(safety: float) -> Agent:
    from foreshade.agents.baselines.consolidation import Consolidation  # noqa: PLC0415
    from foreshade.agents.baselines.overload import LocalRegression  # noqa: PLC0415

    return Consolidation("lrr", LocalRegression(safety, robust=True))


def _hold_margin() -> Agent:
    from foreshade.agents.baselines.hold_margin import HoldMargin  # noqa: PLC0415

    return HoldMargin()


def _high_low() -> Agent:
    from foreshade.agents.baselines.high_low import HighLow  # noqa: PLC0415

    return HighLow()


def _greedy_spread() -> Agent:
    from foreshade.agents.baselines.greedy_spread import GreedySpread  # noqa: PLC0415

    return GreedySpread()


def _n_sigma(z: float) -> Agent:
    from foreshade.agents.baselines.n_sigma import NSigma  # noqa: PLC0415

    return NSigma(z)


def _expected_cost() -> Agent:
    from foreshade.agents.baselines.expected_cost import ExpectedCost  # noqa: PLC0415

    return ExpectedCost()


def _ilp() -> Agent:
    from foreshade.agents.baselines.ilp import IntegerProgram  # noqa: PLC0415

    return IntegerProgram()


@dataclass(frozen=True, slots=True)
class Parameter:
    """The number that ends a label."""

    what: str
    least: float  # exclusive
    most: float  # inclusive
    usual: str  # as published; what ``agent_names`` shows


#: Imported when asked for, so that one agent's dependencies (HiGHS) burden no other's start.
PLAIN: dict[str, Callable[[], Agent]] = {
    "npa": _npa,
    "dvfs": _dvfs,
    "first-fit": _first_fit,
    "best-fit": _best_fit,
    "worst-fit": _worst_fit,
    "hold-margin": _hold_margin,
    "high-low": _high_low,
    "greedy-spread": _greedy_spread,
    "expected-cost": _expected_cost,
    "ilp": _ilp,
}
WITH_NUMBER: dict[str, tuple[Callable[[float], Agent], Parameter]] = {
    "thr-mmt": (_thr_mmt, Parameter("threshold of utilisation", 0.0, 1.0, "0.8")),
    "iqr-mmt": (_iqr_mmt, Parameter("safety factor", 0.0, 10.0, "1.5")),
    "mad-mmt": (_mad_mmt, Parameter("safety factor", 0.0, 10.0, "2.5")),
    "lr-mmt": (_lr_mmt, Parameter("safety factor", 0.0, 10.0, "1.2")),
    "lrr-mmt": (_lrr_mmt, Parameter("safety factor", 0.0, 10.0, "1.2")),
    "n-sigma": (_n_sigma, Parameter("number of standard deviations", 0.0, 10.0, "2")),
}
ORDER = (
    "npa dvfs thr-mmt iqr-mmt mad-mmt lr-mmt lrr-mmt first-fit best-fit worst-fit hold-margin high-low "
    "greedy-spread n-sigma expected-cost ilp"
).split()


def agent_names() -> tuple[str, ...]:
    """Every label with its usual parameter, in the order of reports."""
    return tuple(f"{name}-{WITH_NUMBER[name][1].usual}" if name in WITH_NUMBER else name for name in ORDER)


def make_agent(label: str) -> Agent:
    """The agent of a label; raises InputError in one line where there is none."""
    if label in PLAIN:
        return PLAIN[label]()
    name, _, number = label.rpartition("-")
    if name in WITH_NUMBER:
        make, parameter = WITH_NUMBER[name]
        return make(_number(label, number, parameter))
    if label in WITH_NUMBER:
        parameter = WITH_NUMBER[label][1]
        raise InputError(
            f"agent {label!r}: expected a {parameter.what}, e.g. {label}-{parameter.usual}, found none"
        )
    if name in PLAIN and _is_number(number):
        raise InputError(f"agent {label!r}: expected {name} without a number, found {number}")
    raise InputError(f"unknown agent {label!r}, expected one of {', '.join(agent_names())}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(label: str, text: str, parameter: Parameter) -> float:
    value = float(text) if _is_number(text) else math.nan
    if not parameter.least < value <= parameter.most:
        raise InputError(
            f"agent {label!r}: expected a {parameter.what} above {parameter.least:g} and at most {parameter.most:g}, "
            f"found {text!r}; known agents: {', '.join(agent_names())}"
        )
    return value
