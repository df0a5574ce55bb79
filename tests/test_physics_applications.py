"""How a load is split over those that serve it: weights, shadows, micro-VMs, spawned members, and nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foreshade import _core as core
from tests.worlds import (
    DESPAWN,
    MICROVM,
    MIGRATE,
    RESHAPE,
    SHADOW,
    SHIFT,
    SPAWN,
    App,
    Native,
    data_centre,
    host,
    profile,
    server,
    workload,
)

SMALL = [4_000.0, 4_096.0, 100.0, 100.0, 0.0]
ABSENT, PENDING, BOOTING, RUNNING, _, STOPPING = range(6)


def served(app: App, members: int = 1, n_ticks: int = 8, credit: float = 1.0, **values: Any) -> Native:
    """An application whose members (4,000 MHz, 4,096 MiB) stand on host 0; hosts 1 and 2 are empty."""
    slow = values.pop("hypervisor", {})
    dc = data_centre(
        n_ticks, [host(overcommit=[4.0] * 5) for _ in range(3)], profiles=[profile(**slow)],
        scheduler=core.Scheduler.first_fit, spare_slots=3, **values,
    )  # fmt: skip
    world = Native(dc, workload(n_ticks, [app], [(0, SMALL)] * members, credit=[credit] * members))
    world.sim.schedule()
    return world


def test_demand_follows_the_traffic_weights_and_part_of_the_memory_stays() -> None:
    # weights 1 : 2. Memory 4,000 MiB, floor ½, two members: 1,000 each, and 2,000 split 1 : 2
    world = served(App([6_000, 4_000, 60, 30], floor=0.5), members=2)
    world.must(kind=SHIFT, vm=1, value=2.0)
    last = world.tick()
    expected = [[2_000, 1_000 + 2_000 / 3, 20, 10, 0], [4_000, 1_000 + 4_000 / 3, 40, 20, 0]]
    np.testing.assert_allclose(world.look().vms.usage[:2], expected, rtol=1e-5)
    np.testing.assert_allclose(last["demand"], [6_000 * 300, 4_000 * 300, 60 * 300, 30 * 300, 0], rtol=1e-5)
    assert last["unmet"] == [0] * 5


def test_weights_are_finite_and_not_negative() -> None:
    world = served(App([6_000, 100, 0, 0]), members=2)
    for weight in (-1.0, float("nan"), float("inf"), 3e38):
        assert "out of range" in world.do(kind=SHIFT, vm=0, value=weight)[0]
    for v in range(2):
        world.must(kind=SHIFT, vm=v, value=1e6)
    world.tick()
    np.testing.assert_allclose(world.look().vms.usage[:2, 0], [3_000, 3_000])


def test_a_shadow_replays_its_share_and_nobody_wants_it() -> None:
    # fidelity 0.2 of 2,000 MHz, within the shadow's 500 MHz; memory: ⅛ of the floor's 2,000
    world = served(App([2_000, 4_000, 0, 0], floor=0.5))
    shadow = world.must(kind=SHADOW, vm=0, host=1, value=0.125, value2=0.2)
    last = world.tick()
    state = world.look()
    np.testing.assert_allclose(state.vms.usage[shadow], [400, 250, 0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(state.vms.allocation[shadow], [500, 512, 12.5, 12.5, 0])
    assert state.vms.primary[shadow] == 0
    np.testing.assert_allclose(last["demand"][:2], [2_000 * 300, 4_000 * 300], rtol=1e-5)
    assert last["late_mhz_s"] < 0.2 * 2_000 * 300  # of the primary alone


def test_a_shadow_takes_the_traffic_and_is_capped_at_its_size() -> None:
    world = served(App([2_000, 1_000, 0, 0], floor=0.5))
    shadow = world.must(kind=SHADOW, vm=0, host=1, value=0.125)
    world.tick()
    world.must(kind=SHIFT, vm=0, value=0.0)
    world.must(kind=SHIFT, vm=shadow, value=1.0)
    last = world.tick()
    np.testing.assert_allclose(world.look().vms.usage[[0, shadow], 0], [0, 500])
    assert last["unmet"][0] == pytest.approx(1_500 * 300)
    # grown to the primary's size it carries everything
    world.must(kind=RESHAPE, vm=shadow, allocation=SMALL)
    assert world.tick()["unmet"][0] == 0


def test_a_shadow_replays_nothing_while_its_primary_serves_nobody() -> None:
    world = served(App([2_000, 1_000, 0, 0]))
    shadow = world.must(kind=SHADOW, vm=0, host=1, value=0.125, value2=1.0)
    world.must(kind=SHIFT, vm=0, value=0.0)
    world.tick()
    assert world.look().vms.usage[shadow, 0] == 0


def test_a_shadow_goes_on_replaying_while_it_is_copied() -> None:
    world = served(App([2_000, 4_000, 0, 0], floor=1.0), hypervisor={"migration_mbit_s": 1.0})
    shadow = world.must(kind=SHADOW, vm=0, host=1, value=0.125, value2=0.2)
    world.tick()
    world.must(kind=MIGRATE, vm=shadow, host=2)
    world.tick()
    assert world.look().vms.state[shadow] == 4
    assert world.state.vms.usage[shadow, 0] == pytest.approx(400)


def test_a_shadow_ends_with_its_primary() -> None:
    world = served(App([2_000, 1_000, 0, 0]), members=2)
    shadow = world.must(kind=SHADOW, vm=1, host=1, value=0.125)
    world.must(kind=DESPAWN, vm=1)
    world.tick()
    assert list(world.look().vms.state[[1, shadow]]) == [ABSENT, ABSENT]


def test_micro_vms_carry_no_more_than_the_offloadable_share() -> None:
    # as large as a member, so weight 1 of 2 and half the load; only a quarter may be offloaded
    world = served(App([6_000, 100, 0, 0], offloadable=0.25))
    micro = world.must(kind=MICROVM, app=0, host=1, allocation=SMALL, value2=10_000.0)
    last = world.tick()
    np.testing.assert_allclose(world.look().vms.usage[[0, micro], 0], [4_000, 1_500])
    assert last["unmet"][0] == pytest.approx(500 * 300)


def test_what_may_be_offloaded_whole_is_served_by_micro_vms_alone() -> None:
    for offloadable, unmet in ((1.0, 0.0), (0.5, 3_000 * 300)):
        world = served(App([3_000, 100, 0, 0], offloadable=offloadable))
        world.must(kind=MICROVM, app=0, host=1, allocation=SMALL, value2=10_000.0)
        world.must(kind=SHIFT, vm=0, value=0.0)
        assert world.tick()["unmet"][0] == pytest.approx(unmet)


def test_a_micro_vm_expires_after_its_lifetime_and_frees_its_slot() -> None:
    # boots for 2 s, helps until 450 s: 6,000 MHz on 4,000 for 2 s of the first tick and 150 s of the second
    world = served(App([6_000, 100, 0, 0]), hypervisor={"boot_s": [0.0, 0.0, 0.0, 2.0]})
    micro = world.must(kind=MICROVM, app=0, host=1, allocation=SMALL, value2=450.0)
    assert world.tick()["unmet"][0] == pytest.approx(2_000 * 2)
    assert world.tick()["unmet"][0] == pytest.approx(2_000 * 150)
    assert world.look().vms.state[micro] == ABSENT
    assert world.must(kind=MICROVM, app=0, host=1, allocation=SMALL, value2=10.0) == micro


def test_a_vm_that_ends_within_a_tick_is_judged_by_what_it_wanted_until_then() -> None:
    # Weight 3,900 / 4,000: for 150 s the micro-VM wants 8,000 × 3.9 / 7.9 = 3,949.4 of its 3,900, 1.25 %
    # unmet: fine. The production VM then wants 8,000 of its 4,200: a violation.
    big = [4_200.0, 4_096.0, 100.0, 100.0, 0.0]
    world = served(
        App([8_000, 100, 0, 0]), models=[server(capacity=[20_000.0, 10_240.0, 100.0, 1_000.0, 0.0])]
    )
    world.must(kind=RESHAPE, vm=0, allocation=big)
    world.must(kind=MICROVM, app=0, host=1, allocation=[3_900.0, 1_024.0, 0.0, 0.0, 0.0], value2=150.0)
    last = world.tick()
    assert last["unmet"][0] == pytest.approx((8_000 * 3.9 / 7.9 - 3_900) * 150 + 3_800 * 150, rel=1e-5)
    assert last["sla_violations"] == 1


def test_a_spawned_member_shares_the_load_once_it_has_booted() -> None:
    # 6,000 MHz on 4,000 for the 30 s of the boot, in which the new VM burns half its allocation
    world = served(App([6_000, 100, 0, 0]), hypervisor={"boot_s": [30.0, 5.0, 1.0, 2.0]})
    spawned = world.must(kind=SPAWN, app=0, host=1, allocation=SMALL)
    assert world.look().vms.state[spawned] == BOOTING
    last = world.tick()
    assert last["unmet"][0] == pytest.approx(2_000 * 30)
    assert last["used_mhz_s"] == pytest.approx((4_000 + 2_000) * 30 + 6_000 * 270)
    np.testing.assert_allclose(world.look().vms.usage[[0, spawned], 0], [3_000, 3_000])


def test_a_despawned_member_hands_its_traffic_over_at_once_and_leaves_later() -> None:
    world = served(App([3_000, 100, 0, 0]), members=2, hypervisor={"shutdown_s": 310.0})
    world.must(kind=DESPAWN, vm=1)
    world.tick()
    assert world.look().vms.state[1] == STOPPING
    np.testing.assert_allclose(world.state.vms.usage[:2, 0], [3_000, 0])
    np.testing.assert_allclose(world.state.hosts.allocated[0, 0], 8_000)
    world.tick()
    assert world.look().vms.state[1] == ABSENT
    np.testing.assert_allclose(world.state.hosts.allocated[0, 0], 4_000)


def test_the_last_production_vm_of_an_application_cannot_be_despawned() -> None:
    world = served(App([3_000, 100, 0, 0]), members=2)
    world.must(kind=DESPAWN, vm=0)
    assert "last production VM" in world.do(kind=DESPAWN, vm=1)[0]


def test_a_load_that_nobody_serves_is_dark_and_unmet_in_whole() -> None:
    # credit 2: 3 GHz and 1,024 MiB for 1/12 h, and 1/12 h of darkness
    prices = {"unmet_usd_h": [0.6, 0.24, 0.0, 0.0, 0.0], "downtime_usd_h": 1.2}
    world = served(App([3_000, 1_024, 0, 0]), credit=2.0, prices=prices)
    world.must(kind=SHIFT, vm=0, value=0.0)
    last = world.tick()
    np.testing.assert_allclose(last["unmet"][:2], [3_000 * 300, 1_024 * 300])
    np.testing.assert_allclose(last["demand"], last["unmet"])
    assert last["dark_s"] == 300
    assert last["sla_violations"] == 1
    assert last["cost"]["unmet"] == pytest.approx(2 * (0.6 * 3 + 0.24) / 12)
    assert last["cost"]["downtime"] == pytest.approx(2 * 1.2 / 12)
    assert world.sim.worst_vm_unmet == pytest.approx(1.0)


def test_a_reshape_is_held_to_what_the_hypervisor_can_plug_and_the_host_can_hold() -> None:
    world = served(App([3_000, 2_000, 0, 0]), hypervisor={"cpu_down": False, "disk": False})
    world.tick()
    assert "hypervisor cannot" in world.do(kind=RESHAPE, vm=0, allocation=[3_000, 4_096, 100, 100, 0])[0]
    assert "hypervisor cannot" in world.do(kind=RESHAPE, vm=0, allocation=[4_000, 4_096, 50, 100, 0])[0]
    assert "below what" in world.do(kind=RESHAPE, vm=0, allocation=[4_000, 1_999, 100, 100, 0])[0]
    assert "does not fit" in world.do(kind=RESHAPE, vm=0, allocation=[40_001, 4_096, 100, 100, 0])[0]
    assert "out of range" in world.do(kind=RESHAPE, vm=0, allocation=[4_000, 0, 100, 100, 0])[0]
    world.must(kind=RESHAPE, vm=0, allocation=[40_000, 2_048, 100, 100, 0])
    np.testing.assert_allclose(world.look().hosts.allocated[0, :2], [40_000, 2_048])
    np.testing.assert_allclose(world.state.vms.flavour[0], SMALL)


def test_no_guest_grows_beyond_what_it_was_booted_with_and_a_clone_as_far_as_its_primary() -> None:
    world = served(App([2_000.0, 1_000.0, 10.0, 10.0]), guest_cpu=1.5)
    world.tick()
    grown = [6_000.0, *SMALL[1:]]
    assert "hypervisor cannot" in world.do(kind=RESHAPE, vm=0, allocation=[6_001.0, *SMALL[1:]])[0]
    world.must(kind=RESHAPE, vm=0, allocation=grown)
    clone = world.must(kind=SHADOW, vm=0, host=1, value=0.1)
    world.tick()
    size = [float(x) for x in world.look().vms.allocation[clone][1:]]
    assert "hypervisor cannot" in world.do(kind=RESHAPE, vm=clone, allocation=[6_001.0, *size])[0]
    world.must(kind=RESHAPE, vm=clone, allocation=[6_000.0, *size])
