"""Rolling-origin tables: every forecast of a workload, made once by the online engine and read from disk.

Row ``t`` holds what the engine says after it has seen step ``t`` and nothing later. A table is a ``.npy``
file ``(n_steps, n_series, n_horizons, 7) float16`` mapped into memory; its name is the hash of the series'
content and of the engine's configuration, so another workload or another setting is another file.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import ForecastError
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig, NativeForecaster

F32 = npt.NDArray[np.float32]
F16 = npt.NDArray[np.float16]
FORMAT = 2  # raise it when the engine's forecasts change for the same configuration


def key_of(values: F32, config: EngineConfig) -> str:
    """Name of the table of these series under this configuration; threads change nothing and do not count."""
    settings = {k: v for k, v in asdict(config).items() if k != "threads"}
    digest = hashlib.sha256(json.dumps([FORMAT, values.shape, settings], sort_keys=True).encode())
    digest.update(np.ascontiguousarray(values, np.float32).tobytes())
    return digest.hexdigest()[:32]


def precompute(values: F32, folder: Path, config: EngineConfig | None = None) -> Path:
    """Make the table of ``(n_steps, n_series)`` samples, NaN = missing, unless it lies there already.

    Numbers beyond float16 are held at its bounds. The file appears whole or not at all, so two that make the
    same table do no harm.

    Raises:
        ForecastError: another shape.

    """
    config = config or EngineConfig()
    if values.ndim != 2 or 0 in values.shape:
        raise ForecastError(f"forecast table: expected samples (n_steps, n_series), got shape {values.shape}")
    path = folder / f"{key_of(values, config)}.npy"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    n_steps, n_series = values.shape
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    shape = (n_steps, n_series, len(config.horizons), len(LEVELS))
    try:
        table = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        forecaster = NativeForecaster(n_series, config)
        bound = float(np.finfo(np.float16).max)
        for t in range(n_steps):
            forecaster.observe(values[t])
            table[t] = np.minimum(forecaster.predict(), bound)
        table.flush()
        del table
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def open_table(path: Path) -> F16:
    """The table, mapped read-only: ``(n_steps, n_series, n_horizons, 7)``."""
    table: F16 = np.load(path, mmap_mode="r")
    return table
