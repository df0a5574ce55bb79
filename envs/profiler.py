"""What hypervisors turn out to be like: fingerprints per hypervisor and class of workload, learned online.

Times and shares are log-normal: a normal-inverse-gamma belief about their logarithms; what succeeds or fails has a
beta belief. Both are conjugate, so an observation costs a few additions (Murphy, *Conjugate Bayesian analysis of the
Gaussian distribution*, 2007, section 6; Gelman et al., *Bayesian Data Analysis*, 3rd ed., sections 2.4 and 3.3). The
catalogue's declared figure is the prior of a hypervisor; what the hypervisor shows over all classes is the prior of
each class. A belief forgets: it counts no more than its newest ``MEMORY`` observations or so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from foreshade.envs.catalogue import Hypervisor
from foreshade.envs.errors import InputError
from foreshade.envs.student import t_quantile

#: Observations that a declared figure counts for, and the standard deviation of logarithms that goes with it: a
#: factor of 1.65 either way. Declared.
PRIOR_N, PRIOR_SD = 1.0, 0.5
#: Observations that a declared ability or inability counts for.
PRIOR_TRIES = 4.0
#: Newest observations that a belief counts.
MEMORY = 2000.0
#: Least value whose logarithm is taken: of shares a ten-thousandth, of times 0.1 ms.
LEAST = 1e-4
#: The class that stands for all classes of a hypervisor.
ALL = "*"

#: What is measured, its unit, and where the catalogue declares it; "" = nowhere.
QUANTITIES: Mapping[str, tuple[str, str]] = {
    "boot_cold": ("s", "boot_s.cold"),
    "boot_restored": ("s", "boot_s.restored"),
    "boot_spare": ("s", "boot_s.spare"),
    "boot_microvm": ("s", "boot_s.microvm"),
    "shutdown": ("s", "shutdown_s"),
    "migration_rate": ("Mbit/s", "migration.bandwidth_mbit"),
    "migration_downtime": ("ms", "migration.downtime_ms"),
    "cpu_efficiency": ("share", "efficiency.cpu"),
    "io_latency": ("ms", ""),
    "steal": ("share", ""),
    "memory_pressure": ("share", ""),
    "memory_wave": ("share", ""),  # change of used memory between two samples
    "disk": ("share", ""),
    "network": ("share", ""),
}
#: What succeeds or fails, likewise.
ABILITIES: Mapping[str, str] = {
    "cpu_up": "hot_plug.cpu_up",
    "cpu_down": "hot_plug.cpu_down",
    "memory_up": "hot_plug.memory_up",
    "memory_down": "hot_plug.memory_down",
    "boot": "",
    "migration": "",
}


@dataclass(frozen=True, slots=True)
class Belief:
    """Sufficient statistics of logarithms, and the prior that they are added to."""

    prior: float | None  # mean of the logarithms; None = nothing is declared
    n: float = 0.0
    mean: float = 0.0
    spread: float = 0.0  # sum of squares about the mean

    def add(self, n: float, mean: float, spread: float) -> Belief:
        """With a batch of observations: their number, mean and sum of squares about it."""
        if n <= 0.0:
            return self
        fade = min(1.0, max(0.0, MEMORY - n) / self.n) if self.n + n > MEMORY and self.n > 0 else 1.0
        kept = self.n * fade
        total = kept + n
        shift = mean - self.mean
        return replace(
            self,
            n=total,
            mean=self.mean + shift * n / total,
            spread=self.spread * fade + spread + shift * shift * kept * n / total,
        )

    @property
    def known(self) -> bool:
        """Whether anything is declared or was seen."""
        return self.prior is not None or self.n > 0

    def posterior(self) -> tuple[float, float, float, float]:
        """Normal-inverse-gamma: mean, kappa, alpha, beta."""
        kappa0 = PRIOR_N if self.prior is not None else 1e-6
        mean0 = self.prior if self.prior is not None else self.mean
        alpha0 = 1.0
        beta0 = alpha0 * PRIOR_SD**2
        kappa = kappa0 + self.n
        beta = beta0 + 0.5 * self.spread + 0.5 * kappa0 * self.n * (self.mean - mean0) ** 2 / kappa
        return (kappa0 * mean0 + self.n * self.mean) / kappa, kappa, alpha0 + self.n / 2.0, beta

    def estimate(self) -> Estimated:
        """The median, and the 95 % interval of where it lies."""
        if not self.known:
            return Estimated(math.nan, math.nan, math.nan, 0)
        mean, kappa, alpha, beta = self.posterior()
        half = t_quantile(0.975, max(1, round(2.0 * alpha))) * math.sqrt(beta / (alpha * kappa))
        half = min(half, 50.0)  # nothing is known: from nothing to anything
        return Estimated(math.exp(mean), math.exp(mean - half), math.exp(mean + half), round(self.n))

    def upper(self, probability: float = 0.9) -> float:
        """What the next one stays below with this probability: the posterior predictive, a Student's t."""
        if not self.known:
            return math.nan
        mean, kappa, alpha, beta = self.posterior()
        scale = math.sqrt(beta * (kappa + 1.0) / (alpha * kappa))
        return math.exp(min(mean + t_quantile(probability, max(1, round(2.0 * alpha))) * scale, 50.0))


