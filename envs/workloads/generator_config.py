"""What can be asked of the generator: its settings, the presets by name, and options as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.generator_catalogue import TYPES

_ENTERPRISE_MIX = {name: kind.share for name, kind in TYPES.items()}


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Settings of one generated workload; ``mix`` apart, every field is also an option of a spec."""

    #: VMs wanted on average at any time; 400 have some 1,200 vCPUs and 4.4 TiB, about 12 hosts
    #: of 384 GiB without overcommit: small enough to train on, large enough to consolidate.
    vms: int = 400
    #: Length in days; two show the daily cycle twice, the least that a forecaster can learn it from.
    days: float = 2.0
    #: Root of all randomness; the same seed gives the same bytes.
    seed: int = 0
    #: Multiplier of the load of every application; 1 is the level fitted to public traces.
    scale: float = 1.0
    #: Length of a tick in s; 300 is the control interval and the period of the public traces.
    tick_s: int = 300
    #: UTC date or time of tick 0, ISO 8601; a Monday, so that two days are business days.
    start: str = "2024-01-01"
    #: Multiplier of the noise's standard deviation; 1 is fitted to public traces, 0 leaves smooth curves.
    noise: float = 1.0
    #: Multiplier of the daily and weekly cycles' depth; 0 switches them off.
    cycle: float = 1.0
    #: Bursts a day of each application; two give Bitbrains' ratio of peak to mean. 0 switches
    #: the nightly backups off as well.
    bursts: float = 2.0
    #: Flash crowds a day of each group of applications; one in four days keeps them rare yet seen.
    crowds: float = 0.25
    #: Applications that share flash crowds and a part of their noise; the tiers of about two services.
    group: int = 6
    #: Level shifts a day of each application; about one release a month that changes the load.
    shifts: float = 0.03
    #: Standard deviation of the applications' linear trends, share of the load a week.
    trend: float = 0.03
    #: Share of the VMs at any time that live less than a day: they are most of the VMs that ever run, while
    #: the others have over 95 % of the core-hours (Cortez et al., SOSP 2017, §3.4).
    short: float = 0.05
    #: Median lifetime of the long-lived applications in days (lognormal, sigma 1.2); 0 = they stay.
    life_days: float = 20.0
    #: Share of the applications with a surge at the same time every day: forecastable.
    daily: float = 0.0
    #: Share of the applications with surges at random times, as many: not forecastable.
    random: float = 0.0
    #: Share of the applications with surges at random times whose surges people announce: launches, campaigns.
    announced: float = 0.0
    #: Share of them whose surges have a precursor: their network traffic rises before.
    heralded: float = 0.0
    #: Minutes from the precursor to the surge.
    herald: float = 20.0
    #: Median height of a surge, share of the CPU provisioned; with the base, 1 makes most surges want
    #: more than is provisioned, so that only a larger or a further VM serves them.
    surge: float = 1.0
    #: Minutes in which a surge rises, and falls: the time that a reactive policy has.
    ramp: float = 15.0
    #: Largest CPU, disk or network demand as a multiple of what is provisioned; above 1 a VM wants more than
    #: it has (clients queue), and beyond 1.5 they give up.
    limit: float = 1.5
    #: Weight of each application type; not an option.
    mix: Mapping[str, float] = field(default_factory=lambda: dict(_ENTERPRISE_MIX))

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise WorkloadError(f"generated: {name} must be in {low:g}..{high:g}, got {value:g}")
        if self.daily + self.random > 1.0:
            raise WorkloadError(
                f"generated: daily + random must be at most 1, got {self.daily + self.random:g}"
            )
        if self.announced + self.heralded > 1.0:
            raise WorkloadError(
                f"generated: announced + heralded must be at most 1, got {self.announced + self.heralded:g}"
            )
        unknown = sorted(set(self.mix) - set(TYPES))
        if unknown or not sum(self.mix.values()) > 0.0 or min(self.mix.values()) < 0.0:
            raise WorkloadError(f"generated: mix wants weights of {', '.join(TYPES)}, got {dict(self.mix)}")
        _ = self.start_epoch_s

    @property
    def n_ticks(self) -> int:
        """Length in ticks, at least one."""
        return max(round(self.days * 86_400.0 / self.tick_s), 1)

    @property
    def n_short(self) -> int:
        """VMs at any time that live less than a day; at least one of all VMs belongs to an application."""
        return min(round(self.vms * self.short), self.vms - 1)

    @property
    def start_epoch_s(self) -> int:
        """Unix time of tick 0; a time without a zone is UTC."""
        try:
            moment = datetime.fromisoformat(self.start)
        except ValueError:
            raise WorkloadError(
                f"generated: start must be an ISO date such as 2024-01-01, got {self.start!r}"
            ) from None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


