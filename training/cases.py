"""Named data centres for tuning, training and reports; `+spread`: the world has placed the VMs before.

enterprise:SEED[:PRESET]   planetlab:DAY[~SEED]   bitbrains:first|other:FROM_DAY[-TO_DAY][~SEED]
`~`: its VMs drawn with replacement; four days of bitbrains where none is said to be the end
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice, zip_longest

import numpy as np

from foreshade.envs.forecast.table import Forecast
from foreshade.envs.scenarios.held import held_to
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.from_trace import to_workload
from foreshade.envs.workloads.selection import resampled, select
from foreshade.envs.workloads.spec import load_trace, load_workload
from foreshade.envs.workloads.workload import Workload

DAY_S = 86_400.0
#: ``+spread``: the world's own scheduler has placed the VMs before the agent begins.
TRAINING = (
    "enterprise:100",
    "enterprise:101",
    "enterprise:102",
    "enterprise:103+spread",
    "planetlab:20110306",
    "planetlab:20110309+spread",
    "planetlab:20110322",
    "bitbrains:first:0",
    "bitbrains:first:6+spread",
)
HELD_OUT = (
    *(f"enterprise:{seed}" for seed in range(5)),
    "planetlab:20110303",
    "planetlab:20110325",
    "bitbrains:other:14",
    "bitbrains:other:21",
    "bitbrains:first:20",
    "enterprise:0+spread",
    "planetlab:20110325+spread",
    "bitbrains:other:14+spread",
)
BITBRAINS_DAYS = 4.0


def _drawn(of: tuple[str, ...], seeds: range) -> tuple[str, ...]:
    return tuple(f"{case}~{seed}" for seed in seeds for case in of)


def _drawn_apart(of: tuple[str, ...], first: int, each: int) -> tuple[str, ...]:
    """Draws of stretches of the same VMs: a seed that two shared would take the same VMs from both."""
    return tuple(f"{case}~{first + each * number + i}" for i in range(each) for number, case in enumerate(of))


_PLANETLAB_DAYS = ("planetlab:20110306", "planetlab:20110309")
_BITBRAINS_DAYS = ("bitbrains:first:0", "bitbrains:first:4", "bitbrains:first:8")
_BITBRAINS_HABITS = tuple(f"bitbrains:first:{day}" for day in (0, 2, 4, 6, 8))
#: Short ones, as an interval wants several; days 20 to 24 are held out.
_BITBRAINS_GATE = tuple(f"bitbrains:first:{day}-{day + 2}" for day in (16, 18, 24, 26, 28))
#: What HAM is trained and judged on, by scenario; the days of HELD_OUT are in none of them. Draws of a day or of a
#: stretch count as one where habits are read and at the gate, so there are few of each there.
HAM_CASES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "enterprise": {
        "train": tuple(f"enterprise:{seed}" for seed in range(100, 112)),
        "habits": tuple(f"enterprise:{seed}" for seed in range(2000, 2096)),
        "validate": tuple(f"enterprise:{seed}" for seed in range(200, 224)),
        "gate": tuple(f"enterprise:{seed}" for seed in range(9120, 9240)),
    },
    "planetlab": {
        "train": _PLANETLAB_DAYS,
        "habits": _drawn(_PLANETLAB_DAYS, range(18)),
        "validate": _drawn(("planetlab:20110322",), range(12)),
        "gate": _drawn(("planetlab:20110322",), range(144, 148)),
    },
    "bitbrains": {
        "train": _BITBRAINS_DAYS,
        "habits": _drawn_apart(_BITBRAINS_HABITS, 40, 8),
        "validate": _drawn(("bitbrains:first:12",), range(12)),
        "gate": _drawn_apart(_BITBRAINS_GATE, 720, 4),
    },
}
#: All three together: the policy that comes with the package.
MIXED = "mixed"


def ham_cases(scenario: str, purpose: str) -> tuple[str, ...]:
    """Cases of a scenario that is named here, or of all of them (``mixed``); none where it is another's."""
    if scenario == MIXED:
        return tuple(case for known in HAM_CASES.values() for case in known[purpose])
    return HAM_CASES[scenario][purpose] if scenario in HAM_CASES else ()