@dataclass(frozen=True, slots=True)
class Success:
    """A beta belief."""

    declared: bool | None  # None = nothing is declared
    good: float = 0.0
    bad: float = 0.0

    def add(self, good: float, bad: float) -> Success:
        """With further tries."""
        total = self.good + self.bad + good + bad
        fade = 1.0 if total <= MEMORY else max(0.0, MEMORY - good - bad) / max(self.good + self.bad, 1e-9)
        return replace(self, good=self.good * min(fade, 1.0) + good, bad=self.bad * min(fade, 1.0) + bad)

    def estimate(self) -> Estimated:
        """The mean, with 1.96 posterior standard deviations either way inside 0 and 1."""
        a0 = {True: PRIOR_TRIES - 0.5, False: 0.5, None: 0.5}[self.declared]
        b0 = {True: 0.5, False: PRIOR_TRIES - 0.5, None: 0.5}[self.declared]
        a, b = a0 + self.good, b0 + self.bad
        mean = a / (a + b)
        half = 1.96 * math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1.0)))
        return Estimated(mean, max(0.0, mean - half), min(1.0, mean + half), round(self.good + self.bad))


@dataclass(frozen=True, slots=True)
class Estimated:
    """A figure and how far to trust it."""

    value: float
    low: float  # 95 % interval
    high: float
    n: int  # observations behind it; 0 = as declared


