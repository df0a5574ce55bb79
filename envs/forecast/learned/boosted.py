"""Gradient-boosted quantiles: one global LightGBM model per horizon and quantile, over all series.

A target is the distance from an anchor (the newest sample or the median of a window, whichever errs less in
training at that horizon) in units of the series' own spread, and a sample weighs as much as that spread, so
that the loss is the pinball loss in the resource's unit. The native core
evaluates the trees; LightGBM is needed for training alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreshade._core import TreeSums
from foreshade.envs.boosted_trees import read_trees, tree_sums
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.forecast.learned.global_model import GlobalModel, check_horizons
from foreshade.envs.forecast.learned.lag_features import (
    LONGEST_CONTEXT,
    centre_of,
    lag_features,
    names,
    past_features,
    scale_of,
)
from foreshade.envs.forecast.learned.quantile_model import DEFAULT_HORIZONS, F32, F64, I64, QUANTILES
from foreshade.envs.forecast.learned.training_rows import draw_origins

#: Features that a target may be measured from, beside 0, which is the newest sample.
_ANCHORS = ("", "window_6_q0.5", "window_12_q0.5", "window_36_q0.5", "window_144_q0.5")
_MODEL = "boosted quantiles"
_ROWS_AT_ONCE = 2048  # series per pass: their day of samples stays in the cache


@dataclass(frozen=True, slots=True)
class BoostedConfig:
    """Size of the models and of what they learn from."""

    horizons: tuple[int, ...] = DEFAULT_HORIZONS
    n_rows: int = 40_000  # origins per horizon; the loss falls by less than 1 % from here to 160,000
    shortest: int = 48  # ticks that must lie before an origin
    n_rounds: int = 120
    learning_rate: float = 0.06
    n_leaves: int = 15
    min_leaf: int = 100
    n_bins: int = 63
    column_share: float = 0.5
    n_threads: int = 1  # two threads on shared cores wait for each other
    seed: int = 0

    def __post_init__(self) -> None:
        check_horizons(self.horizons, _MODEL)
        if not 2 <= self.n_leaves <= TreeSums.most_leaves:
            raise InputError(f"{_MODEL}: n_leaves: expected 2 to {TreeSums.most_leaves}, got {self.n_leaves}")

    def for_lightgbm(self, quantile: float) -> Mapping[str, Any]:
        """The same in LightGBM's words."""
        return {
            "objective": "quantile",
            "alpha": quantile,
            "learning_rate": self.learning_rate,
            "num_leaves": self.n_leaves,
            "min_data_in_leaf": self.min_leaf,
            "feature_fraction": self.column_share,
            "max_bin": self.n_bins,
            "num_threads": self.n_threads,
            "seed": self.seed,
            "deterministic": True,
            "force_col_wise": True,
            "verbose": -1,
        }


