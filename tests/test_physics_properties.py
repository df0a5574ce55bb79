"""What holds in every world: nothing is lost or made, and the same start gives the same run."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshade import _core as core
from tests.worlds import (
    App,
    Native,
    Spec,
    data_centre,
    host,
    profile,
    random_action,
    random_scenario,
    workload,
)

# Derandomised, without a database: a run depends on nothing but the code.
bounded = settings(derandomize=True, max_examples=12, deadline=None, database=None)
seeds = st.integers(0, 10_000)

ON = 2


def snapshot(world: Native) -> Spec:
    """A copy of every column and account."""
    state = world.look()
    out: Spec = {}
    for table in ("hosts", "vms"):
        columns = getattr(state, table)
        out |= {f"{table}.{n}": getattr(columns, n).copy() for n in dir(columns) if not n.startswith("_")}
    out |= {f"totals.{name}": value for name, value in world.sim.totals().items()}
    out |= {f"last.{name}": value for name, value in world.sim.last_tick().items()}
    out["worst"] = world.sim.worst_vm_unmet
    return out


def assert_identical(a: Spec, b: Spec, but: tuple[str, ...] = ()) -> None:
    """Bit by bit."""
    assert a.keys() == b.keys()
    for name, value in a.items():
        if name in but:
            continue
        if isinstance(value, np.ndarray):
            assert value.tobytes() == b[name].tobytes(), name
        else:
            assert value == b[name], name


def play(world: Native, seed: int, n_ticks: int = 10) -> list[Spec]:
    """Random actions and ticks; a snapshot after each."""
    dice = random.Random(seed)
    out = []
    for _ in range(n_ticks):
        for _ in range(dice.randrange(12)):
            world.do(**random_action(dice))
        world.tick()
        out.append(snapshot(world))
    return out


def wants_and_sizes() -> st.SearchStrategy[list[tuple[int, int, int, int]]]:
    """Cpu and memory: allocation and want, for up to six VMs of one host."""
    cpu, memory = st.integers(100, 8_000), st.integers(128, 6_000)
    return st.lists(st.tuples(cpu, memory, cpu, memory), min_size=1, max_size=6)


def full_host(vms: list[tuple[int, int, int, int]], **kind: Any) -> Native:
    """All of them on one host, whatever it holds."""
    crowded = host(overcommit=[9.0, 9.0, 9.0, 9.0, 1.0])
    dc = data_centre(2, [crowded], profiles=[profile(oom_overflow=100.0, **kind)])
    apps = [App([want_cpu, want_memory, 0, 0]) for _, _, want_cpu, want_memory in vms]
    flavours = [(a, [float(cpu), float(memory), 0.0, 0.0, 0.0]) for a, (cpu, memory, _, _) in enumerate(vms)]
    return Native(dc, workload(2, apps, flavours))


@bounded
@given(wants_and_sizes())
def test_what_is_not_served_is_unmet(vms: list[tuple[int, int, int, int]]) -> None:
    world = full_host(vms)
    last = world.tick()
    usage = world.look().vms.usage.astype(float)
    assert last["demand"][0] == pytest.approx(300 * sum(v[2] for v in vms), rel=1e-5)
    for r in (0, 1):
        assert usage[:, r].sum() * 300 + last["unmet"][r] == pytest.approx(last["demand"][r], rel=1e-5)
    assert last["used_mhz_s"] + last["unmet"][0] == pytest.approx(last["demand"][0], rel=1e-5)
    assert 0 <= last["late_mhz_s"] <= last["used_mhz_s"] * (1 + 1e-5)


@bounded
@given(wants_and_sizes())
def test_shares_of_a_scarce_resource_are_max_min_fair(vms: list[tuple[int, int, int, int]]) -> None:
    # swapping is off, so the wants are the caps; nobody who misses something may get less per weight than
    # another
    world = full_host(vms, swap_factor=0.0)
    world.tick()
    got = world.look().vms.usage[:, 0].astype(float)
    capped = np.array([min(cpu, want) for cpu, _, want, _ in vms], float)
    weight = np.array([cpu for cpu, _, _, _ in vms], float)
    assert (got <= capped * (1 + 1e-5)).all()
    if capped.sum() <= 10_000:
        np.testing.assert_allclose(got, capped, rtol=1e-5)
        return
    assert got.sum() == pytest.approx(10_000, rel=1e-5)
    short = got < capped * (1 - 1e-4)
    level = (got / weight).max()
    np.testing.assert_allclose((got / weight)[short], level, rtol=1e-4)


@bounded
@given(seeds)
def test_usage_stays_within_capacity_and_allocation(seed: int) -> None:
    dc, work = random_scenario(seed)
    world = Native(dc, work, seed)
    for snap in play(world, seed):
        assert (snap["hosts.usage"] <= snap["hosts.capacity"] * (1 + 1e-5)).all()
        assert (snap["vms.usage"] <= snap["vms.allocation"] * (1 + 1e-6)).all()
        assert (
            snap["hosts.allocated"] <= snap["hosts.capacity"] * snap["hosts.overcommit"] * (1 + 1e-5)
        ).all()
        assert ((snap["vms.contention"] >= 0) & (snap["vms.contention"] <= 1)).all()
        for name in ("unmet", "demand"):
            assert min(snap[f"last.{name}"]) >= 0
        assert (np.array(snap["totals.unmet"]) <= np.array(snap["totals.demand"]) * (1 + 1e-5) + 1e-3).all()
        assert snap["last.overloaded_s"] <= snap["last.on_s"] <= 300 * len(dc.hosts)


@bounded
@given(seeds)
def test_allocated_is_the_sum_over_the_vms_there_and_on_their_way(seed: int) -> None:
    dc, work = random_scenario(seed)
    world = Native(dc, work, seed)
    for snap in play(world, seed):
        expected = np.zeros_like(snap["hosts.allocated"], dtype=float)
        standing, arriving = np.zeros(len(expected), int), np.zeros(len(expected), int)
        for v, allocation in enumerate(snap["vms.allocation"]):
            for where, counter in ((snap["vms.host"][v], standing), (snap["vms.destination"][v], arriving)):
                if where >= 0:
                    expected[where] += allocation
                    expected[where, 1] += dc.profiles[dc.hosts[where].profile].vm_memory_mib
                    counter[where] += 1
        np.testing.assert_allclose(snap["hosts.allocated"], expected, rtol=1e-6, atol=1e-3)
        np.testing.assert_array_equal(snap["hosts.n_vms"], standing)
        np.testing.assert_array_equal(snap["hosts.arriving"], arriving)
        gone = np.isin(snap["vms.state"], [0, 1, 7])
        assert (snap["vms.host"][gone] == -1).all()
        assert (snap["vms.host"][~gone] >= 0).all()
        assert (snap["hosts.state"][snap["vms.host"][~gone]] == ON).all()


@bounded
@given(seeds)
def test_energy_lies_between_the_least_and_the_most_that_the_hosts_can_draw(seed: int) -> None:
    dc, work = random_scenario(seed)
    least = most = 0.0
    for spec in dc.hosts:
        machine = dc.models[spec.model]
        idle_gpus, busy_gpus = (machine.capacity[4] * w for w in (machine.gpu_idle_w, machine.gpu_peak_w))
        if not spec.rented:
            least += min(machine.off_w, machine.sleep_w)
            most += max(machine.boot_w, machine.power_w[10] + max(idle_gpus, busy_gpus))
    racks = sum(rack.overhead_w for rack in dc.racks) * 300 / 3.6e6
    for snap in play(Native(dc, work, seed), seed):
        assert least * 300 / 3.6e6 <= snap["last.host_kwh"] * (1 + 1e-9)
        assert snap["last.host_kwh"] <= most * 300 / 3.6e6 * (1 + 1e-6)
        assert 0 <= snap["last.rack_kwh"] <= racks * (1 + 1e-9)


@bounded
@given(seeds)
def test_totals_are_the_sums_of_the_ticks(seed: int) -> None:
    dc, work = random_scenario(seed)
    world = Native(dc, work, seed)
    snaps = play(world, seed)
    for name, value in snaps[-1].items():
        if not name.startswith("totals."):
            continue
        ticks = [snap[name.replace("totals.", "last.")] for snap in snaps]
        if isinstance(value, dict):
            for term, usd in value.items():
                assert usd == pytest.approx(sum(tick[term] for tick in ticks), rel=1e-9), term
        else:
            np.testing.assert_allclose(value, np.sum(ticks, axis=0), rtol=1e-9, err_msg=name)


@bounded
@given(seeds)
def test_the_same_seed_gives_the_same_bits_and_so_does_a_reset(seed: int) -> None:
    dc, work = random_scenario(seed)
    first, second = Native(dc, work, seed), Native(dc, work, seed)
    fresh = snapshot(first)
    run = play(first, seed)
    for a, b in zip(run, play(second, seed), strict=True):
        assert_identical(a, b)
    first.sim.reset(seed)
    assert_identical(fresh, snapshot(first))
    for a, b in zip(run, play(first, seed), strict=True):
        assert_identical(a, b)


@bounded
@given(seeds)
def test_refused_actions_change_nothing(seed: int) -> None:
    dc, work = random_scenario(seed)
    tried, spared = Native(dc, work, seed), Native(dc, work, seed)
    dice = random.Random(seed)
    refused = 0
    for _ in range(8):
        for _ in range(dice.randrange(12)):
            action = random_action(dice)
            before = snapshot(tried)
            if tried.do(**action)[0] == "":
                spared.must(**action)
            else:
                refused += 1
                assert_identical(before, snapshot(tried))
        tried.tick()
        spared.tick()
        assert_identical(snapshot(tried), snapshot(spared), but=("totals.refused", "last.refused"))
    assert tried.sim.totals()["refused"] == refused
    assert spared.sim.totals()["refused"] == 0


@pytest.mark.parametrize("n_envs", [1, 5])
def test_threads_do_not_change_a_bit_of_a_batch(n_envs: int) -> None:
    dc, work = random_scenario(7)
    plant = core.Plant(dc, **work)
    batches = [core.Batch(plant, n_envs, 3, threads) for threads in (1, 2)]
    for batch in batches:
        batch.start_at(0, 4)  # ends before the others, and starts again
        batch.advance(9)
        batch.advance(5)
    for i in range(n_envs):
        one, two = (batch.env(i) for batch in batches)
        assert one.totals() == two.totals()
        assert (one.tick, one.worst_vm_unmet) == (two.tick, two.worst_vm_unmet)


def test_an_environment_of_a_batch_is_the_plain_simulator() -> None:
    dc, work = random_scenario(8)
    plant = core.Plant(dc, **work)
    batch = core.Batch(plant, 3, 20, 2)
    batch.advance(12)
    for i in range(3):
        plain = core.Simulator(plant, 20 + i)
        for _ in range(12):
            plain.advance()
        assert batch.env(i).totals() == plain.totals()


def test_history_holds_the_means_of_every_tick() -> None:
    dc, work = random_scenario(9)
    world = Native(dc, work, 9)
    world.sim.record_history(True)
    snaps = play(world, 9)
    history = world.sim.history()
    for column, name, scale in (
        ("host_power_w", "host_kwh", 3.6e6),
        ("rack_power_w", "rack_kwh", 3.6e6),
        ("used_cpu_mhz", "used_mhz_s", 1),
        ("capacity_cpu_mhz", "capacity_mhz_s", 1),
        ("hosts_on", "on_s", 1),
        ("migrations", "migrations", 300),
    ):
        expected = [snap[f"last.{name}"] * scale / 300 for snap in snaps]
        np.testing.assert_allclose(history[column], expected, rtol=1e-6, err_msg=column)
    costs = [sum(snap["last.cost"].values()) for snap in snaps]
    np.testing.assert_allclose(history["cost_usd"], costs, rtol=1e-6)
