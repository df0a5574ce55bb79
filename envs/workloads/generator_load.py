"""The load of a block of applications: parameters drawn, laws put together, resources derived.

One application wants, at time t, the share

    saturate(base · cycle · trend · levels · exp(noise) · (1 + loading · crowd) + bursts + surges)

of the CPU that its members have; memory remembers that load, disk and network follow it while active.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from statistics import NormalDist
from typing import Generic, TypeVar

import numpy as np

from foreshade.envs.workloads.generator_catalogue import DISK_MIB_PER_VCPU, ApplicationType
from foreshade.envs.workloads.generator_config import GeneratorConfig
from foreshade.envs.workloads.generator_laws import (
    DAY_S,
    F32,
    F64,
    add_bursts,
    add_crowd,
    add_pulse,
    daily_cycle,
    heavy_tailed,
    level_shifts,
    ornstein_uhlenbeck,
    poisson_times,
    saturate,
    sticky,
    weekend,
)
from foreshade.envs.workloads.generator_population import stream

T = TypeVar("T")
_NORMAL = NormalDist()
#: Largest share of its memory that a guest uses; the rest is the kernel's reserve.
MEMORY_MOST = 0.95
#: Network traffic of a precursor, in units of an application's median: links are shared before they are followed.
HERALD = 8.0


@dataclass(frozen=True, slots=True)
class Parameters(Generic[T]):
    """What one application has drawn (``T`` = float), or a block of them (``T`` = array of n)."""

    base: T  # share of the CPU provisioned
    amplitude: T  # of the daily cycle
    peak_hour: T
    weekend: T
    slow: T  # standard deviations of the parts of the log-load
    fast: T
    white: T
    shared: T
    slow_s: T  # time constants
    fast_s: T
    loading: T
    trend: T  # a week
    burst: T  # smallest burst, share of the CPU provisioned
    memory: T
    memory_gain: T
    memory_noise: T
    memory_s: T
    disk: T  # MiB/s for each vCPU at the base load
    disk_noise: T
    disk_s: T
    disk_from: T  # activity threshold, standard deviations
    net: T
    net_noise: T
    net_s: T
    net_from: T


@dataclass(frozen=True, slots=True)
class Surge:
    """One surge of an application of a block."""

    column: int
    start_s: float  # from the first tick on
    end_s: float
    factor: float  # of the load that the application has without it


@dataclass(frozen=True, slots=True)
class Demand:
    """What a block of applications wants, each column relative to one application's provision."""

    cpu: F32  # (n_ticks, n) share of the CPU provisioned
    memory: F32  # (n_ticks, n) share of the memory provisioned
    disk: F32  # (n_ticks, n) MiB/s for each vCPU
    net: F32  # (n_ticks, n) Mbit/s for each vCPU
    surges: tuple[Surge, ...]  # of those that are announced


@dataclass(frozen=True, slots=True)
class Group:
    """What the applications of one group have in common."""

    noise: F32  # (n_ticks,) unit variance
    crowd: F32  # (n_ticks,) flash crowds, share of the load on top

    @classmethod
    def draw(cls, config: GeneratorConfig, n: int) -> list[Group]:
        """The first ``n`` groups of the cluster, each from a stream of its own."""
        noise = np.empty((config.n_ticks, n), dtype=np.float32)
        crowds = np.zeros((n, config.n_ticks), dtype=np.float32)
        for number in range(n):
            rng = stream(config.seed, 2, number)
            noise[:, number] = rng.standard_normal(config.n_ticks, dtype=np.float32)
            for start_s in poisson_times(rng, config.crowds, config.n_ticks, config.tick_s):
                height = min(1.0 + rng.pareto(1.8), 8.0)
                decay_s = float(rng.lognormal(math.log(2700.0), 0.6))
                add_crowd(crowds[number], config.tick_s, float(start_s), 600.0, decay_s, height)
        ornstein_uhlenbeck(noise, np.full(n, 2.0 * 3600.0, dtype=np.float32), config.tick_s)
        return [cls(noise[:, number], crowds[number]) for number in range(n)]


