"""Moves that empty the hosts that people asked to have drained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshade.agents.guard import Seen
from foreshade.envs.model.action import Action, migrate
from foreshade.envs.model.state import HostState, VmState

_SPARE = 0.9  # share of a host's usable memory and CPU in use up to which it is filled by a drain


def drain(seen: Seen) -> Sequence[Action]:
    """A move for every running VM of a draining host to the host with most memory left that can hold it.

    A destination must have room for the allocation under its overcommit limit *and* for what the VM uses now. A VM
    that fits nowhere stays, and is tried again in the next tick.
    """
    if not seen.draining:
        return ()
    hosts, vms = seen.state.hosts, seen.state.vms
    leaving = [
        slot for name in sorted(seen.draining) if (slot := seen.inventory.host_slot.get(name, -1)) >= 0
    ]
    can_take = (hosts.state == HostState.ON) & ~np.isin(np.arange(len(hosts.state)), leaving)
    for slot, facts in enumerate(seen.inventory.hosts):
        can_take[slot] &= not facts.protected
    limit = hosts.capacity * hosts.overcommit
    allocated, usage = hosts.allocated.copy(), hosts.usage.copy()
    actions: list[Action] = []
    for source in leaving:
        standing = np.flatnonzero(
            (vms.host == source) & (vms.state == VmState.RUNNING) & (vms.destination < 0)
        )
        for vm in sorted(standing.tolist(), key=lambda v: -float(vms.allocation[v, 1])):
            if seen.inventory.vms[vm].protected or not seen.inventory.vms[vm].managed:
                continue
            apart = _kin(seen, vm)
            fits = (allocated + vms.allocation[vm] <= limit * (1 + 1e-6)).all(axis=1)
            calm = (usage[:, :2] + vms.usage[vm, :2] <= _SPARE * hosts.capacity[:, :2]).all(axis=1)
            free = np.where(can_take & fits & calm, limit[:, 1] - allocated[:, 1], -1.0)
            free[apart] = -1.0
            best = int(free.argmax())
            if free[best] < 0.0:
                continue
            allocated[best] += vms.allocation[vm]
            usage[best] += vms.usage[vm]
            actions.append(migrate(vm, best, f"host {seen.inventory.hosts[source].name} is being drained"))
    return actions


def _kin(seen: Seen, vm: int) -> list[int]:
    """Hosts that hold its primary or its shadows."""
    vms = seen.state.vms
    kin = [int(vms.primary[vm])] if vms.primary[vm] >= 0 else []
    kin += np.flatnonzero(vms.primary == vm).tolist()
    return [int(host) for v in kin for host in (vms.host[v], vms.destination[v]) if host >= 0]
