"""Small days of CloudSim with figures worked out by hand from its rules."""

from __future__ import annotations

import numpy as np
import pytest

from foreshade._core import CloudSimPolicy
from foreshade.envs.cloudsim import CloudSimWorld, Method, simulate
from foreshade.envs.errors import ActionError, InputError, SimulationError, WorkloadError
from foreshade.envs.model.action import Action, ActionKind, Plan, PowerTarget, migrate, power
from foreshade.envs.model.state import HostState, VmState

SAMPLES = 288
RATING = (2500.0, 2000.0, 1000.0, 500.0)  # MIPS of the four types, one VM of each where there are four
COPY_S = (13.92, 27.84, 27.84, 9.808)


def constant(*percent: int) -> np.ndarray:
    """One VM per value, which never changes."""
    return np.repeat(np.array(percent)[:, None], SAMPLES, axis=1)


def world_of(percent: np.ndarray, **options) -> CloudSimWorld:
    return CloudSimWorld(percent, [f"vm{i:04d}" for i in range(len(percent))], **options)


def execute(world: CloudSimWorld, *actions: Action):
    return world.execute(Plan(tick=world.observe().tick, actions=actions))


def cpu(column: np.ndarray) -> list[float]:
    return column[:, 0].tolist()


def test_vms_stand_where_power_rises_least_at_their_ratings():
    # Even hosts are G4 (2 x 1860 MIPS), odd ones G5 (2 x 2660): the two large VMs fit one PE of a G5 only.
    state = world_of(constant(100, 100, 100, 100), hosts=2).observe()
    assert state.vms.host.tolist() == [1, 1, 0, 0]
    assert cpu(state.hosts.capacity) == [3720.0, 5320.0]
    assert state.time_s == 300.1
    assert state.tick == 1


def test_first_fit_takes_the_first_host_that_fits():
    # Best fit spreads equal VMs over equal hosts; first fit fills up, until 4,096 MB are reserved on host 0.
    percent = constant(*[10] * 8)
    assert world_of(percent, hosts=4).observe().vms.host.tolist() == [1, 3, 1, 3, 0, 2, 0, 2]
    assert world_of(percent, hosts=4, first_fit=True).observe().vms.host.tolist() == [1, 1, 3, 3, 0, 0, 0, 2]


def test_power_is_interpolated_between_tenths_and_an_idle_host_is_off():
    world = world_of(constant(50), hosts=2)
    state = world.observe()
    # 1250 of 5320 MIPS = 23.496 %, between 101 W at 20 % and 105 W at 30 %.
    expected_w = 101 + 0.4 * (100 * 1250 / 5320 - 20)
    np.testing.assert_allclose(state.hosts.power_w, [0.0, expected_w], rtol=1e-6)
    assert state.hosts.state.tolist() == [HostState.OFF, HostState.ON]
    metrics = world.run(CloudSimPolicy.NONE)
    # The first 300.1 s and what follows 86,100.1 s are not accounted.
    assert metrics.energy_kwh == pytest.approx(expected_w * 85_800 / 3.6e6, rel=1e-12)
    assert metrics.host_shutdowns == 1  # the host that was never used
    assert metrics.slatah == metrics.pdm == metrics.overall_sla == 0.0


def test_full_power_counts_every_host_from_time_zero():
    got = simulate(constant(50), ["a"], "npa", hosts=2)
    assert got.energy_kwh == pytest.approx((117 + 135) * 86_100.1 / 3.6e6, rel=1e-12)


def test_arriving_vm_gets_a_tenth_and_leaving_vm_nine():
    world = world_of(constant(100, 100, 100, 100), hosts=2)
    assert [o.accepted for o in execute(world, migrate(2, 1))] == [True]
    state = world.observe()
    assert cpu(state.vms.usage) == [2500.0, 2000.0, 900.0, 500.0]
    assert cpu(state.hosts.usage) == [1500.0, 4600.0]  # 900 / 0.9 + 500; 2500 + 2000 + 100
    assert state.vms.state.tolist() == [
        VmState.RUNNING,
        VmState.RUNNING,
        VmState.MIGRATING,
        VmState.RUNNING,
    ]
    assert state.vms.destination.tolist() == [-1, -1, 1, -1]
    assert state.hosts.arriving.tolist() == [0, 1]
    assert state.hosts.n_vms.tolist() == [2, 2]


