"""The Server Machine Dataset: whole machines, point by point, never point-adjusted.

Su et al., "Robust Anomaly Detection for Multivariate Time Series through Stochastic Recurrent Neural
Network", KDD 2019. Point adjustment, the habit of counting a whole segment as found when one of its points
is, rewards noise (Kim et al., AAAI 2022): it is not offered. Labels are read after the scores are made.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from foreshade.envs.anomaly.baseline import ewma_z
from foreshade.envs.anomaly.detector import JointAnomalyDetector, JointConfig
from foreshade.envs.errors import InputError
from foreshade.envs.workloads.archive import locate, read_members

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

STEP_S = 60.0
#: Parts of each machine: suffixes in the packed file, folders in the published form.
PARTS = ("train", "test", "test_label")
SCALE = 10000.0  # the packed file holds min-max shares times this
BASELINE_WEIGHT = 1e-4  # the best of 0.05, 0.01, 0.001, 0.0001 for the baseline


def average_precision(score: F64, label: Bools) -> float:
    """Area under precision-recall as the sum of precision times the rise of recall; ties count together."""
    positives = int(label.sum())
    if positives == 0:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # last row of each run of ties
    hits = np.cumsum(label[order])[ends]
    precision, recall = hits / (ends + 1), hits / positives
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def segments(flags: Bools) -> npt.NDArray[np.int64]:
    """First row and the row after the last of each run of true values, (n, 2)."""
    edges = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    return np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)])


def event_f1(flags: Bools, label: Bools) -> tuple[float, float, float]:
    """F1, precision and recall over events: runs of flags against labelled segments, one touch is a hit."""
    raised, true = segments(flags), segments(label)
    right = sum(bool(label[a:b].any()) for a, b in raised)
    found = sum(bool(flags[a:b].any()) for a, b in true)
    precision = right / len(raised) if len(raised) else 0.0
    recall = found / len(true) if len(true) else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return f1, precision, recall


def score_smd(source: str, config: JointConfig | None = None) -> dict[str, Any]:
    """Score the joint detector and the metrics' mean residual z on every machine: plain values for JSON.

    The detector runs online over the training part and then the test part, and sees no label.

    Raises:
        InputError: neither an npz with ``NAME_train``, ``NAME_test`` and ``NAME_test_label`` nor a folder
            or archive with ``train/NAME.txt``, ``test/NAME.txt`` and ``test_label/NAME.txt``.

    """
    machines = _read(source)
    rows: list[dict[str, Any]] = []
    for name, (train, test, label) in machines.items():
        values: F64 = np.concatenate([train, test]).astype(np.float64)
        detector = JointAnomalyDetector(1, values.shape[1], config or JointConfig())
        p, labels, alarm = detector.run(STEP_S * np.arange(len(values), dtype=np.float64), values[:, None, :])
        first = len(train)
        days = len(test) * STEP_S / 86400.0
        rows.append(_row("engine", name, -np.log10(p[first:, 0]), labels[first:, 0] > 0, label))
        false = alarm[first:, 0] & ~label
        rows[-1]["false_alarms_per_series_day"] = float(false.sum()) / days
        z = ewma_z(values, BASELINE_WEIGHT).mean(axis=1)
        # as many training samples lie above the flag's threshold as the detector's own p lets through
        threshold = float(np.quantile(z[:first], 1.0 - 10**-2.25))
        flags = z[first:] >= threshold
        rows.append(_row("ewma_z", name, z[first:], flags, label))
        starts = segments(flags)[:, 0]
        rows[-1]["false_alarms_per_series_day"] = float((~label[starts]).sum()) / days
    mean = {
        detector: float(np.mean([row["auc_pr"] for row in rows if row["detector"] == detector]))
        for detector in ("engine", "ewma_z")
    }
    return {"benchmark": "smd", "machines": len(machines), "results": rows, "mean_auc_pr": mean}


def _row(detector: str, machine: str, score: F64, flags: Bools, label: Bools) -> dict[str, Any]:
    f1, precision, recall = event_f1(flags, label)
    return {
        "detector": detector,
        "machine": machine,
        "auc_pr": average_precision(score, label),
        "base_rate": float(label.mean()),
        "event_f1": f1,
        "event_precision": precision,
        "event_recall": recall,
    }


def _read(source: str) -> Mapping[str, tuple[F64, F64, Bools]]:
    """(train, test, label) of each machine, from the packed file or from the published folders."""
    path, inner = locate(source)
    packed = path.is_file() and path.suffix == ".npz"
    held = _packed(path) if packed else _published(source, path, inner)
    names = sorted(key.removesuffix("_train") for key in held if key.endswith("_train"))
    if not names:
        expected = "arrays NAME_train" if packed else "train/NAME.txt, test/NAME.txt and test_label/NAME.txt"
        raise InputError(f"{source}: expected {expected}, found {', '.join(sorted(held)[:4]) or 'none'}")
    scale = SCALE if packed else 1.0
    machines: dict[str, tuple[F64, F64, Bools]] = {}
    for name in names:
        try:
            train, test, label = (held[f"{name}_{part}"] for part in PARTS)
        except KeyError as error:
            raise InputError(
                f"{source}: expected {name}_test and {name}_test_label, found no {error}"
            ) from error
        if train.ndim != 2 or test.shape[1:] != train.shape[1:] or label.shape != test.shape[:1]:
            raise InputError(
                f"{source}: {name}: shapes do not fit: {train.shape}, {test.shape}, {label.shape}"
            )
        machines[name] = (
            train.astype(np.float64) / scale,
            test.astype(np.float64) / scale,
            label.astype(np.bool_),
        )
    return machines


def _packed(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise InputError(f"{path}: expected the packed npz file of SMD, found another file") from error


def _published(source: str, path: Path, inner: str) -> dict[str, npt.NDArray[Any]]:
    """The authors' form: text of comma-separated shares, one line a minute, one label a line."""
    held: dict[str, npt.NDArray[Any]] = {}
    for file, data in read_members(path, inner, lambda name: name.endswith(".txt")):
        parts = PurePosixPath(file).parts
        if len(parts) < 2 or parts[-2] not in PARTS:
            continue
        try:
            table = np.loadtxt(io.BytesIO(data), delimiter=",", ndmin=2)
        except ValueError as error:
            raise InputError(f"{source}: {file}: expected comma-separated numbers, got {error}") from error
        name = f"{PurePosixPath(file).stem}_{parts[-2]}"
        held[name] = table[:, 0] if parts[-2] == "test_label" else table
    return held
