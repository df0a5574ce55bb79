"""Whether an order still makes sense on a fresh state: the node that became busy, the VM that vanished."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from foreshade.agents.guard import Seen
from foreshade.envs.affinity_labels import broken
from foreshade.envs.model.action import ActionKind, PowerTarget
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.order import Order

F32 = npt.NDArray[np.float32]
_NOTHING: F32 = np.zeros((2, 5), np.float32)
_ARRIVES = frozenset({ActionKind.SPAWN, ActionKind.MIGRATE, ActionKind.SHADOW, ActionKind.MICROVM})
_NEEDS_RUNNING = frozenset({ActionKind.MIGRATE, ActionKind.RESHAPE, ActionKind.SHIFT})
_ACTIVE = frozenset({VmState.RUNNING, VmState.PAUSED, VmState.MIGRATING})


Booked = dict[str, F32]
"""By host, (2, 5): allocation and usage that orders found good in the same round bring there."""


def stale(order: Order, seen: Seen, booked: Booked | None = None) -> str:
    """Why an order is stale; "" = it still makes sense, and then what it brings is put to ``booked``.

    A destination must have room both for what is allocated and for what is used: either alone has killed guests.
    """
    booked = {} if booked is None else booked
    why = _vm(order, seen) or _host(order, seen) or _company(order, seen) or _room(order, seen, booked)
    if not why and order.kind in _ARRIVES and order.host:
        booked[order.host] = booked.get(order.host, _NOTHING) + np.stack(_wants(order, seen))
    return why


def _vm(order: Order, seen: Seen) -> str:
    made = order.kind in (ActionKind.SHADOW, ActionKind.MICROVM) or (
        order.kind is ActionKind.SPAWN and order.app
    )
    name = order.primary if order.kind is ActionKind.SHADOW else "" if made else order.vm
    if not name:
        return ""
    slot = seen.inventory.vm_slot.get(name, -1)
    if slot < 0:
        return f"VM {name} is gone"
    vms = seen.state.vms
    state = VmState(vms.state[slot])
    if order.kind is ActionKind.SPAWN and state not in (VmState.PENDING, VmState.FAILED):
        return f"VM {name} is {state.name.lower()}, expected pending or failed"
    if order.kind in _NEEDS_RUNNING and state not in _ACTIVE:
        return f"VM {name} is {state.name.lower()}, expected running"
    if order.kind is ActionKind.MIGRATE:
        if vms.destination[slot] >= 0:
            return f"VM {name} is being moved already"
        stands = _host_name(seen, int(vms.host[slot]))
        if order.source and stands != order.source:
            return f"VM {name} stands on {stands or 'no host'}, expected {order.source}"
    return ""


def _host(order: Order, seen: Seen) -> str:
    if not order.host:
        return ""
    slot = seen.inventory.host_slot.get(order.host, -1)
    if slot < 0:
        return f"host {order.host} is gone"
    state = HostState(seen.state.hosts.state[slot])
    if order.kind in _ARRIVES and state is not HostState.ON:
        return f"host {order.host} is {state.name.lower()}, expected on"
    if order.kind is ActionKind.POWER and order.value != PowerTarget.ON:
        if state is not HostState.ON:
            return f"host {order.host} is {state.name.lower()}, expected on"
        if seen.state.hosts.n_vms[slot] > 0 or seen.state.hosts.arriving[slot] > 0:
            return f"host {order.host} holds {seen.state.hosts.n_vms[slot]} VMs, expected none"
    return ""


def _company(order: Order, seen: Seen) -> str:
    """Whether a VM stands there by now that it is to be kept apart from."""
    if order.kind not in (ActionKind.MIGRATE, ActionKind.SPAWN) or order.app or not order.host:
        return ""
    slot = seen.inventory.vm_slot.get(order.vm, -1)
    if slot < 0 or not seen.inventory.vms[slot].apart:
        return ""
    return broken(seen.inventory, {**seen.places, order.vm: order.host}, order.vm, together=False)


def _room(order: Order, seen: Seen, booked: Booked) -> str:
    if order.kind not in _ARRIVES or not order.host:
        return ""
    hosts, host = seen.state.hosts, seen.inventory.host_slot[order.host]
    allocation, usage = np.stack(_wants(order, seen)) + booked.get(order.host, _NOTHING)
    limit = hosts.capacity[host] * hosts.overcommit[host]
    short = hosts.allocated[host] + allocation > limit * (1 + 1e-6)
    if short.any():
        return _no_room(order.host, "allocated", short)
    full = (hosts.usage[host] + usage > hosts.capacity[host] * (1 + 1e-6))[:2]
    return _no_room(order.host, "used", full) if full.any() else ""


def _wants(order: Order, seen: Seen) -> tuple[F32, F32]:
    """(5,) allocation and (5,) present usage that come to the host."""
    vms = seen.state.vms
    if order.allocation is not None:
        return np.asarray(order.allocation, np.float32), np.zeros(5, np.float32)
    slot = seen.inventory.vm_slot.get(order.primary or order.vm, -1)
    if slot < 0:
        return np.zeros(5, np.float32), np.zeros(5, np.float32)
    share = order.value if order.kind is ActionKind.SHADOW else 1.0
    usage = vms.usage[slot] if order.kind is ActionKind.MIGRATE else np.zeros(5, np.float32)
    return vms.allocation[slot] * share, usage


def _no_room(host: str, what: str, short: npt.NDArray[np.bool_]) -> str:
    names = ("CPU", "memory", "disk", "network", "GPU")
    return (
        f"host {host} has no room: {', '.join(names[i] for i in np.flatnonzero(short))} {what} to the limit"
    )


def _host_name(seen: Seen, slot: int) -> str:
    return seen.inventory.hosts[slot].name if slot >= 0 else ""


def dependencies(orders: Sequence[Order]) -> tuple[tuple[int, ...], ...]:
    """For each order, the earlier ones that must have succeeded before it may begin.

    The same VM, or its primary; a host that is switched off after what leaves it, filled after it is switched on,
    or filled after what makes room there.
    """
    by_vm: dict[str, list[int]] = defaultdict(list)
    leaves: dict[str, list[int]] = defaultdict(list)  # migrations by source
    at_host: dict[str, list[int]] = defaultdict(list)
    switches: dict[str, list[int]] = defaultdict(list)  # powered or rented, by host
    powers: list[int] = []
    needed: list[tuple[int, ...]] = []
    for j, order in enumerate(orders):
        names, host = {order.vm, order.primary} - {""}, order.host
        switched = order.kind in (ActionKind.POWER, ActionKind.RENT)
        before = {i for name in names for i in by_vm[name]}
        if host:
            before.update(leaves[host], at_host[host] if switched else switches[host])
        if order.rack and order.kind is ActionKind.POWER:
            before.update(powers)
        needed.append(tuple(sorted(before)))
        for name in names:
            by_vm[name].append(j)
        if order.kind is ActionKind.MIGRATE:
            leaves[order.source].append(j)
        if host:
            at_host[host].append(j)
        if host and switched:
            switches[host].append(j)
        if order.kind is ActionKind.POWER:
            powers.append(j)
    return tuple(needed)
