"""Pre-copy worked out by hand. A link of 838.8608 Mbit/s carries 100 MiB/s; setup takes 2 s, resume 0.1 s."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foreshade import _core as core
from tests.worlds import (
    DESPAWN,
    MIGRATE,
    POWER,
    RESHAPE,
    SHADOW,
    SPAWN,
    App,
    Native,
    data_centre,
    filled,
    host,
    profile,
    rack,
    workload,
)

LINK = 838.8608  # Mbit/s = 100 MiB/s
RUNNING, MIGRATING, FAILED = 3, 4, 7


def world_of(
    memory: list[float],
    hosts: int = 3,
    cpu: float = 2_500.0,
    prices: dict[str, Any] | None = None,
    **values: Any,
) -> Native:
    """VMs of 5,000 MHz on host 0 (first fit), each using the given memory and half its cpu."""
    carrier = {"migration_mbit_s": LINK, "migration_setup_s": 2.0, "downtime_limit_s": 0.3, "resume_s": 0.1}
    carrier |= values.pop("carrier", {})
    made = values.pop("made", [host(overcommit=[4.0] * 5) for _ in range(hosts)])
    dc = data_centre(
        6,
        made,
        prices,
        profiles=[profile(**carrier)],
        scheduler=core.Scheduler.first_fit,
        spare_slots=2,
        **values,
    )
    apps = [App([cpu, mib, 0, 0]) for mib in memory]
    world = Native(dc, workload(6, apps, [(a, [5_000, 4_096, 0, 0, 0]) for a in range(len(memory))]))
    world.sim.schedule()
    return world


def moved_at(world: Native, vm: int) -> float:
    """When the VM arrived, seconds from the start."""
    state = world.look()
    return float(state.time_s - state.vms.since_move_s[vm])


def test_a_copy_converges_until_the_rest_fits_the_downtime_limit() -> None:
    # V₀ = 2,000 MiB; D = 0.01 × 2,000 × ½ = 10 MiB/s; X = 200. Rounds: 20 s leave 200, 2 s leave 20 ≤ 100 ×
    # 0.3. Downtime 0.2 + 0.1; there at 2 + 20 + 2 + 0.3 = 24.3 s.
    world = world_of([2_000.0], carrier={"dirty_share_per_s": 0.01, "working_set": 0.1})
    world.must(kind=MIGRATE, vm=0, host=1)
    last = world.tick()
    assert last["migration_downtime_s"] == pytest.approx(0.3, rel=1e-4)
    assert moved_at(world, 0) == pytest.approx(24.3, abs=1e-3)
    assert world.state.vms.host[0] == 1
    np.testing.assert_array_equal(world.state.hosts.n_vms, [0, 1, 0])
    np.testing.assert_allclose(world.state.hosts.allocated[:, 0], [0, 5_000, 0])


def test_a_copy_that_does_not_converge_stops_after_its_rounds() -> None:
    # D = 0.1 × 2,000 × ½ = 100 MiB/s, so every round leaves X = 200: 20 + 2 + 2 + 2 s, downtime 2.1 s,
    # there at 30.1 s
    world = world_of([2_000.0], carrier={"dirty_share_per_s": 0.1, "working_set": 0.1, "max_rounds": 4})
    world.must(kind=MIGRATE, vm=0, host=1)
    assert world.tick()["migration_downtime_s"] == pytest.approx(2.1, rel=1e-4)
    assert moved_at(world, 0) == pytest.approx(30.1, abs=1e-3)


def test_a_starved_vm_dirties_its_memory_slower() -> None:
    # Four VMs want 5,000 MHz each of 10,000: each gets 2,500, half its allocation, and dirties like the
    # first test's
    world = world_of([2_000.0] * 4, cpu=5_000.0, carrier={"dirty_share_per_s": 0.01, "working_set": 0.1})
    world.must(kind=MIGRATE, vm=0, host=1)
    assert world.tick()["migration_downtime_s"] == pytest.approx(0.3, rel=1e-4)


def test_slow_down_and_downtime_are_unmet_because_of_migration() -> None:
    # 24.3 s at 0.9 × 2,500 MHz, of which the last 0.3 s are dark: 250 × 24.3 + 2,250 × 0.3
    carrier = {"dirty_share_per_s": 0.01, "working_set": 0.1, "migration_slowdown": 0.1}
    world = world_of([2_000.0], carrier=carrier, prices={"migration_usd": 0.02, "downtime_usd_h": 36.0})
    world.must(kind=MIGRATE, vm=0, host=1)
    last = world.tick()
    unmet = 250 * 24.3 + 2_250 * 0.3
    assert last["migration_unmet_mhz_s"] == pytest.approx(unmet, rel=1e-4)
    assert last["unmet"][0] == pytest.approx(unmet, rel=1e-4)
    assert last["dark_s"] == pytest.approx(0.3, rel=1e-4)
    assert last["cost"]["migration"] == pytest.approx(0.02)
    assert last["cost"]["downtime"] == pytest.approx(0.3 / 3600 * 36, rel=1e-4)
    assert last["migrations"] == 1


def test_disk_and_network_stand_still_during_the_downtime_too() -> None:
    # resuming takes 0.1 s; 20 MiB/s and 40 Mbit/s were served until then, memory stays where it is
    dc = data_centre(
        2,
        [host(), host()],
        {"unmet_usd_h": [0.0, 9.0, 3.6, 7.2, 0.0]},
        profiles=[profile(migration_mbit_s=LINK, resume_s=0.1)],
    )
    world = Native(dc, workload(2, [App([2_500, 1_000, 20, 40])], [(0, [5_000, 4_096, 50, 50, 0])]))
    world.must(kind=SPAWN, vm=0, host=0)
    world.must(kind=MIGRATE, vm=0, host=1)
    last = world.tick()
    np.testing.assert_allclose(last["unmet"], [250, 0, 2, 4, 0], rtol=1e-4)
    # 2 MiB/s·s at 3.6 USD per 100 MiB/s·h and 4 Mbit/s·s at 7.2 USD per Gbit/s·h
    assert last["cost"]["unmet"] == pytest.approx(2 / 100 / 1_000 + 4 / 1_000 / 500, rel=1e-4)


def test_two_copies_share_the_sources_link_and_the_second_speeds_up_when_the_first_stops() -> None:
    # 1,000 and 2,000 MiB at 50 MiB/s from 2 s: the first is sent at 22 s, the other has 1,000 left for 10 s
    # at 100
    world = world_of([1_000.0, 2_000.0])
    world.must(kind=MIGRATE, vm=0, host=1)
    world.must(kind=MIGRATE, vm=1, host=2)
    world.tick()
    assert moved_at(world, 0) == pytest.approx(22.1, abs=1e-3)
    assert moved_at(world, 1) == pytest.approx(32.1, abs=1e-3)


def test_an_uplink_between_racks_limits_what_crosses_it() -> None:
    # the uplinks carry 50 MiB/s: 20 s across, 10 s within the rack
    racks = [rack(uplink_mbit_s=LINK / 2), rack(uplink_mbit_s=LINK / 2)]
    made = [host(rack=0, overcommit=[4.0] * 5), host(rack=0), host(rack=1)]
    for destination, arrival in ((1, 12.1), (2, 22.1)):
        world = world_of([1_000.0], made=made, racks=racks)
        world.must(kind=MIGRATE, vm=0, host=destination)
        world.tick()
        assert moved_at(world, 0) == pytest.approx(arrival, abs=1e-3)


def test_migrations_beyond_the_hosts_limit_wait_with_their_room_reserved() -> None:
    # one at a time: 2 + 10 + 0.1 = 12.1 s, then 2 + 20 + 0.1 s more
    world = world_of([1_000.0, 2_000.0], carrier={"max_concurrent": 1})
    world.must(kind=MIGRATE, vm=0, host=1)
    world.must(kind=MIGRATE, vm=1, host=2)
    state = world.look()
    np.testing.assert_array_equal(state.hosts.arriving, [0, 1, 1])
    np.testing.assert_allclose(state.hosts.allocated[:, 0], [10_000, 5_000, 5_000])
    world.tick()
    assert moved_at(world, 0) == pytest.approx(12.1, abs=1e-3)
    assert moved_at(world, 1) == pytest.approx(34.2, abs=1e-3)


def test_a_copy_goes_on_across_ticks_and_uses_cpu_and_network_on_both_ends() -> None:
    # 4,000 MiB at 5 MiB/s (41.943 Mbit/s) take 800 s: 2 MHz per Mbit/s on either side
    world = world_of([4_000.0], carrier={"migration_mbit_s": LINK / 20, "migration_cpu_mhz_per_mbit": 2.0})
    world.must(kind=MIGRATE, vm=0, host=1)
    world.tick(2)
    state = world.look()
    assert (state.vms.state[0], state.vms.host[0], state.vms.destination[0]) == (MIGRATING, 0, 1)
    np.testing.assert_allclose(state.hosts.usage[:, 0], [2_500 + LINK / 10, LINK / 10, 0], rtol=1e-5)
    np.testing.assert_allclose(state.hosts.usage[:, 1], [4_000, 4_000, 0], rtol=1e-5)
    np.testing.assert_allclose(state.hosts.usage[:, 3], [LINK / 20, LINK / 20, 0], rtol=1e-5)
    world.tick()
    assert moved_at(world, 0) == pytest.approx(802.1, abs=2e-3)


def maintained(which: int) -> Native:
    """A copy from host 0 to host 1 that takes 20 s while ``which`` goes into maintenance at 10 s."""
    window = filled(core.MaintenanceWindow, {"host": which, "start_s": 10.0, "end_s": 5_000.0})
    world = world_of([2_000.0], maintenance=[window])
    world.must(kind=MIGRATE, vm=0, host=1)
    return world


def test_a_vm_stays_when_its_destination_fails() -> None:
    world = maintained(1)
    last = world.tick()
    state = world.look()
    assert (state.vms.state[0], state.vms.host[0], state.vms.destination[0]) == (RUNNING, 0, -1)
    assert (last["migrations_failed"], last["migration_downtime_s"]) == (1, 0)
    np.testing.assert_array_equal(state.hosts.arriving, [0, 0, 0])
    np.testing.assert_allclose(state.hosts.allocated[:, 0], [5_000, 0, 0])


def test_a_vm_is_lost_when_its_source_fails() -> None:
    world = maintained(0)
    last = world.tick()
    state = world.look()
    assert (state.vms.state[0], state.vms.host[0], state.vms.destination[0]) == (FAILED, -1, -1)
    assert last["migrations_failed"] == 1
    np.testing.assert_allclose(state.hosts.allocated, 0)
    assert last["dark_s"] == pytest.approx(290)


def test_what_cannot_be_migrated_is_refused() -> None:
    world = world_of([1_000.0], made=[host(overcommit=[4.0] * 5), host(), host(overcommit=[0.4] * 5)])
    assert "number of a VM" in world.do(kind=MIGRATE, vm=9, host=1)[0]
    assert "the VM is gone" in world.do(kind=MIGRATE, vm=1, host=1)[0]
    assert "already stands" in world.do(kind=MIGRATE, vm=0, host=0)[0]
    assert "number of a host" in world.do(kind=MIGRATE, vm=0, host=3)[0]
    assert "does not fit" in world.do(kind=MIGRATE, vm=0, host=2)[0]
    world.must(kind=MIGRATE, vm=0, host=1)
    assert "migrating" in world.do(kind=MIGRATE, vm=0, host=1)[0]
    assert "migrating" in world.do(kind=DESPAWN, vm=0)[0]
    assert "migrating" in world.do(kind=RESHAPE, vm=0, allocation=[4_000, 4_096, 0, 0, 0])[0]
    assert "empty host" in world.do(kind=POWER, host=1, value=0.0)[0]
    assert world.tick()["refused"] == 9


def test_a_primary_does_not_join_its_shadow() -> None:
    world = world_of([1_000.0])
    shadow = world.must(kind=SHADOW, vm=0, host=1, value=0.125)
    assert "a shadow may not stand" in world.do(kind=MIGRATE, vm=0, host=1)[0]
    world.tick()
    world.must(kind=MIGRATE, vm=0, host=2)
    assert "a shadow may not stand" in world.do(kind=MIGRATE, vm=shadow, host=2)[0]
    assert "a shadow may not stand" in world.do(kind=MIGRATE, vm=shadow, host=0)[0]


def test_several_racks_need_uplinks() -> None:
    with pytest.raises(ValueError, match="uplink"):
        world_of([1_000.0], racks=[rack(), rack(uplink_mbit_s=0.0)])
