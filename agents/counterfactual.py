"""What a cluster would draw and cost had nobody acted on it: the yardstick of what acting saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.model.state import HostState, Resource, VmKind, VmState
from foreshade.envs.site import Site
from foreshade.envs.snapshot import Snapshot

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
_DENSE = 4  # GPUs are placed by allocation alone
_DRAWS = (HostState.BOOTING, HostState.ON, HostState.SHUTTING_DOWN, HostState.WAKING, HostState.MAINTENANCE)


@dataclass(frozen=True, slots=True)
class Reckoning:
    """One placement at one instant, by the power curves and prices of the site."""

    power_w: float  # of hosts and their racks' equipment, without cooling
    energy_usd_h: float  # cooling and carbon included
    hire_usd_h: float  # of rented hosts
    unmet_usd_h: float  # of demand beyond what hosts hold

    @property
    def total_usd_h(self) -> float:
        """All three."""
        return self.energy_usd_h + self.hire_usd_h + self.unmet_usd_h


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same demand under two placements, reckoned alike."""

    as_is: Reckoning
    no_action: Reckoning


@dataclass(frozen=True, slots=True)
class Baseline:
    """What would be had nobody acted, in names: they outlive a restart, and slots do not."""

    homes: Mapping[str, str]  # host by VM
    on: frozenset[str]  # hosts


