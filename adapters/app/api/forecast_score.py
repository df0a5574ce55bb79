"""How good the forecasts of this controller were: pinball loss and coverage, measured as their time comes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from foreshade.envs.model.state import VmState
from foreshade.envs.snapshot import Snapshot

F64 = npt.NDArray[np.float64]
RESOURCES = ("cpu", "memory")
LEVELS = (0.1, 0.5, 0.9)
_Z = tuple(NormalDist().inv_cdf(level) for level in LEVELS)
#: Longest horizon that is scored; a day ahead would keep a day of forecasts of every VM in memory.
MOST_TICKS = 12


@dataclass(frozen=True, slots=True)
class Score:
    """One resource at one horizon, over all VMs that had a forecast."""

    resource: str
    horizon_s: float
    pinball: float  # mean over VMs and levels, as a share of the mean demand
    coverage: float  # share of demands within the 80 % interval
    vms: int


@dataclass(frozen=True, slots=True)
class _Made:
    due: int  # tick
    horizon_s: float
    birth: npt.NDArray[np.uint32]
    quantiles: F64  # (n_vms, 2, 3); NaN = no forecast


class ForecastScore:
    """Remembers what was forecast, and scores it when its tick is there."""

    def __init__(self) -> None:
        self._made: deque[_Made] = deque()

    def observe(self, snapshot: Snapshot) -> list[Score]:
        """Score what was forecast for this tick, and remember what is forecast now."""
        scores = []
        waiting: deque[_Made] = deque()
        for made in self._made:
            if made.due > snapshot.tick:
                waiting.append(made)
            elif made.due == snapshot.tick:
                scores.extend(_score(made, snapshot))
        self._made = waiting
        self._made.extend(_forecasts(snapshot))
        return scores


def _forecasts(snapshot: Snapshot) -> list[_Made]:
    columns = snapshot.forecasts
    if not columns["moments"].size:
        return []
    series = columns["series"].astype(np.int64)
    rows = np.maximum(series, 0)
    made = []
    for h, ticks in enumerate(columns["horizons"].tolist()):
        if ticks > MOST_TICKS:
            continue
        quantiles = np.empty((len(series), len(RESOURCES), len(LEVELS)))
        for r in range(len(RESOURCES)):
            share = columns["memory_share" if r else "share"].astype(np.float64)
            mean = columns["moments"][h, rows, r, 0] * share
            deviation = columns["moments"][h, rows, r, 1] * share
            for k, z in enumerate(_Z):
                quantiles[:, r, k] = np.maximum(mean + z * deviation, 0.0)
        quantiles[series < 0] = np.nan
        kept = _kept(snapshot, h, rows)
        if kept is not None:
            quantiles = np.where(np.isnan(quantiles), quantiles, kept)
        made.append(
            _Made(snapshot.tick + ticks, ticks * snapshot.site.tick_s, snapshot.vms["birth"], quantiles)
        )
    return made


def _kept(snapshot: Snapshot, h: int, rows: npt.NDArray[np.int64]) -> F64 | None:
    """Quantiles as the engine gives them, where the state keeps them."""
    columns = snapshot.forecasts
    if not len(columns["quantiles"]):
        return None
    levels = np.round(columns["levels"].astype(np.float64), 4).tolist()
    if any(level not in levels for level in LEVELS):
        return None
    where = [levels.index(level) for level in LEVELS]
    kept = np.empty((len(rows), len(RESOURCES), len(LEVELS)))
    for r in range(len(RESOURCES)):
        share = columns["memory_share" if r else "share"].astype(np.float64)
        kept[:, r] = columns["quantiles"][rows, r, h][:, where] * share[:, None]
    return kept


def _score(made: _Made, snapshot: Snapshot) -> list[Score]:
    vms = snapshot.vms
    n = min(len(made.birth), len(vms["birth"]))
    same = (made.birth[:n] == vms["birth"][:n]) & (vms["state"][:n] == int(VmState.RUNNING))
    scores = []
    for r, resource in enumerate(RESOURCES):
        quantiles = made.quantiles[:n, r]
        there = same & ~np.isnan(quantiles[:, 0])
        if not there.any():
            continue
        actual = vms["demand"][:n, r][there].astype(np.float64)
        said = quantiles[there]
        error = actual[:, None] - said
        levels = np.asarray(LEVELS)
        pinball = np.maximum(levels * error, (levels - 1.0) * error).mean()
        inside = (actual >= said[:, 0]) & (actual <= said[:, -1])
        mean = actual.mean()
        scores.append(
            Score(
                resource,
                made.horizon_s,
                float(pinball / mean) if mean > 0 else 0.0,
                float(inside.mean()),
                len(actual),
            )
        )
    return scores