_RANGES: Mapping[str, tuple[float, float]] = {
    "vms": (1, 1_000_000),
    "days": (1e-3, 400),
    "seed": (0, 2**63 - 1),
    "scale": (0, 100),
    "tick_s": (10, 3600),
    "noise": (0, 5),
    "cycle": (0, 2),
    "bursts": (0, 100),
    "crowds": (0, 100),
    "group": (1, 1000),
    "shifts": (0, 10),
    "trend": (0, 1),
    "short": (0, 0.9),
    "life_days": (0, 1e5),
    "daily": (0, 1),
    "random": (0, 1),
    "announced": (0, 1),
    "heralded": (0, 1),
    "herald": (0, 240),
    "surge": (0, 10),
    "ramp": (0, 240),
    "limit": (1.01, 10),
}

# What VMs there are never changes, and no application bursts, drifts or changes its level.
_STEADY = GeneratorConfig(bursts=0.0, crowds=0.0, shifts=0.0, trend=0.0, short=0.0, life_days=0.0)

#: The workloads that can be asked for by name.
PRESETS: Mapping[str, GeneratorConfig] = {
    # A company's virtualised data centre: the default of the product.
    "enterprise": GeneratorConfig(),
    # What proactive allocation is worth: two fifths of the applications surge at a time that can be learnt,
    # three tenths as much at times that cannot, the rest not at all; nothing else stands out.
    "surge": replace(_STEADY, daily=0.4, random=0.3, mix={"web": 1.0}),
    # Constant demand of a fixed set of VMs: whatever a policy does here, the load is not the cause.
    "flat": replace(_STEADY, noise=0.0, cycle=0.0, mix={"web": 0.5, "database": 0.3, "cache": 0.2}),
    # A day that rises and falls and nothing else: at night it wants half of what it wants by day.
    "daily": replace(_STEADY, noise=0.5, mix={"web": 0.6, "database": 0.25, "cache": 0.15}),
    # Nightly windows and jobs, with the databases that they read: high, on and off, known beforehand.
    "batch": GeneratorConfig(mix={"batch": 0.8, "database": 0.2}, crowds=0.0),
}


def configure(name: str, options: Mapping[str, str]) -> GeneratorConfig:
    """The preset ``name`` with ``options`` applied; raises ``WorkloadError`` with what is known."""
    if name not in PRESETS:
        raise WorkloadError(f"generated: unknown workload {name!r}, known: {', '.join(PRESETS)}")
    types = {f.name: f.type for f in fields(GeneratorConfig) if f.name != "mix"}
    values: dict[str, int | float | str] = {}
    for key, text in options.items():
        if key not in types:
            raise WorkloadError(f"generated:{name}: unknown option {key!r}, known: {', '.join(types)}")
        kind = types[key]
        try:
            values[key] = text if kind == "str" else int(text) if kind == "int" else float(text)
        except ValueError:
            wanted = "a whole number" if kind == "int" else "a number"
            raise WorkloadError(f"generated:{name}: {key} must be {wanted}, got {text!r}") from None
    return replace(PRESETS[name], **values)  # type: ignore[arg-type]
