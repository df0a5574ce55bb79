"""A snapshot played forward: as the cluster that it was taken of goes on, and with a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshade.adapters.simulated_durable.world import DurableSimulatedWorld
from foreshade.envs.errors import InputError
from foreshade.envs.forward import Forward
from foreshade.envs.model.action import PowerTarget, migrate, place, power
from foreshade.envs.model.state import VmState
from foreshade.envs.order import Order
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.snapshot import Snapshot
from tests import tiny_world
from tests.control_worlds import durable

TICKS = 6


def taken(world: DurableSimulatedWorld) -> Snapshot:
    return Snapshot.of(world.observe(), world.inventory(), world.site(), world.clock.now_s())


def test_without_a_plan_it_goes_on_as_the_cluster_does(tmp_path: Path) -> None:
    world = durable(tmp_path)
    for _ in range(3):
        world.advance()
    played = Forward(taken(world), TICKS).play(())
    cost = dict.fromkeys(played.cost_usd, 0.0)
    for _ in range(TICKS):
        for term, usd in world.advance().items():
            cost[term] += usd
    assert played.refused == ()
    assert played.cost_usd["energy"] == pytest.approx(cost["energy"], rel=0.01)
    assert sum(played.cost_usd.values()) == pytest.approx(sum(cost.values()), rel=0.02)


def test_a_plan_shows_what_it_saves_and_what_it_costs(tmp_path: Path) -> None:
    world = durable(tmp_path)
    world.advance()
    snapshot = taken(world)
    forward = Forward(snapshot, TICKS)
    moves = [world.order(migrate(vm, host), f"m{vm}") for vm, host in ((0, 1), (4, 2))]
    moved = forward.play(moves)
    without = forward.play(())
    assert moved.refused == ()
    assert moved.cost_usd["migration"] > without.cost_usd["migration"] == 0.0
    off = world.order(power(0, PowerTarget.OFF), "off")
    assert "power host0000" in forward.play([off]).refused[0]  # it is not empty
    assert forward.play(moves) == moved


def test_what_waits_for_a_host_can_be_placed(tmp_path: Path) -> None:
    load = tiny_world.workload([1_000.0, 1_000.0], arrival=[0, 2])
    world = DurableSimulatedWorld(SimulatedWorld(tiny_world.scenario(2), load), tmp_path / "w.jsonl")
    for _ in range(2):
        world.advance()
    assert world.observe().vms.state[1] == VmState.PENDING
    order = world.order(place(1, int(world.observe().vms.host[0])), "p")
    assert Forward(taken(world), TICKS).play([order]).refused == ()


def test_what_is_gone_is_told_and_not_played(tmp_path: Path) -> None:
    world = durable(tmp_path)
    world.advance()
    order = world.order(migrate(0, 3), "m")
    ghost = Order("g", order.kind, vm="ghost", host="host0003")
    played = Forward(taken(world), 1).play([ghost])
    assert played.refused == ("migrate ghost: VM ghost: expected it running in the snapshot, found none",)


def test_a_snapshot_without_vms_cannot_be_played(tmp_path: Path) -> None:
    load = tiny_world.workload([1_000.0], arrival=[5])
    world = DurableSimulatedWorld(SimulatedWorld(tiny_world.scenario(2), load), tmp_path / "w.jsonl")
    with pytest.raises(InputError, match="expected VMs that run"):
        Forward(taken(world), 1)
