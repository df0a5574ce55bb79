"""One model per class of VMs where a class has data enough, and one for all the others.

A class is whatever groups series that behave alike: an application type, a flavour, a template. Small classes
lose more by having little to learn from than they gain by being alone, so they share the model of everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.quantile_model import (
    DEFAULT_HORIZONS,
    F32,
    I64,
    QUANTILES,
    QuantileModel,
    Source,
)
from foreshade.envs.frozen_folder import freeze, thaw

_ALL = "all"


class FrozenModel(QuantileModel, Protocol):
    """A ``QuantileModel`` that can be written to a folder and read back."""

    def save(self, folder: str | Path, data: Source) -> Path:
        """Freeze to a folder."""
        ...

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a frozen folder."""
        ...


M = TypeVar("M", bound=FrozenModel)


class PerClass(Generic[M]):
    """Models by class; series of a class without a model of its own go to the one that saw everything."""

    FORMAT = "foreshade-per-class/1"

    def __init__(self, make: Callable[[], M], min_series: int = 200) -> None:
        if min_series < 1:
            raise InputError(f"models per class: min_series: expected at least 1, got {min_series}")
        self._make = make
        self._min_series = min_series
        self._models: dict[str, M] = {}

    @property
    def models(self) -> Mapping[str, M]:
        """By class; ``all`` saw every series."""
        return self._models

    def fit(
        self,
        history: F32,
        classes: Sequence[str],
        *,
        start_tick: int | I64 = 0,
        regressors: F32 | None = None,
    ) -> None:
        """Train one model on everything and one on each class of at least ``min_series`` series.

        Raises:
            InputError: not one class per series, a class called ``all``, or too little history.
            MissingExtraError: the training library is not installed.

        """
        member = _members(classes, len(history))
        start = np.broadcast_to(np.asarray(start_tick), (len(history),))
        models = {_ALL: self._make()}
        models[_ALL].fit(history, start_tick=start, regressors=regressors)
        for name, count in sorted(Counter(classes).items()):
            if count >= self._min_series and count < len(history):
                rows = np.flatnonzero(member == name)
                models[name] = self._make()
                models[name].fit(history[rows], start_tick=start[rows], regressors=regressors)
        self._models = models

    def predict(
        self,
        context: F32,
        classes: Sequence[str],
        horizons: Sequence[int] = DEFAULT_HORIZONS,
        *,
        start_tick: int | I64 = 0,
        regressors: F32 | None = None,
    ) -> F32:
        """As ``QuantileModel.predict``, each series by the model of its class.

        Raises:
            InputError: not trained, not one class per series, or what the models refuse.

        """
        if not self._models:
            raise InputError("models per class: expected trained models: fit or load them first")
        member = _members(classes, len(context))
        start = np.broadcast_to(np.asarray(start_tick), (len(context),))
        answer = np.zeros((len(context), len(horizons), len(QUANTILES)), np.float32)
        own = np.array([name if name in self._models else _ALL for name in member.tolist()], object)
        for name in sorted(set(own.tolist())):
            rows = np.flatnonzero(own == name)
            answer[rows] = self._models[name].predict(
                context[rows], horizons, start_tick=start[rows], regressors=regressors
            )
        return answer

    def save(self, folder: str | Path, data: Source) -> Path:
        """Freeze to a folder with a folder per model; ``data`` says what they were trained on."""
        where = {name: f"model-{number}" for number, name in enumerate(self._models)}
        more = {"models": where, "min_series": self._min_series, "source": data}
        target = freeze(folder, self.FORMAT, {}, more)
        for name, model in self._models.items():
            model.save(target / where[name], data)
        return target

    def load(self, folder: str | Path) -> None:
        """Read models that ``save`` wrote; those of other makers are refused by their own ``load``."""
        manifest, _ = thaw(folder, self.FORMAT)
        places = manifest.get("models", {})
        if _ALL not in places:
            raise InputError(f"{folder}: models: expected one called {_ALL!r}, got {', '.join(places)}")
        kind = type(self._make())
        self._models = {name: kind.load(Path(folder) / place) for name, place in places.items()}


def _members(classes: Sequence[str], n_series: int) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    if len(classes) != n_series:
        raise InputError(f"models per class: expected {n_series} classes, got {len(classes)}")
    if _ALL in classes:
        raise InputError(f"models per class: {_ALL!r} is no name for a class")
    return np.array(classes, object)