def test_contended_host_gives_whole_mips_in_proportion():
    world = world_of(constant(100, 100, 100, 100), hosts=2)
    execute(world, migrate(2, 1))
    world.advance()
    state = world.observe()
    # 5500 wanted of 5320: floor of 5320/5500 = 0.96727 of each.
    assert cpu(state.vms.usage) == [2418.0, 1934.0, 967.0, 500.0]
    assert cpu(state.vms.demand) == [2500.0, 2000.0, 1000.0, 500.0]
    np.testing.assert_allclose(state.vms.contention, [82 / 2500, 66 / 2000, 33 / 1000, 0.0], rtol=1e-6)
    assert state.vms.since_move_s[2] == pytest.approx(300 - 27.84)
    assert np.isinf(state.vms.since_move_s[0])

    metrics = world.metrics()
    requested = 6000 * 300.0
    leaving = 100 * 27.84
    assert metrics.slatah == pytest.approx(0.5)  # the target all the time, the source never
    assert metrics.pdm == pytest.approx(leaving / requested)
    assert metrics.slav == metrics.slatah * metrics.pdm
    assert metrics.overall_sla == pytest.approx((leaving + (82 + 66 + 33) * 272.16) / requested)
    assert metrics.average_sla == pytest.approx((0.1 + 82 / 2500 + 66 / 2000 + 33 / 1000) / 4)
    assert metrics.unmet_demand_worst_vm == pytest.approx((leaving + 33 * 272.16) / (1000 * 300))
    copying_w = (99.5 + 0.25 * (150_000 / 3720 - 40)) + (129 + 0.4 * (460_000 / 5320 - 80))
    after_w = (89.4 + 0.32 * (50_000 / 3720 - 10)) + (133 + 0.2 * (531_900 / 5320 - 90))
    assert metrics.energy_kwh == pytest.approx((copying_w * 27.84 + after_w * 272.16) / 3.6e6, rel=1e-12)
    assert metrics.esv == metrics.energy_kwh * metrics.slav


def test_contended_host_shares_with_arriving_and_leaving_vms():
    world = world_of(constant(*[100] * 8), hosts=4)  # 0 and 2 on host 1, 1 and 3 on host 3
    execute(world, migrate(1, 1))
    world.advance()
    execute(world, migrate(3, 1), migrate(0, 3))
    usage = world.observe()
    # Host 1 needs 2500 (leaving) + 2000 + 2500 + 200 (arriving) = 7200 of 5320.
    k = 5320 / 7200
    assert cpu(usage.vms.usage)[:4] == [1662.0, 1847.0, 1477.0, 1800.0]
    assert [int(2500 * k * 0.9), int(2500 * k), int(2000 * k), int(200 * k)] == [1662, 1847, 1477, 147]
    assert usage.hosts.usage[1, 0] == pytest.approx(1662 / 0.9 + 1477 + 1847 + 147, rel=1e-6)


def test_vm_gets_at_most_one_processing_element():
    world = world_of(constant(100, 100, 100, 100), hosts=2)
    execute(world, migrate(0, 0))
    world.advance()
    # 2500 wanted, a G4's PE has 1860; the host's 3720 would do.
    assert cpu(world.observe().vms.usage) == [1860.0, 2000.0, 1000.0, 500.0]


@pytest.mark.parametrize("vm", range(4))
def test_copy_takes_memory_over_half_the_bandwidth(vm):
    world = world_of(constant(100, 100, 100, 100), hosts=10)
    execute(world, migrate(vm, 9))  # the idle G5: best fit has put each VM on one of its own
    world.advance()
    missed = world.metrics().pdm * sum(RATING) * 300
    assert missed / (0.1 * RATING[vm]) == pytest.approx(COPY_S[vm], rel=1e-9)


def test_demand_is_interpolated_between_samples():
    percent = constant(0, 0, 0, 0)
    percent[:, 1:3] = (40, 70)
    world = world_of(percent, hosts=2)
    # 0.1 s after the sample at 300 s.
    np.testing.assert_allclose(
        cpu(world.observe().vms.demand), [r * (0.4 + 0.3 / 300 * 0.1) for r in RATING], rtol=1e-6
    )


def test_vm_between_two_zero_samples_is_deleted_in_stock_and_kept_in_keepzero():
    percent = constant(50, 50, 50, 50)
    percent[1, 5] = 0  # one zero sample alone never gives a request of 0
    percent[2, 5:7] = 0
    for variant, expected in (("stock", VmState.ABSENT), ("keepzero", VmState.RUNNING)):
        world = world_of(percent, hosts=2, variant=variant)
        for _ in range(4):
            world.advance()
        state = world.observe()
        assert state.time_s == pytest.approx(1500.1)
        assert state.vms.state.tolist() == [VmState.RUNNING, VmState.RUNNING, expected, VmState.RUNNING]
        world.advance()
        assert world.observe().vms.state[2] == expected  # asks again: too late in stock
        outcome = execute(world, migrate(2, 1))[0]
        assert outcome.accepted == (variant == "keepzero")
        assert outcome.accepted or "removed" in outcome.error


