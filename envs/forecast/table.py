"""Rolling-origin tables: every forecast of a workload, made once and shared by all that play it.

Row ``t`` is what the state shows at tick ``t``: it knows the demand of the first ``t`` ticks and nothing
later, but for the events that people announced. A table is two ``.npy`` files that are mapped into memory, moments
``(n_ticks + 1, n_horizons, n_series, 4, 2)`` and, if wanted, quantiles
``(n_ticks + 1, n_series, 4, n_horizons, 7)``, both float32: half precision ends at 65,504, which the MHz and
MiB of an application exceed. Their name is the hash of the demand and of the engine's configuration, so
another workload or another setting is another file. So is what is distorted (``Distortion``).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade.envs.errors import InputError
from foreshade.envs.forecast.announced import Announced
from foreshade.envs.forecast.cache import (
    CACHE_VARIABLE,
    LIMIT_VARIABLE,
    cache_folder,
    cache_limit_bytes,
    make_room,
    note_use,
)
from foreshade.envs.forecast.distortion import Distortion, distort
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig
from foreshade.envs.workloads.workload import Workload

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
Progress = Callable[[int, int], None]  # ticks done of ticks to do
#: Where the state's forecasts come from: nowhere, a table, or the engine run inside on what is observed.
Forecast = Literal["none", "table", "online"]
FORECASTS: tuple[Forecast, ...] = ("none", "table", "online")

_TRIES = 3  # that a table is made before it is given up
FORMAT = 4  # raise it when the engine's forecasts change for the same configuration


@dataclass(frozen=True, slots=True)
class TableFiles:
    """Where one table lies."""

    moments: Path
    quantiles: Path

    def exist(self, *, quantiles: bool) -> bool:
        """Whether it was made, with its quantiles if they are asked for."""
        return self.moments.exists() and (self.quantiles.exists() or not quantiles)


def known_forecast(said: str) -> Forecast:
    """One of ``FORECASTS`` as a person wrote it.

    Raises:
        InputError: another word.

    """
    for known in FORECASTS:
        if said == known:
            return known
    raise InputError(f"--forecast: expected {', '.join(FORECASTS)}, found {said!r}")


def row_owners(workload: Workload, n_ticks: int) -> I32:
    """The application behind each series at each tick, ``(n_ticks + 1, n_series)``; -1 = nobody's."""
    owner = np.full((n_ticks + 1, workload.n_series), -1, np.int32)
    for vm in np.argsort(workload.vms.app, kind="stable"):
        app = workload.vms.app[vm]
        life = slice(workload.vms.arrival_tick[vm], workload.vms.departure_tick[vm])
        owner[life, workload.apps.series[app]] = app
    owner[n_ticks] = owner[n_ticks - 1]  # after the last tick nobody comes or goes
    return owner


def table_files(
    workload: Workload,
    n_ticks: int,
    folder: Path,
    config: EngineConfig | None = None,
    distortion: Distortion | None = None,
) -> TableFiles:
    """Where the table of these ticks lies or will lie; the engine's threads do not count in its name."""
    config = config or EngineConfig.of_tick(workload.tick_s)
    settings = {k: v for k, v in asdict(config).items() if k != "threads"}
    shape = [n_ticks, workload.n_series]
    digest = hashlib.sha256(json.dumps([FORMAT, shape, settings], sort_keys=True).encode())
    digest.update(np.ascontiguousarray(workload.demand[:n_ticks], np.float32).tobytes())
    digest.update(row_owners(workload, n_ticks).tobytes())
    if workload.events:
        known = [workload.apps.name, workload.start_epoch_s, [asdict(event) for event in workload.events]]
        digest.update(json.dumps(known).encode())
    if distortion:
        digest.update(json.dumps(asdict(distortion), sort_keys=True).encode())
    name = digest.hexdigest()[:32]
    return TableFiles(folder / f"{name}.moments.npy", folder / f"{name}.quantiles.npy")


