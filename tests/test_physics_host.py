"""Caps, contention, swapping, response time and power of one host, worked out by hand on small worlds.

Unless a test says otherwise a host has 10,000 MHz, 10,240 MiB, 1,000 MiB/s and 1,000 Mbit/s, draws 100 W
idle and 200 W at full load, and a tick lasts 300 s.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.worlds import SPAWN, App, Native, data_centre, host, profile, server, workload

ROOMY = [4.0, 4.0, 4.0, 4.0, 1.0]


def one_host(vms: list[tuple[list[float], list[float]]], gpu: float | None = None, **values: Any) -> Native:
    """A host with VMs given as (flavour, want), each an application of its own."""
    apps = [App(want, gpu=gpu) for _, want in vms]
    dc = data_centre(4, [host(overcommit=ROOMY)], **values)
    return Native(dc, workload(4, apps, [(a, flavour) for a, (flavour, _) in enumerate(vms)]))


def test_power_is_read_from_straight_lines_between_the_points_of_the_curve() -> None:
    # u = 2,500 / 10,000 lies halfway between 130 W at 20 % and 160 W at 30 %: 145 W × 300 s
    steep = server(power_w=[100.0, 110.0, 130.0, 160.0, 200.0, 250.0, 300.0, 350.0, 400.0, 450.0, 500.0])
    world = one_host([([5_000, 1_024, 0, 0, 0], [2_500, 512, 0, 0])], models=[steep])
    assert world.tick()["host_kwh"] == pytest.approx(145 * 300 / 3.6e6)
    assert world.look().hosts.power_w[0] == pytest.approx(145)


def test_utilisation_counts_the_hypervisors_overhead_and_efficiency() -> None:
    # η = 0.5 leaves 5,000 MHz; 2,000 + 100 of them are used: u = 0.42, 142 W
    world = one_host(
        [([5_000, 1_024, 0, 0, 0], [2_000, 512, 0, 0])],
        profiles=[profile(efficiency=[0.5, 1.0, 1.0, 1.0, 1.0], vm_cpu_mhz=100.0)],
    )
    world.tick()
    assert world.look().hosts.power_w[0] == pytest.approx(142)
    assert world.state.hosts.usage[0, 0] == pytest.approx(2_100)


def test_gpus_add_their_idle_power_and_their_use() -> None:
    # two GPUs idle at 20 W, 1.5 of them busy at 230 W more each: 40 + 345; cpu at u = 0.1: 110 W
    card = server(capacity=[10_000.0, 10_240.0, 0.0, 1_000.0, 2.0], gpu_idle_w=20.0, gpu_peak_w=250.0)
    world = one_host([([5_000, 1_024, 0, 0, 2], [1_000, 512, 0, 0])], gpu=1.5, models=[card])
    world.tick()
    assert world.look().hosts.power_w[0] == pytest.approx(495)
    assert world.state.vms.usage[0, 4] == pytest.approx(1.5)


def test_a_vm_gets_no_more_than_its_allocation_and_the_rest_is_unmet() -> None:
    # cpu: 3,000 wanted, 2,000 allowed; disk: 70 wanted, 50 allowed; network fits
    world = one_host([([2_000, 1_024, 50, 100, 0], [3_000, 512, 70, 60])])
    last = world.tick()
    np.testing.assert_allclose(world.look().vms.usage[0], [2_000, 512, 50, 60, 0])
    np.testing.assert_allclose(last["unmet"], [1_000 * 300, 0, 20 * 300, 0, 0])
    np.testing.assert_allclose(last["demand"], [3_000 * 300, 512 * 300, 70 * 300, 60 * 300, 0])
    assert last["sla_violations"] == 1
    assert last["overloaded_s"] == 0


def test_scarce_cpu_is_shared_by_allocation_after_the_modest_are_met() -> None:
    # 12,500 wanted of 10,000. VM 0 wants 500 of its 2,000 and is met; 9,500 go to 12,000 of allocation: λ =
    # 19/24
    world = one_host(
        [
            ([2_000, 512, 0, 0, 0], [500, 256, 0, 0]),
            ([4_000, 512, 0, 0, 0], [4_000, 256, 0, 0]),
            ([8_000, 512, 0, 0, 0], [8_000, 256, 0, 0]),
        ]
    )
    last = world.tick()
    state = world.look()
    np.testing.assert_allclose(state.vms.usage[:, 0], [500, 4_000 * 19 / 24, 8_000 * 19 / 24], rtol=1e-5)
    np.testing.assert_allclose(state.vms.contention, [0, 5 / 24, 5 / 24], rtol=1e-5)
    assert state.hosts.contention[0] == pytest.approx(0.2)
    assert last["unmet"][0] == pytest.approx(2_500 * 300)
    assert last["overloaded_s"] == 300


def test_vms_without_a_resource_do_not_disturb_its_fair_shares() -> None:
    # disk: 600, none, 600, none, 100 of 300 wanted of 1,000. VM 4 is met; 900 go to two equal VMs: 450 each
    disks = [(600, 600), (0, 0), (600, 600), (0, 0), (300, 100)]
    world = one_host([([1_000, 512, disk, 0, 0], [100, 256, want, 0]) for disk, want in disks])
    world.tick()
    np.testing.assert_allclose(world.look().vms.usage[:, 2], [450, 0, 450, 0, 100], rtol=1e-6)


def test_a_host_whose_overheads_fill_it_is_overloaded_only_by_what_vms_want() -> None:
    for want, seconds in ((0, 0), (100, 300)):
        world = one_host(
            [([1_000, 512, 0, 0, 0], [want, 256, 0, 0])], profiles=[profile(vm_cpu_mhz=20_000.0)]
        )
        last = world.tick()
        assert last["overloaded_s"] == seconds
        assert last["unmet"][0] == want * 300


def test_swapping_slows_every_vm_and_leaves_memory_unmet() -> None:
    # M = 2 × 8,192 on 10,240 MiB: o = 0.6, s = 1 / (1 + 20 × 0.6) = 1/13. 1,300 MHz wanted become 100.
    # Unmet memory 6,144 MiB, half each.
    world = one_host(
        [([5_000, 10_240, 0, 0, 0], [1_300, 8_192, 0, 0])] * 2, profiles=[profile(oom_overflow=1.0)]
    )
    last = world.tick()
    state = world.look()
    np.testing.assert_allclose(state.vms.usage[:, 0], [100, 100], rtol=1e-5)
    np.testing.assert_allclose(state.vms.usage[:, 1], [8_192 - 3_072] * 2, rtol=1e-5)
    assert state.hosts.usage[0, 1] == pytest.approx(10_240)
    np.testing.assert_allclose(last["unmet"][:2], [2_400 * 300, 6_144 * 300], rtol=1e-5)
    assert last["oom_kills"] == 0


def test_overheads_are_not_swapped_so_vms_bear_all_of_the_overflow() -> None:
    # M = 2 × 8,192 + 2 × 512 = 17,408: 7,168 MiB unmet, 3,584 each
    world = one_host(
        [([5_000, 10_240, 0, 0, 0], [1_300, 8_192, 0, 0])] * 2,
        profiles=[profile(oom_overflow=1.0, vm_memory_mib=512.0)],
    )
    assert world.tick()["unmet"][1] == pytest.approx(7_168 * 300)
    np.testing.assert_allclose(world.look().vms.usage[:, 1], [4_608] * 2, rtol=1e-5)


def test_a_host_far_beyond_its_memory_loses_the_vm_that_uses_most() -> None:
    # o = (8,000 + 9,000) / 10,240 − 1 = 0.66 > 0.25: VM 1 goes at the tick's end and is placed anew in the
    # next
    world = one_host(
        [([1_000, 9_216, 0, 0, 0], [100, 8_000, 0, 0]), ([1_000, 9_216, 0, 0, 0], [100, 9_000, 0, 0])]
    )
    assert world.tick()["oom_kills"] == 1
    assert list(world.look().vms.state) == [3, 7]  # running, failed
    assert list(world.state.vms.host) == [0, -1]
    assert world.tick()["scheduled"] == 1


def test_all_hosts_are_judged_before_any_vm_is_killed() -> None:
    # Two members of one application use 10,700 MiB each: far too much for host 0's 6,144, a little too much
    # for host 1's 10,240 (o = 0.04 of 0.1). With member 0 lost, member 1 uses all of its 15,360; that is the
    # next tick's affair.
    small = server(capacity=[10_000.0, 6_144.0, 1_000.0, 1_000.0, 0.0])
    made = [host(overcommit=ROOMY, model=1), host(overcommit=ROOMY)]
    dc = data_centre(4, made, models=[server(), small], profiles=[profile(oom_overflow=0.1, swap_factor=1.0)])
    flavour = [1_000.0, 15_360.0, 0.0, 0.0, 0.0]
    world = Native(dc, workload(4, [App([500, 21_400, 0, 0])], [(0, flavour)] * 2))
    for v in range(2):
        world.must(kind=SPAWN, vm=v, host=v)
    assert world.tick()["oom_kills"] == 1
    assert list(world.look().vms.state) == [7, 3]


def test_late_share_of_one_core_follows_the_queue() -> None:
    # c = 1: L(ρ) = ρ·exp(−(1 − ρ)(S − 1)); ρ = 0.5, S = 5: 0.5·e⁻² of 5,000 MHz. 5,000 is below the knee of
    # 10,000.
    world = one_host([([10_000, 512, 0, 0, 0], [5_000, 256, 0, 0])], models=[server(cores=1)])
    assert world.tick()["late_mhz_s"] == pytest.approx(0.5 * math.exp(-2) * 5_000 * 300)


def test_late_demand_rises_from_the_knee_to_the_cap() -> None:
    # 64 cores at ρ = 0.45 queue for nothing. 4,500 of 5,000 is halfway from the knee (4,000) to the cap:
    # 500 / 0.2
    many = [server(cores=64)]
    world = one_host([([5_000, 512, 0, 0, 0], [4_500, 256, 0, 0])], models=many)
    assert world.tick()["late_mhz_s"] == pytest.approx(2_500 * 300)
    # at its cap all that a VM gets is late, and never more than that
    world = one_host([([1_000, 512, 0, 0, 0], [2_000, 256, 0, 0])], models=many)
    assert world.tick()["late_mhz_s"] == pytest.approx(1_000 * 300)


def test_a_full_host_serves_everything_late() -> None:
    world = one_host([([10_000, 512, 0, 0, 0], [10_000, 256, 0, 0])])
    last = world.tick()
    assert last["late_mhz_s"] == pytest.approx(10_000 * 300)
    assert last["unmet"][0] == 0


def test_unmet_demand_is_credited_by_resource_and_by_vm() -> None:
    # 1 GHz, 512 MiB over the cap, 100 MiB/s, 0.5 Gbit/s for 300 s = 1/12 h, credit 2
    prices = {"unmet_usd_h": [0.6, 0.24, 0.12, 0.48, 0.0], "late_usd_ghz_h": 1.2}
    dc = data_centre(2, [host()], prices)
    work = workload(2, [App([3_000, 1_024, 200, 600])], [(0, [2_000, 512, 100, 100, 0])], credit=[2.0])
    world = Native(dc, work)
    cost = world.tick()["cost"]
    assert cost["unmet"] == pytest.approx(2 * (0.6 + 0.24 / 2 + 0.12 + 0.48 / 2) / 12)
    assert cost["late"] == pytest.approx(1.2 * 2 / 12)  # 2 GHz at the cap
    assert world.sim.worst_vm_unmet == pytest.approx(1 / 3)
