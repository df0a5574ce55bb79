"""A host's hazard per hour: its disks, its health signals and the rest, added, with a confidence.

The parts are competing risks: whichever comes first takes the host into maintenance, so hazards add
(Kalbfleisch & Prentice, "The Statistical Analysis of Failure Time Data", chapter 8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from foreshade._core import ClusterState
from foreshade.envs.errors import InputError
from foreshade.envs.hazard.disk_model import DiskHazardModel
from foreshade.envs.hazard.health import STATED_WEIGHTS, HealthReading, HealthSource, Signal, SignalWeight
from foreshade.envs.hazard.smart import F32, SmartHistory

_YEAR_H = 8766.0


@dataclass(frozen=True, slots=True)
class HostHazardConfig:
    """Rates where nothing is measured, and what a measurement is worth."""

    base_per_h: float = (
        0.05 / _YEAR_H
    )  # everything without a signal: board, CPU, firmware; stated, 5 % a year
    disk_per_h: float = 0.02 / _YEAR_H  # a disk without SMART: Backblaze's lifetime AFR is 1.3 to 2 %
    disk_share: float = 1.0  # of a disk's hazard that is the host's; below 1 where an array carries on
    base_confidence: float = 0.2
    model_confidence: float = 0.9  # of the disk model, on drive models that it was trained on
    stranger_confidence: float = 0.4  # of the disk model, on a drive model that it never saw
    half_life_s: float = 86_400.0  # a reading's confidence halves with every day of age

    def __post_init__(self) -> None:
        for name in ("base_per_h", "disk_per_h"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"host hazard: {name}: expected at least 0, got {getattr(self, name)}")
        for name in ("disk_share", "base_confidence", "model_confidence", "stranger_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"host hazard: {name}: expected 0 to 1, got {getattr(self, name)}")
        if not self.half_life_s > 0:
            raise InputError(f"host hazard: half_life_s: expected above 0, got {self.half_life_s}")


@dataclass(frozen=True, slots=True)
class HazardPart:
    """One cause and what it adds."""

    cause: str  # "base", "disk Z300ABCD", "ECC_CORRECTED"
    per_h: float  # failures per hour
    confidence: float  # in [0, 1]


@dataclass(frozen=True, slots=True)
class HostHazard:
    """Failures per hour that a host is expected to have, by cause."""

    host: str
    parts: tuple[HazardPart, ...]

    @property
    def per_h(self) -> float:
        """Sum over causes."""
        return sum(part.per_h for part in self.parts)

    @property
    def confidence(self) -> float:
        """Mean of the causes' confidences, each weighted by what it adds; in [0, 1]."""
        total = self.per_h
        if total <= 0:
            return min((part.confidence for part in self.parts), default=0.0)
        return sum(part.per_h * part.confidence for part in self.parts) / total

    @property
    def main_cause(self) -> HazardPart | None:
        """The cause that adds most; None where there is none."""
        return max(self.parts, key=lambda part: part.per_h, default=None)

    def probability(self, hours: float) -> float:
        """Chance of a failure within so many hours, the hazard staying as it is."""
        return -math.expm1(-self.per_h * hours)


_DEFAULTS = HostHazardConfig()


def disk_parts(
    model: DiskHazardModel, history: SmartHistory, config: HostHazardConfig = _DEFAULTS
) -> tuple[HazardPart, ...]:
    """What each drive of ``history`` adds to its host, as of its last reading."""
    rates = model.hazard_per_h(history) * config.disk_share
    return tuple(
        HazardPart(
            f"disk {serial}",
            float(rate),
            config.model_confidence if kind in model.known_models else config.stranger_confidence,
        )
        for serial, kind, rate in zip(history.serial, history.model, rates, strict=True)
    )


def unmeasured_disk(serial: str, config: HostHazardConfig = _DEFAULTS) -> HazardPart:
    """What a drive adds whose SMART cannot be read, or for which there is no model."""
    return HazardPart(f"disk {serial}", config.disk_per_h * config.disk_share, config.base_confidence)


def host_hazards(
    hosts: Sequence[str],
    readings: Sequence[HealthReading],
    disks: Mapping[str, Sequence[HazardPart]],
    config: HostHazardConfig = _DEFAULTS,
    weights: Mapping[Signal, SignalWeight] = STATED_WEIGHTS,
) -> tuple[HostHazard, ...]:
    """Combine what is known of each host.

    Args:
        hosts: names, in the order of the result.
        readings: from any number of sources; of several readings of one signal of a host the freshest counts.
        disks: parts of each host's drives (``disk_parts``, ``unmeasured_disk``).
        config: rates and confidences.
        weights: what each signal adds; a signal without a weight is ignored.

    A reading ages: its confidence halves every ``half_life_s``, its rate stays (old bad news is not good
    news). Readings and disks of hosts that are not asked for are ignored.
    """
    freshest: dict[tuple[str, Signal], HealthReading] = {}
    for reading in readings:
        key = (reading.host, reading.signal)
        if key not in freshest or reading.age_s < freshest[key].age_s:
            freshest[key] = reading
    result = []
    for host in hosts:
        parts = [HazardPart("base", config.base_per_h, config.base_confidence), *disks.get(host, ())]
        for signal, weight in weights.items():
            found = freshest.get((host, signal))
            if found is not None:
                fresh = 0.5 ** (found.age_s / config.half_life_s)
                parts.append(HazardPart(signal.name, weight.per_h(found.value), weight.confidence * fresh))
        result.append(HostHazard(host, tuple(parts)))
    return tuple(result)


def as_columns(hazards: Sequence[HostHazard]) -> tuple[F32, F32]:
    """``(n_hosts,) float32`` failures per hour and the same of confidence, for ``ClusterState``."""
    return (
        np.array([hazard.per_h for hazard in hazards], np.float32),
        np.array([hazard.confidence for hazard in hazards], np.float32),
    )


def show_hazards(
    state: ClusterState,
    hosts: Sequence[str],
    sources: Sequence[HealthSource],
    now_s: float,
    disks: Mapping[str, Sequence[HazardPart]] = MappingProxyType({}),
    config: HostHazardConfig = _DEFAULTS,
    weights: Mapping[Signal, SignalWeight] = STATED_WEIGHTS,
) -> tuple[HostHazard, ...]:
    """Read every source once and fill ``hosts.hazard_per_h`` and ``hosts.hazard_confidence`` of ``state``.

    Args:
        state: of a live world; the simulator fills these columns from its own alarms.
        hosts: names in the order of the state's hosts.
        sources: of readings; what one of them raises is passed on.
        now_s: Unix time.
        disks: parts of each host's drives.
        config: rates and confidences.
        weights: what each signal adds.

    Returns:
        The hazard of each host by cause.

    Raises:
        InputError: the state has another number of hosts.
        ForeshadeError: a source cannot be reached; nothing is filled.

    """
    if len(hosts) != len(state.hosts.state):
        raise InputError(f"hazards: expected {len(state.hosts.state)} host names, got {len(hosts)}")
    readings = [reading for source in sources for reading in source.read(now_s)]
    hazards = host_hazards(hosts, readings, disks, config, weights)
    state.show_hazards(*as_columns(hazards))
    return hazards
