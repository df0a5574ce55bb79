"""First, best and worst fit: where arrivals go by what is allocated; nothing that runs is moved.

Source: the classical on-line bin-packing rules (Johnson et al., SIAM J. Comput. 3, 1974), as the world's own
scheduler knows them, by CPU allocation over its limit, lowest host on ties. Different from a cloud scheduler
alone: first and best fit switch hosts off that have come empty and wake one when an arrival finds no room.
Worst fit spreads, so it keeps every host on; what has been switched off before is woken only for want of
room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from foreshade._core import ClusterState
from foreshade.agents.baselines.planned import Mask, Planned
from foreshade.envs.model.action import Action
from foreshade.envs.model.state import Resource
from foreshade.envs.site import Site

Rule = Literal["first-fit", "best-fit", "worst-fit"]


class Fit:
    """Places arrivals by one rule, in order of their number."""

    power_managed = True

    def __init__(self, rule: Rule) -> None:
        self.name = rule
        self._site: Site | None = None

    def reset(self, site: Site) -> None:
        """Keep the site; there is nothing else to remember."""
        self._site = site

    def act(self, state: ClusterState) -> Sequence[Action]:
        """Arrivals first, then empty hosts off."""
        assert self._site is not None  # noqa: S101 - reset comes first by the protocol
        plan = Planned(state, self._site)
        plan.place_pending(lambda vm, room: self._choose(plan, self._spare_gpus(plan, vm, room)), self.name)
        if self.name != "worst-fit":
            plan.switch_off_empty()
        return plan.actions

    @staticmethod
    def _spare_gpus(plan: Planned, vm: int, room: Mask) -> Mask:
        """Hosts with GPUs are for VMs with GPUs while others have room, as Nova's PCI weigher has it."""
        if plan.vm_allocation[vm, Resource.GPU] > 0.0:
            return room
        plain: Mask = room & (plan.capacity[:, Resource.GPU] <= 0.0)
        return plain if plain.any() else room

    def _choose(self, plan: Planned, room: Mask) -> int:
        hosts = np.flatnonzero(room)
        if self.name == "first-fit":
            return int(hosts[0])
        share = plan.allocated[hosts, Resource.CPU] / plan.limit[hosts, Resource.CPU]
        return int(hosts[np.argmax(share) if self.name == "best-fit" else np.argmin(share)])
