"""The workload generator: a cluster's demand from a name and a seed, without any file.

``generate("enterprise", vms="400", days="7", seed="3")`` is what the spec
``generated:enterprise?vms=400&days=7&seed=3`` stands for. The model and how near it comes to public traces
are in ``docs/generator.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from foreshade.envs.forecast.event import ScheduledEvent
from foreshade.envs.workloads.generator_catalogue import SHORT
from foreshade.envs.workloads.generator_config import PRESETS, GeneratorConfig, configure
from foreshade.envs.workloads.generator_laws import F32, ornstein_uhlenbeck
from foreshade.envs.workloads.generator_load import Group, Surge, load
from foreshade.envs.workloads.generator_population import (
    Application,
    ShortVms,
    applications,
    short_vms,
    stream,
)
from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ
from foreshade.envs.workloads.workload import Workload, WorkloadApps, WorkloadVms

__all__ = ["PRESETS", "GeneratorConfig", "build", "generate"]

#: Applications worked on at once: enough to amortise the loop over ticks, few enough to stay in the cache.
_BLOCK = 256


def generate(name: str, /, **options: str) -> Workload:
    """The generated workload ``name`` with options as text; raises ``WorkloadError`` with what is known."""
    asked = "&".join(f"{key}={value}" for key, value in sorted(options.items()))
    return build(configure(name, options), name, f"generated:{name}" + (f"?{asked}" if asked else ""))


def build(config: GeneratorConfig, name: str = "generated", source: str = "generated") -> Workload:
    """The workload that ``config`` describes: the same configuration gives the same bytes."""
    apps = list(applications(config))
    short = short_vms(config)
    n_apps, n_series = len(apps), len(apps) + short.n_columns
    demand = np.zeros((config.n_ticks, n_series, 4), dtype=np.float32)
    groups = Group.draw(config, apps[-1].slot // config.group + 1)
    events: list[ScheduledEvent] = []
    for start in range(0, n_apps, _BLOCK):
        stop = min(start + _BLOCK, n_apps)
        surges = _fill_applications(config, apps[start:stop], groups, demand[:, start:stop])
        events.extend(_announced(config, apps[start + surge.column], surge) for surge in surges)
    for start in range(0, short.n_columns, _BLOCK):
        stop = min(start + _BLOCK, short.n_columns)
        _fill_short(config, short, start, demand[:, n_apps + start : n_apps + stop])
    users = [row for row, app in enumerate(apps) if app.flavour[4] > 0.0]
    return Workload(
        name=name,
        source=source,
        start_epoch_s=config.start_epoch_s,
        tick_s=config.tick_s,
        demand=demand,
        gpu=_gpu(config, [apps[row] for row in users]),
        gpu_series=np.array(users, dtype=np.int32),
        vms=_vm_rows(apps, short),
        apps=_app_rows(apps, short),
        notes=("generated: no measured data",),
        events=tuple(events),
    )


def _announced(config: GeneratorConfig, app: Application, surge: Surge) -> ScheduledEvent:
    """What people say of a surge before: the quarter-hours around it, and its height give or take a fifth."""
    rng = stream(config.seed, 0, app.slot, app.generation, 5, int(surge.start_s))
    factor = max(surge.factor * float(rng.lognormal(0.0, 0.2)), 1.5)
    first, last = math.floor(surge.start_s / 900.0), math.ceil(surge.end_s / 900.0)
    start_s, end_s = (config.start_epoch_s + 900.0 * quarter for quarter in (first, last))
    return ScheduledEvent(start_s, end_s, factor, factor / 1.5, factor * 1.5, (app.name,))


def _fill_applications(
    config: GeneratorConfig, apps: Sequence[Application], groups: Sequence[Group], out: F32
) -> tuple[Surge, ...]:
    """Write one block's demand into its columns (n_ticks, n, 4), zero outside each application's life.

    Returns the surges of the block that are announced.
    """
    wanted = load(
        config,
        [app.kind for app in apps],
        [(0, app.slot, app.generation, 1) for app in apps],
        [groups[app.slot // config.group] for app in apps],
        [app.surge for app in apps],
    )
    provided = np.array([[app.members * amount for amount in app.flavour] for app in apps], dtype=np.float32)
    vcpus = provided[:, 0] / np.float32(REFERENCE_CORE_MHZ)
    out[:, :, 0] = wanted.cpu * provided[:, 0]
    out[:, :, 1] = wanted.memory * provided[:, 1]
    out[:, :, 2] = np.minimum(wanted.disk * vcpus, config.limit * provided[:, 2])
    out[:, :, 3] = np.minimum(wanted.net * vcpus, config.limit * provided[:, 3])
    for column, app in enumerate(apps):
        out[: app.arrival_tick, column] = 0.0
        out[app.departure_tick :, column] = 0.0
    return wanted.surges


def _fill_short(config: GeneratorConfig, short: ShortVms, start: int, out: F32) -> None:
    """Write the short-lived VMs of a block of columns; each VM scales its column's pattern while it lives."""
    n = out.shape[1]
    wanted = load(config, [SHORT] * n, [(3, start + i) for i in range(n)], [None] * n, [""] * n)
    rows = np.flatnonzero((short.column >= start) & (short.column < start + n))
    for row in rows.tolist():
        life = slice(int(short.arrival_tick[row]), int(short.departure_tick[row]))
        column = int(short.column[row]) - start
        provided, level = short.flavour[row], short.level[row]
        vcpus = provided[0] / np.float32(REFERENCE_CORE_MHZ)
        cell = out[life, column]
        cell[:, 0] = np.minimum(wanted.cpu[life, column] * level, config.limit) * provided[0]
        cell[:, 1] = wanted.memory[life, column] * provided[1]
        cell[:, 2] = np.minimum(wanted.disk[life, column] * level * vcpus, config.limit * provided[2])
        cell[:, 3] = np.minimum(wanted.net[life, column] * level * vcpus, config.limit * provided[3])


