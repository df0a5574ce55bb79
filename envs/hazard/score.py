"""``score``: how well a disk hazard model does on the drives it never saw, by the fixed protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from foreshade.envs.hazard.disk_model import DiskHazardModel
from foreshade.envs.hazard.features import features
from foreshade.envs.hazard.landmarks import TRAIN_SHARE, WINDOW_H, Landmarks, in_training, landmarks
from foreshade.envs.hazard.scores import area_under_roc, average_precision, decile_table
from foreshade.envs.hazard.smart import F64, SmartHistory, read_smart
from foreshade.envs.hazard.train import fit

_ROWS_AT_ONCE = 100_000


def score(path: str | Path, model: DiskHazardModel | None = None) -> dict[str, Any]:
    """Judge a model on the 30 % of a file's drives that never train.

    Without a model one is trained first, on the file's other 70 %. A model that was trained elsewhere must
    have been trained with the same split (``in_training`` looks at serial numbers alone).

    Returns:
        ``auc``, ``ap``, ``base_rate``, ``top_decile`` with ``predicted``, ``observed`` and ``ratio``,
        ``deciles`` by rising prediction, and what was judged: counts of drives, landmarks, failures, and the
        landmarks dropped because their window never closed. ``caught_at_false_alarms`` gives the share of
        failures caught when 0.1 %, 1 % and 10 % of the surviving landmarks raise an alarm, and how many false
        alarms that is a drive and day of power-on time.

    Raises:
        InputError: the file cannot be used, or no test drive failed.
        MissingExtraError: no model is given and LightGBM is not installed.

    """
    history = read_smart(path)
    judge = model or fit(history, data={"file": Path(path).name})
    testing = ~in_training(history.serial)
    judged = landmarks(history)
    held_out = judged.of(testing)
    probability = predict(judge, history, held_out)
    happened = held_out.failed
    deciles = decile_table(happened, probability)
    top = deciles[-1]
    return {
        "protocol": {
            "window_h": WINDOW_H,
            "train_share": TRAIN_SHARE,
            "split": "first 8 bytes of SHA-256 of the serial number",
            "censored": "dropped",
        },
        "auc": area_under_roc(happened, probability),
        "ap": average_precision(happened, probability),
        "base_rate": float(happened.mean()),
        "top_decile": {
            **top,
            "ratio": top["predicted"] / top["observed"] if top["observed"] else float("inf"),
        },
        "deciles": deciles,
        "caught_at_false_alarms": _caught(happened, probability),
        "test": {
            "drives": int(testing.sum()),
            "landmarks": len(held_out),
            "failures": int(happened.sum()),
        },
        "censored_landmarks_dropped": judged.n_censored,
        "training": dict(judge.description),
    }


def predict(model: DiskHazardModel, history: SmartHistory, judged: Landmarks) -> F64:
    """(n,) probability at each landmark; in pieces, so that memory stays bounded."""
    pieces = [
        model.probability_of_features(
            features(history, judged.drive[rows], judged.hour[rows], model.known_models)
        )
        for rows in np.array_split(np.arange(len(judged)), max(1, len(judged) // _ROWS_AT_ONCE))
    ]
    return np.concatenate(pieces)


def _caught(happened: Any, probability: F64) -> list[dict[str, float]]:
    survivors = np.sort(probability[~happened])[::-1]
    rows = []
    for share in (0.001, 0.01, 0.1):
        threshold = survivors[int(share * len(survivors))]
        rows.append(
            {
                "alarmed_survivors": share,
                "false_alarms_per_drive_day": float((survivors > threshold).mean()) * 24.0 / WINDOW_H,
                "caught": float((probability[happened] > threshold).mean()),
            }
        )
    return rows
