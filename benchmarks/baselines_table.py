"""Play every agent on a generated scenario and print a Markdown table of what it cost and how well it served.

python benchmarks/baselines_table.py [--scenario enterprise] [--days 2] [--seed 0] [agent ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import time

from foreshade.agents.agent import Agent
from foreshade.agents.baselines.registry import agent_names, make_agent
from foreshade.envs.model.action import Plan
from foreshade.envs.run_metrics import RunMetrics
from foreshade.envs.scenarios import load_scenario
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.workloads.generator import generate
from foreshade.envs.workloads.workload import Workload

COLUMNS = (
    "agent | USD | kWh | migrations | host shutdowns | unmet CPU % | SLATAH % | downtime USD | refused | "
    "ms/tick | worst ms"
)


def play(agent: Agent, scenario: Scenario, workload: Workload, seed: int) -> tuple[RunMetrics, list[float]]:
    """The run's metrics and the CPU seconds of each decision."""
    world = SimulatedWorld(scenario, workload, seed, power_managed=agent.power_managed)
    agent.reset(site_of(world, seed))
    spent = []
    while not world.done:
        state = world.observe()
        begun = time.process_time()
        actions = tuple(agent.act(state))
        spent.append(time.process_time() - begun)
        world.execute(Plan(state.tick, actions))
        world.advance()
    return world.metrics(), spent


def exists(label: str) -> bool:
    module = {"n-sigma-2": "n_sigma", "expected-cost": "expected_cost"}.get(label)
    return module is None or importlib.util.find_spec(f"foreshade.agents.baselines.{module}") is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agents", nargs="*")
    parser.add_argument("--scenario", default="enterprise")
    parser.add_argument("--days", default="2")
    parser.add_argument("--seed", default="0")
    asked = parser.parse_args()
    scenario = load_scenario(asked.scenario)
    workload = generate(asked.scenario, days=asked.days, seed=asked.seed)
    print(f"| {COLUMNS} |")
    print("|---|" + "---:|" * COLUMNS.count("|"))
    for label in asked.agents or [name for name in agent_names() if exists(name)]:
        m, spent = play(make_agent(label), scenario, workload, int(asked.seed))
        print(
            f"| {label} | {m.cost_usd:.2f} | {m.energy_kwh:.1f} | {m.migrations} | {m.host_shutdowns} | "
            f"{100 * m.unmet_demand:.2f} | {100 * m.slatah:.2f} | {m.cost_terms['downtime']:.2f} | "
            f"{m.counts['refused']} | {1e3 * sum(spent) / len(spent):.2f} | {1e3 * max(spent):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
