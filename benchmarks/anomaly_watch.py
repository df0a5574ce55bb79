"""What the detectors beside a world cost and say: CPU time a tick, alarms a day, surges found.

    python benchmarks/anomaly_watch.py --days 7 --factor 5

Plays the generated enterprise workload once. VMs that live from the start get one surge each after the third
day: their CPU demand is multiplied for an hour. Every alarm outside a surge counts as false, though generated
loads have bursts of their own.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

import numpy as np

from foreshade._core import AnomalyLabel
from foreshade.agents.baselines.registry import make_agent
from foreshade.envs.anomaly.watch import AnomalyWatch, WatchConfig
from foreshade.envs.model.action import Plan
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.workloads.spec import load_workload

TICKS_A_DAY = 288
SURGE_TICKS = 12


def main() -> None:
    """Parse, play, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--factor", type=float, default=5.0, help="of a surge's CPU demand")
    parser.add_argument("--agent", default="n-sigma-2")
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()

    load = load_workload(f"generated:enterprise?days={args.days}&seed={args.seed}")
    vms, apps = load.vms, load.apps
    rng = np.random.default_rng(0)
    stays = (vms.arrival_tick == 0) & (vms.departure_tick >= args.days * TICKS_A_DAY)
    chosen = np.flatnonzero(stays & (apps.members[vms.app] == 1))
    begins = rng.integers(3 * TICKS_A_DAY, (args.days - 1) * TICKS_A_DAY, len(chosen))
    demand = load.demand.copy()
    for vm, k in zip(chosen, begins, strict=True):
        demand[k : k + SURGE_TICKS, apps.series[vms.app[vm]], 0] *= args.factor

    scenario = load_scenario("enterprise").model_copy(update={"days": args.days})
    world = SimulatedWorld(scenario, replace(load, demand=demand))
    agent = make_agent(args.agent)
    agent.reset(site_of(world, 0))
    state = world.observe()
    n_vms, n_hosts = len(state.vms.state), len(state.hosts.state)
    configs = [WatchConfig(alarm_p=p, joint_vms=j) for p in (10**-2.25, 1e-3, 1e-4) for j in (False, True)]
    watches = [AnomalyWatch(n_vms, n_hosts, world.tick_s, config) for config in configs]
    spent = np.zeros(len(watches))
    alarms = np.zeros((len(watches), 2))
    labels = np.zeros((len(watches), load.n_ticks, n_vms), np.uint8)
    running, busy, world_s = 0, 0, 0.0
    while not world.done:
        begin = time.process_time()
        state = world.observe()
        world_s += time.process_time() - begin
        running += int(np.isin(state.vms.state, (VmState.RUNNING, VmState.MIGRATING)).sum())
        busy += int(((state.hosts.state == HostState.ON) & (state.hosts.n_vms > 0)).sum())
        # what is seen at tick k was played in tick k - 1
        surging = chosen[(state.tick > begins) & (state.tick <= begins + SURGE_TICKS)]
        for i, watch in enumerate(watches):
            begin = time.process_time()
            raised = watch.update(state)
            spent[i] += time.process_time() - begin
            alarms[i] += raised.vms.sum() - raised.vms[surging].sum(), raised.hosts.sum()
            labels[i, state.tick] = state.vms.anomaly
        actions = agent.act(state)
        begin = time.process_time()
        world.execute(Plan(state.tick, actions))
        world.advance()
        world_s += time.process_time() - begin
    ticks = world.metrics().ticks
    say = sys.stdout.write
    size = f"{running / ticks:.0f} running VMs, {busy / ticks:.1f} busy hosts, {len(chosen)} surges"
    say(f"{ticks} ticks, {size}\n")
    say(f"world without detectors: {1e3 * world_s / ticks:.2f} ms a tick\n")
    say("alarm_p  joint  ms/tick  false alarms/VM-day  alarms/host-day  VM time labelled  surges found\n")
    for i, config in enumerate(configs):
        found = sum(
            bool((labels[i, k + 1 : k + 1 + SURGE_TICKS, vm] == AnomalyLabel.SURGE).any())
            and labels[i, k, vm] == AnomalyLabel.NORMAL
            for vm, k in zip(chosen, begins, strict=True)
        )
        say(
            f"{config.alarm_p:7.1e}  {config.joint_vms!s:5}  {1e3 * spent[i] / ticks:7.2f}  "
            f"{alarms[i, 0] * TICKS_A_DAY / running:19.3f}  {alarms[i, 1] * TICKS_A_DAY / busy:15.3f}  "
            f"{(labels[i] > 0).sum() / running:16.2%}  {found / len(chosen):12.0%}\n"
        )


if __name__ == "__main__":
    main()