class Profiler:
    """Beliefs about hypervisors; not for two threads at once."""

    def __init__(self, declared: Mapping[str, Hypervisor]) -> None:
        self.declared = dict(declared)
        self._beliefs: dict[tuple[str, str, str], Belief] = {}  # hypervisor, class, quantity
        self._tries: dict[tuple[str, str, str], Success] = {}

    def saw(self, hypervisor: str, workload: str, quantity: str, value: float) -> None:
        """One observation, in the unit of ``QUANTITIES``.

        Raises:
            InputError: there is no such quantity, or the value is negative or no number.

        """
        if quantity not in QUANTITIES:
            raise InputError(f"profiler: expected one of {', '.join(QUANTITIES)}, found {quantity!r}")
        if not (math.isfinite(value) and value >= 0.0):
            raise InputError(f"profiler: {quantity}: expected a number of at least 0, found {value}")
        self.saw_many(hypervisor, workload, quantity, 1.0, math.log(max(value, LEAST)), 0.0)

    def saw_many(
        self, hypervisor: str, workload: str, quantity: str, n: float, mean: float, spread: float
    ) -> None:
        """A batch: number, mean and sum of squares about it of logarithms."""
        for kind in dict.fromkeys((ALL, workload or ALL)):
            key = hypervisor, kind, quantity
            old = self._beliefs.get(key) or Belief(
                None if kind != ALL else self._declared(hypervisor, quantity)
            )
            self._beliefs[key] = old.add(n, mean, spread)

    def tried(
        self, hypervisor: str, workload: str, ability: str, *, good: float = 0.0, bad: float = 0.0
    ) -> None:
        """What succeeded and what failed of an ability.

        Raises:
            InputError: there is no such ability.

        """
        if ability not in ABILITIES:
            raise InputError(f"profiler: expected one of {', '.join(ABILITIES)}, found {ability!r}")
        for kind in dict.fromkeys((ALL, workload or ALL)):
            key = hypervisor, kind, ability
            old = self._tries.get(key) or Success(self._able(hypervisor, ability))
            self._tries[key] = old.add(good, bad)

    def belief(self, hypervisor: str, workload: str, quantity: str) -> Belief:
        """What is believed of a class; where it was not seen, what its hypervisor shows or declares."""
        whole = self._beliefs.get((hypervisor, ALL, quantity)) or Belief(self._declared(hypervisor, quantity))
        own = self._beliefs.get((hypervisor, workload or ALL, quantity))
        if own is None or workload in ("", ALL):
            return whole
        return replace(own, prior=whole.posterior()[0] if whole.known else None)

    def estimate(self, hypervisor: str, workload: str, quantity: str) -> Estimated:
        """A quantity's median with its interval, or an ability's chance."""
        if quantity in QUANTITIES:
            return self.belief(hypervisor, workload, quantity).estimate()
        own = self._tries.get((hypervisor, workload or ALL, quantity)) or self._tries.get(
            (hypervisor, ALL, quantity)
        )
        return (own or Success(self._able(hypervisor, quantity))).estimate()

    def measured(self, hypervisor: str) -> Hypervisor:
        """The catalogue's entry with what was measured in place of what was declared, and how often.

        Figures that were never seen stay as declared. An ability counts as there where it succeeds more often than
        not. A boot path never takes longer than a slower one: `spare <= restored <= cold`.
        """
        declared = self.declared[hypervisor]
        said: dict[str, Any] = declared.model_dump()
        sources: dict[str, list[str]] = {}
        for quantity, (unit, path) in QUANTITIES.items():
            found = self.estimate(hypervisor, ALL, quantity)
            if path and found.n:
                _set(said, path, min(found.value, 1.0) if unit == "share" else found.value)
                text = f"{path} {found.value:.3g} {unit} ({found.low:.3g}-{found.high:.3g}, n = {found.n})"
                sources.setdefault(path.split(".")[0], []).append(text)
        for ability, path in ABILITIES.items():
            found = self.estimate(hypervisor, ALL, ability)
            if path and found.n:
                _set(said, path, found.value > 0.5)
                sources.setdefault("hot_plug", []).append(f"{path} in {found.value:.0%} of {found.n}")
        times = said["boot_s"]
        times["restored"] = min(times["restored"], times["cold"])
        times["spare"] = min(times["spare"], times["restored"])
        kept = {
            names: text
            for names, text in declared.sources.items()
            if not {name.strip() for name in names.split(",")} <= sources.keys()
        }
        measured = {
            field: f"measured, the rest as declared: {'; '.join(texts)}. Before: {declared.source(field)}"
            for field, texts in sources.items()
        }
        return Hypervisor.model_validate({**said, "sources": {**kept, **measured}})

    def fingerprints(self) -> Iterator[tuple[str, str, str, Estimated]]:
        """Hypervisor, class, quantity or ability, and what is believed of it: all that was ever seen."""
        for hypervisor, workload, quantity in sorted({*self._beliefs, *self._tries}):
            yield hypervisor, workload, quantity, self.estimate(hypervisor, workload, quantity)

    def _declared(self, hypervisor: str, quantity: str) -> float | None:
        path = QUANTITIES[quantity][1]
        if not path or hypervisor not in self.declared:
            return None
        return math.log(max(float(_get(self.declared[hypervisor], path)), LEAST))

    def _able(self, hypervisor: str, ability: str) -> bool | None:
        path = ABILITIES[ability]
        if not path or hypervisor not in self.declared:
            return None
        return bool(_get(self.declared[hypervisor], path))


def _get(entry: Any, path: str) -> Any:
    for part in path.split("."):
        entry = getattr(entry, part)
    return entry


def _set(said: dict[str, Any], path: str, value: float | bool) -> None:
    *parts, last = path.split(".")
    for part in parts:
        said = said[part]
    said[last] = value
