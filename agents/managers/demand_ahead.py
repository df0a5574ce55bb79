"""What the whole cluster will want: the upper edge of its demand over the next ticks, by forecast or by now."""

from __future__ import annotations

import numpy as np

from foreshade._core import ClusterState
from foreshade.envs.model.state import VmState


def wanted_now(state: ClusterState) -> float:
    """CPU that all VMs want, as estimated from usage and contention, MHz."""
    vms = state.vms
    there = (vms.state != VmState.ABSENT) & (vms.age_s < np.inf)
    return float(vms.demand[there, 0].sum())


def wanted_by(state: ClusterState, ticks: int, z: float, *, foresee: bool = True, rise: float = 0.0) -> float:
    """Most CPU wanted at any time of the next ``ticks``, z standard deviations above the middle, MHz.

    Args:
        state: whose forecasts are read; the demand of its rows is taken as independent.
        ticks: looked ahead; the horizons up to there and the next one after them count.
        z: standard deviations.
        foresee: whether forecasts are used where there are any.
        rise: share that is added to the demand of now where there is none.

    """
    now = wanted_now(state)
    moments = state.forecasts.moments
    if not foresee or moments.size == 0:
        return now * (1.0 + rise)
    horizons = state.forecasts.horizons
    last = min(int(np.searchsorted(horizons, ticks)), len(horizons) - 1)
    ahead = moments[: last + 1, :, 0, :].astype(np.float64)
    edge = ahead[:, :, 0].sum(axis=1) + z * np.sqrt(np.square(ahead[:, :, 1]).sum(axis=1))
    return max(now, float(edge.max()))
