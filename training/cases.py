"""Named data centres for tuning, training and held-out reports; `+spread`: the world has placed the VMs before.

enterprise:SEED   planetlab:DAY   bitbrains:first|other:FROM_DAY
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.from_trace import to_workload
from foreshade.envs.workloads.selection import select
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


@cache
def bitbrains(part: str, from_day: int) -> Workload:
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
    return to_workload(select(part_of, from_s=from_day * DAY_S, length_s=BITBRAINS_DAYS * DAY_S))


@cache
def world_of(case: str) -> Callable[[], SimulatedWorld]:
    """A maker of the case's world."""
    name, _, rest = case.partition(":")
    scenario = load_scenario(name)
    seed = 0
    if name == "enterprise":
        seed = int(rest)
        workload = load_workload("generated:enterprise", days=2, seed=seed)
    elif name == "planetlab":
        workload = load_workload("planetlab", day=rest)
    else:
        part, from_day = rest.split(":")
        workload = bitbrains(part, int(from_day))
        scenario = scenario.model_copy(update={"days": BITBRAINS_DAYS})
    return lambda: SimulatedWorld(scenario, workload, seed)
