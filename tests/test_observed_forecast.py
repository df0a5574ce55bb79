"""Forecasts beside a world that has none of its own: what is learned is demand, and not who happens to carry it."""

from __future__ import annotations

import numpy as np

from foreshade._core import ClusterState
from foreshade.envs.forecast.forecaster import EngineConfig
from foreshade.envs.forecast.observed import ObservedForecast
from foreshade.envs.model.state import VmKind, VmState

F32, I32, U8 = np.float32, np.int32, np.uint8


def shown(tick: int, load: float, weights: list[float], *, age_s: float = 0.0) -> ClusterState:
    """One application whose members share ``load`` MHz by weight; the last is a shadow of a fifth of the memory."""
    n = len(weights)
    state = ClusterState()
    demand = np.zeros((n, 5), F32)
    demand[:, 0] = load * np.array(weights) / sum(weights)
    allocation = np.full((n, 5), 1000.0, F32)
    allocation[-1, 1] = 200.0
    kind = np.full(n, VmKind.PRODUCTION, U8)
    kind[-1] = VmKind.SHADOW
    columns = {
        "demand": demand,
        "allocation": allocation,
        "weight": np.array(weights, F32),
        "app": np.zeros(n, I32),
        "host": np.zeros(n, I32),
        "state": np.full(n, VmState.RUNNING, U8),
        "kind": kind,
        "age_s": np.full(n, age_s, F32),
    }
    state.fill(300.0 * tick, tick, 1, n, {}, columns)
    return state


def expected(forecast: ObservedForecast, state: ClusterState) -> list[float]:
    """Mean CPU of each VM in the next tick, by row and share as decision makers read it."""
    forecast(state)
    said = state.forecasts
    return (said.moments[0, said.series, 0, 0] * said.share).tolist()


def test_traffic_that_moves_to_the_shadow_is_no_change_of_demand() -> None:
    forecast = ObservedForecast(EngineConfig(horizons=(1, 3)))
    for tick in range(40):
        expected(forecast, shown(tick, 800.0, [1.0, 0.0]))
    before = expected(forecast, shown(40, 800.0, [1.0, 0.0]))
    after = expected(forecast, shown(41, 800.0, [0.25, 0.75]))
    np.testing.assert_allclose(before, [800.0, 0.0], rtol=0.05)
    np.testing.assert_allclose(after, [200.0, 600.0], rtol=0.05)


def test_stale_samples_teach_nothing() -> None:
    forecast = ObservedForecast(EngineConfig(horizons=(1,)), stale_s=60.0)
    for tick in range(40):
        expected(forecast, shown(tick, 800.0, [1.0, 0.0]))
    for tick in range(40, 60):
        last = expected(forecast, shown(tick, 0.0, [1.0, 0.0], age_s=61.0))
    assert last[0] > 700.0


def test_the_same_tick_is_learned_once() -> None:
    once, often = (ObservedForecast(EngineConfig(horizons=(1,))) for _ in range(2))
    for tick in range(30):
        load = 500.0 + 10.0 * tick
        expected(once, shown(tick, load, [1.0, 0.0]))
        for _ in range(3):
            expected(often, shown(tick, load, [1.0, 0.0]))
    assert expected(once, shown(30, 800.0, [1.0, 0.0])) == expected(often, shown(30, 800.0, [1.0, 0.0]))


def test_nobody_there_is_nothing_said() -> None:
    state = ClusterState()
    state.fill(0.0, 0, 1, 2, {}, {})
    ObservedForecast(EngineConfig(horizons=(1,)))(state)
    assert state.forecasts.moments.size == 0
