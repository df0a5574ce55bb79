"""``foreshade bench control``: how long a tick of the controller takes, by stage, on a simulated inventory.

HAM and the rules decide each tick on the same state, the guard checks, the plan with every candidate of every
decision is journalled, and the snapshot is kept: everything but the execution. Seconds are of the process's CPU, all
threads, and of the wall clock.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from foreshade.adapters.app.control import explained
from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.adapters.simulated_durable.world import DurableSimulatedWorld
from foreshade.adapters.store.journal import StoreJournal
from foreshade.adapters.store.snapshots import write_snapshot
from foreshade.adapters.store.store import Store
from foreshade.agents.controller import Controller, Minds
from foreshade.agents.guard import Guard, GuardKnobs
from foreshade.agents.ham.agent import Ham
from foreshade.agents.rules.rules import Rules
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.snapshot import Snapshot
from foreshade.envs.workloads.spec import load_workload

_RACK = 20  # hosts


def measure(hosts: int, vms: int, ticks: int) -> dict[str, float]:
    """Seconds by stage: medians over the ticks, and the slowest tick from observe to plan."""
    with tempfile.TemporaryDirectory(prefix="foreshade-bench-") as folder:
        return _measure(world_of(hosts, vms, ticks + 1), Path(folder), ticks)


def world_of(hosts: int, vms: int, ticks: int) -> SimulatedWorld:
    """Equal hosts in racks of twenty under a generated company's load, forecast by the native engine."""
    load = load_workload(f"generated:enterprise?vms={vms}&days={ticks / 288:.4f}&seed=0")
    whole, rest = divmod(hosts, _RACK)
    fleet = [
        {"zone": "a", "racks": racks, "hosts": ({"server": "hpe-dl110-gen10plus", "count": count},)}
        for racks, count in ((whole, _RACK), (1 if rest else 0, rest))
        if racks
    ]
    scenario = Scenario.model_validate(
        {"name": "bench", "start": "2024-01-01T00:00:00Z", "workload": "by hand", "fleet": tuple(fleet)}
    )
    return SimulatedWorld(scenario, load, forecast="online")


def _measure(simulated: SimulatedWorld, folder: Path, ticks: int) -> dict[str, float]:
    world = DurableSimulatedWorld(simulated, folder / "world.jsonl")
    store = Store(folder / "control.db")
    kept = StoreJournal(store, wall_s=time.time)
    kept.say("mode", "advise", "bench")
    executor = PlanExecutor(world, kept, ExecutorKnobs(), sleep=time.sleep)
    parts: dict[str, list[float]] = {}
    for clock in (time.process_time, time.perf_counter):
        one = Controller(
            world,
            kept,
            executor,
            Minds(Rules(), Ham()),
            Guard(GuardKnobs()),
            stopwatch=clock,
            explain=explained,
        )
        name = "cpu" if clock is time.process_time else "wall"
        for tick in range(ticks // 2):
            begun = clock()
            record = one.tick()
            planned = clock()
            view = one.view
            if view is not None:
                snapshot = Snapshot.of(view.seen.state, view.seen.inventory, view.site, view.seen.now_s)
                write_snapshot(store, "bench", snapshot)
            kept_s = clock() - planned
            world.advance()
            if tick == 0:  # it loads the policy's kernels and the first window
                continue
            for stage, seconds in record.seconds.items():
                parts.setdefault(f"{stage}_{name}_s", []).append(seconds)
            parts.setdefault(f"observe_to_plan_{name}_s", []).append(planned - begun)
            parts.setdefault(f"keep_snapshot_{name}_s", []).append(kept_s)
    said = {key: float(np.median(values)) for key, values in parts.items()}
    for name in ("cpu", "wall"):
        said[f"slowest_observe_to_plan_{name}_s"] = max(parts[f"observe_to_plan_{name}_s"])
    said["memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    decided = [t.choices[0] for t in kept.ticks(ticks) if t.choices]  # the first tick waits for samples
    said["actions_per_tick"] = float(np.mean([sum(choice.actions.values()) for choice in decided]))
    world.close()
    store.close()
    return said
