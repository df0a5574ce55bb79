"""Who is there and when: applications with their members, and the short-lived VMs beside them.

Lifetimes are a mixture, as in Azure (Cortez et al., SOSP 2017, §3.4) and Huawei East 1: most VMs ever started
live for minutes to hours, and few that live for weeks have nearly all the core-hours.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from foreshade.envs.workloads.generator_catalogue import (
    SHORT,
    SHORT_VCPU_SHARES,
    TYPES,
    VCPU_SHARES,
    VCPUS,
    ApplicationType,
    flavour,
)
from foreshade.envs.workloads.generator_config import GeneratorConfig
from foreshade.envs.workloads.generator_laws import DAY_S, F32, F64, poisson_times, weekend

I32 = npt.NDArray[np.int32]

#: Sigma of the long lifetimes: with a median of 20 days, a tenth outlives three months.
LIFE_SIGMA = 1.2
#: Mean wait for the successor of an application that has left, in s at the average rate of arrivals.
SUCCESSOR_S = 7200.0
#: Log-mean and sigma of the lifetimes in s of Huawei East 1 (116,313 VMs), used between a tick and a day.
SHORT_LIFE = NormalDist(7.22, 2.35)


def stream(seed: int, *key: int) -> np.random.Generator:
    """The generator of one thing, independent of all others: adding a thing changes no other."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass(frozen=True, slots=True)
class Application:
    """One application before its load is drawn."""

    slot: int  # position in the cluster; its group is slot // config.group
    generation: int  # 0 = there from the start, then its successors
    kind: ApplicationType
    surge: str  # "daily", "random", "announced", "heralded", "calm"; empty where the workload has no surges
    members: int
    flavour: tuple[float, float, float, float, float]  # of one member: MHz, MiB, MiB/s, Mbit/s, GPUs
    arrival_tick: int
    departure_tick: int

    @property
    def name(self) -> str:
        """Readable and unique, with what kind of load it is."""
        stem = f"{self.surge or self.kind.name}-{self.slot:04d}"
        return f"{stem}.{self.generation}" if self.generation else stem


@dataclass(frozen=True, slots=True)
class ShortVms:
    """The short-lived VMs; VMs that never meet share a column of the demand table."""

    arrival_tick: I32  # (n,) ascending
    departure_tick: I32  # (n,)
    column: I32  # (n,) column among those of the short-lived VMs
    flavour: F32  # (n, 5)
    level: F32  # (n,) the VM's load relative to that of its column

    @property
    def n_columns(self) -> int:
        """Columns used."""
        return int(self.column.max()) + 1 if len(self.column) else 0


def arrival_rate(epoch_s: F64) -> F32:
    """Arrivals relative to their weekly mean, (n,): twice as many at 14:00 as at 02:00, half at the weekend.

    Cortez et al., SOSP 2017, §3.6 find such daily and weekly cycles in the deployments of a region.
    """
    day = 1.0 + 0.35 * np.cos(2.0 * math.pi * (epoch_s / DAY_S - 14.0 / 24.0))
    week = 1.0 - 0.5 * weekend(epoch_s)
    return (day * week / (1.0 - 0.5 * 2.0 / 7.0)).astype(np.float32)


def applications(config: GeneratorConfig) -> Iterator[Application]:
    """The long-lived applications: slots until the VMs are used up, each with its successors."""
    left = config.vms - config.n_short
    slot = 0
    while left > 0:
        first = _draw(config, slot, 0, 0, left)
        left -= first.members
        yield from _generations(config, first)
        slot += 1


