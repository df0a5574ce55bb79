"""Which series a slow model is fitted to next, within a budget of CPU seconds per tick.

Thousands of series cannot each have an ARIMA every tick. Aggregates come first; of the others, those come
next whose last fit is oldest and that matter most: priority = staleness in ticks x value. Because staleness
grows for as long as a series waits and every value has a floor, every series has its turn. The cost of a
fit is learned as it goes, and no fit is started that is expected to leave the budget.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.quantile_model import F32, F64, I64, QUANTILES

_NEVER = -1
_LEARNING = 0.3  # weight of the newest cost


@dataclass(frozen=True, slots=True)
class RotationConfig:
    """How much time there is and how long a forecast may live."""

    budget_cpu_s: float = 20.0  # per tick of 300 s; leaves a core to everything else
    first_cost_s: float = 0.5  # of a fit, until one was measured
    value_floor: float = 0.05  # share of the mean value that a worthless series still counts
    n_steps: int = 300  # ticks that a forecast reaches: a day, and an hour of waiting
    max_age_ticks: int = 24  # then it is forgotten: 20,000 paths of fits that are two hours old say little

    def __post_init__(self) -> None:
        if not (self.budget_cpu_s > 0 and self.first_cost_s > 0 and 0 < self.value_floor <= 1):
            raise InputError(
                "rotation: expected budget_cpu_s > 0, first_cost_s > 0 and value_floor in (0, 1], got "
                f"{self.budget_cpu_s}, {self.first_cost_s}, {self.value_floor}"
            )
        if min(self.n_steps, self.max_age_ticks) < 1:
            raise InputError(
                "rotation: expected n_steps and max_age_ticks of at least 1, got "
                f"{self.n_steps} and {self.max_age_ticks}"
            )


@dataclass(frozen=True, slots=True)
class RotationReport:
    """What one tick's turn did."""

    fitted: tuple[int, ...]  # series, in the order in which they were fitted
    cpu_s: float
    oldest_ticks: int  # age of the oldest forecast afterwards; -1 while some series has none