def precompute(
    workload: Workload,
    n_ticks: int,
    folder: Path,
    config: EngineConfig | None = None,
    *,
    quantiles: bool = True,
    on_tick: Progress | None = None,
    distortion: Distortion | None = None,
) -> TableFiles:
    """Make the table of a workload's first ticks, unless it lies there already.

    Each file appears whole or not at all, so two that make the same table do no harm. In the cache's own folder
    others make room for it.

    Raises:
        InputError: the folder cannot be written, or has no room; FORESHADE_CACHE_GIB is no number.

    """
    config = config or EngineConfig.of_tick(workload.tick_s)
    files = table_files(workload, n_ticks, folder, config, distortion)
    if files.exist(quantiles=quantiles):
        note_use([files.moments, files.quantiles])
        return files
    limit_bytes = cache_limit_bytes() if folder == cache_folder() else math.inf
    n_series, n_horizons = workload.n_series, len(config.horizons)
    owner = row_owners(workload, n_ticks)
    forecaster = _core.DemandForecaster(config.native, n_series)
    announced = Announced(
        workload.events, workload.apps.name, workload.apps.series, workload.start_epoch_s, workload.tick_s
    )
    factors = distortion.factors(n_ticks, n_series) if distortion else None
    wanted = (files.moments, files.quantiles) if quantiles else (files.moments,)
    parts = {path: path.with_name(f".{path.stem}.{os.getpid()}.npy") for path in wanted}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        make_room(folder, table_bytes(workload, n_ticks, quantiles=quantiles), limit_bytes)
        moments = _file(parts[files.moments], (n_ticks + 1, n_horizons, n_series, 4, 2))
        rows: F32 | None = None
        if quantiles:
            rows = _file(parts[files.quantiles], (n_ticks + 1, n_series, 4, n_horizons, len(LEVELS)))
        forecaster.own(owner[0])
        for t in range(n_ticks):
            forecaster.observe(announced.calm(workload.demand[t], t))
            forecaster.own(owner[t + 1])  # who has come is known before what they want
            forecaster.predict(moments[t + 1], None if rows is None else rows[t + 1])
            announced.show(moments[t + 1], None if rows is None else rows[t + 1], t + 1, config.horizons)
            if factors is not None:
                distort(moments[t + 1], None if rows is None else rows[t + 1], factors[t + 1])
            if on_tick is not None:
                on_tick(t + 1, n_ticks)
        del moments, rows  # written and closed
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        raise InputError(
            f"forecast table: expected a folder that can be written, {folder}: {error}; name another in "
            f"{CACHE_VARIABLE}, or go without (--forecast none)"
        ) from error
    finally:
        for part in parts.values():
            if part.exists():
                part.unlink()
    return files


def _file(path: Path, shape: tuple[int, ...]) -> F32:
    """A new file of zeros, mapped; a disk without room is told now and not by a bus error later."""
    mapped: F32 = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return mapped


def table_bytes(workload: Workload, n_ticks: int, *, quantiles: bool = True) -> int:
    """What a table takes on disk."""
    n_horizons = len(EngineConfig.of_tick(workload.tick_s).horizons)
    return (n_ticks + 1) * workload.n_series * 4 * n_horizons * (2 + (len(LEVELS) if quantiles else 0)) * 4


def open_table(files: TableFiles, config: EngineConfig, *, quantiles: bool = True) -> _core.ForecastTable:
    """The table as the native plant takes it, mapped read-only."""
    rows: F32 | None = np.load(files.quantiles, mmap_mode="r") if quantiles else None
    moments: F32 = np.load(files.moments, mmap_mode="r")
    return _core.ForecastTable(moments, rows, config.horizons, LEVELS)


def opened(files: TableFiles, config: EngineConfig, make: Callable[[], object]) -> _core.ForecastTable:
    """The table, made where it does not lie; again where another process deleted it before it was open.

    Raises:
        InputError: it is deleted as often as it is made.

    """
    for _ in range(1 + _TRIES):
        try:
            table = open_table(files, config)
        except FileNotFoundError:
            make()
        else:
            note_use([files.moments, files.quantiles])
            return table
    raise InputError(
        f"forecast table: expected to find {files.moments} after it was made, but others delete it: raise "
        f"{LIMIT_VARIABLE}, or go without (--forecast none)"
    )


def workload_table(
    workload: Workload, n_ticks: int, folder: Path | None = None, distortion: Distortion | None = None
) -> _core.ForecastTable:
    """The table of a workload's first ticks, made first where it does not lie in the folder.

    Args:
        workload: what is played; horizons follow its tick.
        n_ticks: how much of it.
        folder: of tables; None = ``cache_folder()``.
        distortion: what makes its forecasts worse, in a table of their own; None = nothing.

    Raises:
        InputError: as ``precompute`` and ``opened``.

    """
    config = EngineConfig.of_tick(workload.tick_s)
    below = folder or cache_folder()
    files = table_files(workload, n_ticks, below, config, distortion)
    return opened(files, config, lambda: precompute(workload, n_ticks, below, config, distortion=distortion))


def forecast_source(
    kind: Forecast, workload: Workload, n_ticks: int, folder: Path | None = None
) -> _core.ForecastTable | _core.EngineConfig | None:
    """What a plant takes its forecasts from; a table that does not lie in the folder is made there first.

    Args:
        kind: none, table or online.
        workload: what is played; horizons follow its tick.
        n_ticks: how much of it.
        folder: of tables; None = ``cache_folder()``.

    """
    if kind == "none":
        return None
    if kind == "online":
        return EngineConfig.of_tick(workload.tick_s).native
    return workload_table(workload, n_ticks, folder)
