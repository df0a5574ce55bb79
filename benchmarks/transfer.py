"""One policy on fleets of 10, 100 and 1,000 hosts: what it and the rules cost beside `expected-cost`.

    python benchmarks/transfer.py [--policy DIR] [--worlds 6] [--hosts 10 100 1000]

Each fleet is the scenario `enterprise`'s own mix, its VMs generated to fill it (envs/sampling.py), one day of 288
ticks; every agent plays the same worlds. Prints means of cost over that of `expected-cost` with their 95 % interval,
and the CPU time of the slowest tick.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from foreshade.agents.agent import Agent
from foreshade.agents.baselines.expected_cost import ExpectedCost
from foreshade.agents.ham.agent import SHIPPED, Ham
from foreshade.agents.rules.rules import Rules
from foreshade.envs.model.action import Plan
from foreshade.envs.sampling import Sampling, sampled_worlds
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.training.estimate import Estimate

TICKS = 288


def play(world: SimulatedWorld, agent: Agent) -> tuple[float, float]:
    """USD of a day, and the CPU seconds of the slowest decision."""
    world.reset(0)
    agent.reset(site_of(world, 0))
    slowest = 0.0
    for _ in range(min(TICKS, world.n_ticks)):
        state = world.observe()
        began = time.process_time()
        plan = Plan(state.tick, tuple(agent.act(state)))
        slowest = max(slowest, time.process_time() - began)
        world.execute(plan)
        world.advance()
    return world.metrics().cost_usd, slowest


def measure(agents: Sequence[Agent], hosts: int, n_worlds: int) -> None:
    """One line for each agent."""
    worlds = sampled_worlds(Sampling(hosts=(hosts, hosts), mtbf_h=None), n_worlds, seed=1000 + hosts)
    reference = [play(world, ExpectedCost())[0] for world in worlds]
    for agent in agents:
        played = [play(world, agent) for world in worlds]
        ratio = Estimate.of([usd / base for (usd, _), base in zip(played, reference, strict=True)])
        slowest = max(seconds for _, seconds in played)
        vms = int(np.mean([len(world.workload.vms) for world in worlds]))
        print(
            f"| {hosts} | {vms} | {agent.name} | {ratio.mean:.3f} ± {ratio.half_width:.3f} | {slowest * 1e3:.0f} |",
            flush=True,
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", default=None)
    parser.add_argument("--worlds", type=int, default=6)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 1000])
    said = parser.parse_args()
    agents: list[Agent] = [Rules()]
    if said.policy is not None or SHIPPED.exists():
        agents.append(Ham(said.policy))
    print(
        "| hosts | VMs | agent | cost over expected-cost | slowest tick ms |\n| ---: | ---: | --- | ---: | ---: |"
    )
    for hosts in said.hosts:
        measure(agents, hosts, said.worlds)


if __name__ == "__main__":
    main()
