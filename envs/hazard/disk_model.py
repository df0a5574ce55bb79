"""The frozen disk hazard model: trees, a calibration, and the manifest that binds them to their features."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from foreshade.envs.boosted_trees import BoostedTrees, read_trees
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.frozen_folder import freeze, thaw
from foreshade.envs.hazard.calibration import Isotonic
from foreshade.envs.hazard.features import FEATURES, features
from foreshade.envs.hazard.landmarks import WINDOW_H
from foreshade.envs.hazard.smart import F32, F64, I64, SmartHistory

FORMAT = "foreshade-disk-hazard/1"
_NATIVE_FROM = 5_000  # rows; below, reading the model costs more than NumPy does


@dataclass(frozen=True, slots=True)
class DiskHazardModel:
    """Probability that a drive fails in its next ``WINDOW_H`` power-on hours, from its readings so far.

    ``boosters`` are LightGBM model texts, each grown on other drives; their scores (log-odds) are averaged
    and calibrated. Evaluation needs NumPy alone; large batches use LightGBM where it is installed.
    """

    boosters: tuple[str, ...]
    trees: tuple[BoostedTrees, ...]
    calibration: Isotonic
    known_models: Mapping[str, int]
    description: Mapping[str, Any]  # data, seeds, parameters: what a person wants to know of its origin

    @classmethod
    def build(
        cls,
        boosters: Sequence[str],
        calibration: Isotonic,
        known_models: Mapping[str, int],
        description: Mapping[str, Any],
        where: str = "disk hazard model",
    ) -> DiskHazardModel:
        """Read the boosters and check that they were grown on this version's features.

        Raises:
            InputError: no booster, an unreadable one, or other features.

        """
        trees = tuple(read_trees(text, where) for text in boosters)
        if not trees:
            raise InputError(f"{where}: expected at least one booster, got none")
        for found in trees:
            if found.feature_names != FEATURES:
                raise InputError(f"{where}: expected the features of this version, got other names")
        return cls(tuple(boosters), trees, calibration, dict(known_models), dict(description))

    def score_features(self, table: F32) -> F64:
        """(n,) log-odds before calibration, of rows of ``features``."""
        scores = [raw(table) for raw in self._predictors(len(table))]
        return np.asarray(np.mean(scores, axis=0), np.float64)

    def _predictors(self, n_rows: int) -> Sequence[Callable[[F32], F64]]:
        # LightGBM's own predictor gives the same numbers 30 times as fast, once it has read its model.
        if n_rows >= _NATIVE_FROM and find_spec("lightgbm"):
            lightgbm = require("lightgbm", "forecast", "disk hazard model")
            boosters = [lightgbm.Booster(model_str=text) for text in self.boosters]
            return [partial(b.predict, raw_score=True, num_threads=1) for b in boosters]
        return [found.raw_score for found in self.trees]

    def probability_of_features(self, table: F32) -> F64:
        """(n,) calibrated probability of failure in the next ``WINDOW_H`` hours."""
        return self.calibration(self.score_features(table))

    def probability(self, history: SmartHistory, drive: I64, hour: I64) -> F64:
        """(n,) calibrated probability that drives fail in the ``WINDOW_H`` hours after ``hour``."""
        return self.probability_of_features(features(history, drive, hour, self.known_models))

    def hazard_per_h(self, history: SmartHistory) -> F64:
        """(n_drives,) failures per power-on hour of each drive as of its last reading."""
        drive = np.arange(len(history))
        return hazard_per_h(self.probability(history, drive, history.end_h))

    def save(self, folder: str | Path) -> Path:
        """Freeze to a folder; see ``frozen_folder``."""
        files = {f"trees-{i}.txt": text.encode() for i, text in enumerate(self.boosters)}
        manifest = {
            "window_h": WINDOW_H,
            "features": list(FEATURES),
            "known_models": dict(self.known_models),
            "calibration": {
                "score": self.calibration.score.tolist(),
                "probability": self.calibration.probability.tolist(),
            },
            "description": dict(self.description),
        }
        return freeze(folder, FORMAT, files, manifest)

    @classmethod
    def load(cls, folder: str | Path) -> DiskHazardModel:
        """Read a frozen folder.

        Raises:
            InputError: not this kind of model, changed files, another window or other features.

        """
        manifest, files = thaw(folder, FORMAT)
        if manifest.get("window_h") != WINDOW_H:
            raise InputError(f"{folder}: window_h: expected {WINDOW_H}, got {manifest.get('window_h')!r}")
        try:
            curve = manifest["calibration"]
            calibration = Isotonic(np.array(curve["score"], float), np.array(curve["probability"], float))
            known, description = manifest["known_models"], manifest["description"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder}: manifest: expected a calibration and models ({error!r})") from error
        texts = [data.decode() for _, data in sorted(files.items())]
        return cls.build(texts, calibration, known, description, str(folder))

    def __repr__(self) -> str:
        """Size and origin; the trees would fill the screen."""
        return (
            f"DiskHazardModel({len(self.trees)} boosters, {len(self.known_models)} drive models, "
            f"{json.dumps(self.description.get('data', {}))})"
        )


def hazard_per_h(probability: F64) -> F64:
    """Constant hazard that gives this probability over ``WINDOW_H``: ``-ln(1 - p) / WINDOW_H``."""
    return -np.log1p(-np.minimum(probability, 1 - 1e-9)) / WINDOW_H
