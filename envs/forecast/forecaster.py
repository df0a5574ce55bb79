"""The port through which everything asks for demand to come, and the native engine behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade.envs.errors import ForecastError

F32 = npt.NDArray[np.float32]

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
HORIZONS_S = (300, 900, 3600, 86400)
HORIZONS = (1, 3, 12, 288)  # steps: 5 min, 15 min, 1 h, 1 day at 300 s
MOST_STEPS = 2015  # the engine keeps a week of 300 s


class Forecaster(Protocol):
    """Quantiles of what every series will want, from the samples it was shown and nothing else.

    Calls do no I/O and never raise for what samples hold: missing, negative or unbounded samples are counted
    in ``rejected`` and taken as missing. Quantiles ascend in the level, are finite and not negative.
    """

    def __len__(self) -> int:
        """Number of series."""
        ...

    @property
    def horizons(self) -> Sequence[int]:
        """Steps ahead, ascending."""
        ...

    @property
    def rejected(self) -> Mapping[str, int]:
        """Samples that were not used, by reason."""
        ...

    def observe(self, samples: F32) -> None:
        """Take one sample of each series, ``(n_series,)``, or ``k``, ``(n_series, k)``; NaN = missing.

        Raises:
            ForecastError: another number of series.

        """
        ...

    def predict(self) -> F32:
        """``(n_series, n_horizons, 7) float32``, in the unit of the samples; asking twice changes nothing."""
        ...

    def add(self, count: int) -> None:
        """Let so many series without a past begin, after the others."""
        ...

    def remove(self, who: Sequence[int]) -> None:
        """Forget these series; the others keep their order.

        Raises:
            ForecastError: one does not exist; nothing is removed.

        """
        ...

    def save(self) -> bytes:
        """Everything learnt; ``restore`` on a forecaster of the same configuration continues bit for bit."""
        ...

    def restore(self, state: bytes) -> None:
        """Continue from ``save``.

        Raises:
            ForecastError: the state is of another configuration or version.

        """
        ...


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of the native engine; one set serves every resource and horizon (``docs/forecasting.md``)."""

    horizons: tuple[int, ...] = HORIZONS  # steps, ascending, below 2016
    strides: tuple[int, ...] | None = None  # learn from one origin in so many steps; None = by horizon
    young_strides: tuple[int, ...] | None = None  # the same in a series' first ``young_steps``
    young_steps: int = 288  # a day of 300 s: with few samples each is worth learning from
    extra_rows: int = 0  # experts from outside, see ``NativeForecaster.offer``
    learning_rate: float = 6.0  # of the weights, in units of each expert's own deviation
    memory_steps: float = 2016.0  # the record of an expert fades over a week of 300 s
    pool_memory: float = 50.0  # learning steps that the record of all series covers
    pool_weight: float = 0.3  # of that record as a prior of each series
    smoothing: float = 0.1  # share of the record that all levels of an expert have in common
    prior_count: float = 100.0  # samples that the shared shape counts for
    conformal_rate: float = 0.04  # log width per miss, per series
    pool_conformal_rate: float = 0.02  # the same, of all series together
    threads: int = 1  # the result does not depend on it

    @property
    def learning_strides(self) -> tuple[int, ...]:
        """Strides in use. They share no divisor with the hour, 12 steps, nor with each other.

        The shorter the horizon, the more its origins tell; a stride of 6 would see the same two minutes of
        every hour and miss what recurs at the others.
        """
        return self.strides or tuple(
            5 if h < 3 else 7 if h < 12 else 13 if h < 48 else 37 for h in self.horizons
        )

    @property
    def learning_young_strides(self) -> tuple[int, ...]:
        """Strides in use for a series in its first ``young_steps``."""
        return self.young_strides or tuple(1 if h < 48 else 37 for h in self.horizons)

    @classmethod
    def of_tick(cls, tick_s: float) -> EngineConfig:
        """The horizons 5 min, 15 min, 1 h and 1 day in ticks of another length, at least one tick.

        A day of ticks shorter than 43 s is beyond what the engine keeps and is left out.
        """
        steps = sorted({max(1, round(horizon / tick_s)) for horizon in HORIZONS_S})
        return cls(horizons=tuple(step for step in steps if step <= MOST_STEPS))

    @property
    def rates(self) -> dict[str, float]:
        """The settings that are numbers of the engine alone, by name."""
        own = {"horizons", "strides", "young_strides", "young_steps", "extra_rows", "threads"}
        return {key: float(value) for key, value in asdict(self).items() if key not in own}

    @property
    def native(self) -> _core.EngineConfig:
        """As the native core takes them."""
        return _core.EngineConfig(
            self.horizons,
            self.learning_strides,
            self.learning_young_strides,
            self.young_steps,
            self.extra_rows,
            self.rates,
            self.threads,
        )


