"""Forecasts of a live cluster: the engine in every tick, and models that a process of its own refits beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from foreshade._core import ClusterState
from foreshade.adapters.app.control_config import ForecastSection
from foreshade.adapters.refit_worker import RefitWorker
from foreshade.adapters.store.history import History
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.forecast.classical.rotation import Rotation, RotationConfig
from foreshade.envs.forecast.experts import Expert, SeasonalExpert
from foreshade.envs.forecast.forecaster import EngineConfig, Forecaster, NativeForecaster
from foreshade.envs.forecast.learned.quantile_model import F32
from foreshade.envs.forecast.learned.training_set import ticks_since_monday
from foreshade.envs.forecast.observed import ObservedForecast
from foreshade.envs.forecast.refits import Refit, RefitModel, RefitPaths, Refits
from foreshade.envs.forecast.selection import Selection
from foreshade.envs.inventory import ControlledWorld

log = logging.getLogger(__name__)

RESOURCES = ("cpu", "memory", "disk", "network")
_LEARNED = ("boosted", "lstm")
_LIBRARIES = {
    **dict.fromkeys(("arima", "ets", "mstl"), ("statsforecast", "classical")),
    "prophet": ("prophet", "classical"),
    "boosted": ("lightgbm", "forecast"),
    "lstm": ("torch", "train"),
}
_TICK_S = 300.0  # that seasons and windows of the models are made for
_PAST_TICKS = 8 * 288  # that the models look back, and the engine keeps a week of


class LiveForecast:
    """An ``Estimator``. At its first tick it learns from what the history kept before a restart."""

    def __init__(self, said: ForecastSection, folder: Path, history: History, world: ControlledWorld) -> None:
        """Put the parts together; a process begins with the first fit.

        Args:
            said: which models.
            folder: for trained models.
            history: of what applications wanted.
            world: whose ticks, clock and applications they are.

        Raises:
            InputError: a model needs ticks of another length.
            MissingExtraError: a model's library is not installed.

        """
        for model in said.models:
            if world.tick_s != _TICK_S:
                raise InputError(
                    f"forecast.models {model}: expected a tick of {_TICK_S:g} s, whose days and weeks it knows, "
                    f"found {world.tick_s:g}"
                )
            module, extra = _LIBRARIES[model]
            require(module, extra, f"forecast.models {model}")
        self._said, self._history, self._world = said, history, world
        self._config = EngineConfig.of_tick(world.tick_s)
        self._worker = RefitWorker(folder, limit_s=said.limit_s)
        self._refits = Refits(self._worker, lambda line: log.warning("refits: %s", line))
        self._experts: dict[str, list[Refit]] = {}
        self._forecast: ObservedForecast | None = None  # until the first tick
        self._first_s = 0.0  # Unix time of the first sample that forecasters made now are shown

    def __call__(self, state: ClusterState) -> None:
        """Learn from the tick, show what is expected, and see to the fits."""
        if self._forecast is None:
            self._forecast = self._begin()
        self._first_s = self._world.clock.now_s()
        self._forecast(state)
        self._refits.turn()

    @property
    def loads(self) -> F32:
        """(n_apps, 4) what each application wanted in the newest tick; NaN = not seen."""
        return np.zeros((0, len(RESOURCES)), np.float32) if self._forecast is None else self._forecast.loads

    @property
    def fits(self) -> int:
        """Fits that ended well."""
        return self._refits.fits

    def close(self) -> None:
        """End the process."""
        self._worker.close()

    def _begin(self) -> ObservedForecast:
        """Forecasters that know what was seen before a restart."""
        now_s, step_s = self._world.clock.now_s(), self._world.tick_s
        apps = self._world.inventory().apps
        past = self._history.loads(apps, now_s - step_s, step_s, _PAST_TICKS)
        self._first_s = now_s - past.shape[2] * step_s
        makers = {
            RESOURCES.index(name): self._maker(name) for name in self._said.resources if self._said.models
        }
        made = ObservedForecast(self._config, others=makers)
        if past.shape[2]:
            made.warm(past)
            log.info("forecasts learned from %d ticks of %d applications", past.shape[2], len(apps))
        return made

    def _maker(self, resource: str) -> Callable[[int], Forecaster]:
        """Makes the choice among engine and models for so many applications, in the place of an earlier one."""

        def make(rows: int) -> Forecaster:
            experts: list[Refit] = []
            start = ticks_since_monday(self._first_s, round(_TICK_S))
            for model in self._said.models:
                if model in _LEARNED:
                    every = max(1, round(self._said.retrain_h * 3600.0 / _TICK_S))
                    experts.append(
                        RefitModel(model, self._config.horizons, start_tick=start, every_ticks=every)
                    )
                else:
                    rotation = Rotation(rows, config=RotationConfig(budget_cpu_s=self._said.budget_cpu_s))
                    experts.append(RefitPaths(model, rotation, start_tick=start))
            self._experts[resource] = experts
            self._refits.join([expert for of_one in self._experts.values() for expert in of_one])
            voices: list[Expert] = [SeasonalExpert(), *experts]
            return Selection(NativeForecaster(rows, self._config), voices)

        return make