def draw_parameters(
    rng: np.random.Generator, kind: ApplicationType, config: GeneratorConfig
) -> Parameters[float]:
    """One application's parameters from its type's laws."""
    total = config.noise * kind.noise * rng.lognormal(0.0, 0.7)
    # How much of the variance is forgotten at once: most in PlanetLab, little in Google's jobs.
    white = rng.beta(0.9, 0.7)
    slow = (1.0 - white) * rng.beta(2.0, 1.5)
    shared = 0.45 * kind.loading * slow
    parts = (slow - shared, 1.0 - white - slow, white, shared)
    deviations = [min(total, 1.2) * math.sqrt(max(part, 0.0)) for part in parts]
    slow_sd, fast_sd, white_sd, shared_sd = deviations
    return Parameters(
        min(kind.base_median * rng.lognormal(0.0, kind.base_sigma), 0.9),
        config.cycle * kind.amplitude * rng.beta(1.2, 1.8) * 1.5,
        kind.peak_hour + rng.normal(0.0, 2.0),
        1.0 - config.cycle * (1.0 - min(max(kind.weekend + rng.normal(0.0, 0.15), 0.2), 1.1)),
        slow_sd,
        fast_sd,
        white_sd,
        shared_sd,
        float(rng.lognormal(math.log(4.0 * 3600.0), 0.7)),
        float(rng.lognormal(math.log(1200.0), 0.5)),
        kind.loading * rng.uniform(0.5, 1.0),
        config.trend * rng.standard_normal(),
        0.02 * rng.lognormal(0.0, 0.7),
        min(kind.memory_median * rng.lognormal(0.0, 0.5), 0.8),
        kind.memory_gain,
        config.noise * 0.06 * rng.lognormal(0.0, 0.7),
        float(rng.lognormal(math.log(1200.0), 1.7)),
        kind.disk_mib_per_vcpu * rng.lognormal(0.0, 1.2),
        config.noise * 1.0 * rng.lognormal(0.0, 0.3),
        float(rng.lognormal(math.log(240.0), 1.8)),
        _threshold(rng, kind.disk_idle, config.noise),
        kind.net_mbit_per_vcpu * rng.lognormal(0.0, 1.3),
        config.noise * 1.2 * rng.lognormal(0.0, 0.3),
        float(rng.lognormal(math.log(300.0), 1.8)),
        _threshold(rng, kind.net_idle, config.noise),
    )


def _threshold(rng: np.random.Generator, idle: float, noise: float) -> float:
    share = rng.beta(0.6 * idle / (1.0 - idle), 0.6)
    return _NORMAL.inv_cdf(min(max(share, 1e-4), 0.995)) if noise > 0.0 else -9.0


