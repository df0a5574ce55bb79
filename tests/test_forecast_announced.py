"""Announced events in forecasts: known before, divided out of what is learned, multiplied into what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.event import ScheduledEvent
from foreshade.envs.forecast.forecaster import EngineConfig
from foreshade.envs.forecast.table import precompute
from foreshade.envs.workloads.generator import generate
from foreshade.envs.workloads.workload import Workload

HORIZONS = EngineConfig.of_tick(300).horizons
FIRST, END, FACTOR = 100, 112, 4.0  # a power of two: dividing it out again is exact


def workload(days: str = "1") -> Workload:
    return generate("flat", vms="6", days=days, seed="3")


def announced(load: Workload, app: int = 0) -> tuple[Workload, Workload]:
    """The load with an event that quadruples one application, told of it; and without the event."""
    demand = load.demand.copy()
    for resource in (0, 2, 3):
        demand[FIRST:END, load.apps.series[app], resource] *= FACTOR
    at = (load.start_epoch_s + 300 * tick for tick in (FIRST, END))
    event = ScheduledEvent(*at, FACTOR, 2.0, 6.0, (load.apps.name[app],))
    return replace(load, demand=demand, events=(event,)), load


def tables(load: Workload, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    files = precompute(load, load.n_ticks, folder)
    return np.load(files.moments), np.load(files.quantiles)


def test_a_table_is_that_of_calm_days_times_the_factor_where_its_target_is_in_the_event(
    tmp_path: Path,
) -> None:
    with_event, without = announced(workload())
    event = with_event.events[0]
    moments, quantiles = tables(with_event, tmp_path)
    calm_moments, calm_quantiles = tables(without, tmp_path)
    row = int(with_event.apps.series[0])
    for place, horizon in enumerate(HORIZONS):
        target = np.arange(len(quantiles)) + horizon - 1  # row t knows t ticks; horizon 1 is the tick to come
        inside = (target >= FIRST) & (target < END)
        times = np.where(inside[:, None], event.factors, 1.0)
        for resource in (0, 2, 3):
            said, calm = (q[:, row, resource, place] for q in (quantiles, calm_quantiles))
            np.testing.assert_allclose(said, calm * times, rtol=1e-4, atol=1e-3)
            mean, calm_mean = (m[:, place, row, resource, 0] for m in (moments, calm_moments))
            np.testing.assert_allclose(mean, calm_mean * np.where(inside, FACTOR, 1.0), rtol=1e-4, atol=1e-3)
        deviation = moments[inside, place, row, 0, 1]
        assert (deviation >= FACTOR * calm_moments[inside, place, row, 0, 1]).all()
    others = [r for r in range(with_event.n_series) if r != row]
    np.testing.assert_array_equal(quantiles[:, others], calm_quantiles[:, others])
    np.testing.assert_allclose(quantiles[:, row, 1], calm_quantiles[:, row, 1])  # memory is left alone


def test_tables_with_and_without_an_event_are_not_taken_for_each_other(tmp_path: Path) -> None:
    with_event, _ = announced(workload())
    silent = replace(with_event, events=())
    assert precompute(with_event, 288, tmp_path) != precompute(silent, 288, tmp_path)


def test_an_event_of_an_application_that_is_not_there_is_refused(tmp_path: Path) -> None:
    load = workload()
    event = ScheduledEvent(0.0, 1e9, 2.0, 2.0, 2.0, ("shop",))
    with pytest.raises(InputError, match="expected applications of the workload, found shop"):
        precompute(replace(load, events=(event,)), 288, tmp_path)