def some_of(cases: Sequence[str], n: int) -> tuple[str, ...]:
    """The first ``n`` where there are more: of every scenario as many as of the others, as far as it has them."""
    if n >= len(cases):
        return tuple(cases)
    by_scenario: dict[str, list[str]] = {}
    for case in cases:
        by_scenario.setdefault(case.partition(":")[0], []).append(case)
    turns = zip_longest(*by_scenario.values())
    return tuple(islice((case for turn in turns for case in turn if case is not None), n))


def groups_of(cases: Sequence[str]) -> list[int]:
    """(n,) by the case whose VMs are drawn (``~``): a day, or a stretch of days; those of one number are alike."""
    return _numbered([case.partition("~")[0] for case in cases])


def scenarios_of(cases: Sequence[str]) -> list[int]:
    """(n,) by the scenario that each is of; those of one number are of the same."""
    return _numbered([case.partition(":")[0] for case in cases])


def _numbered(names: Sequence[str]) -> list[int]:
    """By first appearance."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


def against_gate(scenario: str) -> str:
    """Why a scenario's gate lets nothing through, whatever is learned; "" = it can judge.

    Draws of one day or stretch of a trace count as one, and one gives no interval.
    """
    cases = ham_cases(scenario, "gate")
    if not cases or max(groups_of(cases)) > 0:
        return ""
    return (
        f"--scenario {scenario}: gate: expected workloads of at least two days or stretches of a trace, found "
        f"{len(cases)} draws of {cases[0].partition('~')[0]}: what is learned will not be let through, and the "
        f"rules are what is exported; train on {MIXED}, which has more"
    )


@cache
def bitbrains(part: str, from_day: int, days: float = BITBRAINS_DAYS) -> Workload:
    """Days of the first 125 VMs by number, or of the others."""
    trace = load_trace("bitbrains")
    order = np.argsort([int(name) for name in trace.vms.name], kind="stable")
    keep = np.sort(order[:125] if part == "first" else order[125:])
    vms = replace(
        trace.vms,
        name=tuple(trace.vms.name[k] for k in keep),
        application=tuple(trace.vms.application[k] for k in keep),
        **{
            column: getattr(trace.vms, column)[keep]
            for column in ("cores", "cpu_mhz", "memory_mib", "gpus", "arrival_s", "departure_s")
        },
    )
    series = {key: np.ascontiguousarray(values[:, keep]) for key, values in trace.series.items()}
    part_of = replace(trace, vms=vms, series=series)
    return to_workload(select(part_of, from_s=from_day * DAY_S, length_s=days * DAY_S))


@cache
def world_of(
    case: str, actions: str | None = None, forecast: Forecast = "none"
) -> Callable[[], SimulatedWorld]:
    """A maker of the case's world, in which agents are held to ``actions`` (`held_to`) and see a ``forecast``."""
    case, _, drawn = case.partition("~")
    name, _, rest = case.partition(":")
    scenario = load_scenario(name)
    seed = 0
    if name == "enterprise":
        said, _, preset = rest.partition(":")
        seed = int(said)
        workload = load_workload(f"generated:{preset or name}", days=2, seed=seed)
    elif name == "planetlab":
        workload = load_workload("planetlab", day=rest)
    else:
        part, said = rest.split(":")
        from_day, _, to_day = said.partition("-")
        days = float(to_day) - float(from_day) if to_day else BITBRAINS_DAYS
        workload = bitbrains(part, int(from_day), days)
        scenario = scenario.model_copy(update={"days": days})
    if drawn:
        seed = int(drawn)
        workload = resampled(workload, seed)
    if actions is not None:
        scenario = held_to(scenario, actions)
    return lambda: SimulatedWorld(scenario, workload, seed, forecast=forecast)
