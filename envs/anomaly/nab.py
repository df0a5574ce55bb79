"""The Numenta Anomaly Benchmark's score, from its published description, and our detectors on it.

Lavin & Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", ICMLA 2015, standard profile. In each
labelled window the first detection counts, weighted by a sigmoid of its position (1 at the left end, 0 at
the right); a missed window costs 1; a false positive costs up to 0.11, less right after a window. The first
15 % of a file (at most 750 rows) are probation. One threshold, the best one, serves all files; 0 is a
detector that never fires, 100 one that fires at the start of every window and nowhere else.

A tenth of the rows lie in windows, so blind firing hits some: ``score_nab`` reports such a clock, and false
alarms per day, beside every detector.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade.envs.anomaly.baseline import ewma_z
from foreshade.envs.anomaly.detector import AnomalyDetector, DetectorConfig
from foreshade.envs.errors import InputError
from foreshade.envs.workloads.archive import locate, read_members

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

FALSE_POSITIVE_WEIGHT = 0.11
PROBATION_SHARE, PROBATION_ROWS = 0.15, 750
#: Weights of the residual-z baseline: the customary one, and the detector's own memory.
BASELINE_WEIGHTS = (0.01, 0.001)
#: Rows between two firings of the clock: the refractory period of the detector.
CLOCK_ROWS = 100


@dataclass(frozen=True, slots=True)
class NabFile:
    """One labelled series."""

    name: str  # category/file.csv
    time_s: F64  # (n_rows,) Unix time
    values: F64  # (n_rows,)
    windows: I64  # (n_windows, 2) first and last row of each labelled window

    @property
    def development(self) -> bool:
        """Whether parameters may be chosen on it: the artificial files, and half of the others by hash."""
        half = hashlib.sha256(self.name.encode()).digest()[0] % 2 == 0
        return self.name.startswith("artificial") or half

    @property
    def days(self) -> float:
        """Length of the scored part in days."""
        rows = self.time_s[probation(len(self.time_s)) :]
        return float(np.ptp(rows)) / 86400.0


def probation(n_rows: int) -> int:
    """Rows at the start of a file that are not scored."""
    return int(min(PROBATION_SHARE * n_rows, PROBATION_ROWS))


def sigmoid(position: F64) -> F64:
    """``2 / (1 + e^5y) - 1``: 1 far left of a window's right end (y = 0), -1 far right; -1 beyond y = 3."""
    return np.where(position > 3.0, -1.0, 2.0 / (1.0 + np.exp(np.minimum(5.0 * position, 50.0))) - 1.0)


def row_values(n_rows: int, windows: I64) -> tuple[I64, F64]:
    """Window of each row (-1 = none), and what a detection there is worth, (n_rows,) each.

    Inside a window of width w whose right end is r, row i lies at y = -(r - i + 1) / w and is worth
    sigmoid(y) / sigmoid(-1); after it y = (i - r) / (w - 1) and a detection is worth 0.11 sigmoid(y).
    """
    window = np.full(n_rows, -1, np.int64)
    worth = np.full(n_rows, -FALSE_POSITIVE_WEIGHT)
    for j, (left, right) in enumerate(windows):
        width = right - left + 1
        inside = np.arange(left, right + 1)
        window[inside] = j
        worth[inside] = sigmoid(-(right - inside + 1) / width) / sigmoid(np.array(-1.0))
        end = windows[j + 1][0] if j + 1 < len(windows) else n_rows
        after = np.arange(right + 1, end)
        worth[after] = FALSE_POSITIVE_WEIGHT * sigmoid((after - right) / max(width - 1, 1))
    return window, worth


@dataclass(frozen=True, slots=True)
class _Rows:
    """The scored rows of many files, windows numbered through."""

    score: F64
    window: I64
    worth: F64
    n_windows: int

    @staticmethod
    def of(files: Sequence[NabFile], scores: Sequence[F64]) -> _Rows:
        parts: list[tuple[F64, I64, F64]] = []
        n_windows = 0
        for file, score in zip(files, scores, strict=True):
            first = probation(len(score))
            window, worth = row_values(len(score), file.windows)
            shifted = np.where(window >= 0, window + n_windows, -1)
            parts.append((score[first:], shifted[first:], worth[first:]))
            n_windows += len(file.windows)
        score, window, worth = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _Rows(score, window, worth, n_windows)

    def total(self, threshold: float) -> float:
        """Sum of what the detections at or above the threshold are worth, missed windows at -1."""
        hit = self.score >= threshold
        inside = hit & (self.window >= 0)
        best = np.full(self.n_windows, -1.0)
        # worth falls within a window, so the first detection is the most valuable one
        np.maximum.at(best, self.window[inside], self.worth[inside])
        return float(best.sum() + self.worth[hit & (self.window < 0)].sum())

    def best(self) -> float:
        """The threshold of the greatest total, infinite where never firing is best."""
        order = np.argsort(-self.score, kind="stable")
        best_in = np.full(self.n_windows, -1.0)
        total = most = -float(self.n_windows)
        threshold = float("inf")
        for place, row in enumerate(order):
            worth, window = self.worth[row], self.window[row]
            if window < 0:
                total += worth
            elif worth > best_in[window]:
                total += worth - best_in[window]
                best_in[window] = worth
            last = place + 1 == len(order) or self.score[order[place + 1]] < self.score[row]
            if last and total > most:
                most, threshold = total, float(self.score[row])
        return threshold

    def normalised(self, threshold: float) -> float:
        """0 = never fires, 100 = perfect."""
        if self.n_windows == 0:
            return 100.0 if not np.any(self.score >= threshold) else float("nan")
        return 100.0 * (self.total(threshold) + self.n_windows) / (2.0 * self.n_windows)


