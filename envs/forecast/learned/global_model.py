"""What every model has in common that is trained on many series at once and frozen to a folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.lag_features import LONGEST_CONTEXT
from foreshade.envs.forecast.learned.quantile_model import (
    DEFAULT_HORIZONS,
    F32,
    I64,
    QUANTILES,
    Source,
    check_context,
    settle,
)
from foreshade.envs.forecast.learned.training_rows import fingerprint
from foreshade.envs.frozen_folder import freeze, thaw


class GlobalConfig(Protocol):
    """A frozen dataclass of plain values with the horizons that are trained."""

    @property
    def horizons(self) -> tuple[int, ...]:
        """Steps ahead."""
        ...


C = TypeVar("C", bound=GlobalConfig)


def check_horizons(horizons: tuple[int, ...], model: str) -> None:
    """Reject horizons that no model can be trained for.

    Raises:
        InputError: none, one below 1, or one twice.

    """
    if not horizons or min(horizons) < 1 or len(set(horizons)) < len(horizons):
        raise InputError(f"{model}: horizons: expected distinct steps of 1 or more, got {horizons}")


class GlobalModel(ABC, Generic[C]):
    """A ``QuantileModel``; untrained until ``fit`` or ``load``. A kind of model says how it learns and
    answers.

    A frozen folder holds what ``_files`` gives and a manifest: the configuration, the quantiles, what it was
    trained on, and what the kind adds.
    """

    FORMAT: ClassVar[str]
    NAME: ClassVar[str]
    CONFIG: ClassVar[type[Any]]

    def __init__(self, config: C | None = None) -> None:
        self._config: C = config or self.CONFIG()
        self._n_regressors = 0
        self._description: dict[str, Any] = {}

    @property
    def config(self) -> C:
        """Settings that it is or was trained with."""
        return self._config

    @property
    def horizons(self) -> tuple[int, ...]:
        """Steps ahead that it can be asked for."""
        return self._config.horizons

    @property
    def n_regressors(self) -> int:
        """Columns that it was trained with."""
        return self._n_regressors

    @property
    def description(self) -> Mapping[str, Any]:
        """What it was trained on."""
        return self._description

    def fit(self, history: F32, *, start_tick: int | I64 = 0, regressors: F32 | None = None) -> None:
        """See ``QuantileModel``.

        Raises:
            InputError: too little history for a horizon.
            MissingExtraError: the training library is not installed.

        """
        if history.ndim != 2:
            raise InputError(f"{self.NAME}: history: expected (n_series, n_ticks), got {history.shape}")
        start = np.broadcast_to(np.asarray(start_tick), (len(history),))
        learned = self._learn(history, start, regressors)
        self._n_regressors = 0 if regressors is None else regressors.shape[1]
        self._description = {
            "n_series": history.shape[0],
            "n_ticks": history.shape[1],
            "history_sha256": fingerprint(history),
            **learned,
        }

    def predict(
        self,
        context: F32,
        horizons: Sequence[int] = DEFAULT_HORIZONS,
        *,
        start_tick: int | I64 = 0,
        regressors: F32 | None = None,
    ) -> F32:
        """See ``QuantileModel``.

        Raises:
            InputError: not trained, an untrained horizon, or other regressors than in training.

        """
        if not self._description:
            raise InputError(f"{self.NAME}: expected a trained model: fit or load it first")
        check_context(context, horizons, self._config.horizons, self.NAME)
        found = 0 if regressors is None else regressors.shape[1]
        if found != self._n_regressors:
            raise InputError(
                f"{self.NAME}: regressors: expected {self._n_regressors} columns as in training, got {found}"
            )
        cut = max(context.shape[1] - LONGEST_CONTEXT, 0)
        start = np.broadcast_to(np.asarray(start_tick), (len(context),)) + cut
        ahead = None if regressors is None else regressors[cut:]
        return settle(self._answer(context[:, cut:], tuple(horizons), start, ahead), context)

    def save(self, folder: str | Path, data: Source) -> Path:
        """Freeze to a folder; ``data`` says what it was trained on."""
        files, more = self._frozen()
        manifest = {
            "config": asdict(self._config),  # type: ignore[call-overload]
            "quantiles": list(QUANTILES),
            "n_regressors": self._n_regressors,
            "description": {**self._description, "data": data},
            **more,
        }
        return freeze(folder, self.FORMAT, files, manifest)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a frozen folder; the training library is not needed.

        Raises:
            InputError: not this kind of model, changed or missing files, or other features.

        """
        manifest, files = thaw(folder, cls.FORMAT)
        try:
            config = cls.CONFIG(**manifest["config"])
            model = cls(replace(config, horizons=tuple(config.horizons)))
            model._n_regressors = int(manifest["n_regressors"])
            model._thaw(manifest, files, str(folder))
            model._description = dict(manifest["description"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder}: manifest: expected a complete model ({error!r})") from error
        return model

    @abstractmethod
    def _learn(self, history: F32, start_tick: I64, regressors: F32 | None) -> Mapping[str, Any]:
        """Train, and say what belongs into the description beside the history."""

    @abstractmethod
    def _answer(
        self, context: F32, horizons: tuple[int, ...], start_tick: I64, regressors: F32 | None
    ) -> npt.NDArray[np.floating]:
        """Raw quantiles ``(n_series, len(horizons), 7)``; the context is cut to ``LONGEST_CONTEXT``."""

    @abstractmethod
    def _frozen(self) -> tuple[Mapping[str, bytes], Mapping[str, Any]]:
        """Files, and entries of the manifest."""

    @abstractmethod
    def _thaw(self, manifest: Mapping[str, Any], files: Mapping[str, bytes], folder: str) -> None:
        """The reverse of ``_frozen``; a ``KeyError`` or ``ValueError`` is an incomplete model."""