def test_vm_with_two_moves_ends_on_the_second():
    world = world_of(constant(100, 100, 100, 100), hosts=12)
    first, second, third = execute(world, migrate(0, 9), migrate(0, 11), migrate(0, 2))
    assert first.accepted
    assert second.accepted
    assert not third.accepted
    state = world.observe()
    assert cpu(state.hosts.usage)[9] == cpu(state.hosts.usage)[11] == 250.0  # it arrives on both
    world.advance()
    assert world.observe().vms.host[0] == 11
    assert world.metrics().migrations == 2


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (migrate(9, 0), "expected a VM of 0 to 3"),
        (migrate(-1, 0), "expected a VM of 0 to 3"),
        (migrate(2, 2), "expected a host of 0 to 1"),
        (migrate(2, 0), "it stands on this one"),
        (power(0, PowerTarget.OFF), "expected migrate or wait, got power"),
    ],
)
def test_impossible_action_is_refused_and_changes_nothing(action, words):
    world = world_of(constant(100, 100, 100, 100), hosts=2)
    before = world.observe().copy()
    outcome = execute(world, action)[0]
    assert not outcome.accepted
    assert words in outcome.error
    after = world.observe()
    assert after.hosts.usage.tolist() == before.hosts.usage.tolist()
    assert after.vms.destination.tolist() == before.vms.destination.tolist()
    assert world.metrics().migrations == 0


def test_refused_action_leaves_the_others_of_its_plan():
    world = world_of(constant(100, 100, 100, 100), hosts=2)
    outcomes = execute(world, migrate(2, 1), migrate(9, 0), migrate(3, 1))
    assert [o.accepted for o in outcomes] == [True, False, True]
    assert world.observe().vms.destination.tolist() == [-1, -1, 1, 1]
    assert world.observe().hosts.arriving.tolist() == [0, 2]
    assert world.metrics().migrations == 2


def test_second_move_to_the_same_host_is_refused():
    world = world_of(constant(100, 100, 100, 100), hosts=2)
    outcomes = execute(world, migrate(2, 1), migrate(2, 1))
    assert [o.accepted for o in outcomes] == [True, False]
    assert "on its way to this one" in outcomes[1].error


def test_names_are_ordered_by_upper_case():
    world = CloudSimWorld(constant(10, 20, 30, 40), ["b_x", "bZ", "C", "A"], hosts=2)
    assert world.names == ("A", "bZ", "b_x", "C")  # '_' sorts after letters
    np.testing.assert_allclose(cpu(world.observe().vms.demand), [1000.0, 400.0, 100.0, 150.0])


def test_day_has_287_control_steps_and_then_ends():
    world = world_of(constant(30, 30, 30, 30), hosts=2)
    assert world.capabilities == {ActionKind.MIGRATE, ActionKind.WAIT}
    steps = 0
    while not world.done:
        assert world.advance() == {}
        steps += 1
    assert steps == 287
    with pytest.raises(ActionError, match="the day is done"):
        world.advance()
    series = world.series()
    assert series.power_w.shape == series.hosts_on.shape == series.migrations.shape == (287,)
    np.testing.assert_allclose(series.requested_mips, 0.3 * 6000)
    np.testing.assert_allclose(series.allocated_mips, 0.3 * 6000)


