"""Growing the disk hazard model: boosted trees on landmarks, calibrated on training drives they did not see.

The 70 % of drives that train are dealt into folds by another hash of their serial numbers; each booster
leaves one fold out, and the calibration is fitted on what each booster says of the fold it left out. The
other 30 % of drives are never touched. Of the landmarks that survived, a tenth is kept at ten times the
weight: 99.7 % of them are alike, and the fit costs a tenth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.hazard.calibration import fit_isotonic
from foreshade.envs.hazard.disk_model import DiskHazardModel
from foreshade.envs.hazard.features import CATEGORICAL, FEATURES, features
from foreshade.envs.hazard.landmarks import Landmarks, in_training, landmarks, share_of
from foreshade.envs.hazard.smart import F64, SmartHistory, read_smart


@dataclass(frozen=True, slots=True)
class DiskHazardConfig:
    """How the trees are grown; chosen on training drives' folds, then left alone."""

    n_folds: int = 3  # boosters; each leaves one fold out
    n_rounds: int = 200  # the ranking is flat from 100 to 400 rounds at this rate
    learning_rate: float = 0.03
    n_leaves: int = 31
    min_leaf: int = 40  # weighted by nothing: about 4 failures or 40 kept survivors
    l2: float = 10.0
    column_share: float = 0.5  # many features say nearly the same
    row_share: float = 0.8
    survivor_share: float = 0.1  # of the landmarks that survived, kept at the inverse weight
    n_bins: int = 127
    n_threads: int = 1  # two threads on shared cores wait for each other
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_folds < 2:
            raise InputError(f"n_folds: expected at least 2, got {self.n_folds}")
        if not 0 < self.survivor_share <= 1:
            raise InputError(f"survivor_share: expected above 0 up to 1, got {self.survivor_share}")

    def for_lightgbm(self) -> Mapping[str, Any]:
        """The same in LightGBM's words."""
        return {
            "objective": "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.n_leaves,
            "min_data_in_leaf": self.min_leaf,
            "lambda_l2": self.l2,
            "feature_fraction": self.column_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "max_bin": self.n_bins,
            "num_threads": self.n_threads,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }


_DEFAULTS = DiskHazardConfig()


def train(path: str | Path, out: str | Path, config: DiskHazardConfig = _DEFAULTS) -> DiskHazardModel:
    """Train on the training drives of a file and freeze the model to a folder.

    Raises:
        InputError: the file cannot be used, or too few training drives failed.
        MissingExtraError: LightGBM is not installed.

    """
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).is_file() else ""
    model = fit(read_smart(path), config, {"file": Path(path).name, "sha256": digest})
    model.save(out)
    return model


def fit(
    history: SmartHistory, config: DiskHazardConfig = _DEFAULTS, data: Mapping[str, Any] | None = None
) -> DiskHazardModel:
    """Train on the drives of ``history`` that ``in_training`` names; ``data`` goes into the description."""
    lightgbm = require("lightgbm", "forecast", "training the disk hazard model")
    training = in_training(history.serial)
    judged = landmarks(history).of(training)
    fold = np.array([int(share_of(s, "fold:") * config.n_folds) for s in history.serial], np.int64)
    kept, weight = _thinned(judged, config)
    judged = Landmarks(judged.drive[kept], judged.hour[kept], judged.failed[kept], judged.n_censored)
    n_failures = int(judged.failed.sum())
    if n_failures < 10 * config.n_folds:
        raise InputError(
            f"disk hazard: expected {10 * config.n_folds} failures to train on, got {n_failures}"
        )
    seen = sorted({history.model[d] for d in np.unique(judged.drive)})
    known = {model: code for code, model in enumerate(seen)}
    table = features(history, judged.drive, judged.hour, known)
    boosters: list[str] = []
    score = np.empty(len(judged))
    for left_out in range(config.n_folds):
        held = fold[judged.drive] == left_out
        dataset = lightgbm.Dataset(
            table[~held],
            judged.failed[~held].astype(np.float32),
            weight=weight[~held],
            feature_name=list(FEATURES),
            categorical_feature=list(CATEGORICAL),
        )
        booster = lightgbm.train(dict(config.for_lightgbm()), dataset, config.n_rounds)
        score[held] = booster.predict(table[held], raw_score=True, num_threads=config.n_threads)
        boosters.append(booster.model_to_string())
    description = {
        "data": {
            **(data or {}),
            "training_drives": int(training.sum()),
            "training_landmarks_kept": len(judged),
            "training_failures": n_failures,
        },
        "config": asdict(config),
        "lightgbm": lightgbm.__version__,
    }
    return DiskHazardModel.build(boosters, fit_isotonic(score, judged.failed, weight), known, description)


def _thinned(judged: Landmarks, config: DiskHazardConfig) -> tuple[npt.NDArray[np.bool_], F64]:
    """Which landmarks are trained on, and the weight of each; every failure stays."""
    draw = np.random.default_rng(config.seed).random(len(judged))
    kept = judged.failed | (draw < config.survivor_share)
    return kept, np.where(judged.failed[kept], 1.0, 1.0 / config.survivor_share)
