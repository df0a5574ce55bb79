"""What a global model sees of a series at an origin: distances from its newest sample, in its own spread.

The last column of a context is the newest sample. Everything here is a function of the context, of the
clock and of regressors that are known ahead; nothing reaches past the origin.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshade.envs.forecast.learned.quantile_model import F32, I64, TICKS_PER_DAY

#: Samples that are given as they are, counted back from the newest: 0 is the newest.
LAGS = (0, 1, 2, 3, 4, 5, 8, 11, 17, 23, 35)
#: Trailing windows that are summarised, in ticks: half an hour to a day.
WINDOWS = (6, 12, 36, 72, 144, 288)
_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
#: What a context is cut to: a week and a day, so that the same tick of last week is still in it.
LONGEST_CONTEXT = 8 * TICKS_PER_DAY
_WEEK = 7 * TICKS_PER_DAY
_SCALE_WINDOW = 288
_TINY = 1e-6


_PAST = (
    *(f"lag_{lag}" for lag in LAGS),
    *(f"window_{w}_{what}" for w in WINDOWS for what in ("mean", *(f"q{v:g}" for v in _LEVELS))),
    *(f"window_{w}_step" for w in WINDOWS[:3]),
    "min_day", "max_day", "rise_hour", "observed", "log_scale", "level",
)  # fmt: skip
_AHEAD = (
    "same_tick_yesterday", "same_hour_yesterday", "same_tick_last_week",
    "tick_sin", "tick_cos", "day_of_week",
)  # fmt: skip


def names(n_regressors: int) -> tuple[str, ...]:
    """Name of each column of ``lag_features``."""
    return (*_PAST, *_AHEAD, *(f"regressor_{r}" for r in range(n_regressors)))


def centre_of(context: F32) -> F32:
    """(n_series,) newest sample that is there; 0 where there is none.

    Trees have constant leaves: from the level itself they would copy it in steps, and lose to the last value.
    """
    known = np.isfinite(context)
    newest = context.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    found = context[np.arange(len(context)), newest]
    return np.where(known.any(axis=1), found, 0).astype(np.float32)


def scale_of(context: F32) -> F32:
    """(n_series,) spread of the last day, above 0; 1 where there is no sample.

    The mean distance from the mean, and a hundredth of the level, so that a constant series has a scale.
    """
    recent = context[:, -_SCALE_WINDOW:].astype(np.float64)
    known = np.isfinite(recent)
    count = np.maximum(known.sum(axis=1), 1)
    recent = np.where(known, recent, 0)
    mean = recent.sum(axis=1) / count
    spread = np.where(known, np.abs(recent - mean[:, None]), 0).sum(axis=1) / count
    level = np.abs(recent).sum(axis=1) / count
    return np.where(known.any(axis=1), spread + 0.01 * level + _TINY, 1.0).astype(np.float32)


def past_features(context: F32) -> F32:
    """``(n_series, n) float32``: the first columns of ``lag_features``, which no horizon changes."""
    scale, centre = scale_of(context), centre_of(context)
    # only the newest samples are looked at here: scaling a whole week costs more than all that follows
    scaled = _scaled(context[:, -WINDOWS[-1] - 1 :], centre, scale)
    columns = [_back(scaled, lag) for lag in LAGS]
    for window in WINDOWS:
        columns += _summary(scaled[:, -window:])
    columns += [_mean(np.abs(np.diff(scaled[:, -window - 1 :], axis=1))) for window in WINDOWS[:3]]
    day = scaled[:, -TICKS_PER_DAY:]
    columns += [
        np.fmin.reduce(day, axis=1),
        np.fmax.reduce(day, axis=1),
        _mean(scaled[:, -6:]) - _mean(scaled[:, -12:-6]),
        np.isfinite(context[:, -LONGEST_CONTEXT:]).sum(axis=1),
        np.log(scale),
        centre / scale,
    ]
    return np.stack([column.astype(np.float32) for column in columns], axis=1)


def lag_features(
    context: F32, horizon: int, start_tick: int | I64, regressors: F32 | None, past: F32 | None = None
) -> F32:
    """Describe every series at the end of its context; ``(n_series, len(names(…))) float32``.

    Args:
        context: (n_series, n_ticks) samples, NaN = missing.
        horizon: steps ahead that the description is for: it moves the seasonal lags and the clock.
        start_tick: ticks since a Monday at midnight at the first column.
        regressors: (n_series or 1, n_regressors) values at the target tick.
        past: ``past_features(context)`` where it is known already: several horizons share it.

    """
    n_series, n_ticks = context.shape
    scale, centre = scale_of(context), centre_of(context)
    target = np.broadcast_to(np.asarray(start_tick), (n_series,)) + n_ticks - 1 + horizon
    angle = 2 * np.pi * (target % TICKS_PER_DAY) / TICKS_PER_DAY
    yesterday, last_week = _seasonal(horizon, TICKS_PER_DAY), _seasonal(horizon, _WEEK)
    hour = context[:, max(n_ticks - yesterday - 7, 0) : max(n_ticks - yesterday + 6, 0)]
    columns = [
        (_back(context, yesterday) - centre) / scale,
        _mean(_scaled(hour, centre, scale)),
        (_back(context, last_week) - centre) / scale,
        np.sin(angle),
        np.cos(angle),
        target // TICKS_PER_DAY % 7,
    ]
    if regressors is not None:
        columns += list(np.broadcast_to(regressors, (n_series, regressors.shape[1])).T)
    ahead = np.stack([column.astype(np.float32) for column in columns], axis=1)
    return np.concatenate([past_features(context) if past is None else past, ahead], axis=1)


def _scaled(samples: F32, centre: F32, scale: F32) -> F32:
    return np.asarray((samples - centre[:, None]) / scale[:, None], np.float32)


def _seasonal(horizon: int, period: int) -> int:
    """How far back from the newest sample the target's tick of an earlier period lies; at least 0."""
    return -(-horizon // period) * period - horizon


def _back(samples: F32, lag: int) -> F32:
    if lag >= samples.shape[1]:
        return np.full(len(samples), np.nan, np.float32)
    return samples[:, samples.shape[1] - 1 - lag]


def _mean(window: F32) -> F32:
    known = np.isfinite(window)
    count = known.sum(axis=1)
    total = np.where(known, window, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def quantiles_of_rows(samples: F32, levels: Sequence[float]) -> list[F32]:
    """Per level, the quantile of the samples of each row that are there, linear between order statistics.

    (n,) each; NaN where a row has none.
    """
    ordered = np.sort(samples, axis=1)  # NaN sorts last
    count = np.isfinite(ordered).sum(axis=1)
    rows = np.arange(len(samples))
    columns = []
    for level in levels:
        place = level * np.maximum(count - 1, 0)
        low = place.astype(np.int64)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        share = (place - low).astype(np.float32)
        columns.append(ordered[rows, low] * (1 - share) + ordered[rows, high] * share)
    return columns


def _summary(window: F32) -> list[F32]:
    """Mean and quantiles of the samples that are there."""
    if window.shape[1] == 0:
        return [np.full(len(window), np.nan, np.float32)] * (1 + len(_LEVELS))
    return [_mean(window), *quantiles_of_rows(window, _LEVELS)]