def load(
    config: GeneratorConfig,
    kinds: Sequence[ApplicationType],
    keys: Sequence[tuple[int, ...]],
    groups: Sequence[Group | None],
    surges: Sequence[str],
) -> Demand:
    """What each application of a block wants; ``keys`` name the applications' own random streams."""
    n_ticks, tick_s, n = config.n_ticks, float(config.tick_s), len(kinds)
    epoch_s = config.start_epoch_s + (np.arange(n_ticks, dtype=np.float64) + 0.5) * tick_s
    rows: list[Parameters[float]] = []
    z = np.empty((n_ticks, 6, n), dtype=np.float32)  # slow, fast, memory, disk, network, shared
    white = np.empty((n_ticks, n), dtype=np.float32)
    levels = np.empty((n_ticks, n), dtype=np.float32)
    extra = np.zeros((n, n_ticks), dtype=np.float32)  # share of the CPU on top
    gate = np.ones((n, n_ticks), dtype=np.float32)
    backup = np.zeros((n, n_ticks), dtype=np.float32)  # share of the disk limit
    crowd = np.zeros((n_ticks, n), dtype=np.float32)
    herald = np.zeros((n, n_ticks), dtype=np.float32)  # network traffic on top, in units of its median
    announced: list[Surge] = []
    for i, (kind, key) in enumerate(zip(kinds, keys, strict=True)):
        rng = stream(config.seed, *key)
        p = draw_parameters(rng, kind, config)
        rows.append(p)
        z[:, :5, i] = rng.standard_normal((n_ticks, 5), dtype=np.float32)
        white[:, i] = heavy_tailed(rng, n_ticks)
        levels[:, i] = level_shifts(rng, config.shifts, n_ticks, tick_s)
        if kind.name == "batch":
            _jobs(gate[i], rng, config, epoch_s)
        else:
            add_bursts(extra[i], rng, config.bursts * rng.lognormal(0.0, 0.7), tick_s, p.burst)
        if surges[i]:
            found = _surges(extra[i], rng, config, epoch_s, surges[i])
            if surges[i] == "announced":
                announced.extend(
                    Surge(i, a, b, min(p.base + height, config.limit) / p.base) for a, b, height in found
                )
            if surges[i] == "heralded":
                for start_s, _, _ in found:
                    add_pulse(herald[i], tick_s, start_s - 60.0 * config.herald, 60.0 * config.herald, HERALD)
        if config.bursts > 0.0 and rng.random() < kind.backup:
            _nightly(backup[i], rng, epoch_s, tick_s, rng.uniform(0, 5), rng.uniform(600, 3600), 0.25)
        group = groups[i]
        z[:, 5, i] = group.noise if group else 0.0
        if group:
            crowd[:, i] = group.crowd
    for pulses in (extra, backup):  # rounding at a pulse's edges may leave a trace below zero
        np.maximum(pulses, 0.0, out=pulses)
    p_all = Parameters(*np.array([astuple(row) for row in rows], dtype=np.float32).T)
    return _combine(
        config, epoch_s, p_all, z, white, levels, extra.T, gate.T, backup.T, crowd, herald.T, announced
    )


def _combine(
    config: GeneratorConfig,
    epoch_s: F64,
    p: Parameters[F32],
    z: F32,
    white: F32,
    levels: F32,
    extra: F32,
    gate: F32,
    backup: F32,
    crowd: F32,
    herald: F32,
    announced: Sequence[Surge],
) -> Demand:
    """Put the laws of a block together; every field of ``p`` is an (n,) array here."""
    tick_s = float(config.tick_s)
    ornstein_uhlenbeck(z[:, :5], np.stack([p.slow_s, p.fast_s, p.memory_s, p.disk_s, p.net_s]), tick_s)
    log_load = z[:, 0] * p.slow + z[:, 1] * p.fast + z[:, 5] * p.shared + white * p.white
    log_load -= (p.slow**2 + p.fast**2 + p.shared**2 + p.white**2) / 2.0
    weeks = ((epoch_s - epoch_s[0]) / (7.0 * DAY_S)).astype(np.float32)[:, None]
    cpu = daily_cycle(epoch_s, p.peak_hour, p.amplitude) * np.exp(log_load)
    cpu *= 1.0 + weekend(epoch_s)[:, None] * (p.weekend - 1.0)
    cpu *= np.maximum(1.0 + weeks * p.trend, 0.1) * levels * (1.0 + crowd * p.loading)
    relative = cpu * gate  # load relative to the base, which disk and network follow
    cpu = saturate(config.scale * (relative * p.base + extra), config.limit)
    memory = p.memory + p.memory_gain * np.minimum(sticky(cpu, 6 * 3600.0, tick_s), 1.0)
    memory *= np.exp(z[:, 2] * p.memory_noise)
    relative += extra / np.maximum(p.base, 0.05)
    disk = _active(z[:, 3], p.disk_noise, p.disk_from) * relative * (p.disk * config.scale)
    disk += backup * np.float32(DISK_MIB_PER_VCPU)
    net = _active(z[:, 4], p.net_noise, p.net_from) * relative * (p.net * config.scale)
    net += herald * (p.net * config.scale)
    memory = np.minimum(memory, np.float32(MEMORY_MOST), out=memory)
    return Demand(cpu, memory, disk, net, tuple(announced))


