"""One policy on fleets of 10, 100 and 1,000 hosts: what it and the rules cost beside the best baseline.

    python benchmarks/transfer.py [--policy DIR] [--worlds 6] [--hosts 20 10 100 1000] [--ticks 288]

Each fleet is the scenario `enterprise`'s own mix, its VMs generated to fill it (envs/sampling.py); every agent plays
the same worlds from their first tick on, `ham` and `rules` with the components that are on by default. The best
baseline of a size is the one that costs least there on average. Prints what is saved against it with the 95 %
interval, how much of the first size's saving that is, unmet demand of both, and the CPU time of the slowest tick.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from foreshade.agents.agent import Agent
from foreshade.agents.baselines.registry import AgentFiles, make_agent
from foreshade.envs.model.action import Plan
from foreshade.envs.sampling import Sampling, sampled_worlds
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.training.estimate import Estimate

BASELINES = ("expected-cost", "n-sigma-2.5", "n-sigma-2")


@dataclass(frozen=True, slots=True)
class Played:
    """One run."""

    usd: float
    unmet: float  # share of the demand
    slowest_s: float  # CPU time of a decision


def play(world: SimulatedWorld, agent: Agent, ticks: int) -> Played:
    """The first ticks of a world."""
    world.reset(0)
    agent.reset(site_of(world, 0))
    slowest = 0.0
    for _ in range(min(ticks, world.n_ticks)):
        state = world.observe()
        began = time.process_time()
        plan = Plan(state.tick, tuple(agent.act(state)))
        slowest = max(slowest, time.process_time() - began)
        world.execute(plan)
        world.advance()
    metrics = world.metrics()
    return Played(metrics.cost_usd, metrics.unmet_demand, slowest)


def measure(
    labels: tuple[str, ...], files: AgentFiles, hosts: int, said: argparse.Namespace, first: dict[str, float]
) -> None:
    """A line for each agent; `first` keeps what the first size's agents saved."""
    worlds = sampled_worlds(Sampling(hosts=(hosts, hosts), mtbf_h=None), said.worlds, seed=1000 + hosts)
    reference = {
        label: [play(world, make_agent(label), said.ticks) for world in worlds] for label in BASELINES
    }
    best = min(reference, key=lambda label: sum(run.usd for run in reference[label]))
    vms = int(np.mean([len(world.workload.vms) for world in worlds]))
    for label in labels:
        played = [play(world, make_agent(label, files), said.ticks) for world in worlds]
        pairs = zip(played, reference[best], strict=True)
        saved = Estimate.of([1.0 - run.usd / base.usd for run, base in pairs])
        kept = f"{saved.mean / first[label]:.0%}" if label in first else "–"
        first.setdefault(label, saved.mean)
        ours, theirs = (100 * np.mean([run.unmet for run in runs]) for runs in (played, reference[best]))
        slowest = 1e3 * max(run.slowest_s for run in played)
        interval = f"{100 * saved.mean:.1f} ± {100 * saved.half_width:.1f} %"
        print(
            f"| {hosts} | {vms} | {label} | {best} | {interval} | {kept} | {ours:.3f}, {theirs:.3f} "
            f"| {slowest:.0f} |",
            flush=True,
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", default=None)
    parser.add_argument("--worlds", type=int, default=6)
    parser.add_argument("--ticks", type=int, default=288)
    parser.add_argument("--hosts", type=int, nargs="+", default=[20, 10, 100, 1000])
    parser.add_argument("--agent", default="ham,rules")
    said = parser.parse_args()
    first: dict[str, float] = {}
    print("| hosts | VMs | agent | best baseline | saved | kept | unmet %, of both | slowest tick ms |")
    print("| ---: | ---: | --- | --- | ---: | ---: | ---: | ---: |")
    for hosts in said.hosts:
        measure(tuple(said.agent.split(",")), AgentFiles(policy=said.policy), hosts, said, first)


if __name__ == "__main__":
    main()
