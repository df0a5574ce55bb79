"""Warm spares: VMs that boot, pause and wait to be resumed; 300 s a tick."""

from __future__ import annotations

from typing import Any

import pytest

from foreshade import _core as core
from tests.worlds import DESPAWN, SPAWN, App, Native, data_centre, filled, host, profile, workload

BOOTING, RUNNING, PAUSED = 2, 3, 6
SIZE = [4_000.0, 4_096.0, 0.0, 0.0, 0.0]


def standing(n_apps: int = 1, **values: Any) -> Native:
    """Three hosts; applications of one VM that want 1,000 MHz; a cold boot takes 30 s, a spare's 5 s."""
    apps = [App([1_000, 512, 0, 0]) for _ in range(n_apps)]
    boots = profile(boot_s=[30.0, 20.0, 5.0, 0.0])
    dc = data_centre(12, [host() for _ in range(3)], profiles=[boots], spare_slots=4, **values)
    return Native(dc, workload(12, apps, [(a, SIZE) for a in range(n_apps)]))


def pause(world: Native) -> int:
    """A spare of application 0 on host 1."""
    return world.must(kind=SPAWN, app=0, host=1, allocation=SIZE, value2=1.0)


def test_a_spare_boots_pauses_holds_its_room_and_serves_nothing() -> None:
    world = standing()
    spare = pause(world)
    assert world.look().vms.state[spare] == BOOTING
    world.tick()
    last = world.tick()
    assert world.look().vms.state[spare] == PAUSED
    assert world.state.hosts.allocated[1, 0] == SIZE[0]
    assert world.state.vms.usage[spare, 0] == 0
    assert last["unmet"][0] == 0
    assert last["demand"][0] == pytest.approx(1_000 * 300)


def test_a_resumed_spare_serves_after_the_spare_boot_time() -> None:
    world = standing()
    spare = pause(world)
    world.tick()
    assert world.must(kind=SPAWN, app=0, host=1, allocation=SIZE, value=2.0) == spare
    assert world.look().vms.state[spare] == BOOTING
    world.tick()
    assert world.look().vms.state[spare] == RUNNING
    assert world.state.vms.demand[spare, 0] == pytest.approx(500)  # half of the application's load
    assert world.sim.totals()["spawned"] == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"host": 2}, "a paused spare"),
        ({"app": 1}, "a paused spare"),
        ({"allocation": [2_000.0, 4_096.0, 0.0, 0.0, 0.0]}, "a paused spare"),
        ({"value2": 1.0}, "a value is out of range"),
        ({"host": 9}, "number of a host"),
    ],
)
def test_only_a_paused_spare_of_that_application_and_size_on_that_host_can_be_resumed(
    change: dict[str, Any], reason: str
) -> None:
    world = standing(2)
    pause(world)
    resume: dict[str, Any] = {"kind": SPAWN, "app": 0, "host": 1, "allocation": SIZE, "value": 2.0}
    assert "a paused spare" in world.do(**resume)[0]  # it still boots
    world.tick()
    assert reason in world.do(**(resume | change))[0]
    if not reason:
        assert "a paused spare" in world.do(**resume)[0]  # once


def test_a_spare_is_no_heir_and_ends_with_its_host() -> None:
    window = filled(core.MaintenanceWindow, {"host": 1, "start_s": 400.0, "end_s": 500.0})
    world = standing(maintenance=[window])
    spare = pause(world)
    world.tick()
    assert "last production VM" in world.do(kind=DESPAWN, vm=0)[0]
    world.tick(2)
    assert world.look().vms.state[spare] == 0  # not waiting for another host
    assert (world.state.vms.state[0], world.sim.totals()["scheduled"]) == (RUNNING, 1)
