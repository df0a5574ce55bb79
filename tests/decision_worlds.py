"""Worlds for the tests of the environment: one by hand, and the shipped scenarios where their data is."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from foreshade.envs.candidates import DEFAULT
from foreshade.envs.decision import Decision
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.stock_world import simulated_world
from foreshade.envs.workloads.workload import Workload
from tests import tiny_world

SHORT = Decision(
    candidates=DEFAULT.model_copy(update={"decisions": 6, "settle_ticks": 3}),
    episode_ticks=(12, 30),
    random_start=True,
    placed=True,
    price_spread=3.0,
)
_HAS_DATA = pytest.mark.skipif("FORESHADE_DATA" not in os.environ, reason="needs the public traces")
ALL = [
    "tiny",
    "enterprise",
    *(pytest.param(name, marks=[pytest.mark.realdata, _HAS_DATA]) for name in ("planetlab", "bitbrains")),
]


def tiny() -> SimulatedWorld:
    """Four hosts, one of them rented, twelve VMs of swinging demand; some come late, some leave."""
    rng = np.random.default_rng(0)
    swing = [
        (1_500 + 1_300 * np.sin(np.arange(tiny_world.N_TICKS) / 6 + phase)).tolist()
        for phase in rng.uniform(0, 6, 12)
    ]
    load = tiny_world.workload(
        swing,
        memory=rng.uniform(1_000, 9_000, 12).tolist(),
        allocation=12_000.0,
        arrival=[0] * 10 + [20, 30],
        departure=[tiny_world.N_TICKS] * 9 + [25, 40, tiny_world.N_TICKS],
    )
    load.vms.flavour[:3, 0] = 2_400.0  # these want more now and then, so that there is something to grow
    rented = ({**tiny_world.MACHINE, "price_usd_h": 0.5, "provision_s": 300},)
    failures = {"mtbf_h": 40, "repair_h": 0.5, "false_alarms_per_host_day": 2}
    said = tiny_world.scenario(3, rented=rented, failures=failures, overcommit={"cpu": 4, "memory": 1.2})
    return SimulatedWorld(said, load)


@cache
def _stock(name: str) -> tuple[Scenario, Workload]:
    world = simulated_world(name)
    return world.scenario, world.workload


def world(name: str) -> SimulatedWorld:
    return tiny() if name == "tiny" else SimulatedWorld(*_stock(name))


def random_valid(rng: np.random.Generator, masks: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(n,) a row of each mask, any but wait four times in five where there is one."""
    weight = masks.astype(float) + 0.0
    weight[:, 0] = np.maximum(0.2 * weight[:, 1:].sum(axis=1), 1e-9)
    chance = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
    return (rng.random((len(masks), 1)) >= chance).sum(axis=1).clip(0, masks.shape[1] - 1)
