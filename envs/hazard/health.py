"""What a host says of its own health, beside its disks: a port for sources, and a weight per signal.

**The weights here are stated, not validated.** No public record joins these signals to host failures with
times, so each weight is an order of magnitude with the source it leans on; they carry a low confidence,
which reaches the host's hazard, and a site overrides them with what it has measured. Disks alone have a
trained model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from foreshade.envs.errors import InputError


class Signal(Enum):
    """A health metric; the value says the unit."""

    ECC_CORRECTED = "corrected memory errors per day"
    ECC_UNCORRECTED = "uncorrected memory errors per day"
    MACHINE_CHECK = "machine-check exceptions per day"
    TEMPERATURE = "degrees Celsius above the vendor's inlet or package limit"
    FAN = "fans stopped or below their speed limit"
    POWER_SUPPLY = "power supplies failed or without input"
    GPU_ERROR = "GPU errors per day (Xid of class hardware, row remaps, uncorrected ECC)"


@dataclass(frozen=True, slots=True)
class HealthReading:
    """One signal of one host."""

    host: str
    signal: Signal
    value: float  # in the unit of the signal; at least 0 except TEMPERATURE, which may be below its limit
    age_s: float = 0.0  # since it was measured

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or (self.value < 0 and self.signal is not Signal.TEMPERATURE):
            raise InputError(
                f"health of {self.host}: {self.signal.name}: expected a finite value of at least 0, "
                f"got {self.value}"
            )
        if not self.age_s >= 0:
            raise InputError(
                f"health of {self.host}: {self.signal.name}: expected age_s >= 0, got {self.age_s}"
            )


class HealthSource(Protocol):
    """Where readings come from: EDAC, mcelog, IPMI or Redfish sensors, NVML, a file, a test."""

    def read(self, now_s: float) -> Sequence[HealthReading]:
        """Every reading that is at hand at this Unix time.

        Reading twice changes nothing. A host or a signal that cannot be read is left out, never invented,
        and the call returns within the source's own timeout; what cannot be reached at all raises
        ``ForeshadeError``.
        """
        ...


@dataclass(frozen=True, slots=True)
class SignalWeight:
    """Failures per hour that a signal adds: ``full_per_h * (1 - exp(-value / scale))``; nothing at 0.

    It saturates, because the thousandth corrected error of a day says little more than the hundredth.
    """

    full_per_h: float  # added by a signal far above its scale
    scale: float  # value at which 63 % of it is reached, in the signal's unit
    confidence: float  # in [0, 1]: how much the weight is to be believed
    reason: str

    def __post_init__(self) -> None:
        if not (self.full_per_h >= 0 and self.scale > 0 and 0 <= self.confidence <= 1):
            raise InputError(
                "signal weight: expected full_per_h >= 0, scale > 0 and confidence in [0, 1], got "
                f"{self.full_per_h}, {self.scale}, {self.confidence}"
            )

    def per_h(self, value: float) -> float:
        """Failures per hour that a reading adds."""
        return self.full_per_h * -math.expm1(-max(value, 0.0) / self.scale)


_MONTH_H = 720.0

#: Full weights as "share of such hosts that fail within a month", over the hours of a month. Unvalidated.
STATED_WEIGHTS: Mapping[Signal, SignalWeight] = MappingProxyType(
    {
        Signal.ECC_CORRECTED: SignalWeight(
            0.02 / _MONTH_H,
            100.0,
            0.3,
            "uncorrected errors follow corrected ones on the order of 1 % of DIMMs a month "
            "(Schroeder, Pinheiro & Weber, SIGMETRICS 2009)",
        ),
        Signal.ECC_UNCORRECTED: SignalWeight(
            0.5 / _MONTH_H, 1.0, 0.3, "operators replace the DIMM after one; stated, no public rate"
        ),
        Signal.MACHINE_CHECK: SignalWeight(
            0.3 / _MONTH_H, 1.0, 0.2, "processor errors recur on the same machine in about a third of cases "
            "(Nightingale, Douceur & Orgovan, EuroSys 2011)",
        ),
        Signal.TEMPERATURE: SignalWeight(
            0.05 / _MONTH_H, 10.0, 0.1, "weak in the field below the limit "
            "(El-Sayed et al., SIGMETRICS 2012), so only what is above it counts; stated",
        ),
        Signal.FAN: SignalWeight(0.05 / _MONTH_H, 1.0, 0.2, "one fan of several is lost; stated"),
        Signal.POWER_SUPPLY: SignalWeight(
            0.1 / _MONTH_H, 1.0, 0.2, "redundancy is gone, the next one stops the host; stated"
        ),
        Signal.GPU_ERROR: SignalWeight(
            0.2 / _MONTH_H, 2.0, 0.2, "errors recur on the same GPU (Tiwari et al., HPCA 2015); stated"
        ),
    }
)  # fmt: skip