class Rotation:
    """Keeps one forecast path per series that had its turn, and says how it reads now."""

    def __init__(
        self,
        n_series: int,
        *,
        aggregates: Sequence[int] = (),
        config: RotationConfig | None = None,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        if n_series < 1 or any(not 0 <= row < n_series for row in aggregates):
            raise InputError(
                f"rotation: expected aggregates within {n_series} series, got {list(aggregates)}"
            )
        self._config = config or RotationConfig()
        self._cpu_clock = cpu_clock
        self._fitted_at = np.full(n_series, _NEVER, np.int64)
        self._first = np.zeros(n_series, bool)
        self._first[list(aggregates)] = True
        self._cost_s = self._config.first_cost_s
        self._paths: dict[int, F32] = {}

    def order(self, tick: int, value: F64) -> I64:
        """Series by falling priority; those that were fitted at this very tick are left out.

        ``value`` (n_series,) is what a series matters: its mean demand, its price; not negative.
        """
        if value.shape != self._fitted_at.shape or not bool((value >= 0).all()):
            raise InputError(
                f"rotation: value: expected {self._fitted_at.size} numbers of at least 0, got {value.shape}"
            )
        worth = np.maximum(value, self._config.value_floor * (value.mean() or 1.0))
        never = self._fitted_at == _NEVER
        stale = np.where(never, tick + 1 + self._config.n_steps, tick - self._fitted_at)
        due = np.flatnonzero(stale > 0)
        keys = (due, -(stale * worth)[due], ~self._first[due])
        return np.asarray(due[np.lexsort(keys)], np.int64)

    def turn(self, tick: int, value: F64, path_of: Callable[[int], F32]) -> RotationReport:
        """Fit series in order until the next one would leave the budget; at least one is fitted.

        ``path_of`` gives ``(n_steps, 7)`` quantiles of a series from the next tick on.
        """
        self._forget(tick)
        began = self._cpu_clock()
        spent = 0.0
        fitted: list[int] = []
        for series in self.order(tick, value).tolist():
            if fitted and spent + self._cost_s > self._config.budget_cpu_s:
                break
            path = path_of(series)
            fitted.append(series)
            now = self._cpu_clock() - began
            cost, spent = now - spent, now
            self.keep(tick, series, path, cost)
        oldest = _NEVER if bool((self._fitted_at == _NEVER).any()) else int(tick - self._fitted_at.min())
        return RotationReport(tuple(fitted), spent, oldest)

    def due(self, tick: int, value: F64, able: npt.NDArray[np.bool_]) -> list[int]:
        """Those of the ``able`` (n_series,) series whose turn it is and that the budget holds, one at least.

        For fits that are made elsewhere: ``keep`` takes each in.
        """
        self._forget(tick)
        count = max(1, int(self._config.budget_cpu_s / max(self._cost_s, 1e-6)))
        return [series for series in self.order(tick, value).tolist() if able[series]][:count]

    def keep(self, tick: int, series: int, path: F32, cost_s: float) -> None:
        """A path that was fitted to the samples up to ``tick``, and the CPU seconds that it took.

        Raises:
            InputError: it is of another shape.

        """
        if path.shape != (self._config.n_steps, len(QUANTILES)):
            raise InputError(
                f"rotation: path of series {series}: "
                f"expected ({self._config.n_steps}, {len(QUANTILES)}), got {path.shape}"
            )
        self._paths[series] = path
        self._fitted_at[series] = tick
        # The first measurement replaces the guess: a guess ten times off would halve the budget's use.
        guess = self._cost_s == self._config.first_cost_s
        self._cost_s = cost_s if guess else (1 - _LEARNING) * self._cost_s + _LEARNING * cost_s

    def _forget(self, tick: int) -> None:
        oldest_kept = tick - self._config.max_age_ticks
        self._paths = {s: path for s, path in self._paths.items() if self._fitted_at[s] >= oldest_kept}

    def read(self, tick: int, horizons: Sequence[int]) -> F32:
        """``(n_series, len(horizons), 7)`` as of now; NaN where no path reaches that far.

        A path that was made some ticks ago is read further along: its step ``age + horizon`` is what it
        said of that instant.
        """
        answer = np.full((self._fitted_at.size, len(horizons), len(QUANTILES)), np.nan, np.float32)
        for series, path in self._paths.items():
            age = tick - int(self._fitted_at[series])
            for place, horizon in enumerate(horizons):
                if 0 <= age + horizon - 1 < len(path):
                    answer[series, place] = path[age + horizon - 1]
        return answer

    def add(self, count: int) -> None:
        """Let so many series begin, after the others."""
        self._fitted_at = np.concatenate([self._fitted_at, np.full(count, _NEVER, np.int64)])
        self._first = np.concatenate([self._first, np.zeros(count, bool)])

    def remove(self, who: Sequence[int]) -> None:
        """Forget these series; the others keep their order."""
        kept = np.delete(np.arange(self._fitted_at.size), list(who))
        now = {old: new for new, old in enumerate(kept.tolist())}
        self._paths = {now[s]: path for s, path in self._paths.items() if s in now}
        self._fitted_at, self._first = self._fitted_at[kept], self._first[kept]

    def save(self) -> bytes:
        """The paths, the order of turns and the cost learned."""
        series = np.array(sorted(self._paths), np.int64)
        paths = [self._paths[s] for s in series.tolist()]
        buffer = io.BytesIO()
        np.savez(
            buffer,
            fitted_at=self._fitted_at,
            first=self._first,
            cost_s=np.array(self._cost_s),
            series=series,
            paths=np.stack(paths)
            if paths
            else np.zeros((0, self._config.n_steps, len(QUANTILES)), np.float32),
        )
        return buffer.getvalue()

    def restore(self, state: bytes) -> None:
        """Continue from ``save``.

        Raises:
            InputError: the paths are of another length.

        """
        with np.load(io.BytesIO(state), allow_pickle=False) as stored:
            arrays = dict(stored)
        if arrays["paths"].shape[1:] != (self._config.n_steps, len(QUANTILES)):
            raise InputError(
                f"rotation: expected paths of {self._config.n_steps} steps, got {arrays['paths'].shape[1]}"
            )
        self._fitted_at, self._first = arrays["fitted_at"], arrays["first"]
        self._cost_s = float(arrays["cost_s"])
        self._paths = dict(zip(arrays["series"].tolist(), arrays["paths"], strict=True))

    @property
    def memory_bytes(self) -> int:
        """Bytes of the paths held."""
        return sum(path.nbytes for path in self._paths.values())

    @property
    def n_steps(self) -> int:
        """Ticks that a path reaches."""
        return self._config.n_steps

    @property
    def expected_cost_s(self) -> float:
        """CPU seconds that the next fit is expected to take."""
        return self._cost_s if math.isfinite(self._cost_s) else self._config.first_cost_s
