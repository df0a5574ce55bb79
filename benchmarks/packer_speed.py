"""Milliseconds of CPU time per tick that the packers take to decide, up to 1,000 hosts and 10,000 VMs.

python benchmarks/packer_speed.py
"""

from __future__ import annotations

import time

import numpy as np

from foreshade.agents.baselines.expected_cost import ExpectedCost
from foreshade.agents.baselines.n_sigma import NSigma
from foreshade.envs.model.action import Plan
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.workloads.workload import Workload, WorkloadApps, WorkloadVms


def world_of(n_hosts: int, n_vms: int, n_ticks: int, seed: int = 0) -> SimulatedWorld:
    """Equal hosts that the VMs load to a quarter, each around a level of its own."""
    rng = np.random.default_rng(seed)
    scenario = Scenario.model_validate(
        {
            "name": "speed",
            "start": "2024-01-01T00:00:00Z",
            "ticks": n_ticks,
            "needs": "planetlab",
            "fleet": (
                {
                    "zone": "a",
                    "racks": max(1, n_hosts // 20),
                    "hosts": ({"server": "hpe-dl110-gen10plus", "count": min(n_hosts, 20)},),
                },
            ),
        }
    )
    level = 73_600 * 0.25 * n_hosts / n_vms * rng.lognormal(0.0, 0.6, n_vms)
    demand = np.zeros((n_ticks, n_vms, 4), dtype=np.float32)
    demand[:, :, 0] = level * rng.lognormal(0.0, 0.3, (n_ticks, n_vms))
    demand[:, :, 1] = 4096.0
    flavour = np.tile(np.array([0, 8192.0, 100.0, 1000.0, 0.0], dtype=np.float32), (n_vms, 1))
    flavour[:, 0] = demand[:, :, 0].max(axis=0) * 1.5
    rows = np.arange(n_vms, dtype=np.int32)
    names = tuple(str(v) for v in range(n_vms))
    workload = Workload(
        "speed",
        "generated",
        0,
        300,
        demand,
        np.zeros((n_ticks, 0), dtype=np.float32),
        np.zeros(0, dtype=np.int32),
        WorkloadVms(
            names,
            rows,
            flavour,
            np.zeros(n_vms, dtype=np.int32),
            np.full(n_vms, n_ticks, dtype=np.int32),
            np.ones(n_vms, dtype=np.float32),
        ),
        WorkloadApps(
            names,
            rows,
            np.ones(n_vms, dtype=np.int32),
            np.full(n_vms, 0.5, dtype=np.float32),
            np.zeros(n_vms, dtype=np.float32),
        ),
    )
    return SimulatedWorld(scenario, workload)


def main() -> None:
    print("| hosts x VMs | start | agent | first tick ms | mean ms | worst later ms | moves |")
    print("|---|---|---|---|---|---|---|")
    for n_hosts, n_vms in ((20, 400), (40, 1_052), (1_000, 10_000)):
        for spread in (False, True):
            for agent in (NSigma(), ExpectedCost()):
                world = world_of(n_hosts, n_vms, 24)
                if spread:  # the world's scheduler has spread them: a whole consolidation is to be planned
                    world.observe()
                    world.advance()
                agent.reset(site_of(world, 0))
                spent = []
                while not world.done:
                    state = world.observe()
                    begin = time.thread_time()
                    actions = agent.act(state)
                    spent.append(1e3 * (time.thread_time() - begin))
                    world.execute(Plan(state.tick, actions))
                    world.advance()
                start = "spread" if spread else "empty"
                print(
                    f"| {n_hosts} x {n_vms} | {start} | {agent.name} | {spent[0]:.1f} | "
                    f"{np.mean(spent):.1f} | {max(spent[1:]):.1f} | {world.metrics().migrations} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