class NoAction:
    """Every VM stays where it was first seen, and every host that was first seen on, or given a VM, stays on.

    Demand is the estimate of the moment, so the load is the real one. What a shadow or micro-VM serves is given back
    to the primary or to a VM of its application. Transitions cost nothing here, neither the ones that were made nor
    the ones that were not. A host that fails is out in both.
    """

    def __init__(self, baseline: Baseline | None = None) -> None:
        """Begin with the first snapshot, or go on from a baseline."""
        self._recalled = baseline
        self._on = np.zeros(0, bool)
        self._home: I64 = np.zeros(0, np.int64)
        self._birth: I64 = np.zeros(0, np.int64)

    def baseline(self, snapshot: Snapshot) -> Baseline:
        """What is remembered, in the names of the snapshot that was observed last."""
        hosts, names = snapshot.inventory.hosts, snapshot.names
        return Baseline(
            {
                names[v]: hosts[self._home[v]].name
                for v in np.flatnonzero(self._home >= 0).tolist()
                if names[v]
            },
            frozenset(hosts[h].name for h in np.flatnonzero(self._on).tolist()),
        )

    def _recall(self, baseline: Baseline, snapshot: Snapshot) -> None:
        """VMs and hosts that are no longer there are forgotten; a VM of the same name is taken for the same."""
        slots = snapshot.inventory.host_slot
        for v, name in enumerate(snapshot.names):
            self._home[v] = slots.get(baseline.homes.get(name, ""), -1)
        self._birth[:] = snapshot.vms["birth"]
        self._on[[slots[name] for name in baseline.on if name in slots]] = True

    def observe(self, snapshot: Snapshot) -> Comparison:
        """Both placements at this instant; remembers where new VMs stand."""
        vms, hosts = snapshot.vms, snapshot.hosts
        n_vms, n_hosts = len(vms["state"]), len(hosts["state"])
        self._on = np.concatenate([self._on, np.zeros(max(0, n_hosts - len(self._on)), bool)])
        if len(self._home) < n_vms:
            more = n_vms - len(self._home)
            self._home = np.concatenate([self._home, np.full(more, -1)])
            self._birth = np.concatenate([self._birth, np.full(more, -1)])
        if self._recalled is not None:
            self._recall(self._recalled, snapshot)
            self._recalled = None
        host, kind = vms["host"].astype(np.int64), vms["kind"]
        birth = vms["birth"].astype(np.int64)
        self._home[self._birth != birth] = -1
        self._birth[:] = birth
        alive = vms["state"] != int(VmState.ABSENT)
        self._home[~alive] = -1
        first = self._home < 0
        self._on[hosts["state"] == int(HostState.ON)] |= not bool(
            self._on.any()
        )  # those of the first instant
        own = kind == int(VmKind.PRODUCTION)
        new = first & alive & own & (host >= 0)
        self._home[new] = host[new]
        self._on[host[new]] = True
        return Comparison(
            as_is=self._reckon(snapshot, host, np.isin(hosts["state"], [int(s) for s in _DRAWS])),
            no_action=self._reckon(
                snapshot, self._stead(snapshot), self._on & (hosts["state"] != int(HostState.FAILED))
            ),
        )

    def _stead(self, snapshot: Snapshot) -> I64:
        """Where the demand of each VM would be served."""
        vms = snapshot.vms
        home = self._home.copy()
        helper = (vms["kind"] != int(VmKind.PRODUCTION)) & (vms["state"] != int(VmState.ABSENT))
        for v in np.flatnonzero(helper).tolist():
            primary = int(vms["primary"][v])
            if primary >= 0:
                home[v] = self._home[primary]
            else:
                served = np.flatnonzero((vms["app"] == vms["app"][v]) & (self._home >= 0))
                home[v] = self._home[served[0]] if served.size else -1
        return home

    def _reckon(self, snapshot: Snapshot, where: I64, on: npt.NDArray[np.bool_]) -> Reckoning:
        site, hosts, vms = snapshot.site, snapshot.hosts, snapshot.vms
        n_hosts = len(hosts["state"])
        placed = (where >= 0) & (vms["state"] != int(VmState.ABSENT))
        demand = np.zeros((n_hosts, _DENSE))
        for r in range(_DENSE):
            demand[:, r] = np.bincount(where[placed], vms["demand"][placed, r].astype(np.float64), n_hosts)
        n_placed = np.bincount(where[placed], minlength=n_hosts)
        demand += n_placed[:, None] * site.vm_overhead[:, :_DENSE]
        capacity = hosts["capacity"][:, :_DENSE].astype(np.float64)
        share = np.divide(demand[:, 0], capacity[:, 0], out=np.zeros(n_hosts), where=capacity[:, 0] > 0)
        power = np.where(on, _on_curve(site.power_w, np.clip(share, 0.0, 1.0)), site.off_w)
        rented = site.rented
        own_w = float(power[~rented].sum()) + _racks_w(site, hosts["rack"][~rented], on[~rented])
        economy, tick = site.economy, min(snapshot.tick, len(site.economy.electricity_usd_kwh) - 1)
        usd_kwh = float(economy.electricity_usd_kwh[tick] + economy.carbon_usd_kwh[tick])
        over = np.maximum(demand - np.where(on[:, None], capacity, 0.0), 0.0).sum(axis=0)
        unmet = np.asarray(economy.unmet_usd_h[:_DENSE])
        return Reckoning(
            power_w=own_w,
            energy_usd_h=own_w / 1000.0 * economy.pue * usd_kwh,
            hire_usd_h=float(hosts["price_usd_h"][rented & on].sum()),
            unmet_usd_h=float(
                (over * unmet)[[Resource.CPU, Resource.MEMORY, Resource.DISK, Resource.NETWORK]].sum()
            ),
        )


def _racks_w(site: Site, rack: npt.NDArray[np.int32], on: npt.NDArray[np.bool_]) -> float:
    """Equipment of the racks that have a host which is on."""
    if site.rack_w is None:
        return 0.0
    used = np.unique(rack[on & (rack >= 0)])
    return float(site.rack_w[used].sum())


def _on_curve(power_w: npt.NDArray[np.float32], share: F64) -> F64:
    """(n_hosts,) power at a load, straight between the curve's eleven points."""
    at = share * 10.0
    low = np.minimum(at.astype(np.int64), 9)
    rows = np.arange(len(share))
    base = power_w[rows, low].astype(np.float64)
    return np.asarray(base + (power_w[rows, low + 1] - base) * (at - low))
