"""The quantile LSTM as a ``QuantileModel``: trained with torch, frozen to arrays, run with NumPy alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.lag_features import LONGEST_CONTEXT
from foreshade.envs.forecast.learned.lstm_net import WEIGHTS, forward, shown
from foreshade.envs.forecast.learned.lstm_training import LstmConfig, train_lstm
from foreshade.envs.forecast.learned.quantile_model import (
    DEFAULT_HORIZONS,
    F32,
    I64,
    QUANTILES,
    check_context,
    settle,
)
from foreshade.envs.forecast.learned.training_rows import fingerprint
from foreshade.envs.frozen_folder import freeze, thaw

FORMAT = "foreshade-quantile-lstm/1"
_MODEL = "quantile LSTM"
_ROWS_AT_ONCE = 4096  # series per pass: the states of one pass stay in the cache


class QuantileLstm:
    """A ``QuantileModel``; untrained until ``fit`` or ``load``."""

    def __init__(self, config: LstmConfig | None = None) -> None:
        self._config = config or LstmConfig()
        self._weights: dict[str, F32] = {}
        self._n_regressors = 0
        self._description: dict[str, Any] = {}

    @property
    def description(self) -> Mapping[str, Any]:
        """What it was trained on."""
        return self._description

    def fit(self, history: F32, *, start_tick: int | I64 = 0, regressors: F32 | None = None) -> None:
        """See ``QuantileModel``.

        Raises:
            InputError: too little history for the longest horizon.
            MissingExtraError: torch is not installed.

        """
        if history.ndim != 2:
            raise InputError(f"{_MODEL}: history: expected (n_series, n_ticks), got {history.shape}")
        self._weights = train_lstm(history, self._config, start_tick, regressors)
        self._n_regressors = 0 if regressors is None else regressors.shape[1]
        self._description = {
            "n_series": history.shape[0],
            "n_ticks": history.shape[1],
            "history_sha256": fingerprint(history),
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
        config = self._config
        if not self._weights:
            raise InputError(f"{_MODEL}: expected a trained model: fit or load it first")
        check_context(context, horizons, config.horizons, _MODEL)
        if (0 if regressors is None else regressors.shape[1]) != self._n_regressors:
            raise InputError(f"{_MODEL}: regressors: expected {self._n_regressors} columns as in training")
        cut = max(context.shape[1] - LONGEST_CONTEXT, 0)
        ahead = None if regressors is None else regressors[cut:]
        start = np.broadcast_to(np.asarray(start_tick), (len(context),)) + cut
        raw = np.empty((len(context), len(config.horizons), len(QUANTILES)), np.float32)
        for first in range(0, len(context), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            steps, summary, anchor, scale, centre = shown(
                context[rows, cut:], config.n_steps, config.horizons, start[rows], ahead
            )
            found = forward(self._weights, steps, summary, anchor, len(config.horizons))
            raw[rows] = found * scale[:, None, None] + centre[:, None, None]
        return settle(raw[:, [config.horizons.index(h) for h in horizons]], context)

    def save(self, folder: str | Path, data: str) -> Path:
        """Freeze to a folder; ``data`` says in words what it was trained on."""
        manifest = {
            "config": asdict(self._config),
            "quantiles": list(QUANTILES),
            "n_regressors": self._n_regressors,
            "weights": {name: list(array.shape) for name, array in self._weights.items()},
            "description": {**self._description, "data": data},
        }
        files = {}
        for name, array in self._weights.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            files[f"{name}.npy"] = buffer.getvalue()
        return freeze(folder, FORMAT, files, manifest)

    @classmethod
    def load(cls, folder: str | Path) -> QuantileLstm:
        """Read a frozen folder; torch is not needed.

        Raises:
            InputError: not this kind of model, or changed, missing or misshapen files.

        """
        manifest, files = thaw(folder, FORMAT)
        try:
            config = dict(manifest["config"])
            model = cls(LstmConfig(**{**config, "horizons": tuple(config["horizons"])}))
            for name in WEIGHTS:
                array = np.load(io.BytesIO(files[f"{name}.npy"]), allow_pickle=False)
                if list(array.shape) != manifest["weights"][name]:
                    raise InputError(
                        f"{folder}: {name}: expected shape {manifest['weights'][name]}, got {array.shape}"
                    )
                model._weights[name] = np.asarray(array, np.float32)
            model._n_regressors = int(manifest["n_regressors"])
            model._description = dict(manifest["description"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder}: manifest: expected a complete model ({error!r})") from error
        return model
