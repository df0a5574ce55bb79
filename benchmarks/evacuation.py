"""VM-hours lost to host crashes with and without `evacuation`, on the same failures.

    python benchmarks/evacuation.py [--seeds 200] [--recall 0.6] [--false 0.1]

Twenty hosts that are always on, accelerated failures (one a host in `--mtbf` hours), 160 VMs of a generated day.
Both runs of a seed meet the same failures, alarms and false alarms: nothing is switched off, every host wears alike.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from statistics import fmean

import numpy as np

from foreshade.agents.episode import play
from foreshade.agents.managers.evacuation import Evacuation
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import PLACEMENT, PlanKnobs
from foreshade.envs.packers import EXPECTED_COST
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.spec import load_workload

BLIND = replace(EXPECTED_COST, hazard_per_h=1e9)  # a packer that no warning moves
SEEING = EXPECTED_COST


def scenario(mtbf_h: float, recall: float, false_alarms: float) -> Scenario:
    """Twenty hosts in two racks, failures as told."""
    return Scenario.model_validate(
        {
            "name": "evacuation",
            "start": "2024-01-01T00:00:00Z",
            "days": 2,
            "workload": "generated:daily?vms=160&days=2",
            "overcommit": {"cpu": 4, "memory": 1.0},
            "fleet": ({"zone": "a", "racks": 2, "hosts": ({"server": "hpe-dl110-gen10plus", "count": 10},)},),
            "failures": {
                "mtbf_h": mtbf_h,
                "repair_h": 4.0,
                "recall": recall,
                "false_alarms_per_host_day": false_alarms,
                "lead_h": 2.0,
            },
            "actions": ("migrate",),
        }
    )


def agent(*managers: Evacuation, packer: object = BLIND) -> Rules:
    """Placement by `expected-cost`, and components beside it."""
    plan = PlanKnobs(name="hosts", packer=packer, preferred=True, eager=True)  # type: ignore[arg-type]
    return Rules(PLACEMENT.model_copy(update={"plans": (plan,)}), managers)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--mtbf", type=float, default=60.0)
    parser.add_argument("--recall", type=float, default=0.6)
    parser.add_argument("--false", type=float, default=0.1, dest="false_alarms", help="a host and day")
    said = parser.parse_args()
    world = SimulatedWorld(
        scenario(said.mtbf, said.recall, said.false_alarms), load_workload("generated:daily?vms=160&days=2")
    )
    ways = {
        "no reaction": agent,
        "the packer's own": lambda: agent(packer=SEEING),
        "evacuation": lambda: agent(Evacuation()),
    }
    lost: dict[str, list[float]] = {way: [] for way in ways}
    cost: dict[str, list[float]] = {way: [] for way in ways}
    moves: dict[str, list[float]] = {way: [] for way in ways}
    failures: list[int] = []
    for seed in range(said.seeds):
        for way, make in ways.items():
            world.reset(seed)
            metrics = play(world, make())
            lost[way].append(metrics.counts["crashed_vm_s"] / 3600.0)
            cost[way].append(metrics.cost_usd)
            moves[way].append(metrics.migrations)
        failures.append(metrics.counts["host_failures"])
    base = np.array(lost["no reaction"])
    print(
        f"recall {said.recall:g}, {said.false_alarms:g} false alarms a host and day, {said.seeds} seeds, "
        f"{sum(failures)} failures; recall x 0.9 = {0.9 * said.recall:.3f}"
    )
    print("| way | VM-hours lost | fall | cost USD | migrations |")
    print("|---|---|---|---|---|")
    for way in ways:
        now = np.array(lost[way])
        fall = 1.0 - now.sum() / base.sum()
        # Jackknife over the seeds of a ratio of sums.
        left = 1.0 - (now.sum() - now) / (base.sum() - base)
        half = 1.96 * float(np.sqrt((len(left) - 1) / len(left) * np.square(left - left.mean()).sum()))
        print(
            f"| {way} | {now.mean():.2f} | {fall:.3f} ± {half:.3f} | {fmean(cost[way]):.2f} | "
            f"{fmean(moves[way]):.0f} |"
        )


if __name__ == "__main__":
    main()
