"""Models that are fitted beside the tick: nothing waits for them, and what they found is read as of now."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreshade.adapters.app.control_config import ForecastSection
from foreshade.adapters.app.live_forecast import LiveForecast
from foreshade.adapters.refit_worker import RefitWorker
from foreshade.adapters.simulated_durable.world import DurableSimulatedWorld
from foreshade.adapters.store.history import History as Store
from foreshade.envs.errors import InputError
from foreshade.envs.forecast.classical.rotation import Rotation, RotationConfig
from foreshade.envs.forecast.forecaster import EngineConfig, Forecaster, NativeForecaster
from foreshade.envs.forecast.history import History
from foreshade.envs.forecast.observed import ObservedForecast
from foreshade.envs.forecast.refits import FitTask, Fitted, RefitModel, RefitPaths, Refits
from foreshade.envs.forecast.selection import Selection
from tests.control_worlds import simulated
from tests.test_observed_forecast import expected, shown

STEPS = 40
CONFIG = RotationConfig(budget_cpu_s=1.0, first_cost_s=0.5, n_steps=STEPS)


class FakeWorker:
    """Is given tasks, and answers when it is told to."""

    def __init__(self) -> None:
        self.task: FitTask | None = None
        self.found: Fitted | None = None
        self.given: list[FitTask] = []

    def begin(self, task: FitTask) -> bool:
        if self.task is not None:
            return False
        self.task = task
        self.given.append(task)
        return True

    def take(self) -> Fitted | None:
        found, self.found = self.found, None
        if found is not None:
            self.task = None
        return found

    def answer(self, found: Callable[[FitTask], Fitted]) -> None:
        assert self.task is not None
        self.found = found(self.task)


def ramp(task: FitTask) -> Fitted:
    """At step s of every series 100 s, without spread."""
    path = np.repeat(100.0 * np.arange(1, task.n_steps + 1, dtype=np.float32)[:, None], 7, axis=1)
    return Fitted(task.number, paths=np.stack([path] * len(task.series)), cpu_s=0.25 * len(task.series))


def filled(n_series: int, n_ticks: int) -> History:
    history = History(n_series, 2304)
    history.push(np.random.default_rng(0).uniform(1, 2, (n_series, n_ticks)).astype(np.float32))
    return history


def test_a_path_that_comes_ticks_later_is_read_further_along() -> None:
    worker, history = FakeWorker(), filled(3, 30)
    expert = RefitPaths("ets", Rotation(3, config=CONFIG), start_tick=7)
    refits = Refits(worker, lambda _line: None)
    refits.join([expert])
    assert np.isnan(expert.quantiles(history, (1, 3))).all()
    refits.turn()
    (task,) = worker.given
    assert (task.tick, task.start_tick, task.past.shape, task.n_steps) == (29, 7, (2, 30), STEPS)
    worker.answer(ramp)
    history.push(np.ones((3, 4), np.float32))  # it took four ticks
    expert.quantiles(history, (1, 3))
    refits.turn()
    said = expert.quantiles(history, (1, 3))
    assert said[list(task.series), :, 3].tolist() == [[500.0, 700.0]] * 2
    # What a fit costs was learned: four of a quarter of a second fit into the budget, the one that waits first.
    (waits,) = {0, 1, 2} - set(task.series)
    assert worker.given[1].series[0] == waits
    assert len(worker.given[1].series) == 3


def test_nobody_waits_and_what_came_to_nothing_is_said() -> None:
    worker, history, said = FakeWorker(), filled(2, 30), []
    refits = Refits(worker, said.append)
    experts = [RefitPaths(name, Rotation(2, config=CONFIG), start_tick=0) for name in ("ets", "arima")]
    refits.join(experts)
    for expert in experts:
        expert.quantiles(history, (1,))
    for _ in range(5):
        refits.turn()
    assert len(worker.given) == 1
    worker.answer(lambda task: Fitted(task.number, error="no memory"))
    refits.turn()
    assert said == ["ets, 2 series: no memory"]
    assert [task.model for task in worker.given] == ["ets", "arima"]  # they take turns
    refits.join(experts[:1])
    worker.answer(ramp)
    refits.turn()
    assert np.isnan(experts[1].quantiles(history, (1,))).all()  # it had gone meanwhile
    assert refits.fits == 0


def test_a_model_is_trained_when_there_is_enough_and_then_daily() -> None:
    class Constant:
        def fit(self, history: object, **_: object) -> None: ...

        def predict(self, context: np.ndarray, horizons: tuple[int, ...] = (), **_: object) -> np.ndarray:
            return np.full((len(context), len(horizons), 7), 9.0, np.float32)

    expert = RefitModel("boosted", (1, 12, 288), start_tick=0, every_ticks=100, least_ticks=400)
    history = filled(2, 399)
    assert np.isnan(expert.quantiles(history, (1, 12, 288))).all()
    assert expert.task() is None
    history.push(np.ones((2, 1), np.float32))
    task = expert.task()
    assert task is not None
    assert task.horizons == (1, 12)  # the day ahead waits for two days of past
    assert expert.task() is None
    expert.settle(task, Fitted(task.number, model=Constant()))
    said = expert.quantiles(history, (1, 12, 288))
    assert (said[:, :2] == 9.0).all()
    assert np.isnan(said[:, 2]).all()
    history.push(np.ones((2, 200), np.float32))
    later = expert.task()
    assert later is not None
    assert later.horizons == (1, 12, 288)
    expert.settle(later, Fitted(later.number, error="too little"))
    assert (expert.quantiles(history, (1,)) == 9.0).all()  # the older one goes on


def test_a_choice_speaks_in_the_place_of_the_engine_for_its_resource_alone() -> None:
    config = EngineConfig(horizons=(1, 3))
    made: list[int] = []

    def make(rows: int) -> Forecaster:
        made.append(rows)
        return Selection(NativeForecaster(rows, config), [])

    plain, chosen = ObservedForecast(config), ObservedForecast(config, others={0: make})
    for tick in range(40):
        a, b = shown(tick, 800.0, [1.0, 0.0]), shown(tick, 800.0, [1.0, 0.0])
        expected(plain, a), expected(chosen, b)
    assert made == [64]
    np.testing.assert_allclose(b.forecasts.moments[:, 0, 0, 0], [800.0, 800.0], rtol=0.02)
    np.testing.assert_array_equal(a.forecasts.quantiles[0, 1:], b.forecasts.quantiles[0, 1:])
    assert chosen.loads.tolist()[0][0] == pytest.approx(800.0)


def test_what_was_seen_before_a_restart_is_known_at_the_first_tick(tmp_path: Path) -> None:
    store = Store(tmp_path / "history", raw_days=7, hourly_days=90)
    loads = np.full((2, 4), np.nan, np.float32)
    for tick in range(60):
        if tick != 30:
            loads[0] = [700.0 + tick % 2, 100.0, 0.0, 0.0]
            store.add_loads(300.0 * tick + 5.0, ("shop", "mail"), loads)
    past = store.loads(("mail", "shop"), 300.0 * 59, 300.0, 200)
    assert past.shape == (2, 4, 60)
    assert np.isnan(past[0]).all()
    assert past[1, 0, :3].tolist() == [700.0, 701.0, 700.0]
    assert np.flatnonzero(np.isnan(past[1, 0])).tolist() == [30]
    forecast = ObservedForecast(EngineConfig(horizons=(1,)))
    forecast.warm(past[::-1])
    state = shown(0, 700.0, [1.0, 0.0])
    assert expected(forecast, state)[0] == pytest.approx(700.5, rel=0.02)
    assert state.forecasts.quantiles[0, 0, 0, 0] > 650.0  # sure already
    assert store.loads(("shop",), 1e9, 300.0, 200).shape == (1, 4, 0)


def test_a_tick_of_another_length_is_refused(tmp_path: Path) -> None:
    class World(DurableSimulatedWorld):
        tick_s = 10.0

    world = World(simulated(), tmp_path / "world.jsonl")
    store = Store(tmp_path / "history", raw_days=7, hourly_days=90)
    with pytest.raises(InputError, match=r"forecast.models ets: expected a tick of 300 s"):
        LiveForecast(ForecastSection(models=("ets",)), tmp_path / "refits", store, world)


def awaited(worker: RefitWorker, limit_s: float = 300.0) -> Fitted:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if (found := worker.take()) is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("nothing came")


def task(model: str, number: int, n_ticks: int, **said: object) -> FitTask:
    rng = np.random.default_rng(1)
    past = (100 + 20 * np.sin(np.arange(n_ticks) / 46) + rng.normal(0, 2, (3, n_ticks))).astype(np.float32)
    return FitTask(model, n_ticks - 1, (0, 1, 2), past, 0, number=number, **said)  # type: ignore[arg-type]


def test_a_process_fits_series_and_trains_models_and_is_replaced_when_it_dies(tmp_path: Path) -> None:
    pytest.importorskip("statsforecast", reason="statsforecast IS MISSING: no classical model is fitted")
    pytest.importorskip("lightgbm", reason="lightgbm IS MISSING: no model is trained")
    worker = RefitWorker(tmp_path / "refits", limit_s=300.0)
    try:
        assert worker.begin(task("ets", 1, 300, n_steps=12))
        assert not worker.begin(task("ets", 2, 300, n_steps=12))
        found = awaited(worker)
        assert (found.number, found.error) == (1, "")
        assert found.paths is not None
        assert found.paths.shape == (3, 12, 7)
        assert (np.diff(found.paths, axis=2) >= 0).all()
        assert worker.begin(task("boosted", 3, 600, horizons=(1, 3)))
        found = awaited(worker)
        assert (found.number, found.error) == (3, "")
        assert found.model is not None
        said = found.model.predict(task("", 0, 600).past, (1, 3))
        assert said.shape == (3, 2, 7)
        assert list((tmp_path / "refits").iterdir()) == []
        assert worker.begin(task("boosted", 4, 5, horizons=(1,)))
        assert "expected" in awaited(worker).error  # too little to learn from is this task's alone
        assert worker._process is not None
        assert worker._process.pid is not None
        os.kill(worker._process.pid, signal.SIGSTOP)  # so that it cannot be done before it is killed
        assert worker.begin(task("ets", 5, 300, n_steps=12))
        worker._process.kill()
        assert awaited(worker).error.startswith("expected an answer, found the process ended with status -9")
        assert not worker.begin(task("ets", 6, 300, n_steps=12))  # it rests first
        worker._not_before_s = 0.0
        worker._limit_s = 0.0
        assert worker.begin(task("ets", 7, 300, n_steps=12))
        assert awaited(worker).error == "expected an answer within 0 s, found none"
    finally:
        worker.close()
