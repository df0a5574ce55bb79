"""The front of energy, unmet demand and migrations on CloudSim's benchmark: one policy, its prices varied.

    FORESHADE_DATA=DIR python benchmarks/cloudsim_front.py [--days 20110306,…] [--agent rules,n-sigma,…]

Fractions are of LR-MMT-1.2's on the same day; `n-sigma` is played at several z. Days that settings were chosen on and
days that were held out are told apart.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from foreshade.agents.agent import Agent
from foreshade.agents.baselines.registry import make_agent
from foreshade.agents.cloudsim_episode import play_cloudsim
from foreshade.envs.run_metrics import RunMetrics
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.scenarios.schema import CloudSimRules, Scenario
from foreshade.envs.workloads.planetlab import PercentDay, read_percent_days

CHOSEN_ON = ("20110306", "20110309", "20110322")
HELD_OUT = ("20110303", "20110325")
#: kWh that a day's demand left unmet is worth, and a migration.
UNMET_KWH = (2_000.0, 6_000.0, 18_000.0)
MIGRATION_KWH = (0.0003, 0.003)
Z = (1.5, 2.0, 2.5)


def settings(agent: str) -> Iterator[tuple[str, Agent, CloudSimRules]]:
    """What an agent's front is made of: label, agent and prices."""
    if agent == "n-sigma":
        for z in Z:
            yield f"n-sigma-{z:g}", make_agent(f"n-sigma-{z:g}"), CloudSimRules()
        return
    for unmet_kwh in UNMET_KWH:
        for migration_kwh in MIGRATION_KWH:
            rules = CloudSimRules(unmet_kwh=unmet_kwh, migration_kwh=migration_kwh)
            yield f"{agent} {unmet_kwh:g} {migration_kwh:g}", make_agent(agent), rules


def play(scenario: Scenario, day: PercentDay, agent: Agent) -> RunMetrics:
    """One day."""
    return play_cloudsim(scenario, day, agent, 0, lambda _: None)[0]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", default=",".join(CHOSEN_ON + HELD_OUT))
    parser.add_argument("--agent", default="n-sigma,expected-cost,rules")
    args = parser.parse_args()
    days = read_percent_days(
        str(Path(os.environ["FORESHADE_DATA"]) / "planetlab" / "planetlab-dev-days.tar.gz")
    )
    scenario = load_scenario("cloudsim", "keepzero")
    names = args.days.split(",")
    literature = {name: play(scenario, days[name], make_agent("lr-mmt-1.2")) for name in names}
    for group in (CHOSEN_ON, HELD_OUT):
        played = [name for name in names if name in group]
        if not played:
            continue
        print(
            f"\n{'chosen on' if group is CHOSEN_ON else 'held out'}: {', '.join(played)}; means over the days"
        )
        print("| setting | energy | migrations | ESV | unmet % | worst VM % |\n|---|---|---|---|---|---|")
        for agent_name in args.agent.split(","):
            for label, agent, prices in settings(agent_name):
                priced = scenario.model_copy(
                    update={"cloudsim": prices.model_copy(update={"remove_idle": False})}
                )
                rows = []
                for name in played:
                    ours, theirs = play(priced, days[name], agent), literature[name]
                    rows.append(
                        (
                            ours.energy_kwh / theirs.energy_kwh,
                            ours.migrations / theirs.migrations,
                            ours.esv / theirs.esv,
                            100 * ours.unmet_demand,
                            100 * ours.unmet_demand_worst_vm,
                        )
                    )
                energy, moves, esv, unmet, worst = np.mean(rows, axis=0)
                print(
                    f"| {label} | {energy:.3f} | 1/{1 / moves:.1f} | 1/{1 / esv:.0f} | {unmet:.3f} | {worst:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
