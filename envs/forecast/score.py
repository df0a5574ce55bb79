"""Forecasts set beside what came: the protocols, the measures and the reference models.

Every series begins at its own first sample and is streamed; at an origin a model has seen the samples up to
and including it. CPU and GPU are percentages of what the VM has, the others in the unit of the trace.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol as TypingProtocol

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import ForecastError
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig, NativeForecaster
from foreshade.envs.workloads.from_trace import cpu_sizes
from foreshade.envs.workloads.spec import Spec, load_trace
from foreshade.envs.workloads.trace import Trace

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
LEVEL = np.array(LEVELS)
DAY, WEEK = 288, 2016  # steps of 300 s

#: A model: ``(n_series, T)`` with NaN, origins, horizons -> ``(n_series, n_origins, n_horizons, 7)``.
Model = Callable[[F32, Sequence[int], Sequence[int]], F32]


@dataclass(frozen=True, slots=True)
class Protocol:
    """Where forecasts start and how far they reach, in steps."""

    origins: tuple[int, ...]
    horizons: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Series to be forecast and the protocol they are forecast under."""

    resource: str
    values: F32  # (n_series, T), NaN = missing
    protocol: Protocol
    start_epoch_s: int = 0  # of the first step; 0 where the trace has no calendar
    step_s: int = 300
    classes: tuple[str, ...] = ()  # of each series, for models per class


def protocol_of(n_steps: int) -> Protocol:
    """The protocol for a trace of this length.

    A month: 21 days of history, 63 origins every 185 min, to a day ahead. A day: origins 199 to 275, to an
    hour ahead; a shorter one ends an hour before its last step.
    """
    if n_steps >= 21 * DAY + 62 * 37 + DAY:
        return Protocol(tuple(21 * DAY - 1 + 37 * i for i in range(63)), (1, 3, 12, DAY))
    last = min(275, n_steps - 13)
    if last < 199:
        raise ForecastError(f"score: expected at least 212 steps, got {n_steps}")
    return Protocol(tuple(range(199, last + 1)), (1, 3, 12))


def case_of(trace: Trace, resource: str, *, kind: str, sample: int | None, seed: int) -> Case:
    """Take the series of a resource out of a trace, under the protocol of its kind.

    Raises:
        ForecastError: the trace does not measure the resource.

    """
    series = series_of(trace, resource, kind=kind)
    keep = np.arange(len(series.values))
    if kind == "planetlab" and sample is None:
        sample = 200
    if sample is not None and sample < len(keep):
        keep = np.sort(np.random.default_rng(seed).choice(keep, sample, replace=False))
    values = np.ascontiguousarray(series.values[keep])
    classes = tuple(series.classes[i] for i in keep)
    protocol = protocol_of(values.shape[1])
    return Case(resource, values, protocol, trace.start_epoch_s, trace.step_s, classes)


@dataclass(frozen=True, slots=True)
class SeriesSet:
    """One resource of a trace, as forecasts see it."""

    values: F32  # (n_series, T), NaN = missing; CPU and GPU in per cent of what the VM has
    classes: tuple[str, ...]  # of each series: its application, or its flavour where each serves alone


def series_of(trace: Trace, resource: str, *, kind: str) -> SeriesSet:
    """The series of a resource; of Bitbrains those that are nearly always measured and ever move.

    Raises:
        ForecastError: the trace does not measure the resource.

    """
    measured = measured_in(trace)
    if resource not in measured:
        raise ForecastError(
            f"score: {trace.name} has no {resource} that was measured; it has {', '.join(measured) or 'none'}"
        )
    values = trace.series[resource].astype(np.float32)
    if resource == "cpu":
        values = 100.0 * values / cpu_sizes(trace)
    elif resource == "gpu":
        values = 100.0 * values
    keep = np.arange(values.shape[1])
    if kind == "bitbrains":
        cpu = 100.0 * trace.series["cpu"] / cpu_sizes(trace)
        keep = np.flatnonzero((np.isfinite(cpu).mean(0) > 0.97) & (np.nanstd(cpu, axis=0) > 0.2))
    applications = trace.vms.application
    alone = len(set(applications)) == len(applications)
    flavours = [
        f"{cores:g} cores, {mhz:g} MHz" for cores, mhz in zip(trace.vms.cores, trace.vms.cpu_mhz, strict=True)
    ]
    classes = flavours if alone else applications
    return SeriesSet(
        np.ascontiguousarray(values[:, keep].T, dtype=np.float32), tuple(classes[i] for i in keep)
    )


def measured_in(trace: Trace) -> tuple[str, ...]:
    """The resources that a trace measures at least once."""
    return tuple(name for name, values in trace.series.items() if np.isfinite(values).any())


def pinball(quantiles: F32, truth: F32) -> F64:
    """``(..., 7)`` and ``(...)`` to ``(..., 7)`` (Koenker and Bassett 1978)."""
    over = truth[..., None].astype(np.float64) - quantiles
    return np.asarray(np.where(over >= 0, LEVEL * over, (LEVEL - 1) * over))


