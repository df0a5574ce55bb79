"""Agents by their label on the command line, e.g. ``thr-mmt-0.8``: a name and, for some, one number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from foreshade.agents.agent import Agent
from foreshade.agents.baselines.consolidation import Consolidation
from foreshade.agents.baselines.fit import Fit
from foreshade.agents.baselines.greedy_spread import GreedySpread
from foreshade.agents.baselines.high_low import HighLow
from foreshade.agents.baselines.hold_margin import HoldMargin
from foreshade.agents.baselines.overload import (
    InterquartileRange,
    LocalRegression,
    MedianAbsoluteDeviation,
    StaticThreshold,
)
from foreshade.agents.baselines.static import FrequencyScaling, NonPowerAware
from foreshade.envs.errors import InputError


def _n_sigma(z: float) -> Agent:
    from foreshade.agents.baselines.n_sigma import NSigma  # noqa: PLC0415 - imported by those who ask for it

    return NSigma(z)


def _expected_cost() -> Agent:
    from foreshade.agents.baselines.expected_cost import ExpectedCost  # noqa: PLC0415 - as above

    return ExpectedCost()


def _rules() -> Agent:
    from foreshade.agents.rules.rules import Rules  # noqa: PLC0415 - as above

    return Rules()


def _ilp() -> Agent:
    from foreshade.agents.baselines.ilp import IntegerProgram  # noqa: PLC0415 - loads HiGHS

    return IntegerProgram()


@dataclass(frozen=True, slots=True)
class Numbered:
    """A family of agents, told apart by the number at the end of the label."""

    make: Callable[[float], Agent]
    what: str
    most: float  # the number is above 0 and at most this
    usual: str  # as published


PLAIN: dict[str, Callable[[], Agent]] = {
    "npa": NonPowerAware,
    "dvfs": FrequencyScaling,
    "first-fit": lambda: Fit("first-fit"),
    "best-fit": lambda: Fit("best-fit"),
    "worst-fit": lambda: Fit("worst-fit"),
    "hold-margin": HoldMargin,
    "high-low": HighLow,
    "greedy-spread": GreedySpread,
    "expected-cost": _expected_cost,
    "rules": _rules,
    "ilp": _ilp,
}
NUMBERED: dict[str, Numbered] = {
    "thr-mmt": Numbered(
        lambda x: Consolidation("thr", StaticThreshold(x)), "threshold of utilisation", 1.0, "0.8"
    ),
    "iqr-mmt": Numbered(lambda s: Consolidation("iqr", InterquartileRange(s)), "safety factor", 10.0, "1.5"),
    "mad-mmt": Numbered(
        lambda s: Consolidation("mad", MedianAbsoluteDeviation(s)), "safety factor", 10.0, "2.5"
    ),
    "lr-mmt": Numbered(lambda s: Consolidation("lr", LocalRegression(s)), "safety factor", 10.0, "1.2"),
    "lrr-mmt": Numbered(
        lambda s: Consolidation("lrr", LocalRegression(s, robust=True)), "safety factor", 10.0, "1.2"
    ),
    "n-sigma": Numbered(_n_sigma, "number of standard deviations", 10.0, "2"),
}


def agent_names() -> tuple[str, ...]:
    """Every label with its usual number, in the order of reports."""
    consolidating = [f"{name}-{family.usual}" for name, family in NUMBERED.items()]
    plain = list(PLAIN)
    planning = plain.index("expected-cost")
    return (*plain[:2], *consolidating[:-1], *plain[2:planning], consolidating[-1], *plain[planning:])


def make_agent(label: str) -> Agent:
    """The agent of a label; raises InputError in one line where there is none."""
    if label in PLAIN:
        return PLAIN[label]()
    name, _, number = label.rpartition("-")
    if name in NUMBERED:
        family = NUMBERED[name]
        return family.make(_number(label, number, family))
    known = ", ".join(agent_names())
    if label in NUMBERED:
        family = NUMBERED[label]
        raise InputError(f"agent {label!r}: expected a {family.what} at its end, found none; known: {known}")
    raise InputError(f"unknown agent {label!r}, expected one of {known}")


def _number(label: str, text: str, family: Numbered) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0.0 < value <= family.most:
        return value
    raise InputError(
        f"agent {label!r}: expected a {family.what} above 0 and at most {family.most:g}, found {text!r}; "
        f"known: {', '.join(agent_names())}"
    )
