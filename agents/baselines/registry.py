"""Agents by their label on the command line, e.g. ``thr-mmt-0.8``: a name and, for some, one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def _rules(files: AgentFiles) -> Agent:
    from foreshade.agents.managers.registry import load_components  # noqa: PLC0415 - as above
    from foreshade.agents.rules.rules import Rules, load_rules  # noqa: PLC0415 - as above

    return Rules(load_rules(files.rules), load_components(files.components, only=files.only))


def _ham(files: AgentFiles) -> Agent:
    from foreshade.agents.ham.agent import Ham  # noqa: PLC0415 - as above
    from foreshade.agents.managers.registry import load_components  # noqa: PLC0415 - as above
    from foreshade.agents.rules.rules import load_rules  # noqa: PLC0415 - as above

    managers = load_components(files.components, only=files.only)
    return Ham(files.policy, rules=load_rules(files.rules), managers=managers)


def _ilp() -> Agent:
    from foreshade.agents.baselines.ilp import IntegerProgram  # noqa: PLC0415 - loads HiGHS

    return IntegerProgram()


#: Their hosts draw full power, so that they need a world of their own.
_UNMANAGED = ("npa",)
#: The policy that comes with the package; `ham` needs another where there is none.
SHIPPED_POLICY = Path(__file__).parents[1] / "ham" / "policy"


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """Files that agents are made from; None = the one of the package."""

    policy: Path | None = None  # folder of a frozen policy, for `ham`
    rules: Path | None = None  # YAML, for `rules`, and for `ham` which starts from them
    components: str | None = None  # of `rules` and `ham`, as `load_components` reads it
    only: tuple[str, ...] | None = (
        None  # components that are on, whatever `components` enables; None = as it says
    )

    def check(self, labels: Sequence[str]) -> None:
        """Raise InputError where a file is named and no agent of ``labels`` reads it."""
        for option, file, readers in (
            ("--policy", self.policy, ("ham",)),
            ("--rules", self.rules, ("rules", "ham")),
            ("--components", self.components, ("rules", "ham")),
        ):
            if file is not None and not set(readers) & set(labels):
                raise InputError(
                    f"{option} {file}: expected the agent {' or '.join(readers)} to read it, "
                    f"found {', '.join(labels)}"
                )


@dataclass(frozen=True, slots=True)
class Plain:
    """An agent of one label."""

    make: Callable[[], Agent]
    idea: str


@dataclass(frozen=True, slots=True)
class Filed:
    """An agent that reads a file of its own, unless the one of the package serves."""

    make: Callable[[AgentFiles], Agent]
    idea: str


@dataclass(frozen=True, slots=True)
class Numbered:
    """A family of agents, told apart by the number at the end of the label."""

    make: Callable[[float], Agent]
    idea: str
    what: str
    most: float  # the number is above 0 and at most this
    usual: str  # as published


PLAIN: dict[str, Plain] = {
    "npa": Plain(NonPowerAware, "every host at full power, nothing moves"),
    "dvfs": Plain(FrequencyScaling, "power follows load, nothing moves"),
    "first-fit": Plain(lambda: Fit("first-fit"), "arrivals on the first host with room"),
    "best-fit": Plain(lambda: Fit("best-fit"), "arrivals where most CPU is allocated"),
    "worst-fit": Plain(lambda: Fit("worst-fit"), "arrivals where least CPU is allocated"),
    "hold-margin": Plain(HoldMargin, "the best single move, once an imbalance lasts"),
    "high-low": Plain(HighLow, "relief above a high mark, evacuation below a low one"),
    "greedy-spread": Plain(GreedySpread, "fullest to emptiest host until level"),
    "expected-cost": Plain(_expected_cost, "the moves, drains and boots that lower the expected money most"),
    "ilp": Plain(_ilp, "an integer program each hour: energy, moves, overload"),
}
FILED: dict[str, Filed] = {
    "rules": Filed(_rules, "thresholds over scored candidates, right-sizing and micro-VMs beside moves"),
    "ham": Filed(_ham, "a trained policy among the rules' candidates; the rules where it is in doubt"),
}
NUMBERED: dict[str, Numbered] = {
    "thr-mmt": Numbered(
        lambda x: Consolidation("thr", StaticThreshold(x)),
        "overloaded above a fixed utilisation",
        "threshold of utilisation",
        1.0,
        "0.8",
    ),
    "iqr-mmt": Numbered(
        lambda s: Consolidation("iqr", InterquartileRange(s)),
        "limit 1 - s times the interquartile range",
        "safety factor",
        10.0,
        "1.5",
    ),
    "mad-mmt": Numbered(
        lambda s: Consolidation("mad", MedianAbsoluteDeviation(s)),
        "limit 1 - s times the median absolute deviation",
        "safety factor",
        10.0,
        "2.5",
    ),
    "lr-mmt": Numbered(
        lambda s: Consolidation("lr", LocalRegression(s)),
        "overloaded where s times the trend's next value is above 1",
        "safety factor",
        10.0,
        "1.2",
    ),
    "lrr-mmt": Numbered(
        lambda s: Consolidation("lrr", LocalRegression(s, robust=True)),
        "the same with outliers weighted down",
        "safety factor",
        10.0,
        "1.2",
    ),
    "n-sigma": Numbered(
        _n_sigma, "peaks as mean + z standard deviations", "number of standard deviations", 10.0, "2"
    ),
}


def agent_names() -> tuple[str, ...]:
    """Every label with its usual number, in the order of reports; `ham` where the package has a policy."""
    consolidating = [f"{name}-{family.usual}" for name, family in NUMBERED.items()]
    plain = list(PLAIN)
    planning = plain.index("expected-cost")
    filed = [label for label in FILED if label != "ham" or SHIPPED_POLICY.is_dir()]
    return (*plain[:2], *consolidating[:-1], *plain[2:planning], consolidating[-1], *plain[planning:], *filed)


def idea_of(label: str) -> str:
    """What the agent of one of ``agent_names`` goes by, in a line."""
    named = PLAIN.get(label) or FILED.get(label)
    return named.idea if named is not None else NUMBERED[label.rpartition("-")[0]].idea


def make_agent(label: str, files: AgentFiles | None = None) -> Agent:
    """The agent of a label; raises InputError in one line where there is none, or its file is none."""
    if label in PLAIN:
        return PLAIN[label].make()
    if label in FILED:
        return FILED[label].make(files or AgentFiles())
    name, _, number = label.rpartition("-")
    if name in NUMBERED:
        family = NUMBERED[name]
        return family.make(_number(label, number, family))
    known = _known()
    if label in NUMBERED:
        family = NUMBERED[label]
        raise InputError(f"agent {label!r}: expected a {family.what} at its end, found none; known: {known}")
    raise InputError(f"unknown agent {label!r}, expected one of {known}")


def make_baseline(label: str) -> Agent:
    """The agent of a label, if it plays on the world of others and reads no file.

    Raises:
        InputError: there is none, or it is the rules, HAM or ``npa``, whose hosts draw full power.

    """
    family = label.rpartition("-")[0]
    if label in _UNMANAGED or not (label in PLAIN or label in NUMBERED or family in NUMBERED):
        known = [name for name in agent_names() if name not in (*_UNMANAGED, *FILED)]
        raise InputError(f"unknown baseline {label!r}, expected one of {', '.join(known)}")
    return make_agent(label)


def _known() -> str:
    return ", ".join(dict.fromkeys((*agent_names(), *FILED)))


def _number(label: str, text: str, family: Numbered) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0.0 < value <= family.most:
        return value
    raise InputError(
        f"agent {label!r}: expected a {family.what} above 0 and at most {family.most:g}, found {text!r}; "
        f"known: {_known()}"
    )