def random_day(seed: int, n_vms: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    walk = rng.integers(0, 100, (n_vms, 1)) + rng.integers(-9, 10, (n_vms, SAMPLES)).cumsum(axis=1)
    return np.clip(walk * rng.choice([0.2, 0.5, 1.0], (n_vms, 1)), 0, 100).astype(int)


@pytest.mark.parametrize("variant", ["stock", "keepzero"])
@pytest.mark.parametrize("label", ["thr_mmt_0.8", "iqr_mmt_1.5", "mad_mmt_2.5", "lr_mmt_1.2", "lrr_mmt_1.2"])
def test_day_driven_in_steps_equals_the_native_run(label, variant):
    percent = random_day(7)
    method = Method.parse(label)
    world = world_of(percent, hosts=50, variant=variant)
    while not world.done:
        plan = Plan(tick=world.observe().tick, actions=world.optimise(method.policy, method.parameter))
        assert all(outcome.accepted for outcome in world.execute(plan))
        world.advance()
    native = simulate(percent, [f"vm{i:04d}" for i in range(60)], label, variant, hosts=50)
    stepped = world.metrics()
    assert native.migrations > 100
    figures = [f for f in dir(native) if not f.startswith("_")]
    assert {f: getattr(stepped, f) for f in figures} == {f: getattr(native, f) for f in figures}
    assert world.series().migrations.sum() == native.migrations


def test_policy_is_not_asked_while_migrations_are_under_way():
    world = world_of(constant(100, 100, 100, 100), hosts=2)
    execute(world, migrate(2, 1))
    with pytest.raises(ActionError, match="expected no migration under way, got 1"):
        world.optimise(CloudSimPolicy.THR, 0.8)


@pytest.mark.parametrize(
    ("percent", "names", "words"),
    [
        (constant(50)[:, :287], ["a"], "expected 288 samples per VM"),
        (constant(101), ["a"], "VM 0, sample 0: expected 0 to 100, got 101"),
        (constant(-1), ["a"], "expected 0 to 100, got -1"),
        (constant(50).astype(float), ["a"], "expected integers"),
        (constant(50), ["a", "b"], "names: expected 1"),
        (np.zeros((0, SAMPLES), dtype=int), [], "at least one VM"),
        (constant(*[50] * 40), list(map(str, range(40))), "fits on none of the 2 hosts"),
    ],
)
def test_unusable_day_is_refused_in_one_line(percent, names, words):
    with pytest.raises(WorkloadError, match=words) as caught:
        CloudSimWorld(percent, names, hosts=2)
    assert "\n" not in str(caught.value)


def test_unusable_options_are_refused():
    with pytest.raises(InputError, match="variant: expected stock or keepzero"):
        world_of(constant(50), variant="other")
    with pytest.raises(InputError, match="hosts: expected at least 1"):
        world_of(constant(50), hosts=0)
    with pytest.raises(InputError, match="expected npa, dvfs or"):
        Method.parse("lr_rs_1.2")
    with pytest.raises(InputError, match="expected a parameter of at least 0"):
        world_of(constant(50)).optimise(CloudSimPolicy.LR, -1.0)


#: 24 VMs, percent of every second sample, each held for two: found by search, as it
#: fills a host but for rounding.
BRIM = """
    32 19 39 15 25 41 5 10 33 18 7
    23 4 37 24 39 38 36 3 33 11 2
    34 21 26 3 15 30 13 22 34 32 27
    33 22 20 4 7 10 24 13 15 15 8
    14 32 9 18 25 31 40 43 3 21 22
    15 17 32 22 19 27 33 36 40 6 34
    17 4 40 18 15 31 26 40 8 19 18
    37 35 35 31 44 30 29 17 18 21 20
    10 25 19 10 20 14 28 10 34 25 41
    7 40 14 3 37 11 38 33 25 36 38
    35 44 37 2 21 33 16 10 27 13 20
    14 33 44 18 44 1 13 17 10 39 34
    1 6 31 18 40 17 21 28 22 29 21
    27 36 34 38 16 19 22 39 37 30 43
    29 25 10 2 37 29 26 36 26 26 23
    21 7 21 4 13 20 4 14 10 39 20
    38 26 35 36 31 37 29 3 1 10 11
    17 18 16 12 30 29 41 37 44 28 31
    7 35 26 41 19 21 24 33 30 4 25
    42 28 39 10 24 15 43 41 5 26 21
    17 36 9 12 2 21 20 43 31 36 39
    20 35 6 11 2 7 3 32 7 40 17
    20 26 30 2 21 37 14 11 40 27 1
    18 18 12 35 41 42 26 1 14 13 4
"""


def test_day_in_which_cloudsim_ends_raises_with_time_and_host():
    percent = np.array([line.split() for line in BRIM.split("\n") if line], dtype=int)
    percent = np.repeat(percent, 2, axis=1)
    percent = np.pad(percent, ((0, 0), (0, SAMPLES - percent.shape[1])), mode="edge")
    world = world_of(percent, hosts=14, variant="keepzero")
    message = r"^time 5700\.10* s, host 1: CloudSim ends here, .* VM 11, got 1 \+"
    with pytest.raises(SimulationError, match=message):
        world.run(CloudSimPolicy.LR, 0.3)
    # The day stands at that step, undamaged: another policy can go on with it.
    assert world.observe().time_s == pytest.approx(5700.1)
    assert world.run(CloudSimPolicy.THR, 0.8).migrations > 0
