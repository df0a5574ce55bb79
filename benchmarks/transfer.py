"""One policy on fleets of 10, 100 and 1,000 hosts: what it and the rules cost beside the best baseline; in pairs.

    python benchmarks/transfer.py [--policy DIR] [--worlds 8] [--hosts 20 10 100 1000] [--ticks 288]

World i is the same data centre at every size: racks of ten hosts that are all alike, fill (memory of the VMs over
that of the hosts) and demand over provisioned are drawn from i alone. Fleets of fewer than 200 hosts are played until
they come to 200 together, each with applications of its own, as a fleet of ten has too few to tell much. About
fourteen VMs a host, none with GPUs, no failures; every host serves every VM.

Every agent plays the same worlds from their first tick on, `ham` and `rules` with the components that are on by
default. The best baseline of a size is the one that costs least there on average. Prints what is saved against it,
with the 95 % interval over the worlds; what of the first size's saving is kept, a quotient of means whose interval
is that of the differences world by world; unmet demand of both; and the CPU time of the slowest tick.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np

from foreshade.agents.agent import Agent
from foreshade.agents.baselines.registry import AgentFiles, make_agent
from foreshade.envs.model.action import Plan
from foreshade.envs.sampling import Sampling, sampled_worlds
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.workloads.workload import Workload
from foreshade.training.estimate import Estimate

BASELINES = ("expected-cost", "n-sigma-2.5", "n-sigma-2")
RACK = 10  # hosts
TOGETHER = (
    200  # hosts of a world, in as many fleets as it takes: a small one has too few applications to tell
)


@dataclass(frozen=True, slots=True)
class Played:
    """One run."""

    usd: float
    unmet: float  # share of the demand
    slowest_s: float  # CPU time of a decision


def fleet(i: int, k: int, hosts: int) -> SimulatedWorld:
    """Fleet ``k`` of world ``i`` at a size."""
    rng = np.random.default_rng((1000, i))
    large = int(rng.integers(1, 4))
    fill, demand = float(rng.uniform(0.4, 0.55)), float(rng.uniform(0.9, 1.1))
    sampling = Sampling(
        hosts=(hosts, hosts),
        rack={"hpe-dl110-gen10plus": RACK - large, "hpe-dl345-gen10plus": large},
        fill=(fill, fill),
        demand=(demand, demand),
        mtbf_h=None,
    )
    drawn = sampled_worlds(sampling, 1, seed=1000 * i + k)[0]
    return SimulatedWorld(drawn.scenario, _without_gpus(drawn.workload))


def _without_gpus(workload: Workload) -> Workload:
    """The same load, wherever it finds CPU and memory: on ten hosts it is chance whether GPUs are enough."""
    flavour = workload.vms.flavour.copy()
    flavour[:, 4] = 0.0
    return replace(
        workload,
        gpu=np.zeros((workload.n_ticks, 0), np.float32),
        gpu_series=np.zeros(0, np.int32),
        vms=replace(workload.vms, flavour=flavour),
    )


def at_once(world: SimulatedWorld) -> float:
    """VMs at a time, on average."""
    vms = world.workload.vms
    return float((vms.departure_tick - vms.arrival_tick).sum()) / world.n_ticks


def together(runs: list[Played]) -> Played:
    """The fleets of a world as one."""
    return Played(
        sum(run.usd for run in runs),
        float(np.mean([run.unmet for run in runs])),
        max(run.slowest_s for run in runs),
    )


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
    labels: tuple[str, ...],
    files: AgentFiles,
    hosts: int,
    said: argparse.Namespace,
    first: dict[str, list[float]],
) -> None:
    """A line for each agent; ``first`` keeps what the first size's agents saved, world by world."""
    runs: dict[str, list[Played]] = {label: [] for label in (*BASELINES, *labels)}
    vms = []
    for i in range(said.worlds):
        fleets = [fleet(i, k, hosts) for k in range(max(1, TOGETHER // hosts))]
        vms += [at_once(one) for one in fleets]
        for label, done in runs.items():
            made = [make_agent(label, files if label in labels else None) for _ in fleets]
            done.append(together([play(one, who, said.ticks) for one, who in zip(fleets, made, strict=True)]))
    best = min(BASELINES, key=lambda label: sum(run.usd for run in runs[label]))
    for label in labels:
        saved = [1.0 - ours.usd / base.usd for ours, base in zip(runs[label], runs[best], strict=True)]
        kept = "–"
        if label in first:
            whole = float(np.mean(first[label]))
            share = float(np.mean(saved)) / whole
            beside = [(x - share * x0) / whole for x, x0 in zip(saved, first[label], strict=True)]
            kept = f"{100 * share:.0f} ± {100 * Estimate.of(beside).half_width:.0f} %"
        first.setdefault(label, saved)
        mean = Estimate.of(saved)
        interval = f"{100 * mean.mean:.1f} ± {100 * mean.half_width:.1f} %"
        unmet = ", ".join(f"{100 * np.mean([run.unmet for run in runs[who]]):.3f}" for who in (label, best))
        slowest = 1e3 * max(run.slowest_s for run in runs[label])
        print(
            f"| {hosts} | {np.mean(vms):.0f} | {label} | {best} | {interval} | {kept} | {unmet} | {slowest:.0f} |",
            flush=True,
        )


def main() -> None:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--policy", default=None)
    parser.add_argument("--worlds", type=int, default=8)
    parser.add_argument("--ticks", type=int, default=288)
    parser.add_argument("--hosts", type=int, nargs="+", default=[20, 10, 100, 1000])
    parser.add_argument("--agent", default="ham,rules")
    said = parser.parse_args()
    first: dict[str, list[float]] = {}
    print("| hosts | VMs | agent | best baseline | saved | kept | unmet %, of both | slowest tick ms |")
    print("| ---: | ---: | --- | --- | ---: | ---: | ---: | ---: |")
    for hosts in said.hosts:
        measure(tuple(said.agent.split(",")), AgentFiles(policy=said.policy), hosts, said, first)


if __name__ == "__main__":
    main()
