"""Hosts that break, go into maintenance or wake up, and the scheduler that places VMs; 300 s a tick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foreshade import _core as core
from tests.reference.random_stream import RandomStream
from tests.worlds import (
    DESPAWN,
    POWER,
    SPAWN,
    App,
    Native,
    data_centre,
    filled,
    host,
    profile,
    rack,
    server,
    workload,
)

PENDING, BOOTING, RUNNING, VM_FAILED = 1, 2, 3, 7
OFF, HOST_BOOTING, ON, ASLEEP, WAKING, HOST_FAILED, MAINTENANCE = 0, 1, 2, 4, 5, 6, 9
SIZE = [4_000.0, 4_096.0, 0.0, 0.0, 0.0]


def placed(
    loads: list[list[float]],
    n_hosts: int = 3,
    arrival: list[int] | None = None,
    n_ticks: int = 12,
    **values: Any,
) -> Native:
    """VMs with the given flavours, an application of 1,000 MHz each."""
    apps = [App([1_000, 512, 0, 0]) for _ in loads]
    dc = data_centre(n_ticks, values.pop("hosts", [host() for _ in range(n_hosts)]), **values)
    return Native(dc, workload(n_ticks, apps, [(a, flavour) for a, flavour in enumerate(loads)], arrival))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # limits 10,000; sizes 4,000, 2,000, 7,000, 2,000
        (core.Scheduler.first_fit, [0, 0, 1, 0]),  # 0 has 4,000 left after two, not enough for the third
        (core.Scheduler.best_fit, [0, 0, 1, 1]),  # the fourth goes where 7,000 stand rather than 6,000
        (core.Scheduler.worst_fit, [0, 1, 2, 1]),  # always the emptiest
    ],
)
def test_the_scheduler_places_by_its_rule(rule: Any, expected: list[int]) -> None:
    loads = [[cpu, 512.0, 0.0, 0.0, 0.0] for cpu in (4_000.0, 2_000.0, 7_000.0, 2_000.0)]
    world = placed(loads, scheduler=rule)
    assert world.tick()["scheduled"] == 4
    np.testing.assert_array_equal(world.look().vms.host, expected)


def test_fullness_is_measured_against_each_hosts_own_limit() -> None:
    # 4,000 of 20,000 is emptier than 3,000 of 10,000
    loads = [[cpu, 512.0, 0.0, 0.0, 0.0] for cpu in (4_000.0, 3_000.0, 1_000.0)]
    world = placed(loads, hosts=[host(overcommit=[2.0, 1.0, 1.0, 1.0, 1.0]), host()])
    world.must(kind=SPAWN, vm=0, host=0)
    world.must(kind=SPAWN, vm=1, host=1)
    world.tick()
    assert world.look().vms.host[2] == 0


def test_vms_of_the_first_tick_run_at_once_and_later_ones_boot() -> None:
    # the second arrives with tick 1, boots for 30 s and is dark until then
    world = placed([SIZE, SIZE], arrival=[0, 1], profiles=[profile(boot_s=[30.0, 0.0, 0.0, 0.0])])
    assert world.tick()["unmet"][0] == 0
    assert list(world.look().vms.state) == [RUNNING, PENDING]
    last = world.tick()
    assert last["unmet"][0] == pytest.approx(1_000 * 30)
    assert last["dark_s"] == 30


MACHINE = {"boot_s": 180.0, "shutdown_s": 60.0, "sleep_enter_s": 10.0, "wake_s": 20.0}


@pytest.mark.parametrize(("target", "rising", "ready_s"), [(0.0, HOST_BOOTING, 180.0), (2.0, WAKING, 20.0)])
def test_a_vm_without_room_wakes_the_first_host_that_would_hold_it(
    target: float, rising: int, ready_s: float
) -> None:
    # hosts 1 and 2 are down when a VM arrives that host 0 cannot take; it waits until the tick after host 1
    # is on
    world = placed([[9_000.0, 512.0, 0, 0, 0], SIZE], arrival=[0, 2], models=[server(**MACHINE)])
    for h in (1, 2):
        world.must(kind=POWER, host=h, value=target)
    world.tick(2)
    world.sim.schedule()
    assert list(world.look().hosts.state) == [ON, rising, OFF if target == 0.0 else ASLEEP]
    last = world.tick()
    assert last["dark_s"] == 300
    assert world.look().hosts.since_s[1] == 300 - ready_s
    assert world.state.vms.state[1] == PENDING
    assert world.tick()["scheduled"] == 1
    assert world.look().vms.host[1] == 1


def test_two_waiting_vms_share_one_rising_host_where_it_holds_both() -> None:
    for cpu, woken in ((4_000.0, [HOST_BOOTING, OFF]), (6_000.0, [HOST_BOOTING, HOST_BOOTING])):
        loads = [[9_000.0, 512.0, 0, 0, 0], [cpu, 512.0, 0, 0, 0], [cpu, 512.0, 0, 0, 0]]
        world = placed(loads, arrival=[0, 2, 2], models=[server(**MACHINE)])
        for h in (1, 2):
            world.must(kind=POWER, host=h, value=0.0)
        world.tick(2)
        world.sim.schedule()
        assert list(world.look().hosts.state[1:]) == woken


def first_failure(seed: int, mtbf_h: float, which: int) -> float:
    """When the law's first draw lets the host fail, s."""
    return RandomStream(seed, 2 * which).exponential(mtbf_h * 3600)


