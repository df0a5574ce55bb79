"""The contract of a world on three real hosts with real guests, every kind of action among it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from foreshade.envs.model.action import Boot, spawn
from foreshade.envs.order import Standing
from tests.contract_world import Stage, WorldContract
from tests.live.testbed import FRONT, SIZE, Testbed, get, in_fabric, settled, spawned


@pytest.fixture(scope="module")
def stage_of_all(testbed: Testbed) -> Iterator[Stage]:
    """A guest on the first host and one on the second; the third is empty."""
    testbed.sweep()
    world = testbed.world(power=True, rented=True)
    for host in (0, 1):
        spawned(world, host)
    yield Stage(
        world,
        lambda: time.sleep(0.5),
        timeout_s=90.0,
        size=SIZE,
        reshaped=lambda now: (1500.0, 128.0, *now[2:]),
    )
    world.close()
    testbed.sweep()


class TestContract(WorldContract):
    """On real hosts."""

    @pytest.fixture
    def stage(self, stage_of_all: Stage) -> Stage:  # type: ignore[override]
        stage_of_all.world.observe()
        return stage_of_all


@pytest.mark.parametrize("boot", [Boot.COLD, Boot.RESTORED])
def test_spawned_guest_serves_at_its_own_address(stage_of_all: Stage, boot: Boot) -> None:
    world = stage_of_all.world
    world.observe()
    order = world.order(spawn(0, 2, SIZE, boot), f"boot-{boot.name}")
    assert settled(world, order).standing is Standing.DONE
    world.observe()
    server = world._hands.traffic.servers("app")[order.vm]  # type: ignore[attr-defined]
    x, y = server.address.split(".")[2:]
    assert in_fabric(lambda: get(server.address)) == f"g-{x}-{y}"
    assert in_fabric(lambda: {get(FRONT, port=8080) for _ in range(12)}) >= {f"g-{x}-{y}"}
    assert world.compensate(order, 30.0).standing is Standing.UNTOUCHED


def test_spare_is_paused_and_resumed_in_no_time(stage_of_all: Stage) -> None:
    world = stage_of_all.world
    world.observe()
    kept = world.order(spawn(0, 2, SIZE, Boot.RESTORED, paused=True), "spare")
    assert settled(world, kept).standing is Standing.DONE
    world.observe()
    order = world.order(spawn(0, 2, SIZE, Boot.SPARE), "wake")
    assert order.vm == kept.vm
    assert world.carry_out(order, 30.0).standing is Standing.DONE  # by one call: nothing is waited for
    assert world.compensate(order, 30.0).standing is Standing.UNTOUCHED
    world.observe()
    assert world.order(spawn(0, 2, SIZE, Boot.SPARE), "again").vm == kept.vm  # it is one again
    assert world.compensate(kept, 30.0).standing is Standing.UNTOUCHED
