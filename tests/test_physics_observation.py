"""What an operator is shown: usage and contention, never the hidden demand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foreshade import _core as core
from tests.worlds import SPAWN, App, Native, data_centre, host, random_scenario, workload

HOST_COLUMNS = [name for name in dir(core.HostColumns) if not name.startswith("_")]
VM_COLUMNS = [name for name in dir(core.VmColumns) if not name.startswith("_")]
FORECAST_COLUMNS = [name for name in dir(core.ForecastColumns) if not name.startswith("_")]


def columns(state: Any) -> dict[str, Any]:
    """A copy of every column."""
    groups = {"hosts": HOST_COLUMNS, "vms": VM_COLUMNS, "forecasts": FORECAST_COLUMNS}
    return {
        f"{group}.{n}": getattr(getattr(state, group), n).copy()
        for group, names in groups.items()
        for n in names
    }


def small(cpu: float, **values: Any) -> Native:
    """A VM that wants the given cpu and uses up all else that it may."""
    dc = data_centre(6, [host(), host()])
    apps = [App([cpu, 4_096, 100, 100])]
    return Native(dc, workload(6, apps, [(0, [4_000, 4_096, 100, 100, 0])]))


def test_demand_beyond_the_caps_is_invisible() -> None:
    plain, hidden = small(4_000), small(4_000)
    for world in (plain, hidden):
        world.tick()
    hidden.sim.perturb_hidden_demand(3.0)
    for _ in range(3):
        plain.tick()
        hidden.tick()
        seen, expected = columns(hidden.look()), columns(plain.look())
        for name, column in expected.items():
            np.testing.assert_array_equal(seen[name], column, err_msg=name)
    assert hidden.sim.totals()["unmet"][0] > plain.sim.totals()["unmet"][0]


def test_demand_within_the_caps_shows_in_usage() -> None:
    plain, hidden = small(1_000), small(1_000)
    hidden.sim.perturb_hidden_demand(2.0)
    for world in (plain, hidden):
        world.tick()
    assert plain.look().vms.demand[0, 0] == pytest.approx(1_000)
    assert hidden.look().vms.demand[0, 0] == pytest.approx(2_000)


def test_demand_is_estimated_from_usage_and_contention() -> None:
    # 8,000 and 4,000 wanted of 10,000 by equal VMs: 6,000 and 4,000; the run-queue delay shows what was
    # missing
    dc = data_centre(2, [host(overcommit=[2.0, 1.0, 1.0, 1.0, 1.0])])
    apps = [App([cpu, 512, 0, 0]) for cpu in (8_000, 4_000)]
    world = Native(dc, workload(2, apps, [(a, [10_000, 1_024, 0, 0, 0]) for a in range(2)]))
    world.tick()
    state = world.look()
    np.testing.assert_allclose(state.vms.usage[:, 0], [6_000, 4_000], rtol=1e-6)
    np.testing.assert_allclose(state.vms.contention, [0.25, 0], atol=1e-6)
    np.testing.assert_allclose(state.vms.demand[:, 0], [8_000, 4_000], rtol=1e-6)


def test_there_is_no_sample_before_the_first_tick() -> None:
    world = small(1_000)
    world.must(kind=SPAWN, vm=0, host=1)
    state = world.look()
    assert np.isinf(state.vms.age_s).all()
    assert np.isinf(state.hosts.age_s).all()
    assert not state.vms.usage.any()
    assert not state.hosts.usage.any()
    assert not state.hosts.power_w.any()
    world.tick()
    state = world.look()
    assert state.vms.age_s[0] == 0
    assert (state.hosts.age_s == 0).all()


def test_the_future_of_a_trace_is_invisible() -> None:
    dc, work = random_scenario(5)
    changed = dict(work) | {"demand": work["demand"].copy()}
    changed["demand"][6:] *= 1.7
    known, unknown = Native(dc, work), Native(dc, changed)
    for k in range(7):
        for name, column in columns(known.look()).items():
            np.testing.assert_array_equal(columns(unknown.look())[name], column, err_msg=f"tick {k} {name}")
        if k < 6:
            known.tick()
            unknown.tick()


def test_a_state_that_was_not_prepared_is_rejected() -> None:
    with pytest.raises(ValueError, match="not prepared"):
        small(1_000).sim.observe(core.ClusterState())


@pytest.mark.parametrize(
    "column", ["app_members", "app_offloadable", "vm_flavour", "vm_credit", "vm_arrival"]
)
def test_a_workload_with_a_short_column_is_rejected(column: str) -> None:
    dc, work = random_scenario(1)
    with pytest.raises(ValueError, match="differ in length"):
        core.Plant(dc, **(work | {column: work[column][:-1]}))


def test_columns_are_read_only_and_a_copy_is_independent() -> None:
    world = small(1_000)
    state = world.look()
    with pytest.raises(ValueError, match="read-only"):
        state.hosts.usage[0, 0] = 1.0
    copy = state.copy()
    world.tick()
    world.look()
    assert copy.tick == 0
    assert np.isinf(copy.hosts.age_s).all()
