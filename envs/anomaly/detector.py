"""The port of anomaly detection, and its native implementations for series and for whole machines.

Theory of operation: ``cpp/core/anomaly.hpp`` and ``docs/anomaly.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade._core import AnomalyLabel
from foreshade.envs.errors import InputError

__all__ = [
    "AnomalyDetector",
    "AnomalyReport",
    "Detector",
    "DetectorConfig",
    "EpisodeConfig",
    "JointAnomalyDetector",
    "JointConfig",
    "surge_widening",
]

F64 = npt.NDArray[np.float64]

#: Half the width of a 95 % interval in standard deviations: what a forecast already allows for.
_Z95 = 1.96


@dataclass(frozen=True, slots=True)
class EpisodeConfig:
    """When an anomaly opens, is told, ends and is taken for normal."""

    alarm_p: float = 10**-2.25  # p-value that opens one; the same for all series. Best on NAB's dev part
    clear_p: float = 10**-2.25  # a sample above this is calm
    clear_steps: int = 2  # calm samples in a row that end an anomaly
    refractory_steps: int = 100  # no second alarm within so many samples: 8 h of 300 s
    accept_steps: int = 288  # an anomaly that lasts so long is the new normal: a day of 300 s
    escalation: float = 2.0  # decades of p below the last alarm's that are told at once
    ranked_steps: int = 100  # first samples of an anomaly that count in the ranks

    def native(self) -> _core.EpisodeOptions:
        """The same for the core, where p is ``-log10 p``."""
        for name, p in (("alarm_p", self.alarm_p), ("clear_p", self.clear_p)):
            if not 0.0 < p < 1.0:
                raise InputError(f"anomaly: {name}: expected a probability in (0, 1), got {p}")
        options = _core.EpisodeOptions()
        options.alarm_surprise = -float(np.log10(self.alarm_p))
        options.clear_surprise = -float(np.log10(self.clear_p))
        options.escalation = float(self.escalation)
        for name in ("clear_steps", "refractory_steps", "accept_steps", "ranked_steps"):
            setattr(options, name, _count(name, getattr(self, name)))
        return options


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Memory and views of the detector of single series."""

    slow_steps: float = 1000.0  # samples the reference remembers: 3.5 days of 300 s
    spans: tuple[float, float, float] = (1.0, 6.0, 24.0)  # samples: a spike, half an hour, two hours
    warmup_steps: int = 100  # nothing is called strange among fewer samples
    season_s: float = 86400.0  # s, period of the profile
    slots: int = 96  # of the profile: a quarter of an hour
    profile_weight: float = 0.1  # of one sample in its slot's mean: about ten days
    stuck_steps: int = 24  # equal samples in a row before a series is called stuck
    stuck_p: float = 1e-6  # and the chance of so long a run at the series' own rate of change
    missing_steps: int = 3  # absent samples in a row that are called missing
    away_deviation: float = 4.0  # usual sizes from the reference, half an hour's mean, at which none ends
    episode: EpisodeConfig = field(default_factory=EpisodeConfig)


@dataclass(frozen=True, slots=True)
class JointConfig:
    """Memory and metric of the detector of whole machines."""

    slow_steps: float = 20160.0  # samples: 14 days of 60 s
    scale_floor: float = 0.03  # share of capacity, added to a metric's deviation: smaller moves are noise
    ridge: float = 1.0  # added to the correlations' diagonal
    smooth_steps: float = 6.0  # samples over which the distance is smoothed
    power: float = 1.5  # of the distance before it is smoothed
    warmup_steps: int = 100
    refit_steps: int = 60  # samples between factorisations of the covariance
    missing_steps: int = 3
    # An hour of calm ends an anomaly, three days of it make it normal, at samples of 60 s.
    episode: EpisodeConfig = EpisodeConfig(clear_p=0.1, clear_steps=60, accept_steps=4320)


@dataclass(frozen=True, slots=True)
class AnomalyReport:
    """What is known after one sample of every series (or machine); the arrays are copies."""

    label: npt.NDArray[np.uint8]  # (n,) AnomalyLabel
    p: F64  # (n,) conformal p-value of the last sample, 1 = nothing strange or not enough history
    since_s: F64  # (n,) s, when the present label began; NaN while normal
    alarm: npt.NDArray[np.bool_]  # (n,) raised by this sample, refractory period respected
    deviation: npt.NDArray[np.float32]  # (n,) usual sizes, signed; joint: the distance


class Detector(Protocol):
    """Anything that watches n series side by side."""

    def observe(self, time_s: float | F64, values: F64) -> AnomalyReport:
        """Take one sample of each; NaN = absent. Not idempotent, but a repeated time is ignored and counted.

        Raises:
            InputError: the arrays have another length than the detector.

        """
        ...