class NativeForecaster:
    """The online engine of ``cpp/core/forecast`` as a ``Forecaster``."""

    def __init__(self, n_series: int, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        try:
            self._engine = _core.ForecastEngine(self.config.native, n_series)
        except ValueError as error:
            raise ForecastError(str(error)) from error

    def __len__(self) -> int:
        """Number of series."""
        return len(self._engine)

    @property
    def horizons(self) -> Sequence[int]:
        """Steps ahead, ascending."""
        return self.config.horizons

    @property
    def rejected(self) -> Mapping[str, int]:
        """Samples that were not used: ``missing``, ``negative``, ``unbounded``."""
        return self._engine.rejected

    @property
    def memory_bytes(self) -> int:
        """Bytes held, all series."""
        return self._engine.memory_bytes

    @property
    def bytes_per_series(self) -> int:
        """Bytes that one series needs."""
        return self._engine.bytes_per_series

    def observe(self, samples: F32) -> None:
        """Take one sample of each series or ``k`` in order; see ``Forecaster``."""
        block = np.asarray(samples, np.float32)
        block = block[:, None] if block.ndim == 1 else block
        if block.ndim != 2 or block.shape[0] != len(self):
            raise ForecastError(
                f"forecaster: expected samples of {len(self)} series, got shape {block.shape}"
            )
        self._engine.observe(np.ascontiguousarray(block))

    def predict(self) -> F32:
        """``(n_series, n_horizons, 7) float32``."""
        return self._engine.predict()

    def experts(self, horizon: int) -> F32:
        """``(n_series, 8 + extra_rows, 7)``: what each expert says at a horizon, before they are mixed.

        Rows: windows of 12 and 36 steps and the long one; last value twice, smoothed level, yesterday; rank;
        then those from outside, NaN where one says nothing.
        """
        return self._engine.experts(self.config.horizons.index(horizon))

    def offer(self, extra_row: int, quantiles: F32) -> None:
        """Put in a row what an expert from outside says; it is weighed and mixed like the others.

        Args:
            extra_row: below ``extra_rows`` of the configuration.
            quantiles: ``(n_series, n_horizons, 7)`` for what follows the newest sample, in the unit of the
                samples. They stand until they are offered anew; where one is not finite the row is silent.

        Raises:
            ForecastError: no such row or another shape.

        """
        block = np.asarray(quantiles, np.float32)
        expected = (len(self), len(self.horizons), len(LEVELS))
        if not 0 <= extra_row < self.config.extra_rows:
            raise ForecastError(
                f"forecaster: expected an extra row below {self.config.extra_rows}, got {extra_row}"
            )
        if block.shape != expected:
            raise ForecastError(
                f"forecaster: expected offered quantiles of shape {expected}, got {block.shape}"
            )
        self._engine.offer(extra_row, np.ascontiguousarray(block))

    def add(self, count: int) -> None:
        """Let so many series without a past begin, after the others."""
        self._engine.add(count)

    def remove(self, who: Sequence[int]) -> None:
        """Forget these series; the others keep their order."""
        if any(not 0 <= i < len(self) for i in who):
            raise ForecastError(f"forecaster: expected series below {len(self)} to remove, got {list(who)}")
        self._engine.remove(list(who))

    def save(self) -> bytes:
        """Everything learnt."""
        return self._engine.save()

    def restore(self, state: bytes) -> None:
        """Continue from ``save``."""
        try:
            self._engine.load(state)
        except ValueError as error:
            raise ForecastError(str(error)) from error
