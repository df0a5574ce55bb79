"""Gradient-boosted quantiles: one global LightGBM model per horizon and quantile, over all series.

A target is the distance from an anchor (the newest sample or the median of a window, whichever errs less in
training at that horizon) in units of the series' own spread, and a sample weighs as much as that spread, so
that the loss is the pinball loss in the resource's unit. Evaluation needs NumPy
alone; LightGBM is used where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from foreshade.envs.boosted_trees import read_trees
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.forecast.learned.lag_features import (
    LONGEST_CONTEXT,
    centre_of,
    lag_features,
    names,
    scale_of,
)
from foreshade.envs.forecast.learned.quantile_model import (
    DEFAULT_HORIZONS,
    F32,
    F64,
    I64,
    QUANTILES,
    check_context,
    settle,
)
from foreshade.envs.forecast.learned.training_rows import draw_origins, fingerprint
from foreshade.envs.frozen_folder import freeze, thaw

FORMAT = "foreshade-boosted-quantiles/1"
#: Features that a target may be measured from, beside 0, which is the newest sample.
_ANCHORS = ("", "window_6_q0.5", "window_12_q0.5", "window_36_q0.5", "window_144_q0.5")
_MODEL = "boosted quantiles"


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
        if not self.horizons or min(self.horizons) < 1 or len(set(self.horizons)) < len(self.horizons):
            raise InputError(f"{_MODEL}: horizons: expected distinct steps of 1 or more, got {self.horizons}")

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


class BoostedQuantiles:
    """A ``QuantileModel``; untrained until ``fit`` or ``load``."""

    def __init__(self, config: BoostedConfig | None = None) -> None:
        self._config = config or BoostedConfig()
        self._boosters: dict[str, str] = {}
        self._predictors: dict[str, Callable[[F32], F64]] = {}
        self._anchors: dict[int, str] = {}
        self._n_regressors = 0
        self._description: dict[str, Any] = {}

    @property
    def description(self) -> Mapping[str, Any]:
        """What it was trained on."""
        return self._description

    def fit(self, history: F32, *, start_tick: int | I64 = 0, regressors: F32 | None = None) -> None:
        """See ``QuantileModel``.

        Raises:
            InputError: too little history for a horizon.
            MissingExtraError: LightGBM is not installed.

        """
        lightgbm = require("lightgbm", "forecast", f"training {_MODEL}")
        if history.ndim != 2:
            raise InputError(f"{_MODEL}: history: expected (n_series, n_ticks), got {history.shape}")
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
        self._n_regressors = n_regressors
        self._boosters = boosters
        self._anchors = anchors
        self._predictors = {}
        self._description = {
            "n_series": history.shape[0],
            "n_ticks": history.shape[1],
            "history_sha256": fingerprint(history),
            "lightgbm": lightgbm.__version__,
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
        if not self._boosters:
            raise InputError(f"{_MODEL}: expected a trained model: fit or load it first")
        check_context(context, horizons, self._config.horizons, _MODEL)
        n_ticks = context.shape[1]
        if (0 if regressors is None else regressors.shape[1]) != self._n_regressors:
            raise InputError(f"{_MODEL}: regressors: expected {self._n_regressors} columns as in training")
        cut = max(n_ticks - LONGEST_CONTEXT, 0)
        recent = context[:, cut:]
        scale, centre = scale_of(recent), centre_of(recent)
        raw = np.empty((len(context), len(horizons), len(QUANTILES)))
        for column, horizon in enumerate(horizons):
            ahead = None if regressors is None else regressors[n_ticks - 1 + horizon][None, :]
            table = lag_features(recent, horizon, np.asarray(start_tick) + cut, ahead)
            anchor = _anchor(table, self._anchors[horizon])
            for place, quantile in enumerate(QUANTILES):
                raw[:, column, place] = (
                    self._predictor(_key(horizon, quantile))(table) + anchor
                ) * scale + centre
        return settle(raw, context)

    def save(self, folder: str | Path, data: str) -> Path:
        """Freeze to a folder; ``data`` says in words what it was trained on."""
        manifest = {
            "config": asdict(self._config),
            "quantiles": list(QUANTILES),
            "features": list(names(self._n_regressors)),
            "anchors": {str(horizon): anchor for horizon, anchor in self._anchors.items()},
            "n_regressors": self._n_regressors,
            "description": {**self._description, "data": data},
        }
        return freeze(folder, FORMAT, {f"{k}.txt": t.encode() for k, t in self._boosters.items()}, manifest)

    @classmethod
    def load(cls, folder: str | Path) -> BoostedQuantiles:
        """Read a frozen folder.

        Raises:
            InputError: not this kind of model, changed or missing files, or other features.

        """
        manifest, files = thaw(folder, FORMAT)
        try:
            config = dict(manifest["config"])
            model = cls(BoostedConfig(**{**config, "horizons": tuple(config["horizons"])}))
            n_regressors = int(manifest["n_regressors"])
            if tuple(manifest["features"]) != names(n_regressors):
                raise InputError(f"{folder}: features: expected those of this version, got others")
            wanted = [_key(h, q) for h in model._config.horizons for q in QUANTILES]
            model._boosters = {key: files[f"{key}.txt"].decode() for key in wanted}
            model._anchors = {h: str(manifest["anchors"][str(h)]) for h in model._config.horizons}
            model._description = dict(manifest["description"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder}: manifest: expected a complete model ({error!r})") from error
        model._n_regressors = n_regressors
        return model

    def _predictor(self, key: str) -> Callable[[F32], F64]:
        if key not in self._predictors:
            self._predictors[key] = _evaluator(self._boosters[key], key)
        return self._predictors[key]


def _evaluator(text: str, where: str) -> Callable[[F32], F64]:
    if find_spec("lightgbm"):
        booster = require("lightgbm", "forecast", _MODEL).Booster(model_str=text)

        def native(table: F32) -> F64:
            return np.asarray(booster.predict(table, num_threads=1), np.float64)

        return native
    return read_trees(text, where).raw_score


def _rows(
    history: F32, horizon: int, config: BoostedConfig, start_tick: int | I64, regressors: F32 | None
) -> tuple[F32, F32, F32]:
    """Features, target (from the newest sample, in units of scale) and scale of one horizon's origins."""
    origins = draw_origins(history, horizon, config.n_rows, config.shortest, config.seed, _MODEL)
    n_regressors = 0 if regressors is None else regressors.shape[1]
    table = np.empty((origins.series.size, len(names(n_regressors))), np.float32)
    target = np.empty(origins.series.size, np.float32)
    scale = np.empty(origins.series.size, np.float32)
    start = np.broadcast_to(np.asarray(start_tick), (len(history),))
    for column, rows in origins.by_column():
        series = origins.series[rows]
        first = max(0, column + 1 - LONGEST_CONTEXT)
        context = history[series, first : column + 1]
        ahead = None if regressors is None else regressors[column + horizon][None, :]
        table[rows] = lag_features(context, horizon, start[series] + first, ahead)
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
