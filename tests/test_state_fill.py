"""A cluster state that telemetry fills from Python: all of it or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from foreshade._core import ClusterState
from foreshade.envs.model.state import HostState, VmState

F32 = np.float32


def filled() -> ClusterState:
    """Two hosts, three VMs, the second on host 1."""
    state = ClusterState()
    state.fill(
        600.0,
        2,
        2,
        3,
        {"capacity": np.arange(10, dtype=F32).reshape(2, 5), "state": np.full(2, HostState.ON, np.uint8)},
        {"host": np.array([0, 1, -1], np.int32), "state": np.array([3, 3, 0], np.uint8)},
    )
    return state


def test_columns_that_are_named_are_shown_and_the_others_are_untold() -> None:
    state = filled()
    assert (state.time_s, state.tick) == (600.0, 2)
    assert state.hosts.capacity.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert state.vms.host.tolist() == [0, 1, -1]
    assert state.vms.state.tolist() == [VmState.RUNNING, VmState.RUNNING, VmState.ABSENT]
    assert state.vms.weight.tolist() == [1.0, 1.0, 1.0]
    assert np.isinf(state.vms.since_move_s).all()


def test_more_vms_keep_what_was_told_of_the_first() -> None:
    state = filled()
    state.fill(900.0, 3, 2, 4, {}, {})
    assert state.vms.host.tolist() == [0, 1, -1, -1]
    assert state.forecasts.series.tolist() == [-1, -1, -1, -1]


@pytest.mark.parametrize(
    ("hosts", "vms", "says"),
    [
        ({"capacity": np.zeros((2, 4), F32)}, {}, "hosts.capacity: expected 10 values, got 8"),
        ({"usage": np.full((2, 5), np.nan, F32)}, {}, "hosts.usage 0: expected a finite amount"),
        ({}, {"host": np.array([0, 2, -1], np.int32)}, "vms.host 1: expected -1 or an index, got 2"),
        ({}, {"state": np.array([0, 8, 0], np.uint8)}, "vms.state 1: expected a VM state, got 8"),
        ({}, {"contention": np.array([0, 1.5, 0], F32)}, "vms.contention 1: expected a share"),
        ({}, {"weight": np.array([1, 1, 1], np.float64)}, "vms.weight: expected an array of float32"),
        ({"load": np.zeros(2, F32)}, {}, "hosts: expected names of columns"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    hosts: dict[str, np.ndarray], vms: dict[str, np.ndarray], says: str
) -> None:
    state = filled()
    with pytest.raises(ValueError, match=says):
        state.fill(900.0, 3, 2, 3, {"age_s": np.ones(2, F32), **hosts}, vms)
    assert (state.time_s, state.hosts.age_s.tolist()) == (600.0, [0.0, 0.0])


def test_forecasts_are_shown_with_each_vms_row() -> None:
    state = filled()
    moments = np.arange(16, dtype=F32).reshape(1, 2, 4, 2)
    quantiles = np.arange(24, dtype=F32).reshape(2, 4, 1, 3)
    rows, share = np.array([1, 0, -1], np.int32), np.array([1, 0.5, 0], F32)
    said = (np.array([1], np.int32), np.array([0.1, 0.5, 0.9], F32), rows, share, share)
    state.show_forecasts(moments, quantiles, *said)
    assert state.forecasts.moments.tolist() == moments.tolist()
    assert state.copy().forecasts.quantiles.tolist() == quantiles.tolist()
    assert state.forecasts.series.tolist() == [1, 0, -1]
    with pytest.raises(ValueError, match="expected -1 or a row, got 1"):
        state.show_forecasts(moments[:, :1], quantiles, *said)