def _draw(config: GeneratorConfig, slot: int, generation: int, arrival_tick: int, most: int) -> Application:
    rng = stream(config.seed, 0, slot, generation, 0)
    names = [name for name in TYPES if config.mix.get(name, 0.0) > 0.0]
    weights = np.array([config.mix[name] for name in names])
    kind = TYPES[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
    drawn = rng.random()
    surge = ""
    if config.daily + config.random > 0.0:
        surge = (
            "daily" if drawn < config.daily else "random" if drawn < config.daily + config.random else "calm"
        )
    if surge == "random" and config.announced + config.heralded > 0.0:
        known = stream(config.seed, 0, slot, generation, 4).random()
        if known < config.announced + config.heralded:
            surge = "announced" if known < config.announced else "heralded"
    members = max(round(kind.members_median * rng.lognormal(0.0, kind.members_sigma)), 1)
    vcpus = int(rng.choice(VCPUS, p=VCPU_SHARES))
    gpus = 0.0
    if kind.name == "inference":
        # Shares of a GPU and whole ones, as the pods of the Alibaba GPU cluster ask for them (ATC 2023).
        gpus = float(rng.choice((0.25, 0.5, 1.0, 2.0), p=(0.15, 0.25, 0.5, 0.1)))
        vcpus = max(vcpus, 4)
    per_vcpu = int(rng.choice(kind.gib_per_vcpu))
    departure_tick = config.n_ticks
    if config.life_days > 0.0:
        # Who is met at the start is met in proportion to its lifetime, at a uniform age.
        tilt, age = (LIFE_SIGMA**2, rng.random()) if generation == 0 else (0.0, 1.0)
        life_s = config.life_days * DAY_S * rng.lognormal(tilt, LIFE_SIGMA) * age
        departure_tick = min(arrival_tick + max(round(life_s / config.tick_s), 1), config.n_ticks)
    # The cap of 40 keeps one application from being the cluster.
    return Application(
        slot,
        generation,
        kind,
        surge,
        min(members, 40, most),
        flavour(vcpus, per_vcpu, gpus),
        arrival_tick,
        departure_tick,
    )


def _generations(config: GeneratorConfig, application: Application) -> Iterator[Application]:
    while True:
        yield application
        if application.departure_tick >= config.n_ticks:
            return
        rng = stream(config.seed, 0, application.slot, application.generation, 2)
        when_s = application.departure_tick * float(config.tick_s)
        while True:  # a Poisson process of varying rate, by thinning (Lewis & Shedler, 1979)
            when_s += rng.exponential(SUCCESSOR_S / 2.0)
            epoch_s = np.array([config.start_epoch_s + when_s])
            if rng.random() * 2.0 < float(arrival_rate(epoch_s)[0]):
                break
        arrival_tick = max(round(when_s / config.tick_s), application.departure_tick)
        if arrival_tick >= config.n_ticks:
            return
        # The successor has as many VMs: the number of VMs stays about constant.
        successor = _draw(config, application.slot, application.generation + 1, arrival_tick, 40)
        application = Application(
            successor.slot,
            successor.generation,
            successor.kind,
            successor.surge,
            application.members,
            successor.flavour,
            successor.arrival_tick,
            successor.departure_tick,
        )


def short_vms(config: GeneratorConfig) -> ShortVms:
    """The short-lived VMs: Poisson arrivals with a daily cycle, lognormal lifetimes of a tick to a day.

    Arrivals start a day before tick 0; nobody lives longer, so the process is stationary from the start.
    """
    rng = stream(config.seed, 1)
    low, high = SHORT_LIFE.cdf(math.log(config.tick_s)), SHORT_LIFE.cdf(math.log(DAY_S))
    steps = low + (high - low) * (np.arange(4096) + 0.5) / 4096
    lives_s = np.exp([SHORT_LIFE.inv_cdf(float(p)) for p in steps])
    per_day = config.n_short * DAY_S / float(lives_s.mean())
    at_s = poisson_times(rng, 2.0 * per_day, config.n_ticks, config.tick_s)
    at_s = at_s[rng.random(len(at_s)) * 2.0 < arrival_rate(config.start_epoch_s + at_s)]
    gone_s = at_s + rng.choice(lives_s, len(at_s))
    arrival = np.round(at_s / config.tick_s).astype(np.int64)
    departure = np.maximum(np.round(gone_s / config.tick_s).astype(np.int64), arrival + 1)
    vcpus = rng.choice(VCPUS, len(at_s), p=SHORT_VCPU_SHARES)
    per_vcpu = rng.choice(SHORT.gib_per_vcpu, len(at_s))
    level = rng.lognormal(0.0, SHORT.base_sigma, len(at_s))
    seen = (departure > 0) & (arrival < config.n_ticks)
    arrival = np.maximum(arrival[seen], 0).astype(np.int32)
    departure = np.minimum(departure[seen], config.n_ticks).astype(np.int32)
    flavours = [flavour(int(v), int(g)) for v, g in zip(vcpus[seen], per_vcpu[seen], strict=True)]
    return ShortVms(
        arrival,
        departure,
        _columns(arrival, departure),
        np.array(flavours, dtype=np.float32).reshape(-1, 5),
        level[seen].astype(np.float32),
    )


def _columns(arrival: I32, departure: I32) -> I32:
    """The lowest free column for each VM in order of arrival: as many as ever run at once, no more."""
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    out = np.zeros(len(arrival), dtype=np.int32)
    n_columns = 0
    for row, (start, end) in enumerate(zip(arrival.tolist(), departure.tolist(), strict=True)):
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            out[row] = heapq.heappop(free)
        else:
            out[row] = n_columns
            n_columns += 1
        heapq.heappush(busy, (end, int(out[row])))
    return out
