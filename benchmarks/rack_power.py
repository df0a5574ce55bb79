"""What switching racks saves on a day that rises and falls, and how much of it is the racks' own power.

    python benchmarks/rack_power.py [--seeds 5] [--days 2]

Six ways of running the scenario `racks`, each on the same workloads: every host on; hosts consolidated and switched
off one by one, racks left on; the same with racks switched off where they happen to come empty, as `expected-cost`
ships; and the component `rack_power` beside host consolidation, by the demand of now, by the
forecast, and by the forecast with hosts that keep more room to spare.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from foreshade.agents.agent import Agent
from foreshade.agents.baselines.registry import make_agent
from foreshade.agents.episode import play
from foreshade.agents.managers.rack_power import RackPower, RackPowerKnobs
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import PLACEMENT, PlanKnobs
from foreshade.envs.packers import EXPECTED_COST, PackerKnobs
from foreshade.envs.run_metrics import RunMetrics
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.spec import load_workload

HOSTS = replace(EXPECTED_COST, racks=False, rack_credit=0.0)
ROOMY = replace(HOSTS, sigma_scale=3.0, reserve=3.0)  # hosts are filled as if demand varied thrice as much


def consolidating(*managers: RackPower, packer: PackerKnobs = HOSTS) -> Rules:
    """Placement and power of hosts by `expected-cost`, racks left alone, and components beside it."""
    plan = PlanKnobs(name="hosts", packer=packer, preferred=True, eager=True)
    return Rules(PLACEMENT.model_copy(update={"plans": (plan,)}), managers)


WAYS: dict[str, Callable[[], Agent]] = {
    "every host on": lambda: make_agent("dvfs"),
    "hosts alone": consolidating,
    "racks that happen to come empty": lambda: make_agent("expected-cost"),
    "rack_power, by now": lambda: consolidating(RackPower(RackPowerKnobs(foresee=False))),
    "rack_power, by forecast": lambda: consolidating(RackPower()),
    "the same with room to spare": lambda: consolidating(RackPower(), packer=ROOMY),
}


@dataclass(frozen=True, slots=True)
class Energy:
    """kWh of a run, cooling and distribution apart."""

    hosts: float
    racks: float
    violations: int
    unmet: float
    migrations: int
    cost: float

    @property
    def total(self) -> float:
        """Hosts and racks."""
        return self.hosts + self.racks


def energy(m: RunMetrics) -> Energy:
    """What counts here of a run."""
    return Energy(m.energy_kwh, m.rack_kwh, m.sla_violations, m.unmet_demand, m.migrations, m.cost_usd)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenario", default="racks")
    parser.add_argument("--days", type=float, default=2.0)
    parser.add_argument("--first", type=int, default=0, help="first seed of the workload")
    said = parser.parse_args()
    scenario = load_scenario(said.scenario).model_copy(update={"days": said.days})
    found: dict[str, list[Energy]] = {way: [] for way in WAYS}
    for seed in range(said.first, said.first + said.seeds):
        spec = f"{scenario.workload}&seed={seed}".replace("days=2", f"days={said.days:g}")
        world = SimulatedWorld(scenario, load_workload(spec), forecast="table")
        for way, make in WAYS.items():
            world.reset(0)
            found[way].append(energy(play(world, make())))
    on, alone = found["every host on"], found["hosts alone"]
    print(
        "| way | hosts kWh | racks kWh | against every host on | against hosts alone | of it overhead "
        "| SLA violations | unmet | migrations | cost USD |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for way, runs in found.items():
        saved = [100 * (1 - r.total / o.total) for r, o in zip(runs, on, strict=True)]
        beyond = [100 * (1 - r.total / a.total) for r, a in zip(runs, alone, strict=True)]
        overhead = [100 * (a.racks - r.racks) / a.total for r, a in zip(runs, alone, strict=True)]
        print(
            f"| {way} | {fmean(r.hosts for r in runs):.1f} | {fmean(r.racks for r in runs):.1f} | "
            f"{_spread(saved)} % | {_spread(beyond)} % | {_spread(overhead)} % | "
            f"{fmean(r.violations for r in runs):.1f} | {fmean(r.unmet for r in runs):.4%} | "
            f"{fmean(r.migrations for r in runs):.0f} | {fmean(r.cost for r in runs):.2f} |",
            flush=True,
        )


def _spread(values: list[float]) -> str:
    half = 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{fmean(values):.1f} ± {half:.1f}"


if __name__ == "__main__":
    main()
