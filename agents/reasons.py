"""Why an order is given, in names and numbers that an operator can check against what he sees.

A decision maker says which candidate an action is of; many candidates are whole plans, and slots are no names. Here
the reason is told from what the plan does to the hosts: it empties one that is to go dark, relieves one that is full,
or fills another up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from foreshade.agents.decisions import PERSON
from foreshade.agents.guard import Seen
from foreshade.envs.inventory import HostFacts, Inventory, VmFacts
from foreshade.envs.model.action import ActionKind, PowerTarget
from foreshade.envs.order import Order

#: What the proposer calls its own candidates: ``migrate vm 3 from host 1 host 2``.
_CALLED = re.compile(r"[a-z_]+( vm \d+)?( from host \d+)?( host \d+)?")
_SLOT = re.compile(r"\b(vm|host|app|rack) (\d+)\b", re.IGNORECASE)
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
    """What a component said of its offer, where there is such; else what the plan shows."""
    own = _said(order.reason, seen)
    if order.kind is ActionKind.MIGRATE:
        if own and order.source not in dark and order.by != PERSON:
            return f"{own}; {order.host} is at {_use(order.host, seen)}"
        return _move(order, seen, dark)
    if order.kind is ActionKind.RESHAPE:
        return "; ".join(filter(None, (own, _reshape(order, seen))))
    if _darkens(order):
        moved = leaving.get(order.host, 0)
        return own or (
            "it is empty and the load fits elsewhere"
            if not moved
            else f"the load of its {moved} VMs fits elsewhere"
        )
    target = f"{order.host} is at {_use(order.host, seen)}" if order.host else ""
    if order.kind is ActionKind.SPAWN and not order.app:
        return f"it waits for a host; {target}"
    if order.kind in (ActionKind.MICROVM, ActionKind.SPAWN):
        return "; ".join(filter(None, (own or f"{order.app} wants more than its VMs get", target)))
    if order.kind is ActionKind.SHADOW:
        why = f"{order.primary} on {_stands(order.primary, seen)} may need to hand traffic over"
        return f"{own or why}; {target}"
    if order.kind is ActionKind.SHIFT:
        share = f"its share of the traffic goes from weight {order.before:g} to {order.value:g}"
        return "; ".join(filter(None, (own, share)))
    if order.kind in (ActionKind.POWER, ActionKind.RENT):
        return own or "the load to come needs it"
    return own or f"{order.app or 'its application'} is served without it"


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
        return ""
    demand = seen.state.vms.demand[slot]
    said = [
        f"{name} {was:,.0f} to {now:,.0f} {unit}, wants {wants:,.0f}"
        for name, unit, was, now, wants in zip(
            _NAMES, _UNITS, order.allocation_before, order.allocation, demand.tolist(), strict=True
        )
        if was != now
    ]
    return "; ".join(said)


def _stands(vm: str, seen: Seen) -> str:
    slot = seen.inventory.vm_slot.get(vm, -1)
    host = int(seen.state.vms.host[slot]) if slot >= 0 else -1
    return seen.inventory.hosts[host].name if host >= 0 else "no host"


def _use(host: str, seen: Seen) -> str:
    slot = seen.inventory.host_slot.get(host, -1)
    if slot < 0:
        return "an unknown load"
    hosts = seen.state.hosts
    used = hosts.usage[slot, :2] / np.maximum(hosts.capacity[slot, :2], 1e-9)
    allocated = hosts.allocated[slot, 1] / max(float(hosts.capacity[slot, 1]), 1e-9)
    return f"{used[0]:.0%} CPU, {allocated:.0%} memory allocated"


def _said(reason: str, seen: Seen) -> str:
    """A component's own words with names in the place of slots; "" where it is only what the candidate is called."""
    return "" if not reason or _CALLED.fullmatch(reason) else named(reason, seen.inventory)


def named(text: str, inventory: Inventory) -> str:
    """What was said of slots, with names in their place: ``host 3`` becomes what the host is called."""
    known: Mapping[str, Sequence[str | VmFacts | HostFacts]] = {
        "vm": inventory.vms,
        "host": inventory.hosts,
        "app": inventory.apps,
        "rack": inventory.racks,
    }

    def name(found: re.Match[str]) -> str:
        all_of, slot = known[found[1].lower()], int(found[2])
        one = all_of[slot] if slot < len(all_of) else ""
        return (one if isinstance(one, str) else one.name) or found[0]

    return _SLOT.sub(name, text)
