"""Where one VM more finds room, and what that room costs: the price that every component's offer carries."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.model.action import Action, ActionKind, Allocation, PowerTarget, five, power, power_rack
from foreshade.envs.model.state import HostState, Resource
from foreshade.envs.site import Site

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

HAZARDOUS = 0.1  # failures an hour from which a host is likely to fail soon
_UNLIMITED = 1e3  # overcommit from which a limit is none
_COMING = (HostState.BOOTING, HostState.WAKING, HostState.RENTING)
_ASLEEP = (HostState.OFF, HostState.ASLEEP)


@dataclass(frozen=True, slots=True)
class Place:
    """A host for a VM of some allocation."""

    host: int
    usd_h: (
        float  # of its share of the host's idle power, or of all of it (and a dark rack's) where it is woken
    )
    ready_s: float = 0.0  # until the host is up; 0 = it is
    wake: tuple[Action, ...] = ()  # what brings it up; empty = it is up
    wake_usd: float = 0.0  # of the boot


class Room:
    """The room of a site, looked at once a tick; what is offered within a tick is taken from it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        prices = site.economy
        self._usd_kwh = (prices.electricity_usd_kwh + prices.carbon_usd_kwh) * prices.pue
        self._rented = site.rented
        self._wakes = ActionKind.POWER in site.capabilities
        self._overhead = site.vm_overhead
        self._wake_s = np.zeros(len(site.off_w), np.float32) if site.wake_s is None else site.wake_s

    def look(self, state: ClusterState) -> None:
        """A tick begins."""
        hosts = state.hosts
        self._limit: F32 = hosts.capacity * np.minimum(hosts.overcommit, _UNLIMITED)
        self._free: F32 = self._limit - hosts.allocated
        self._state = np.array(hosts.state)
        self._idle_w = np.array(hosts.idle_w)
        self._boot_s = np.array(hosts.boot_s)
        self._peak_w = np.array(hosts.peak_w)
        self._rack = np.array(hosts.rack)
        self._hazard = np.array(hosts.hazard_per_h)
        self.usd_kwh = float(self._usd_kwh[min(state.tick, len(self._usd_kwh) - 1)])

    def usd_h(self, host: int, allocation: Allocation) -> float:
        """What an allocation costs an hour where it stands: its share of the host's idle power."""
        asked = np.asarray(allocation[: Resource.GPU], np.float32)
        share = float((asked / np.maximum(self._limit[host, : Resource.GPU], 1.0))[:2].max())
        return share * float(self._idle_w[host]) * 1e-3 * self.usd_kwh

    def coming(self, allocation: Allocation) -> bool:
        """Whether a host that comes up would hold it."""
        up = np.isin(self._state, _COMING) & self._holds(allocation)
        return bool(up.any())

    def find(
        self,
        allocation: Allocation,
        apart: Collection[int] = (),
        avoid: Collection[int] = (),
        *,
        wake: bool = False,
    ) -> Place | None:
        """The fullest host that is up and holds it; None where there is none.

        Args:
            allocation: of the VM.
            apart: hosts that it may not stand on.
            avoid: hosts that it stands on only where there is no other.
            wake: whether a host of our own may be woken for it, where none that is up holds it.

        """
        holds = self._holds(allocation)
        holds[list(apart)] = False
        up = holds & (self._state == HostState.ON) & ~self._shunned()
        liked = up.copy()
        liked[list(avoid)] = False
        for found in (liked, up):
            if found.any():
                left = (self._free / np.maximum(self._limit, 1.0))[:, :2].min(axis=1)
                host = int(np.flatnonzero(found)[np.argmin(left[found])])
                return Place(host, self.usd_h(host, allocation))
        if not wake or not self._wakes:
            return None
        sleeps = holds & np.isin(self._state, _ASLEEP) & ~self._rented
        if not sleeps.any():
            return None
        ready = np.where(self._state == HostState.ASLEEP, self._wake_s, self._boot_s)
        racks_up = self._rack[~np.isin(self._state, _ASLEEP)]
        order = np.lexsort((self._idle_w, ready, ~np.isin(self._rack, racks_up)))  # dark racks last
        host = int(next(h for h in order if sleeps[h]))
        cold = self._state[host] == HostState.OFF
        prices = self._site.economy
        boot_usd = prices.boot_usd + float(self._peak_w[host] * self._boot_s[host]) / 3.6e6 * self.usd_kwh
        rack = int(self._rack[host])
        dark = bool(np.isin(self._state[self._rack == rack], _ASLEEP).all())
        lights = (power_rack(rack, PowerTarget.ON),) if dark else ()
        watts = float(self._idle_w[host]) + (self._rack_w(rack) if dark else 0.0)
        return Place(
            host,
            watts * 1e-3 * self.usd_kwh,
            float(ready[host]),
            (*lights, power(host, PowerTarget.ON)),
            boot_usd if cold else 0.0,
        )

    def _rack_w(self, rack: int) -> float:
        """What a rack draws by itself once it is on."""
        said = self._site.rack_w
        return float(said[rack]) if said is not None and rack < len(said) else 0.0

    def take(self, host: int, allocation: Allocation) -> None:
        """What was offered there is no room for the next offer of the tick."""
        self._free[host] -= np.asarray(allocation, np.float32)
        self._free[host, Resource.MEMORY] -= self._overhead[host, Resource.MEMORY]
        if self._state[host] in _ASLEEP:
            self._state[host] = HostState.BOOTING

    def change(self, host: int, now: Allocation, then: Allocation) -> None:
        """A VM that stands there was offered another allocation."""
        self._free[host] += np.asarray(now, np.float32) - np.asarray(then, np.float32)

    def grows(self, host: int, now: Allocation, then: Allocation) -> bool:
        """Whether a VM that stands there may become so large."""
        more = np.maximum(np.asarray(then, np.float32) - np.asarray(now, np.float32), 0.0)
        return bool((more <= np.maximum(self._free[host], 0.0)).all())

    def ever(self, allocation: Allocation) -> bool:
        """Whether some host would hold it if it were empty."""
        asked = np.tile(np.asarray(allocation, np.float32), (len(self._limit), 1))
        asked[:, Resource.MEMORY] += self._overhead[:, Resource.MEMORY]
        return bool((asked <= self._limit).all(axis=1).any())

    def largest(self) -> Allocation:
        """The most of each resource that an empty host has for one VM."""
        return five((self._limit - self._overhead).max(axis=0).tolist())

    def _holds(self, allocation: Allocation) -> npt.NDArray[np.bool_]:
        """(n_hosts,) hosts with room for it, whatever they are doing."""
        asked = np.tile(np.asarray(allocation, np.float32), (len(self._free), 1))
        asked[:, Resource.MEMORY] += self._overhead[:, Resource.MEMORY]
        return np.asarray((asked <= self._free).all(axis=1))

    def _shunned(self) -> npt.NDArray[np.bool_]:
        """(n_hosts,) hosts that are likely to fail soon."""
        return np.asarray(self._hazard > HAZARDOUS)
