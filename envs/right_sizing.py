"""What each VM should be given, from what it has used, and what that saves.

The method is that of moving-window recommenders (Rzadca et al., Autopilot, EuroSys 2020): CPU, which throttles, by a
high percentile of its samples with weights that halve with age; memory, which kills, by its peak. A margin of 15 % is
added, and the trust in a short history is that of Kubernetes' Vertical Pod Autoscaler: the upper bound of an
estimate from d days is (1 + 1 / d) of it. Nothing is taken away that this bound may need. Half-lives are declared:
a weekly cycle must keep its weight, and a peak of memory a week ago must still be covered whole by the margin.

Usage is what a VM got: at its limit its demand is hidden, and it can only be said to need more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError
from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ, Trace

F64 = npt.NDArray[np.float64]
DAY_S = 86_400.0
HOURS_PER_MONTH = 730.0
MEMORY_STEP_MIB = 256.0


@dataclass(frozen=True, slots=True)
class RightSizing:
    """The knobs, and why they are what they are."""

    least_history_days: float = 7.0  # a whole week, its weekend included
    cpu_quantile: float = 0.99
    cpu_half_life_days: float = 7.0  # declared: a day of the week before counts half
    memory_half_life_days: float = 35.0  # declared: 2^(-7/35) x 1.15 = 1.001
    margin: float = 0.15  # VPA's recommendation-margin-fraction
    least_change: float = 0.1  # declared: of what is given; less is not worth a change

    def __post_init__(self) -> None:
        if not 0.0 < self.least_history_days < math.inf:
            raise InputError(f"--min-history: expected days above 0, found {self.least_history_days:g}")


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One VM."""

    vm: str
    verdict: str  # shrink, grow, reshape (one up, one down), keep, short history, gone, unmeasured, unsized
    history_days: float  # of measured samples
    confidence: float  # 0 to 1: d / (d + 1)
    cpu_mhz: float  # given now; NaN where the trace does not say, as below
    memory_mib: float
    to_cpu_mhz: float  # recommended; what is given now where nothing is recommended
    to_memory_mib: float
    usd_month: float  # saved at the price of capacity, negative where it grows


def recommend(
    trace: Trace, usd_h: tuple[float, float, float, float, float], knobs: RightSizing | None = None
) -> tuple[Recommendation, ...]:
    """A recommendation per VM of the trace, in its order, as of the trace's end.

    Args:
        trace: with CPU measured; memory stays as it is where it was not.
        usd_h: price of an hour of capacity: per MHz, MiB, and others that do not count here.
        knobs: None = the defaults.

    Raises:
        InputError: the trace holds requests alone, so there is nothing to recommend from.

    """
    knobs = knobs or RightSizing()
    if "cpu" not in trace.series and "memory" not in trace.series:
        raise InputError(f"{trace.source}: expected measured cpu or memory, found requests alone")
    return tuple(_one(trace, vm, usd_h, knobs) for vm in range(len(trace.vms)))


def weighted_quantile(values: F64, weights: F64, quantile: float) -> float:
    """The least value at or below which ``quantile`` of the weight lies."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return float(values[order][int(np.searchsorted(below, quantile * below[-1]))])


def _one(
    trace: Trace, vm: int, usd_h: tuple[float, float, float, float, float], knobs: RightSizing
) -> Recommendation:
    table = trace.vms
    cpu, memory = (
        float(size) if size > 0 else math.nan for size in (table.cpu_mhz[vm], table.memory_mib[vm])
    )
    series = {
        name: np.asarray(trace.series[name][:, vm], dtype=np.float64)
        for name in ("cpu", "memory")
        if name in trace.series
    }
    samples = max(int(np.isfinite(values).sum()) for values in series.values())
    days = samples * trace.step_s / DAY_S

    def said(verdict: str, to_cpu: float = cpu, to_memory: float = memory) -> Recommendation:
        freed = 0.0
        for given, to, price in ((cpu, to_cpu, usd_h[0]), (memory, to_memory, usd_h[1])):
            if math.isfinite(given):
                freed += (given - to) * price
        return Recommendation(
            table.name[vm],
            verdict,
            days,
            days / (days + 1.0),
            cpu,
            memory,
            to_cpu,
            to_memory,
            freed * HOURS_PER_MONTH,
        )

    if samples == 0:
        return said("unmeasured")
    if math.isnan(cpu) and math.isnan(memory):
        return said("unsized")
    if table.departure_s[vm] < trace.n_ticks * trace.step_s:
        return said("gone")
    if days < knobs.least_history_days:
        return said("short history")
    cores = float(table.cores[vm])
    core_mhz = cpu / cores if cpu > 0 and cores > 0 else REFERENCE_CORE_MHZ  # NaN is neither
    to_cpu = _size(cpu, _cpu_need(series.get("cpu"), trace.step_s, knobs), core_mhz, days, knobs)
    to_memory = _size(
        memory, _memory_need(series.get("memory"), trace.step_s, knobs), MEMORY_STEP_MIB, days, knobs
    )
    up, down = to_cpu > cpu or to_memory > memory, to_cpu < cpu or to_memory < memory
    verdict = "reshape" if up and down else "grow" if up else "shrink" if down else "keep"
    return said(verdict, to_cpu, to_memory)


def _ages_days(values: F64, step_s: int) -> F64:
    return np.arange(len(values) - 1, -1, -1, dtype=np.float64) * (step_s / DAY_S)


def _cpu_need(values: F64 | None, step_s: int, knobs: RightSizing) -> float | None:
    """The decayed percentile of what was used, None where nothing was measured."""
    if values is None or not (known := np.isfinite(values)).any():
        return None
    weights = np.exp2(-_ages_days(values, step_s) / knobs.cpu_half_life_days)
    return weighted_quantile(values[known], weights[known], knobs.cpu_quantile)


def _memory_need(values: F64 | None, step_s: int, knobs: RightSizing) -> float | None:
    """The largest sample, each halved with its age."""
    if values is None or not (known := np.isfinite(values)).any():
        return None
    faded = values * np.exp2(-_ages_days(values, step_s) / knobs.memory_half_life_days)
    return float(faded[known].max())


def _size(given: float, need: float | None, step: float, days: float, knobs: RightSizing) -> float:
    """The need with its margin in whole steps, where that is a change worth making and sure enough."""
    if need is None or math.isnan(given):
        return given
    target = need * (1.0 + knobs.margin)
    if target > given:
        size = math.ceil(target / step) * step
        return size if size - given >= knobs.least_change * given else given
    upper = target * (1.0 + 1.0 / days)  # what a longer history might yet show
    size = max(1, math.ceil(upper / step - 1e-9)) * step
    return size if given - size >= knobs.least_change * given else given
