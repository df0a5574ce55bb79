"""Greedy levelling from the fullest to the emptiest host, in the manner of ProxLB.

From its documented behaviour (ProxLB documentation, "balancing"): one resource is balanced, memory by
default; when the utilisations of the fullest and the emptiest node differ by more than the "balanciness" (10
points by default), guests are moved from the fullest node to the emptiest until they differ by less. There is
no hold and no switching of hosts.

Different here: it runs every tick (its daemon sleeps for hours), moves only what brings the two hosts closer,
the VM after which they differ least, and takes the next emptiest host where the emptiest has no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreshade._core import ClusterState
from foreshade.agents.baselines.planned import Planned
from foreshade.envs.model.action import Action
from foreshade.envs.model.state import Resource
from foreshade.envs.site import Site


@dataclass(frozen=True, slots=True)
class GreedySpreadConfig:
    """Defaults are the documented ones."""

    resource: Resource = Resource.MEMORY
    balanciness: float = 0.1  # largest difference of utilisation that is left alone


class GreedySpread:
    """Moves VMs until the hosts are level."""

    name = "greedy-spread"
    power_managed = True

    def __init__(self, config: GreedySpreadConfig | None = None) -> None:
        self._config = config or GreedySpreadConfig()
        self._site: Site | None = None

    def reset(self, site: Site) -> None:
        """Keep the site; there is nothing else to remember."""
        self._site = site

    def act(self, state: ClusterState) -> Sequence[Action]:
        """Arrivals to the emptiest host, then level."""
        assert self._site is not None  # noqa: S101 - reset comes first by the protocol
        resource = self._config.resource
        plan = Planned(state, self._site)
        plan.place_pending(
            lambda _, room: int(np.argmin(np.where(room, plan.utilisation(resource), np.inf))),
            "emptiest host",
        )
        while self._level(plan):
            pass
        return plan.actions

    def _level(self, plan: Planned) -> bool:
        """One move off the fullest host, of a VM that has not moved; False when level or nothing helps."""
        resource = self._config.resource
        used = plan.utilisation(resource)
        hosts = np.flatnonzero(plan.targets)
        if not len(hosts):
            return False
        source = int(hosts[np.argmax(used[hosts])])
        vms = plan.movable_on(source)
        if not len(vms):
            return False
        fits = plan.fits_many(vms)
        load = plan.vm_load[vms, resource]
        overhead = plan.site.vm_overhead[:, resource]
        leaves = (load + overhead[source]) / plan.capacity[source, resource]
        for target in hosts[np.argsort(used[hosts], kind="stable")].tolist():
            gap = used[source] - used[target]
            if gap <= self._config.balanciness:
                return False
            brings = (load + overhead[target]) / plan.capacity[target, resource]
            after = np.where(fits[:, target], np.abs(gap - leaves - brings), np.inf)
            best = int(np.argmin(after))
            if after[best] < gap:
                plan.move(int(vms[best]), target, "from the fullest to the emptiest host")
                return True
        return False
