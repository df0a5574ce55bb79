"""A small cluster that a controller can drive, and the controller, put together by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from foreshade.adapters.app.control import explained
from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.adapters.simulated_durable.world import DurableSimulatedWorld
from foreshade.adapters.store.journal import StoreJournal
from foreshade.adapters.store.store import Store
from foreshade.agents.controller import Controller, Minds
from foreshade.agents.guard import Guard, GuardKnobs
from foreshade.agents.rules.rules import Rules
from foreshade.envs.order import Order
from foreshade.envs.simulated import SimulatedWorld
from tests import tiny_world

HOSTS, VMS = 4, 8


def simulated(**changes: Any) -> SimulatedWorld:
    """Four hosts, one more to rent, eight VMs of 1,000 to 2,000 MHz; nothing fails."""
    rng = np.random.default_rng(3)
    load = tiny_world.workload(
        rng.uniform(1_000, 2_000, VMS).tolist(),
        memory=rng.uniform(1_000, 3_000, VMS).tolist(),
        allocation=6_000.0,
    )
    rented = ({**tiny_world.MACHINE, "price_usd_h": 0.5, "provision_s": 60},)
    return SimulatedWorld(tiny_world.scenario(HOSTS, rented=rented, **changes), load)


def durable(
    folder: Path, before_step: Callable[[Order, str], str] = lambda _order, _step: "", **changes: Any
) -> DurableSimulatedWorld:
    """The same, kept in a folder; ``changes`` to its scenario."""
    return DurableSimulatedWorld(simulated(**changes), folder / "world.jsonl", before_step=before_step)


def journal(folder: Path) -> StoreJournal:
    """A journal beside it."""
    return StoreJournal(Store(folder / "control.db", power_safe=False), wall_s=lambda: 0.0)


def controller(world: DurableSimulatedWorld, kept: StoreJournal, **guard: Any) -> Controller:
    """The rules on it, without patience."""
    executor = PlanExecutor(
        world, kept, ExecutorKnobs(at_once=64, at_once_per_host=64), sleep=lambda _s: None
    )
    return Controller(world, kept, executor, Minds(Rules()), Guard(GuardKnobs(**guard)), explain=explained)
