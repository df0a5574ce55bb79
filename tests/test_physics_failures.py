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


def test_overlapping_windows_of_a_host_end_with_the_last() -> None:
    # 100 to 700 s, 400 to 1,000 s, and 500 to 600 s within both; another host's window is its own
    windows = [(0, 100.0, 700.0), (0, 400.0, 1_000.0), (0, 500.0, 600.0), (1, 0.0, 650.0)]
    said = [
        filled(core.MaintenanceWindow, {"host": h, "start_s": start, "end_s": end})
        for h, start, end in windows
    ]
    world = placed([SIZE], n_hosts=3, maintenance=said)
    seen = []
    for _ in range(4):
        world.tick()
        seen.append(list(world.look().hosts.state[:2]))
    assert seen == [[MAINTENANCE, MAINTENANCE], [MAINTENANCE, MAINTENANCE], [MAINTENANCE, ON], [ON, ON]]
    assert world.state.hosts.since_s[0] == 200  # back at 1,000 s


def test_a_window_that_follows_another_without_a_gap_keeps_the_host() -> None:
    for order in (1, -1):
        windows = [(0, 100.0, 400.0), (0, 400.0, 700.0)][::order]
        said = [
            filled(core.MaintenanceWindow, {"host": h, "start_s": start, "end_s": end})
            for h, start, end in windows
        ]
        world = placed([SIZE], n_hosts=2, maintenance=said)
        world.tick(2)
        assert world.look().hosts.state[0] == MAINTENANCE
        world.tick()
        assert world.look().hosts.state[0] == ON


def long_law(mtbf_h: float, n_hosts: int, n_ticks: int, **law: float) -> Native:
    """Idle hosts that fail and are repaired at once, for as many ticks; hazards are all there is to see."""
    failures = filled(core.Failures, {"mtbf_h": mtbf_h, "repair_h": 0.01} | law)
    dc = data_centre(n_ticks, [host() for _ in range(n_hosts)], failures=failures)
    return Native(dc, workload(n_ticks, [App([0, 0, 0, 0])], [(0, SIZE)]), seed=5)


def test_precursors_come_at_their_declared_recall_precision_and_lead() -> None:
    n_hosts, n_ticks, lead_h = 200, 1_200, 2.0
    world = long_law(
        50.0, n_hosts, n_ticks, recall=0.7, false_alarms_per_host_day=0.2, lead_h=lead_h
    )  # 0.48 failures a host and day
    hazard, state = np.zeros((n_ticks, n_hosts)), np.zeros((n_ticks, n_hosts))
    failed_since = np.zeros((n_ticks, n_hosts))
    for k in range(n_ticks):
        shown = world.look().hosts
        hazard[k], state[k], failed_since[k] = shown.hazard_per_h, shown.state, shown.since_s
        alarmed = shown.hazard_per_h > 0.02
        # the confidence is the precision under an alarm, the recall without one
        np.testing.assert_allclose(shown.hazard_confidence[alarmed], 0.336 / (0.336 + 0.2), rtol=1e-5)
        np.testing.assert_allclose(shown.hazard_confidence[~alarmed], 0.7, rtol=1e-6)
        world.tick()
    failures = world.sim.totals()["host_failures"]
    assert failures > 300
    # what the hazard promises over time is what happens: within four standard deviations of a Poisson count
    assert abs(hazard.sum() / 12 - failures) < 4 * np.sqrt(failures)
    # a failure shows as a state that began within the last tick; an announced one was alarmed the tick before
    began = (failed_since[1:] < 300.0) & (failed_since[:-1] > 300.0)
    announced = (hazard[:-1] > 0.02)[began].mean()
    assert announced == pytest.approx(0.7, abs=0.06)
    # an alarm lasts as long as the lead on average, announced or false
    alarms = np.diff((hazard > 0.02).astype(int), axis=0)
    mean_h = (hazard > 0.02).sum() / 12 / max(1, (alarms > 0).sum())
    assert mean_h == pytest.approx(lead_h, rel=0.2)


def test_a_failure_without_a_precursor_is_unknown_until_it_happens() -> None:
    law = {"recall": 0.5, "false_alarms_per_host_day": 1.0, "lead_h": 0.5}
    plain, perturbed = (long_law(4.0, 6, 100, **law) for _ in range(2))
    perturbed.sim.postpone_silent_failures(1e9)
    parted = None
    silent = 0
    for k in range(100):
        ours, theirs = plain.look(), perturbed.look()
        columns = [name for name in dir(ours.hosts) if not name.startswith("_")]
        same = all(np.array_equal(getattr(ours.hosts, name), getattr(theirs.hosts, name)) for name in columns)
        if not same:
            parted = k
            break
        silent = plain.sim.totals()["host_failures"] - perturbed.sim.totals()["host_failures"]
        assert silent == 0, k
        plain.tick()
        perturbed.tick()
    assert parted is not None
    assert plain.sim.totals()["host_failures"] == perturbed.sim.totals()["host_failures"] + 1
