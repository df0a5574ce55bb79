"""Why an order is given, in names and numbers that an operator can check against what he sees.

A decision maker says which candidate an action is of; many candidates are whole plans, and slots are no names. Here
the reason is told from what the plan does to the hosts: it empties one that is to go dark, relieves one that is full,
or fills another up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from foreshade.agents.guard import Seen
from foreshade.envs.model.action import ActionKind, PowerTarget
from foreshade.envs.order import Order

_FULL = 0.8  # share of a resource in use above which a host is relieved: the knee of response time
_NAMES = ("CPU", "memory", "disk", "network", "GPU")
_UNITS = ("MHz", "MiB", "MiB/s", "Mbit/s", "GPUs")


def with_reasons(orders: Sequence[Order], seen: Seen) -> list[Order]:
    """The orders with their reasons told; one that a person gave keeps his own."""
    dark = {o.host for o in orders if _darkens(o)}
    leaving = {name: sum(o.source == name and o.kind is ActionKind.MIGRATE for o in orders) for name in dark}
    return [replace(order, reason=_reason(order, seen, dark, leaving)) for order in orders]


def _darkens(order: Order) -> bool:
    off = order.kind is ActionKind.POWER and order.value != PowerTarget.ON
    return bool(order.host) and (off or (order.kind is ActionKind.RENT and order.value == 0.0))


def _reason(order: Order, seen: Seen, dark: set[str], leaving: dict[str, int]) -> str:
    if order.kind is ActionKind.MIGRATE:
        return _move(order, seen, dark)
    if order.kind is ActionKind.RESHAPE:
        return _reshape(order, seen)
    if _darkens(order):
        moved = leaving.get(order.host, 0)
        return (
            "it is empty and the load fits elsewhere"
            if not moved
            else f"the load of its {moved} VMs fits elsewhere"
        )
    if order.kind is ActionKind.SPAWN and not order.app:
        return f"it waits for a host; {order.host} is at {_use(order.host, seen)}"
    if order.kind in (ActionKind.MICROVM, ActionKind.SPAWN):
        return f"{order.app} wants more than its VMs get" + (
            f"; {order.host} is at {_use(order.host, seen)}" if order.host else ""
        )
    if order.kind is ActionKind.SHADOW:
        return f"{order.primary} on {order.source} may need to hand traffic over; {order.host} is at " + _use(
            order.host, seen
        )
    if order.kind is ActionKind.SHIFT and order.value < 0.0:
        return "it takes no traffic, and may be wanted again"
    if order.kind is ActionKind.SHIFT:
        return f"its share of the traffic goes from weight {order.before:g} to {order.value:g}"
    if order.kind in (ActionKind.POWER, ActionKind.RENT):
        return "the load to come needs it"
    return _without_slots(order.reason)


def _move(order: Order, seen: Seen, dark: set[str]) -> str:
    if order.reason.endswith("is being drained"):
        return order.reason
    target = f"{order.host} is at {_use(order.host, seen)}"
    if order.source in dark:
        return f"empties {order.source}, which is to go off; {target}"
    slot = seen.inventory.host_slot.get(order.source, -1)
    if slot >= 0:
        hosts = seen.state.hosts
        if seen.inventory.hosts[slot].name in seen.draining:
            return f"host {order.source} is being drained"
        capacity = np.maximum(hosts.capacity[slot], 1e-9)
        used = hosts.usage[slot] / capacity
        worst = int(used[:2].argmax())
        if hosts.contention[slot] > 0.0:
            return f"relieves {order.source}, where VMs wait {hosts.contention[slot]:.1%} of their time; {target}"
        if used[worst] > _FULL:
            return f"relieves {order.source}, {used[worst]:.0%} {_NAMES[worst]} in use; {target}"
        if hosts.anomaly[slot] or hosts.hazard_per_h[slot] * hosts.hazard_confidence[slot] > 0.01:
            return f"leaves {order.source}, which may fail ({hosts.hazard_per_h[slot]:.3g} an hour); {target}"
    return f"costs less there: {order.source} is at {_use(order.source, seen)}, {target}"


def _reshape(order: Order, seen: Seen) -> str:
    slot = seen.inventory.vm_slot.get(order.vm, -1)
    if slot < 0 or order.allocation is None or order.allocation_before is None:
        return _without_slots(order.reason)
    demand = seen.state.vms.demand[slot]
    said = [
        f"{name} {was:,.0f} to {now:,.0f} {unit}, wants {wants:,.0f}"
        for name, unit, was, now, wants in zip(
            _NAMES, _UNITS, order.allocation_before, order.allocation, demand.tolist(), strict=True
        )
        if was != now
    ]
    return "; ".join(said) or _without_slots(order.reason)


def _use(host: str, seen: Seen) -> str:
    slot = seen.inventory.host_slot.get(host, -1)
    if slot < 0:
        return "an unknown load"
    hosts = seen.state.hosts
    used = hosts.usage[slot, :2] / np.maximum(hosts.capacity[slot, :2], 1e-9)
    allocated = hosts.allocated[slot, 1] / max(float(hosts.capacity[slot, 1]), 1e-9)
    return f"{used[0]:.0%} CPU, {allocated:.0%} memory allocated"


def _without_slots(reason: str) -> str:
    """A candidate's name without the slots that mean nothing to people."""
    words = reason.split()
    return words[0].replace("_", "-") if words else ""
