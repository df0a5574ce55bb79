"""What happened over time, thinned out for plots: at most 600 points a run, means over equal stretches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.forecast.aggregates import expected_before
from foreshade.envs.run_metrics import RunMetrics

F64 = npt.NDArray[np.float64]
History = Mapping[str, F64]

#: Points of one line: about what a plot has pixels, and few enough that 16 agents stay fluid.
MOST_POINTS = 600


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot, computed from a run's history."""

    key: str
    needs: tuple[str, ...]  # columns of the history without which there is no line
    law: Callable[[History, int, float], F64]  # history, ticks per point, length of a tick (s) -> (points,)


def _mean(values: F64, per_point: int) -> F64:
    """Means over stretches of ``per_point`` ticks; the last may be shorter."""
    starts = np.arange(0, len(values), per_point)
    means: F64 = np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))
    return means


def _last(values: F64, per_point: int) -> F64:
    ends = np.minimum(np.arange(per_point, len(values) + per_point, per_point), len(values))
    taken: F64 = values[ends - 1]
    return taken


def _unmet(h: History, k: int, _: float) -> F64:
    """Unmet of wanted in each stretch: a mean of ratios would weigh a quiet tick like a busy one."""
    unmet, demand = _mean(h["unmet_cpu_mhz"], k), _mean(h["demand_cpu_mhz"], k)
    return 100.0 * np.divide(unmet, demand, out=np.zeros_like(unmet), where=demand > 0.0)


def _expected(h: History, k: int, tick_s: float) -> F64:
    """The site's demand as it was expected an hour before."""
    return _mean(expected_before(h["demand_cpu_mhz"], tick_s).astype(np.float64), k) / 1e3


SERIES: tuple[Series, ...] = (
    Series("power_kw", ("host_power_w",), lambda h, k, _: _mean(h["host_power_w"], k) / 1e3),
    Series("demand_ghz", ("demand_cpu_mhz",), lambda h, k, _: _mean(h["demand_cpu_mhz"], k) / 1e3),
    Series("expected_ghz", ("demand_cpu_mhz",), _expected),
    Series("capacity_ghz", ("capacity_cpu_mhz",), lambda h, k, _: _mean(h["capacity_cpu_mhz"], k) / 1e3),
    Series("used_ghz", ("used_cpu_mhz",), lambda h, k, _: _mean(h["used_cpu_mhz"], k) / 1e3),
    Series("unmet_percent", ("unmet_cpu_mhz", "demand_cpu_mhz"), _unmet),
    Series("hosts_on", ("hosts_on",), lambda h, k, _: _mean(h["hosts_on"], k)),
    Series(
        "migrations_per_h", ("migrations",), lambda h, k, tick_s: _mean(h["migrations"], k) * 3600.0 / tick_s
    ),
    Series("cost_usd", ("cost_usd",), lambda h, k, _: _last(np.cumsum(h["cost_usd"]), k)),
)


def thinned(metrics: RunMetrics, most: int = MOST_POINTS) -> dict[str, list[float | None]]:
    """The lines of one run by key, with ``time_s``, the middle of each stretch in seconds since the start.

    Lines whose columns were not recorded, or not for every tick, are left out; without times there is none.
    """
    times = metrics.history.get("time_s")
    if times is None or len(times) < 2:
        return {}
    n = len(times)
    history = {
        name: np.asarray(column, dtype=np.float64)
        for name, column in metrics.history.items()
        if len(column) == n
    }
    per_point = -(-n // most)
    tick_s = float(np.median(np.diff(history["time_s"])))
    lines = {"time_s": _plain(_mean(history["time_s"], per_point) + tick_s / 2)}
    for series in SERIES:
        if all(name in history for name in series.needs):
            lines[series.key] = _plain(series.law(history, per_point, tick_s))
    return lines


def _plain(values: F64) -> list[float | None]:
    """Five significant digits: more than a plot can show, in a third of the bytes; None for no number."""
    return [_short(value) if np.isfinite(value) else None for value in values.tolist()]


def _short(value: float) -> float:
    if value.is_integer():  # times are whole seconds beyond five digits
        return int(value)
    return float(f"{value:.5g}")