def best_score(files: Sequence[NabFile], scores: Sequence[F64]) -> tuple[float, float]:
    """The NAB score at the best common threshold, and that threshold; scores are (n_rows,) of each file."""
    rows = _Rows.of(files, scores)
    threshold = rows.best()
    return rows.normalised(threshold), threshold


def score_at(files: Sequence[NabFile], scores: Sequence[F64], threshold: float) -> float:
    """The NAB score at a given threshold."""
    return _Rows.of(files, scores).normalised(threshold)


def read_nab(source: str) -> list[NabFile]:
    """Read a folder or archive with ``data/CATEGORY/NAME.csv`` and ``labels/combined_windows.json``.

    Raises:
        InputError: no labels or no data there, or a file that is not NAB's.

    """
    path, inner = locate(source)
    labels: Mapping[str, Any] | None = None
    tables: dict[str, bytes] = {}
    for name, data in read_members(path, inner, lambda n: n.endswith((".csv", "combined_windows.json"))):
        if name.endswith("combined_windows.json"):
            labels = json.loads(data)
        elif "data/" in name:
            tables[name[name.rindex("data/") + 5 :]] = data
    if labels is None:
        raise InputError(f"{source}: expected labels/combined_windows.json, found none")
    known = sorted(set(tables) & set(labels))
    if not known:
        raise InputError(f"{source}: expected labelled data/CATEGORY/NAME.csv, found {len(tables)} csv files")
    return [_parse(name, tables[name], labels[name]) for name in known]


def _parse(name: str, data: bytes, windows: Sequence[tuple[str, str]]) -> NabFile:
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        time_s = np.array([row["timestamp"] for row in rows], "datetime64[s]").astype(np.float64)
        values = np.array([float(row["value"]) for row in rows])
        ends = np.array(windows, "datetime64[s]").astype(np.float64).reshape(-1, 2)
    except (KeyError, ValueError) as error:
        raise InputError(f"{name}: expected timestamp,value rows of NAB, got {error}") from error
    spans = []
    for left, right in ends:
        inside = np.flatnonzero((time_s >= left) & (time_s <= right))
        if len(inside):
            spans.append((inside[0], inside[-1]))
    return NabFile(name, time_s, values, np.array(spans, np.int64).reshape(-1, 2))


def score_nab(source: str, config: DetectorConfig | None = None) -> dict[str, Any]:
    """Score the detector, the residual-z baselines and a blind clock on NAB: plain values for JSON.

    The detector sees timestamps and values in order and nothing else; a row scores ``-log10 p`` where it
    raises an alarm and 0 elsewhere.
    """
    files = read_nab(source)

    def engine(file: NabFile) -> F64:
        p, _, alarm = AnomalyDetector(1, config or DetectorConfig()).run(file.time_s, file.values[:, None])
        score: F64 = np.where(alarm[:, 0], -np.log10(p[:, 0]), 0.0)
        return score

    def residual(weight: float) -> Callable[[NabFile], F64]:
        return lambda file: ewma_z(file.values[:, None], weight)[:, 0]

    def clock(file: NabFile) -> F64:
        fires: F64 = (np.arange(len(file.values)) % CLOCK_ROWS == 0).astype(np.float64)
        return fires

    detectors: dict[str, Callable[[NabFile], F64]] = {"engine": engine}
    for weight in BASELINE_WEIGHTS:
        detectors[f"ewma_z_{weight:g}"] = residual(weight)
    detectors["clock"] = clock
    results = [_result(name, files, [detect(file) for file in files]) for name, detect in detectors.items()]
    return {
        "benchmark": "nab",
        "profile": "standard",
        "files": len(files),
        "windows": int(sum(len(file.windows) for file in files)),
        "results": results,
        "ratio": {
            row["detector"]: results[0]["score"] / row["score"] if row["score"] > 0 else None
            for row in results[1:]
        },
    }


def _result(name: str, files: Sequence[NabFile], scores: Sequence[F64]) -> dict[str, Any]:
    score, threshold = best_score(files, scores)
    part = {
        keep: [(f, s) for f, s in zip(files, scores, strict=True) if f.development == keep]
        for keep in (True, False)
    }
    chosen = best_score(*_columns(part[True]))[1] if part[True] else threshold
    found = false = 0
    days = 0.0
    for file, file_score in zip(files, scores, strict=True):
        window, _ = row_values(len(file_score), file.windows)
        first = probation(len(file_score))
        hit = np.flatnonzero(file_score[first:] >= threshold) + first
        found += len(set(window[hit]) - {-1})
        false += int((window[hit] < 0).sum())
        days += file.days
    return {
        "detector": name,
        "score": score,
        "threshold": threshold if np.isfinite(threshold) else None,
        "development": score_at(*_columns(part[True]), chosen) if part[True] else None,
        "held_out": score_at(*_columns(part[False]), chosen) if part[False] else None,
        "windows_found": found,
        "false_alarms_per_series_day": false / days if days else None,
    }


def _columns(pairs: Sequence[tuple[NabFile, F64]]) -> tuple[list[NabFile], list[F64]]:
    return [file for file, _ in pairs], [score for _, score in pairs]
