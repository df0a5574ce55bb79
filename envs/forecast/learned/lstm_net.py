"""The quantile LSTM in NumPy: what it is shown, and its forward pass from stored weights.

One LSTM layer (Hochreiter & Schmidhuber, Neural Computation 9(8), 1997; gates in torch's order i, f, g, o)
reads the last ``C`` samples; a head with one hidden layer joins its last state with a summary of the day
and gives, per horizon, a median and six steps away from it. The median starts a learned share of the way
from the newest sample to the median of three hours; the steps pass a softplus, so quantiles cannot cross.
Training writes the same arithmetic in torch; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from foreshade.envs.forecast.learned.lag_features import centre_of, lag_features, names, scale_of
from foreshade.envs.forecast.learned.quantile_model import F32, I64, QUANTILES, TICKS_PER_DAY

#: Channels of every time step: squashed sample, whether it is there, sine and cosine of the time of day.
N_CHANNELS = 4
_SUMMARY = (
    "window_12_mean", "window_36_q0.1", "window_36_q0.5", "window_36_q0.9", "window_144_q0.5",
    "window_288_mean", "window_288_q0.1", "window_288_q0.5", "window_288_q0.9", "window_12_step",
    "same_tick_yesterday", "level", "log_scale",
)  # fmt: skip
_MEDIAN = QUANTILES.index(0.5)
_ANCHOR = "window_36_q0.5"
WEIGHTS = ("input", "recurrent", "bias", "hidden", "hidden_bias", "out", "out_bias", "share")


def n_summary(n_horizons: int, n_regressors: int) -> int:
    """Width of the summary that joins the LSTM's state."""
    return len(_SUMMARY) + n_horizons * n_regressors


def shown(
    context: F32,
    n_steps: int,
    horizons: tuple[int, ...],
    start_tick: int | I64,
    regressors: F32 | None,
) -> tuple[F32, F32, F32, F32, F32]:
    """What the network is shown at the end of each context.

    Returns:
        ``steps`` (n_series, n_steps, N_CHANNELS), ``summary`` (n_series, n_summary), ``anchor``, ``scale``
        and ``centre`` (n_series,): a forecast is ``output * scale + centre``. Missing samples are 0 with
        their channel off; a context shorter than ``n_steps`` is missing samples.

    """
    n_series, n_ticks = context.shape
    scale, centre = scale_of(context), centre_of(context)
    recent = (context[:, -n_steps:] - centre[:, None]) / scale[:, None]
    sample = np.full((n_series, n_steps), np.nan, np.float32)
    sample[:, n_steps - recent.shape[1] :] = recent
    there = np.isfinite(sample)
    tick = np.broadcast_to(np.asarray(start_tick), (n_series,))[:, None] + np.arange(
        n_ticks - n_steps, n_ticks
    )
    angle = 2 * np.pi * (tick % TICKS_PER_DAY) / TICKS_PER_DAY
    steps = np.stack([_squash(np.nan_to_num(sample)), there, np.sin(angle), np.cos(angle)], axis=2)
    table = lag_features(context, horizons[0], start_tick, None)
    known = names(0)
    columns = np.nan_to_num(table[:, [known.index(name) for name in _SUMMARY]])
    columns[:, :-1] = _squash(columns[:, :-1])
    columns[:, -1] *= np.float32(0.2)  # the logarithm of a scale spans some 20; the other columns about 2
    if regressors is not None:
        ahead = [regressors[n_ticks - 1 + h] for h in horizons]
        tiled = np.broadcast_to(np.concatenate(ahead), (n_series, len(horizons) * regressors.shape[1]))
        columns = np.concatenate([columns, tiled], axis=1)
    anchor = np.nan_to_num(table[:, known.index(_ANCHOR)])
    return steps.astype(np.float32), columns.astype(np.float32), anchor.astype(np.float32), scale, centre


def forward(weights: Mapping[str, F32], steps: F32, summary: F32, anchor: F32, n_horizons: int) -> F32:
    """``(n_series, n_horizons, 7)`` quantiles in units of the scale."""
    size = weights["recurrent"].shape[0]
    state = np.zeros((len(steps), size), np.float32)
    cell = np.zeros_like(state)
    for step in range(steps.shape[1]):
        gates = steps[:, step] @ weights["input"] + state @ weights["recurrent"] + weights["bias"]
        opened = _sigmoid(gates)  # of all four blocks: one pass is cheaper than three, the third is not used
        cell = opened[:, size : 2 * size] * cell + opened[:, :size] * np.tanh(gates[:, 2 * size : 3 * size])
        state = opened[:, 3 * size :] * np.tanh(cell)
    joined = np.concatenate([state, summary], axis=1)
    hidden = np.maximum(joined @ weights["hidden"] + weights["hidden_bias"], 0)
    raw = (hidden @ weights["out"] + weights["out_bias"]).reshape(len(steps), n_horizons, len(QUANTILES))
    middle = raw[:, :, _MEDIAN : _MEDIAN + 1] + anchor[:, None, None] * _sigmoid(weights["share"])[:, None]
    above = np.cumsum(_softplus(raw[:, :, _MEDIAN + 1 :]), axis=2)
    below = np.cumsum(_softplus(raw[:, :, :_MEDIAN])[:, :, ::-1], axis=2)[:, :, ::-1]
    return np.concatenate([middle - below, middle, middle + above], axis=2)


def _squash(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logarithm of the size with the sign kept: a spike of 50 scales must not drown the rest."""
    return np.asarray(np.sign(x) * np.log1p(np.abs(x)), np.float32)


def _sigmoid(x: F32) -> F32:
    return np.asarray(np.float32(0.5) * np.tanh(np.float32(0.5) * x) + np.float32(0.5), np.float32)


def _softplus(x: F32) -> F32:
    return np.asarray(np.logaddexp(x, np.float32(0)), np.float32)