class BoostedQuantiles(GlobalModel[BoostedConfig]):
    """A ``QuantileModel`` of boosted trees; training needs LightGBM, evaluation does not."""

    FORMAT = "foreshade-boosted-quantiles/1"
    NAME = _MODEL
    CONFIG = BoostedConfig

    def __init__(self, config: BoostedConfig | None = None) -> None:
        super().__init__(config)
        self._boosters: dict[str, str] = {}
        self._trees: dict[int, TreeSums] = {}  # by horizon; an output per quantile
        self._anchors: dict[int, str] = {}

    def _learn(self, history: F32, start_tick: I64, regressors: F32 | None) -> Mapping[str, Any]:
        lightgbm = require("lightgbm", "forecast", f"training {_MODEL}")
        config = self._config
        n_regressors = 0 if regressors is None else regressors.shape[1]
        boosters = {}
        anchors = {}
        for horizon in config.horizons:
            table, target, scale = _rows(history, horizon, config, start_tick, regressors)
            error = {a: np.abs((target - _anchor(table, a)) * scale).mean() for a in _ANCHORS}
            anchors[horizon] = min(_ANCHORS, key=error.__getitem__)
            target -= _anchor(table, anchors[horizon])
            dataset = lightgbm.Dataset(
                table, target, weight=scale / scale.mean(), feature_name=list(names(n_regressors)),
                params={"max_bin": config.n_bins, "min_data_in_leaf": config.min_leaf, "verbose": -1},
            )  # fmt: skip
            for quantile in QUANTILES:
                booster = lightgbm.train(dict(config.for_lightgbm(quantile)), dataset, config.n_rounds)
                boosters[_key(horizon, quantile)] = booster.model_to_string()
        self._grow(boosters, anchors)
        return {"lightgbm": lightgbm.__version__}

    def _answer(
        self, context: F32, horizons: tuple[int, ...], start_tick: I64, regressors: F32 | None
    ) -> F64:
        raw = np.empty((len(context), len(horizons), len(QUANTILES)))
        for first in range(0, len(context), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            part = context[rows]
            scale, centre = scale_of(part)[:, None], centre_of(part)[:, None]
            past = past_features(part)
            for column, horizon in enumerate(horizons):
                ahead = None if regressors is None else regressors[context.shape[1] - 1 + horizon][None, :]
                table = lag_features(part, horizon, start_tick[rows], ahead, past)
                anchor = _anchor(table, self._anchors[horizon])[:, None]
                raw[rows, column] = (self._trees[horizon].predict(table) + anchor) * scale + centre
        return raw

    def _frozen(self) -> tuple[Mapping[str, bytes], Mapping[str, Any]]:
        more = {
            "features": list(names(self._n_regressors)),
            "anchors": {str(horizon): anchor for horizon, anchor in self._anchors.items()},
        }
        return {f"{key}.txt": text.encode() for key, text in self._boosters.items()}, more

    def _thaw(self, manifest: Mapping[str, Any], files: Mapping[str, bytes], folder: str) -> None:
        if tuple(manifest["features"]) != names(self._n_regressors):
            raise InputError(f"{folder}: features: expected those of this version, got others")
        wanted = [_key(h, q) for h in self.horizons for q in QUANTILES]
        boosters = {key: files[f"{key}.txt"].decode() for key in wanted}
        self._grow(boosters, {h: str(manifest["anchors"][str(h)]) for h in self.horizons})

    def _grow(self, boosters: dict[str, str], anchors: dict[int, str]) -> None:
        """Keep the texts for ``save`` and the trees for ``predict``."""
        trees = {
            horizon: tree_sums(
                [read_trees(boosters[key], key) for key in (_key(horizon, q) for q in QUANTILES)]
            )
            for horizon in self.horizons
        }
        self._boosters, self._anchors, self._trees = boosters, anchors, trees


def _rows(
    history: F32, horizon: int, config: BoostedConfig, start_tick: I64, regressors: F32 | None
) -> tuple[F32, F32, F32]:
    """Features, target (from the newest sample, in units of scale) and scale of one horizon's origins."""
    origins = draw_origins(history, horizon, config.n_rows, config.shortest, config.seed, _MODEL)
    n_regressors = 0 if regressors is None else regressors.shape[1]
    table = np.empty((origins.series.size, len(names(n_regressors))), np.float32)
    target = np.empty(origins.series.size, np.float32)
    scale = np.empty(origins.series.size, np.float32)
    for column, rows in origins.by_column():
        series = origins.series[rows]
        first = max(0, column + 1 - LONGEST_CONTEXT)
        context = history[series, first : column + 1]
        ahead = None if regressors is None else regressors[column + horizon][None, :]
        table[rows] = lag_features(context, horizon, start_tick[series] + first, ahead)
        scale[rows] = scale_of(context)
        target[rows] = (history[series, column + horizon] - centre_of(context)) / scale[rows]
    return table, target, scale


def _anchor(table: F32, name: str) -> F32:
    """(n,) where targets are measured from, in units of the features."""
    if not name:
        return np.zeros(len(table), np.float32)
    return np.nan_to_num(table[:, names(0).index(name)])


def _key(horizon: int, quantile: float) -> str:
    return f"h{horizon}-q{quantile:g}"
