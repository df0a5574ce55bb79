"""What the disk model sees of a drive at one hour: its age, its model and its SMART readings so far.

Every feature at hour ``h`` is a function of rows that start at or before ``h``; a test rewrites everything
after ``h`` and demands the same numbers. Nothing of the calendar and nothing of how long the drive was
still to be read is used.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreshade.envs.hazard.smart import ATTRIBUTES, F32, F64, I64, SmartHistory

#: How far back changes are looked for, in power-on hours: a day and a half, a week, a month, a quarter, a
#: year.
LAGS_H = (36, 168, 720, 2160, 8760)
#: Attributes that count incidents: their sum over attributes and its growth are features of their own.
_INCIDENTS = tuple(ATTRIBUTES.index(a) for a in (5, 10, 187, 196, 197, 198))
_PENDING = ATTRIBUTES.index(197)

FEATURES: tuple[str, ...] = (
    "age_h",
    "model",
    "size_tb",
    *(f"smart_{a}" for a in ATTRIBUTES),
    *(f"smart_{a}_growth_{lag}h" for lag in LAGS_H for a in ATTRIBUTES),
    *(f"smart_{a}_still_h" for a in ATTRIBUTES),
    *(f"smart_{a}_risen" for a in ATTRIBUTES),
    *(f"changes_{lag}h" for lag in LAGS_H),
    "smart_197_peak",
    "row_age_h",
    "incidents",
    *(f"incidents_growth_{lag}h" for lag in LAGS_H),
    "attributes_hit",
    "cycles_per_kh",
)
#: Columns that hold a code and not a quantity.
CATEGORICAL = ("model",)


def model_codes(models: tuple[str, ...], known: Mapping[str, int]) -> F32:
    """(n_drives,) code of each drive's model; a model that was never trained on is missing (NaN)."""
    return np.array([known.get(model, np.nan) for model in models], np.float32)


def features(history: SmartHistory, drive: I64, hour: I64, known_models: Mapping[str, int]) -> F32:
    """Describe drives at hours; ``(n, len(FEATURES)) float32``, NaN where the drive does not report.

    Args:
        history: readings; rows that start after ``hour`` are not looked at.
        drive: (n,) rows of drives.
        hour: (n,) power-on hours, at or after each drive's first reading.
        known_models: code of each model the trees were grown on.

    """
    owner = history.drive_of_row
    key = owner * _SPAN + history.start_h
    now = np.searchsorted(key, drive * _SPAN + hour, side="right") - 1
    first = history.first_row[drive]
    value = history.raw[now]
    back = [
        np.maximum(np.searchsorted(key, drive * _SPAN + np.maximum(hour - lag, 0), side="right") - 1, first)
        for lag in LAGS_H
    ]
    running = _Running.of(history, owner)
    incidents = running.incidents
    columns: list[F32 | F64 | I64] = [
        hour[:, None],
        model_codes(history.model, known_models)[drive][:, None],
        history.size_tb[drive][:, None],
        value,
        *(value - history.raw[row] for row in back),
        hour[:, None] - running.changed_h[now],
        running.risen[now] - running.risen[first],
        *((now - row)[:, None] for row in back),
        running.peak[now][:, None],
        (hour - history.start_h[now])[:, None],
        incidents[now][:, None],
        *((incidents[now] - incidents[row])[:, None] for row in back),
        (value[:, _INCIDENTS] > 0).sum(axis=1, keepdims=True),
        (value[:, ATTRIBUTES.index(12)] / np.maximum(hour, 24) * 1000)[:, None],
    ]
    table = np.concatenate([column.astype(np.float32) for column in columns], axis=1)
    assert table.shape == (len(drive), len(FEATURES))  # noqa: S101  the names and the columns are one list
    return table


#: Hours that no drive lives for; drive and hour make one sorted key.
_SPAN = 1_000_000


class _Running:
    """What accumulates along each drive's rows, up to and including each row."""

    __slots__ = ("changed_h", "incidents", "peak", "risen")

    def __init__(self, changed_h: F64, risen: F64, peak: F64, incidents: F64) -> None:
        self.changed_h = changed_h  # (n_rows, n_attributes) hour at which the value was last seen to change
        self.risen = risen  # (n_rows, n_attributes) sum of increases; subtract the drive's first row
        self.peak = peak  # (n_rows,) highest count of pending sectors so far
        self.incidents = incidents  # (n_rows,) sum of the counting attributes

    @classmethod
    def of(cls, history: SmartHistory, owner: I64) -> _Running:
        begins = np.zeros(len(owner), bool)
        begins[history.first_row[:-1]] = True
        raw = np.nan_to_num(history.raw.astype(np.float64))
        step = np.diff(raw, axis=0, prepend=raw[:1])
        step[begins] = 0
        seen = np.where((step != 0) | begins[:, None], np.arange(len(owner))[:, None], 0)
        changed_h = history.start_h[np.maximum.accumulate(seen, axis=0)].astype(np.float64)
        # A running maximum that starts anew at each drive: shift every drive above the one before it.
        lift = owner * (raw[:, _PENDING].max() + 1)
        peak = np.maximum.accumulate(raw[:, _PENDING] + lift) - lift
        return cls(
            changed_h,
            np.cumsum(np.maximum(step, 0), axis=0),
            peak,
            raw[:, _INCIDENTS].sum(axis=1),
        )
