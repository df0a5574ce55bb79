"""Churn: VMs rest after a move, imbalances have to last, and no move overloads its destination."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.agents.churn import ChurnKnobs
from foreshade.agents.managers.churn import ChurnManager, ChurnManagerKnobs
from foreshade.agents.managers.manager import Manager, Offer
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import PLACEMENT
from foreshade.envs.model.action import ActionKind, Plan, migrate, place
from foreshade.envs.model.state import VmState
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import Site, site_of
from foreshade.envs.workloads.spec import load_workload
from tests.golden.operations import Follow
from tests.tiny_world import N_TICKS, scenario, workload

TICK_S = 300.0


class Restless:
    """Wants one random VM moved to a random host every tick, whatever for."""

    name = "restless"

    def __init__(self, seed: int, moves: int = 3) -> None:
        self._dice, self._moves = random.Random(seed), moves

    def reset(self, site: Site) -> None:
        """Nothing to forget."""

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """Moves that are said to be worth a lot."""
        running = np.flatnonzero(state.vms.state == VmState.RUNNING).tolist()
        hosts = range(len(state.hosts.state))
        picked = self._dice.sample(running, min(self._moves, len(running)))
        return [
            Offer("migrate", (migrate(v, h),), "restless", vm=v, host=h, performance=1e3)
            for v in picked
            if (h := self._dice.choice(hosts)) != state.vms.host[v]
        ]

    def taken(self, offer: Offer) -> None:
        """Nothing to remember."""


def moves_of(world: SimulatedWorld, agent: Rules, ticks: int) -> list[tuple[int, int, int]]:
    """(tick, VM, destination) of every migration that the world began."""
    agent.reset(site_of(world, 0))
    found = []
    for tick in range(ticks):
        state = world.observe()
        actions = agent.act(state)
        outcomes = world.execute(Plan(tick, actions))
        found += [
            (tick, a.vm, a.host)
            for a, o in zip(actions, outcomes, strict=True)
            if a.kind is ActionKind.MIGRATE and o.accepted
        ]
        world.advance()
    return found


def shortest_rest(moves: Sequence[tuple[int, int, int]], knobs: ChurnKnobs) -> float:
    """Least time between two moves of a VM over what it has to rest; inf where none moved twice."""
    times: dict[int, list[float]] = {}
    for tick, vm, _ in moves:
        times.setdefault(vm, []).append(tick * TICK_S)
    shares = [
        (after - before) / min(knobs.cooldown_s * 2.0**n, knobs.most_cooldown_s)
        for at in times.values()
        for n, (before, after) in enumerate(pairwise(at))
    ]
    return min(shares, default=float("inf"))


def test_no_vm_moves_twice_within_its_cooldown() -> None:
    world = SimulatedWorld(load_scenario("enterprise"), load_workload("generated:enterprise?vms=120&days=1"))
    knobs = ChurnManagerKnobs(hold_ticks=1, quiet=0.9, low=0.9, high=0.9, destination_s=0)
    watched = moves_of(world, Rules(PLACEMENT, [Restless(1, 20), ChurnManager(knobs)]), 200)
    assert len(watched) > len({vm for _, vm, _ in watched}) > 10  # or nothing would have been held back
    assert shortest_rest(watched, knobs) >= 1.0
    world.reset(0)
    assert shortest_rest(moves_of(world, Rules(PLACEMENT, [Restless(1, 20)]), 100), knobs) < 0.5


def oscillating(managers: Sequence[Manager]) -> int:
    """Moves of a VM between two hosts whose loads change places every other tick."""
    high, low = [6_000.0, 6_000.0], [1_000.0, 1_000.0]
    load = workload([(high + low) * 20, (low + high) * 20, 3_500.0])
    world = SimulatedWorld(scenario(2, actions=("migrate",)), load)
    assert all(o.accepted for o in world.execute(Plan(0, [place(0, 0), place(1, 1), place(2, 0)])))
    world.advance()
    return len(moves_of(world, Rules(PLACEMENT, managers), N_TICKS - 1))


@pytest.mark.parametrize("hold", [2, 6])
def test_ping_pong_makes_at_most_one_move_per_hold_period(hold: int) -> None:
    knobs = ChurnManagerKnobs(hold_ticks=hold, cooldown_s=0, most_cooldown_s=0, destination_s=0)
    assert oscillating([Follow(), ChurnManager(knobs)]) <= N_TICKS // hold
    assert oscillating([Follow()]) > N_TICKS // hold


@pytest.mark.parametrize("seed", range(4))
def test_no_move_brings_its_destination_beyond_the_limit(seed: int) -> None:
    dice = np.random.default_rng(seed)
    load = workload(
        list(dice.uniform(300.0, 4_000.0, 14)),
        memory=list(dice.uniform(500.0, 20_000.0, 14)),
        allocation=24_000.0,
    )
    world = SimulatedWorld(scenario(5, overcommit={"cpu": 4, "memory": 2}, actions=("migrate",)), load)
    knobs = ChurnManagerKnobs(
        hold_ticks=1,
        cooldown_s=0,
        most_cooldown_s=0,
        destination_s=0,
        margin=0,
        quiet=0.85,
        low=0.85,
        limit=0.8,
    )
    guarded, free = (over_limit(world, managers) for managers in ([ChurnManager(knobs)], []))
    assert guarded[0] > 3  # moves were made
    assert guarded[1] == 0
    assert free[1] > 0


def over_limit(world: SimulatedWorld, managers: Sequence[Manager]) -> tuple[int, int]:
    """Migrations, and hosts that were below 80 % of CPU and memory and were brought beyond by what arrived."""
    world.reset(0)
    agent = Rules(PLACEMENT, [Restless(3, 6), *managers])
    agent.reset(site_of(world, 0))
    moves = over = 0
    before = np.zeros((5, 2))
    for tick in range(40):
        state = world.observe()
        share = state.hosts.usage[:, :2] / state.hosts.capacity[:, :2]
        arrived = {int(h) for h in state.vms.host[state.vms.since_move_s <= TICK_S].tolist()}
        over += sum(bool((share[h] > 0.8 + 1e-6).any() and (before[h] <= 0.8).all()) for h in arrived)
        before = share.copy()
        actions = agent.act(state)
        world.execute(Plan(tick, actions))
        moves += sum(a.kind is ActionKind.MIGRATE for a in actions)
        world.advance()
    return moves, over


def test_marks_out_of_order_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"expected quiet <= low <= high, found quiet 0.6, low 0.9, high 0.8"
    ):
        ChurnKnobs(high=0.8, low=0.9)