class AnomalyDetector:
    """Online detector of many series: ``values`` is (n_series,) float64 in any unit."""

    def __init__(self, n_series: int, config: DetectorConfig = DetectorConfig()) -> None:
        options = _core.AnomalyOptions()
        for name in ("slow_steps", "season_s", "profile_weight", "away_deviation"):
            setattr(options, name, float(getattr(config, name)))
        options.spans = [float(span) for span in config.spans]
        for name in ("warmup_steps", "slots", "stuck_steps", "missing_steps"):
            setattr(options, name, _count(name, getattr(config, name)))
        if not 0.0 < config.stuck_p < 1.0:
            raise InputError(f"anomaly: stuck_p: expected a probability in (0, 1), got {config.stuck_p}")
        options.stuck_surprise = -float(np.log10(config.stuck_p))
        options.episode = config.episode.native()
        try:
            self._bank = _core.AnomalyBank(_count("n_series", n_series), options)
        except ValueError as error:
            raise InputError(str(error)) from error

    def observe(self, time_s: float | F64, values: F64) -> AnomalyReport:
        """Take one sample of each series; ``time_s`` is one time, or (n_series,) for unequal clocks."""
        _observe(self._bank, time_s, values)
        return _report(self._bank)

    def run(self, time_s: F64, values: F64) -> tuple[F64, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Observe (n_steps, n_series) in one call: p-values, labels and alarms of the same shape."""
        return _run(self._bank, self._bank.n_series, time_s, values)

    @property
    def gaps(self) -> npt.NDArray[np.uint32]:
        """Absent or infinite samples so far, (n_series,)."""
        return self._bank.gaps.copy()

    @property
    def stale(self) -> npt.NDArray[np.uint32]:
        """Samples no newer than the one before, which were ignored, (n_series,)."""
        return self._bank.stale.copy()

    def forget(self, series: int) -> None:
        """Begin anew with one series, as if it had never been seen."""
        _forget(self._bank, series)

    def save(self) -> bytes:
        """Everything a detector of the same size and config needs to go on from here."""
        return self._bank.save()

    def restore(self, state: bytes) -> None:
        """Go on from a saved state.

        Raises:
            InputError: the state belongs to a detector of another size.

        """
        _restore(self._bank, state)


class JointAnomalyDetector:
    """Online detector of machines over all their metrics: ``values`` is (n_machines, n_metrics) float64."""

    def __init__(self, n_machines: int, n_metrics: int, config: JointConfig = JointConfig()) -> None:
        options = _core.JointOptions()
        for name in ("slow_steps", "scale_floor", "ridge", "smooth_steps", "power"):
            setattr(options, name, float(getattr(config, name)))
        for name in ("warmup_steps", "refit_steps", "missing_steps"):
            setattr(options, name, _count(name, getattr(config, name)))
        options.episode = config.episode.native()
        try:
            self._bank = _core.JointBank(
                _count("n_machines", n_machines), _count("n_metrics", n_metrics), options
            )
        except ValueError as error:
            raise InputError(str(error)) from error

    def observe(self, time_s: float | F64, values: F64) -> AnomalyReport:
        """Take one sample of every metric of each machine; NaN = absent."""
        _observe(self._bank, time_s, values)
        return _report(self._bank)

    def run(self, time_s: F64, values: F64) -> tuple[F64, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Observe (n_steps, n_machines, n_metrics) in one call: p, labels, alarms, (n_steps, n_machines)."""
        return _run(self._bank, self._bank.n_machines * self._bank.n_metrics, time_s, values)

    def contribution(self) -> npt.NDArray[np.float32]:
        """Deviation of each metric in the last sample, in usual sizes: (n_machines, n_metrics)."""
        shape = (self._bank.n_machines, self._bank.n_metrics)
        return np.reshape(self._bank.contribution, shape).copy()

    def forget(self, machine: int) -> None:
        """Begin anew with one machine, as if it had never been seen."""
        _forget(self._bank, machine)

    def save(self) -> bytes:
        """Everything a detector of the same size and config needs to go on from here."""
        return self._bank.save()

    def restore(self, state: bytes) -> None:
        """Go on from a saved state.

        Raises:
            InputError: the state belongs to a detector of another size.

        """
        _restore(self._bank, state)


def surge_widening(report: AnomalyReport, *, most: float = 8.0) -> F64:
    """Factor by which each forecast's upper half-width grows at once, (n,): 1 but for an open surge.

    A 95 % interval allows for 1.96 usual sizes; a surge of z of them needs z / 1.96 times that to be covered.
    ``most`` bounds it, so that a first move of a constant series does not claim a whole host.
    """
    factor = np.clip(np.abs(report.deviation.astype(np.float64)) / _Z95, 1.0, most)
    widened: F64 = np.where(report.label == AnomalyLabel.SURGE, factor, 1.0)
    return widened


def _count(name: str, value: int) -> int:
    if not 0 <= value < 2**31:
        raise InputError(f"anomaly: {name}: expected a whole number from 0 to 2^31 - 1, got {value}")
    return int(value)


def _observe(bank: _core.AnomalyBank | _core.JointBank, time_s: float | F64, values: F64) -> None:
    times = np.atleast_1d(np.ascontiguousarray(time_s, np.float64))
    try:
        bank.observe(times, np.ascontiguousarray(values, np.float64))
    except ValueError as error:
        raise InputError(str(error)) from error


def _forget(bank: _core.AnomalyBank | _core.JointBank, number: int) -> None:
    try:
        bank.forget(_count("forget", number))
    except ValueError as error:
        raise InputError(str(error)) from error


def _restore(bank: _core.AnomalyBank | _core.JointBank, state: bytes) -> None:
    try:
        bank.restore(state)
    except ValueError as error:
        raise InputError(str(error)) from error


def _run(
    bank: _core.AnomalyBank | _core.JointBank, width: int, time_s: F64, values: F64
) -> tuple[F64, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    times = np.ascontiguousarray(time_s, np.float64)
    if times.ndim != 1 or values.size != len(times) * width:
        raise InputError(
            f"anomaly run: expected times (n_steps,) and values of n_steps x {width}, "
            f"got {times.shape} and {values.shape}"
        )
    surprise, label, alarm = bank.run(times, np.ascontiguousarray(values, np.float64))
    return 10.0 ** -surprise.astype(np.float64), label, alarm.astype(np.bool_)


def _report(bank: _core.AnomalyBank | _core.JointBank) -> AnomalyReport:
    return AnomalyReport(
        label=bank.label.copy(),
        p=10.0 ** -bank.surprise.astype(np.float64),
        since_s=bank.since_s.copy(),
        alarm=bank.alarm.astype(np.bool_),
        deviation=bank.deviation.copy(),
    )
