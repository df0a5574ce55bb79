"""``foreshade bench step``: full simulator ticks per second.

Every environment plays the same shared demand table from its own start tick: demand of CPU, memory, disk
and network of every VM, caps, contention, power, late demand and accounting. VMs have flavours of 1 to 8
vCPUs; their utilisation is lognormal around 12 % with an AR(1) noise and, as in an imported trace, never
above what is provisioned. Nothing migrates. What the state costs, forecasts included, is measured apart:
``observe_us``, once for each environment and tick.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade.envs import catalogue
from foreshade.envs.data_centre import hypervisor_profile, server_model
from foreshade.envs.errors import InputError
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig, NativeForecaster
from foreshade.envs.forecast.table import Forecast, known_forecast
from foreshade.envs.scenarios.prices import Prices

F32 = npt.NDArray[np.float32]

TICKS = 288
TRIAD_DOUBLES = 8 << 20  # 64 MiB an array: beyond any cache
LOOKS = 5  # ticks over which observing is measured
MOST_ENGINE_BYTES = 8e9


def bench_plant(
    hosts: int,
    vms: int,
    gpu_share: float,
    allowed: Sequence[int] = (0,),
    seed: int = 0,
    forecast: Forecast = "none",
) -> tuple[_core.Plant, _core.DataCentre]:
    """A fleet of one model under the workload described above, with the kinds of action allowed.

    The table holds the demand of the tick before as every mean: its time does not depend on its numbers.
    """
    rng = np.random.default_rng(seed)
    vcpus = rng.choice(np.array([1, 2, 4, 8], np.float32), vms, p=[0.35, 0.35, 0.2, 0.1])
    flavour = np.zeros((vms, 5), np.float32)
    flavour[:, :4] = vcpus[:, None] * np.array([2500.0, 4096.0, 50.0, 500.0], np.float32)
    with_gpu = rng.random(vms) < gpu_share
    flavour[with_gpu, 4] = 1.0
    level = np.exp(rng.normal(np.log(0.12), 0.6, (vms, 4)))
    noise = np.zeros((TICKS, vms, 4), np.float32)
    noise[0] = rng.normal(0.0, 1.0, (vms, 4))
    for k in range(1, TICKS):
        noise[k] = 0.7 * noise[k - 1] + np.sqrt(1 - 0.7**2) * rng.normal(0.0, 1.0, (vms, 4))
    demand = np.minimum(level * np.exp(0.4 * noise), 1.0).astype(np.float32) * flavour[:, :4]
    gpu = rng.random((TICKS, int(with_gpu.sum())), np.float32)

    # A server that holds its share of the VMs by allocation, whatever the ratio asked for.
    share = max(1.0, 1.3 * vms / hosts * float(vcpus.mean()) / 4.0)
    base = catalogue.server("hpe-dl345-gen10plus")
    scale = max(1.0, share / base.cores * 2500.0 / base.mhz)
    spec = _core.DataCentre()
    model = server_model(base, "bench", power_managed=True)
    room = float(flavour[:, 1].sum()) / hosts * 1.3
    model.capacity = [
        base.cpu_mhz * scale,
        max(base.memory_mib, room),
        base.disk_mib_s * max(1.0, scale),
        base.network_mbit * max(1.0, scale),
        float(np.ceil(1.5 * with_gpu.sum() / hosts)),
    ]
    spec.models = [model]
    spec.profiles = [hypervisor_profile(catalogue.hypervisor("kvm"), "kvm")]
    rack = _core.Rack()
    rack.overhead_w, rack.uplink_mbit_s = 200.0, 40_000.0
    spec.racks = [rack]
    host = _core.Host()
    host.overcommit = [8.0, 1.2, 8.0, 8.0, 1.0]
    spec.hosts = [host] * hosts
    prices = _core.Prices()
    prices.electricity_usd_kwh = [0.12] * TICKS
    prices.carbon_g_kwh = [400.0] * TICKS
    prices.pue = 1.5
    prices.unmet_usd_h = [0.08, 0.02, 0.03, 0.1, 5.0]
    paid = Prices()
    prices.late_usd_ghz_h, prices.downtime_usd_h = paid.late_usd_per_ghz_h, paid.downtime_usd_per_h
    prices.migration_usd, prices.boot_usd = paid.migration_usd, paid.boot_usd
    spec.prices = prices
    index = np.arange(vms, dtype=np.int32)
    plant = _core.Plant(
        spec,
        np.ascontiguousarray(demand),
        np.ascontiguousarray(gpu),
        np.flatnonzero(with_gpu).astype(np.int32),
        index,
        np.ones(vms, np.int32),
        np.full(vms, 0.3, np.float32),
        np.zeros(vms, np.float32),
        index,
        flavour,
        np.zeros(vms, np.int32),
        np.full(vms, TICKS, np.int32),
        np.ones(vms, np.float32),
        list(allowed),
        _source(forecast, demand),
    )
    return plant, spec


def _source(kind: Forecast, demand: F32) -> _core.ForecastTable | _core.EngineConfig | None:
    config = EngineConfig()
    if kind == "none":
        return None
    if kind == "online":
        return config.native
    n_ticks, n_series, _ = demand.shape
    moments = np.zeros((n_ticks + 1, len(config.horizons), n_series, 4, 2), np.float32)
    moments[1:, :, :, :, 0] = demand[:, None]
    return _core.ForecastTable(moments, None, config.horizons, LEVELS)


def measure(
    hosts: int, vms: int, envs: int, threads: int, gpu_share: float, seconds: float, forecast: str = "none"
) -> dict[str, float | str]:
    """Ticks of one environment per second of CPU time (wall time with several threads), best of five rounds.

    Resets fall outside the clock. The triad is run in the same process, right before and after.

    Raises:
        InputError: an unknown forecast, or engines that need more than ``MOST_ENGINE_BYTES``.

    """
    kind = known_forecast(forecast)
    needed = 4 * vms * envs * NativeForecaster(1).bytes_per_series
    if kind == "online" and needed > MOST_ENGINE_BYTES:
        raise InputError(
            f"bench step: {envs} environments of {vms} VMs with an engine in each need {needed / 1e9:.1f} GB,"
            f" expected at most {MOST_ENGINE_BYTES / 1e9:.0f}: lower --envs or --vms"
        )
    batch = _core.Batch(bench_plant(hosts, vms, gpu_share, forecast=kind)[0], envs, 0, threads)
    for env in range(envs):
        batch.start_at(env, env * 131 % (TICKS // 2))
    batch.advance(1)  # places the VMs
    unplaced = sum(batch.env(i).schedule() for i in range(min(envs, 4)))
    clock = time.perf_counter if threads > 1 else time.process_time
    triad = _core.triad_bytes_per_s(TRIAD_DOUBLES)
    left = TICKS // 2 - 2 - LOOKS
    rounds: list[float] = []
    spent = 0.0
    ticks = 1
    while left > 0 and (spent < seconds or len(rounds) < 5):
        ticks = min(ticks, left)
        begin = clock()
        batch.advance(ticks)
        took = clock() - begin
        spent += took
        left -= ticks
        rounds.append(took / ticks)
        if took < seconds / 20:
            ticks *= 2
    triad = max(triad, _core.triad_bytes_per_s(TRIAD_DOUBLES))
    state = _core.ClusterState()
    batch.env(0).prepare(state)
    looks = []
    for _ in range(LOOKS):
        batch.advance(1)
        begin = time.process_time()
        for env in range(envs):
            batch.env(env).observe(state)
        looks.append((time.process_time() - begin) / envs)
    best = envs / min(rounds)
    moved = float(batch.bytes_per_tick)
    return {
        "hosts": hosts,
        "vms": vms,
        "envs": envs,
        "threads": threads,
        "gpu_share": gpu_share,
        "env_steps_per_s": best,
        "median_env_steps_per_s": envs / float(np.median(rounds)),
        "triad_gb_per_s": triad / 1e9,
        "bytes_per_step": moved,
        "share_of_triad": best * moved / triad,
        "memory_per_env_mb": batch.memory_bytes / envs / 1e6,
        "unplaced_vms": unplaced,
        "forecast": kind,
        "observe_us": 1e6 * float(np.median(looks)),
    }