def transform(quantiles: F32, truth: F32, rng: np.random.Generator) -> F64:
    """Randomised probability-integral transform (Smith 1985; Czado et al. 2009) of seven quantiles.

    Between two quantiles the transform is uniform between their levels. A value tied with quantiles is
    uniform over the mass they hold, which reaches half way to the nearest level that is not tied, or to 0 or
    1.
    """
    q = quantiles
    below = (q < truth[..., None]).sum(-1)
    tied = (q == truth[..., None]).sum(-1)
    edge = np.concatenate(([0.0], LEVEL, [1.0]))
    middle = np.concatenate(([0.0], (LEVEL[1:] + LEVEL[:-1]) / 2, [1.0]))
    low = np.where(tied > 0, middle[below], edge[below])
    high = np.where(tied > 0, middle[below + tied], edge[np.minimum(below + 1, 8)])
    return np.asarray(low + rng.random(truth.shape) * (high - low))


def naive(values: F32, origins: Sequence[int], horizons: Sequence[int]) -> F32:
    """Last value and the quantiles of its own errors over the last seven days."""
    return _with_errors(values, origins, horizons, lambda held, t, _: held[:, t : t + 1], lambda h: h)


def seasonal_naive(values: F32, origins: Sequence[int], horizons: Sequence[int]) -> F32:
    """The value of a day before and its error quantiles over seven days; in the first day the last value."""
    return _with_errors(
        values,
        origins,
        horizons,
        lambda held, t, h: held[:, _day_before(t, h) : _day_before(t, h) + 1],
        lambda _: DAY,
    )


def _day_before(t: int, h: int) -> int:
    return t + h - DAY if t + h - DAY >= 0 else t


def window(length: int) -> Model:
    """Quantiles of the last ``length`` steps."""

    def forecast(values: F32, origins: Sequence[int], horizons: Sequence[int]) -> F32:
        held = _held(values)
        rows = [np.quantile(held[:, max(0, t - length + 1) : t + 1], LEVEL, axis=1).T for t in origins]
        out = np.stack(rows, axis=1).astype(np.float32)[:, :, None]
        return np.ascontiguousarray(np.repeat(out, len(horizons), axis=2))

    return forecast


def engine(values: F32, origins: Sequence[int], horizons: Sequence[int]) -> F32:
    """The online engine with its defaults, streamed over the series."""
    return stream(values, origins, horizons, EngineConfig())


def stream(values: F32, origins: Sequence[int], horizons: Sequence[int], config: EngineConfig) -> F32:
    """The online engine with this configuration; horizons must be among its own."""
    forecaster = NativeForecaster(len(values), config)
    columns = [config.horizons.index(h) for h in horizons]
    rows, begin = [], 0
    for t in origins:
        forecaster.observe(values[:, begin : t + 1])
        begin = t + 1
        rows.append(forecaster.predict()[:, columns])
    return np.stack(rows, axis=1)


#: Models that need nothing from outside; ``entrants.Stable`` makes the others.
MODELS: Mapping[str, Model] = {
    "engine": engine,
    "naive": naive,
    "seasonal": seasonal_naive,
    "seasonal_naive": seasonal_naive,
    **{f"window_{n}": window(n) for n in (12, 36, 72, 144, DAY, WEEK)},
}


class Entrants(TypingProtocol):
    """Models that are made for the case at hand: trained, read from disk, fitted."""

    @property
    def names(self) -> Sequence[str]:
        """What it can make."""
        ...

    def __call__(self, case: Case, names: Sequence[str]) -> Mapping[str, Model]:
        """Make those of ``names`` that are its own."""
        ...


def check_names(names: Sequence[str], entrants: Entrants | None) -> None:
    """Reject a model that nobody can make.

    Raises:
        ForecastError: a name is unknown, or there is none.

    """
    known = (*MODELS, *(entrants.names if entrants else ()))
    if not names:
        raise ForecastError(f"score: expected a model, found none; known are {', '.join(known)}")
    for name in names:
        if name not in known:
            raise ForecastError(f"score: unknown model {name!r}; known are {', '.join(known)}")


def entered(case: Case, names: Sequence[str], entrants: Entrants | None = None) -> dict[str, Model]:
    """The named models for a case, in the order of the names.

    Raises:
        ForecastError: a model that does not exist.
        InputError: one of ``entrants`` cannot be made.

    """
    check_names(names, entrants)
    made = {**MODELS, **(entrants(case, names) if entrants else {})}
    return {name: made[name] for name in names}