def _active(z: F32, deviation: F32, threshold: F32) -> F32:
    """Zero below the threshold, lognormal above: traffic that comes in runs, with many idle ticks."""
    return np.where(z > threshold, np.exp(z * deviation - deviation * deviation / 2.0), np.float32(0.0))


def _nightly(
    out: F32,
    rng: np.random.Generator,
    epoch_s: F64,
    tick_s: float,
    hour: float,
    length_s: float,
    height: float,
) -> None:
    """A pulse every night at about the same hour; start and length vary by some minutes."""
    origin_s = epoch_s[0] - 0.5 * tick_s
    midnight_s = math.floor(origin_s / DAY_S - 1.0) * DAY_S
    for day in range(math.ceil((epoch_s[-1] - midnight_s) / DAY_S) + 1):
        start_s = midnight_s + (day + hour / 24.0) * DAY_S - origin_s + rng.normal(0.0, 300.0)
        add_pulse(out, tick_s, start_s, length_s * rng.lognormal(0.0, 0.15), height)


def _jobs(gate: F32, rng: np.random.Generator, config: GeneratorConfig, epoch_s: F64) -> None:
    """On and off: two thirds of the batch applications have a nightly window, the others start at random.

    Random jobs come four a day with lognormal lengths (median 1 h, sigma 1).
    """
    gate[:] = 0.0
    if rng.random() < 2.0 / 3.0:
        hour, length_s = rng.normal(24.0, 2.5), float(rng.lognormal(math.log(9000.0), 0.5))
        _nightly(gate, rng, epoch_s, config.tick_s, hour, length_s, 1.0)
    else:
        for start_s in poisson_times(rng, 4.0, len(gate), config.tick_s):
            add_pulse(gate, config.tick_s, float(start_s), float(rng.lognormal(math.log(3600.0), 1.0)), 1.0)
    np.clip(gate, 0.02, 1.0, out=gate)  # an idle batch VM still runs its system


def _surges(
    out: F32, rng: np.random.Generator, config: GeneratorConfig, epoch_s: F64, surge: str
) -> list[tuple[float, float, float]]:
    """One surge a day of the height ``config.surge`` (sigma 0.25), with ramps of ``config.ramp`` around 30 to 90 min.

    ``daily``: at the application's own hour, to within three minutes. Others but ``calm``: as many at Poisson times.
    Returns start and end in s from the first tick on, and the height, of each that begins while the workload lasts.
    """
    hour, length_s = rng.uniform(0.0, 24.0), rng.uniform(1800.0, 5400.0)
    height = config.surge * float(rng.lognormal(0.0, 0.25))
    tick_s, n_ticks, ramp_s = float(config.tick_s), len(out), 60.0 * config.ramp
    at_s = np.arange(n_ticks) * tick_s + 0.5 * tick_s
    if surge == "daily":
        first_s = (math.floor(epoch_s[0] / DAY_S - 1.0) + hour / 24.0) * DAY_S - epoch_s[0]
        starts_s = first_s + np.arange(math.ceil(n_ticks * tick_s / DAY_S) + 2) * DAY_S
        starts_s += rng.normal(0.0, 180.0, len(starts_s))
    elif surge in {"random", "announced", "heralded"}:
        starts_s = poisson_times(rng, 1.0, n_ticks, tick_s)
    else:
        return []
    for start_s in starts_s:
        corners = start_s + np.array([0.0, ramp_s, ramp_s + length_s, 2.0 * ramp_s + length_s])
        out += (height * np.interp(at_s, corners, [0.0, 1.0, 1.0, 0.0])).astype(np.float32)
    end_s = 2.0 * ramp_s + length_s
    return [(float(s), float(s) + end_s, height) for s in starts_s if 0.0 <= s < n_ticks * tick_s]
