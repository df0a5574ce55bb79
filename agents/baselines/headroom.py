"""Room that is kept free: for the VMs that come, and for those of a host that fails."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.agents.agent import F32, Site
from foreshade.envs.model.state import HostState, Resource, VmState

#: Arrivals are remembered for so long: a morning's rush is seen while it lasts.
REMEMBERED_H = 4.0
#: Ticks between two looks at what came.
LOOK_EVERY = 12
#: Share of the arrivals that the sample is at least as large as, each resource by itself.
LARGE = 0.9


@dataclass(frozen=True, slots=True)
class FreeRoom:
    """What must find a place at once."""

    sample: list[float]  # a large arrival: MHz, MiB, MiB/s, Mbit/s, GPUs
    count: int  # how many such
    failover_mib: float  # memory of the fullest host, 0 where failures cost less than keeping it free


class Headroom:
    """Learns what comes from what came; what a failure costs is handed in."""

    def __init__(self, site: Site, arrivals: float, failover: float) -> None:
        self._arrivals = arrivals  # times the most that came in one tick
        self._failover = failover  # times the memory of the fullest host
        self._came: deque[F32] = deque(maxlen=max(1, round(REMEMBERED_H * 3600.0 / site.tick_s)))
        self._known: npt.NDArray[np.bool_] | None = None
        self._looked, self._count, self._sample = 0, 0, [0.0] * 5

    def needed(self, state: ClusterState, outage_usd: F32, on_usd_h: F32) -> FreeRoom:
        """What to keep free from now on.

        Args:
            state: as seen now.
            outage_usd: (n_hosts,) what the failure of each host would cost if nothing had room for its VMs.
            on_usd_h: (n_hosts,) what keeping it on costs.

        """
        there = state.vms.state != VmState.ABSENT
        if self._known is not None:
            self._came.append(state.vms.allocation[there & ~self._known].copy())
        self._known = there
        if self._looked % LOOK_EVERY == 0:
            self._look()
        self._looked += 1
        return FreeRoom(self._sample, self._count, self._failover_mib(state, outage_usd, on_usd_h))

    def _look(self) -> None:
        most = max((len(rows) for rows in self._came), default=0)
        self._count = math.ceil(self._arrivals * most)
        if most > 0:
            rows = np.sort(np.concatenate(list(self._came)), axis=0)
            large = rows[int(LARGE * len(rows))]
            large[Resource.GPU] = 0.0  # GPUs are too few to be kept free
            self._sample = [float(x) for x in large]

    def _failover_mib(self, state: ClusterState, outage_usd: F32, on_usd_h: F32) -> float:
        hosts = state.hosts
        standing = (hosts.state == HostState.ON) & (hosts.n_vms > 0)
        if self._failover <= 0.0 or not bool(standing.any()):
            return 0.0
        expected_usd_h = float((hosts.hazard_per_h * outage_usd)[standing].sum())
        if expected_usd_h < float(on_usd_h[standing].mean()):
            return 0.0
        return self._failover * float(hosts.allocated[standing, Resource.MEMORY].max())