def score(
    workload: str,
    models: Sequence[str] = ("engine", "naive", "seasonal_naive"),
    resource: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    entrants: Entrants | None = None,
) -> list[dict[str, str | int | float]]:
    """Score models on a workload: one row per model, resource and horizon.

    Args:
        workload: a spec (``planetlab?day=20110306``); a trace's gaps stay gaps.
        models: names in ``MODELS`` or of ``entrants``.
        resource: one of ``SERIES_UNITS``, or all that the trace measures.
        sample: series to draw; PlanetLab draws 200 unless told.
        seed: of the draw and of the transform's ties.
        entrants: makes further models.

    Raises:
        ForecastError: a model or resource that does not exist.
        InputError: the workload cannot be read, or a model of ``entrants`` cannot be made.

    """
    check_names(models, entrants)  # before a trace is read
    trace = load_trace(workload)
    kind = Spec.parse(workload).kind
    rows: list[dict[str, str | int | float]] = []
    names = [resource] if resource else measured_in(trace)
    if not names:
        raise ForecastError(f"score: {trace.name}: expected a resource that was measured, found none")
    for name in names:
        case = case_of(trace, name, kind=kind, sample=sample, seed=seed)
        for model, made in entered(case, models, entrants).items():
            began = time.process_time()
            forecast = made(case.values, case.protocol.origins, case.protocol.horizons)
            spent = time.process_time() - began
            rows += measure(model, case, forecast, spent, seed)
    return rows


@dataclass(frozen=True, slots=True)
class _Scale:
    """Mean absolute step of each series over the history: MASE's denominator (Hyndman and Koehler 2006)."""

    step: F64 = field(repr=False)

    @classmethod
    def of(cls, values: F32, history: int) -> _Scale:
        steps = np.abs(np.diff(values[:, : history + 1].astype(np.float64), axis=1))
        seen = np.isfinite(steps)
        return cls(np.where(seen, steps, 0).sum(1) / np.maximum(seen.sum(1), 1))


def measure(
    model: str, case: Case, forecast: F32, spent_s: float, seed: int
) -> list[dict[str, str | int | float]]:
    """The rows of one model's ``(n_series, n_origins, n_horizons, 7)``; missing truth is left out.

    A measure is NaN where nothing was measured at a horizon, and the scaled one where no series ever moved.
    """
    rng = np.random.default_rng(seed)
    scale = _Scale.of(case.values, case.protocol.origins[0]).step
    origins = np.asarray(case.protocol.origins)
    rows: list[dict[str, str | int | float]] = []
    for j, horizon in enumerate(case.protocol.horizons):
        truth = case.values[:, origins + horizon]
        seen = np.isfinite(truth)
        quantiles, true = forecast[:, :, j][seen], truth[seen]
        loss = pinball(quantiles, true)
        error = np.abs(true.astype(np.float64) - quantiles[:, 3])
        per_series = np.broadcast_to(scale[:, None], truth.shape)[seen]
        moving = per_series > 0
        place = np.abs(transform(quantiles, true, rng) - 0.5)
        rows.append(
            {
                "model": model,
                "resource": case.resource,
                "horizon": horizon,
                "mae": _mean(error),
                "mase": _mean(error[moving] / per_series[moving]),
                "pinball": _mean(loss),
                "wql": _weighted(loss, true),
                "cov80": _mean(place < 0.4),
                "cov95": _mean(place < 0.475),
                "us_per_series": 1e6 * spent_s / (len(origins) * len(case.values)),
            }
        )
    return rows


def _mean(of: F64 | npt.NDArray[np.bool_]) -> float:
    return float(np.mean(of, dtype=np.float64)) if of.size else math.nan


def _weighted(loss: F64, true: F32) -> float:
    """Weighted quantile loss; 0 where all was 0 and forecast as 0, NaN where there is nothing to weigh by."""
    lost, weight = float(2 * loss.sum() / len(LEVEL)), float(np.abs(true).sum(dtype=np.float64))
    if weight == 0:
        return 0.0 if true.size and lost == 0 else math.nan
    return lost / weight


def _held(values: F32) -> F32:
    """A gap takes the last sample, a leading one the first."""
    index = np.where(np.isfinite(values), np.arange(values.shape[1]), -1)
    index = np.maximum.accumulate(index, axis=1)
    first = np.argmax(np.isfinite(values), axis=1)
    filled = np.take_along_axis(values, np.where(index >= 0, index, first[:, None]), axis=1)
    return np.asarray(np.nan_to_num(filled), np.float32)


def _with_errors(
    values: F32,
    origins: Sequence[int],
    horizons: Sequence[int],
    point: Callable[[F32, int, int], F32],
    lag: Callable[[int], int],
) -> F32:
    held = _held(values)
    out = np.empty((len(held), len(origins), len(horizons), len(LEVEL)), np.float32)
    for i, t in enumerate(origins):
        for j, h in enumerate(horizons):
            back = lag(h) if lag(h) <= t else h
            begin = max(back, t - WEEK + 1)
            errors = held[:, begin : t + 1] - held[:, begin - back : t + 1 - back]
            out[:, i, j] = np.maximum(point(held, t, h) + np.quantile(errors, LEVEL, axis=1).T, 0)
    return out
