"""The quantile LSTM as a ``QuantileModel``: trained with torch, frozen to arrays, run with NumPy alone."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.global_model import GlobalModel
from foreshade.envs.forecast.learned.lstm_net import WEIGHTS, forward, shown
from foreshade.envs.forecast.learned.lstm_training import LstmConfig, train_lstm
from foreshade.envs.forecast.learned.quantile_model import F32, I64, QUANTILES

_ROWS_AT_ONCE = 4096  # series per pass: the states of one pass stay in the cache


class QuantileLstm(GlobalModel[LstmConfig]):
    """A ``QuantileModel`` of one LSTM layer; training needs torch, evaluation does not."""

    FORMAT = "foreshade-quantile-lstm/1"
    NAME = "quantile LSTM"
    CONFIG = LstmConfig

    def __init__(self, config: LstmConfig | None = None) -> None:
        super().__init__(config)
        self._weights: dict[str, F32] = {}

    def _learn(self, history: F32, start_tick: I64, regressors: F32 | None) -> Mapping[str, Any]:
        self._weights = train_lstm(history, self._config, start_tick, regressors)
        return {}

    def _answer(
        self, context: F32, horizons: tuple[int, ...], start_tick: I64, regressors: F32 | None
    ) -> F32:
        config = self._config
        raw = np.empty((len(context), len(config.horizons), len(QUANTILES)), np.float32)
        for first in range(0, len(context), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            steps, summary, anchor, scale, centre = shown(
                context[rows], config.n_steps, config.horizons, start_tick[rows], regressors
            )
            found = forward(self._weights, steps, summary, anchor, len(config.horizons))
            raw[rows] = found * scale[:, None, None] + centre[:, None, None]
        return raw[:, [config.horizons.index(h) for h in horizons]]

    def _frozen(self) -> tuple[Mapping[str, bytes], Mapping[str, Any]]:
        files = {}
        for name, array in self._weights.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            files[f"{name}.npy"] = buffer.getvalue()
        return files, {"weights": {name: list(array.shape) for name, array in self._weights.items()}}

    def _thaw(self, manifest: Mapping[str, Any], files: Mapping[str, bytes], folder: str) -> None:
        for name in WEIGHTS:
            array = np.load(io.BytesIO(files[f"{name}.npy"]), allow_pickle=False)
            if list(array.shape) != manifest["weights"][name]:
                raise InputError(
                    f"{folder}: {name}: expected shape {manifest['weights'][name]}, got {array.shape}"
                )
            self._weights[name] = np.asarray(array, np.float32)