def test_a_failing_host_loses_its_vms_which_boot_again_elsewhere() -> None:
    # mean 2 h; seed chosen so that host 0 fails in the first tick and host 1 after the second
    seed = next(s for s in range(10_000) if first_failure(s, 2, 0) < 300 and first_failure(s, 2, 1) > 900)
    fails = first_failure(seed, 2, 0)
    law = filled(core.Failures, {"mtbf_h": 2.0, "repair_h": 0.1, "recall": 0.0})
    apps = [App([1_000, 512, 0, 0])]
    dc = data_centre(
        4, [host(), host()], failures=law, profiles=[profile(boot_s=[30.0, 0.0, 0.0, 0.0])],
        models=[server(off_w=8.0)], scheduler=core.Scheduler.first_fit,
    )  # fmt: skip
    world = Native(dc, workload(4, apps, [(0, SIZE)]), seed)
    last = world.tick()
    state = world.look()
    assert list(state.hosts.state) == [HOST_FAILED, ON]
    assert state.hosts.since_s[0] == pytest.approx(300 - fails, abs=1e-3)
    assert (state.vms.state[0], last["host_failures"]) == (VM_FAILED, 1)
    assert last["unmet"][0] == pytest.approx(1_000 * (300 - fails))
    # 110 W with 1,000 of 10,000 MHz until the failure, 8 W after it; host 1 idles
    assert last["host_kwh"] * 3.6e6 == pytest.approx(110 * fails + 8 * (300 - fails) + 100 * 300, rel=1e-6)
    last = world.tick()
    assert (last["scheduled"], last["dark_s"]) == (1, 30)
    assert world.look().vms.host[0] == 1
    # repaired 360 s after the failure
    world.tick()
    assert world.look().hosts.state[0] == ON
    assert world.state.hosts.since_s[0] == pytest.approx(900 - fails - 360, abs=1e-3)


def test_an_announced_failure_raises_the_observed_hazard() -> None:
    # recall 1, no false alarms: p = 1, so the hazard is 1 / lead; before the precursor it is 0
    seed = next(s for s in range(10_000) if 1_000 < first_failure(s, 2, 0) < 1_150)
    law = filled(core.Failures, {"mtbf_h": 2.0, "repair_h": 1.0, "recall": 1.0, "lead_h": 0.1})
    world = placed([SIZE], n_hosts=1, failures=law)
    world.sim.reset(seed)
    stream = RandomStream(seed, 0)
    fails = stream.exponential(7_200)
    stream.uniform()
    begins = fails - 360 * (0.5 + stream.uniform())
    for k in range(4):
        hazard = float(world.look().hosts.hazard_per_h[0])
        assert hazard == pytest.approx(10.0 if begins <= 300 * k < fails else 0.0), k
        world.tick()
    assert world.look().hosts.state[0] == HOST_FAILED
    assert begins < 900  # the alarm stood at a tick's end


def test_maintenance_takes_the_vms_that_are_left_and_gives_the_host_back() -> None:
    window = filled(core.MaintenanceWindow, {"host": 0, "start_s": 100.0, "end_s": 400.0})
    world = placed([SIZE], n_hosts=1, maintenance=[window])
    last = world.tick()
    assert world.look().hosts.state[0] == MAINTENANCE
    assert world.state.vms.state[0] == VM_FAILED
    assert last["dark_s"] == 200
    assert last["host_kwh"] * 3.6e6 == pytest.approx(110 * 100 + 100 * 200)
    assert "host that is on" in world.do(kind=SPAWN, vm=0, host=0)[0]
    last = world.tick()
    assert world.look().hosts.state[0] == ON
    assert world.tick()["scheduled"] == 1


def test_a_window_in_force_at_the_start_keeps_vms_off_the_host() -> None:
    window = filled(core.MaintenanceWindow, {"host": 0, "start_s": 0.0, "end_s": 400.0})
    world = placed([SIZE], n_hosts=2, maintenance=[window], scheduler=core.Scheduler.first_fit)
    assert world.tick()["dark_s"] == 0
    assert world.look().vms.host[0] == 1


def test_a_host_repaired_in_a_rack_without_power_is_off() -> None:
    seed = next(s for s in range(10_000) if first_failure(s, 2, 0) < 300 and first_failure(s, 2, 1) > 3_600)
    law = filled(core.Failures, {"mtbf_h": 2.0, "repair_h": 0.1})
    world = placed([SIZE], hosts=[host(), host(rack=1)], racks=[rack(), rack()], failures=law)
    world.sim.reset(seed)
    world.must(kind=SPAWN, vm=0, host=1)
    world.tick()
    assert world.look().hosts.state[0] == HOST_FAILED
    world.must(kind=POWER, rack=0, value=0.0)
    world.tick(2)
    assert world.look().hosts.state[0] == OFF


def test_a_departing_vm_leaves_at_its_tick_at_once() -> None:
    dc = data_centre(4, [host()])
    apps = [App([1_000, 512, 0, 0]), App([500, 512, 0, 0])]
    world = Native(dc, workload(4, apps, [(0, SIZE), (1, SIZE)], departure=[1, 4]))
    assert world.tick()["demand"][0] == pytest.approx(1_500 * 300)
    assert list(world.look().vms.state) == [0, RUNNING]
    assert world.state.hosts.allocated[0, 0] == 4_000
    assert world.tick()["demand"][0] == pytest.approx(500 * 300)
    assert "the VM is gone" in world.do(kind=DESPAWN, vm=0)[0]