def _gpu(config: GeneratorConfig, apps: Sequence[Application]) -> F32:
    """GPUs wanted, (n_ticks, n): idle about half the time, lognormal when busy, in runs, partly in common.

    Fitted to the Alibaba GPU pods averaged over 300 s: 47 % zeros, busy median 0.11, autocorrelation 0.67 at
    5 min and 0.5 at 1 h, correlation between pods 0.55.
    """
    out = np.zeros((config.n_ticks, len(apps)), dtype=np.float32)
    constants = np.array([3.0 * 3600.0, 200.0], dtype=np.float32)
    common = stream(config.seed, 4).standard_normal((config.n_ticks, 1), dtype=np.float32)
    ornstein_uhlenbeck(common, np.array([4.0 * 3600.0], dtype=np.float32), config.tick_s)
    for column, app in enumerate(apps):
        rng = stream(config.seed, 0, app.slot, app.generation, 3)
        z = rng.standard_normal((config.n_ticks, 2), dtype=np.float32)
        ornstein_uhlenbeck(z, constants, config.tick_s)
        mixed = math.sqrt(0.6) * common[:, 0] + math.sqrt(0.1) * z[:, 0] + math.sqrt(0.3) * z[:, 1]
        mixed *= min(config.noise, 1.0)
        threshold = rng.normal(-0.07, 0.15) if config.noise > 0.0 else -1.0
        median = config.scale * 0.08 * float(rng.lognormal(0.0, 0.3))
        # Busier the further above the threshold, where the median of the half-normal is 0.67.
        busy = median * np.exp(0.7 * (mixed - threshold - 0.67))
        want = np.where(mixed > threshold, np.minimum(busy, 1.0), 0.0)
        out[:, column] = want * app.members * app.flavour[4]
        out[: app.arrival_tick, column] = 0.0
        out[app.departure_tick :, column] = 0.0
    return out


def _vm_rows(apps: Sequence[Application], short: ShortVms) -> WorkloadVms:
    """One row per VM: the applications' members in order, then the short-lived VMs by arrival."""
    members = np.array([app.members for app in apps])
    names = [f"{app.name}-{member}" for app in apps for member in range(app.members)]
    n_short = len(short.column)
    names += [f"{SHORT.name}-{row:06d}" for row in range(n_short)]
    flavours = np.repeat(np.array([app.flavour for app in apps], dtype=np.float32), members, axis=0)
    credit = np.repeat(np.array([app.kind.credit for app in apps]), members)
    arrival = np.repeat(np.array([app.arrival_tick for app in apps]), members)
    departure = np.repeat(np.array([app.departure_tick for app in apps]), members)
    return WorkloadVms(
        name=tuple(names),
        app=np.concatenate([np.repeat(np.arange(len(apps)), members), len(apps) + np.arange(n_short)]).astype(
            np.int32
        ),
        flavour=np.concatenate([flavours, short.flavour]),
        arrival_tick=np.concatenate([arrival, short.arrival_tick]).astype(np.int32),
        departure_tick=np.concatenate([departure, short.departure_tick]).astype(np.int32),
        credit=np.concatenate([credit, np.full(n_short, SHORT.credit)]).astype(np.float32),
    )


def _app_rows(apps: Sequence[Application], short: ShortVms) -> WorkloadApps:
    """One row per application; a short-lived VM is an application of one member."""
    n_short = len(short.column)
    names = [app.name for app in apps] + [f"{SHORT.name}-{row:06d}" for row in range(n_short)]
    kinds = [app.kind for app in apps] + [SHORT] * n_short
    return WorkloadApps(
        name=tuple(names),
        series=np.concatenate([np.arange(len(apps)), len(apps) + short.column]).astype(np.int32),
        members=np.array([app.members for app in apps] + [1] * n_short, dtype=np.int32),
        memory_floor=np.array([kind.memory_floor for kind in kinds], dtype=np.float32),
        offloadable=np.array([kind.offloadable for kind in kinds], dtype=np.float32),
        kind=tuple(kind.name for kind in kinds),
    )
