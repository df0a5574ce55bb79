"""Actions in names that outlive a tick: those of hosts, applications and VMs, and of the VM that is to be made.

A VM that an order makes has a name that follows from the order's key, so that the order finds it again after a crash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from foreshade._core import ClusterState
from foreshade.adapters.libvirt_world.allocation import same
from foreshade.adapters.libvirt_world.settings import LibvirtSettings
from foreshade.adapters.libvirt_world.snapshot import HostView, Sighting
from foreshade.envs.errors import ActionError
from foreshade.envs.inventory import Inventory
from foreshade.envs.model.action import Action, ActionKind, Allocation, Boot, PowerTarget
from foreshade.envs.model.state import HostState, VmKind
from foreshade.envs.order import Order

_MAKES = frozenset({ActionKind.SPAWN, ActionKind.SHADOW, ActionKind.MICROVM})


class Naming:
    """Names things by what was last observed."""

    def __init__(
        self,
        settings: LibvirtSettings,
        state: ClusterState,
        inventory: Inventory,
        sightings: Mapping[str, Sighting],
        views: Mapping[str, HostView],
    ) -> None:
        self._settings, self._state, self._inventory = settings, state, inventory
        self._sightings, self._views = sightings, views
        self._hosts = [host.name for host in inventory.hosts]

    def order(self, action: Action, key: str) -> Order:
        """The order.

        Raises:
            ActionError: it names what there is not, or what is not ours.

        """
        kind = action.kind
        inventory = self._inventory
        what = kind.name.lower()

        def named(slot: int, names: Sequence[str], noun: str) -> str:
            if slot < 0:
                return ""
            if slot >= len(names) or not names[slot]:
                raise ActionError(f"{what}: expected a {noun}, found none in slot {slot}")
            return names[slot]

        host = named(action.host, self._hosts, "host")
        rack = named(action.rack, inventory.racks, "rack")
        app = named(action.app, inventory.apps, "application")
        vm = named(action.vm, [facts.name for facts in inventory.vms], "VM")
        sight = next((s for s in self._sightings.values() if s.name == vm), None) if vm else None
        if sight is not None and sight.record is None:
            raise ActionError(f"{what}: expected a VM of ours, found {vm}, which is foreign")
        record = None if sight is None else sight.record
        if kind in _MAKES and kind is not ActionKind.SHADOW and action.vm < 0 and not app:
            raise ActionError(f"{what}: expected an application, found none")
        source = "" if sight is None or sight.lost else sight.host
        before, value, primary, allocation = 0.0, action.value, "", action.allocation
        was: Allocation | None = None
        if action.vm >= 0:
            row = self._state.vms.allocation[action.vm].tolist()
            was = (row[0], row[1], row[2], row[3], row[4])
        tail = hashlib.sha256(key.encode()).hexdigest()[:8]
        if kind is ActionKind.SPAWN and action.vm >= 0:
            allocation = was
        elif kind is ActionKind.SPAWN and action.value == Boot.SPARE:
            vm = self._spare(app, host, action.allocation)
        elif kind is ActionKind.SPAWN:
            vm = f"{app}-{tail}"
        elif kind is ActionKind.SHADOW and record is not None and was is not None:
            app, primary, vm = record.app, vm, f"{vm}-shadow-{tail}"
            share = action.value
            allocation = (was[0] * share, was[1] * share, was[2] * share, was[3] * share, was[4])
            allocation = (allocation[0], max(allocation[1], self._least_mib(app)), *allocation[2:])
        elif kind is ActionKind.RESHAPE and record is not None and allocation is not None and was is not None:
            least = min(self._least_mib(record.app), was[1])  # a guest that is below it already need not grow
            allocation = (allocation[0], max(allocation[1], least), *allocation[2:])
            if all(same(allocation, was)):
                raise ActionError(f"{what}: expected another size, found what {vm} has already")
        elif kind is ActionKind.MICROVM:
            vm, value = f"{app}-micro-{tail}", self._micro_weight(app, action.allocation)
        elif (kind is ActionKind.DESPAWN and record is not None) or (
            kind is ActionKind.SHIFT and record is not None
        ):
            app, before = record.app, record.weight
        elif kind is ActionKind.POWER and host:
            state = self._views[host].state
            before = float(PowerTarget.OFF if state is HostState.OFF else PowerTarget.ON)
        return Order(
            key=key,
            kind=kind,
            vm=vm,
            primary=primary,
            host=host,
            source=source if kind is not ActionKind.SHADOW else "",
            app=app,
            rack=rack,
            value=value,
            value2=action.value2,
            allocation=allocation,
            before=before,
            allocation_before=was if kind is ActionKind.RESHAPE else None,
            reason=action.reason,
        )

    def _least_mib(self, app: str) -> float:
        """Below this its guests do not work; a clone needs the memory that its image was parked with."""
        template = (
            self._settings.templates.get(self._settings.apps[app].template)
            if app in self._settings.apps
            else None
        )
        return 0.0 if template is None else template.least_mib

    def _spare(self, app: str, host: str, allocation: Allocation | None) -> str:
        for sight in self._sightings.values():
            record = sight.record
            if record is None or not record.spare or record.app != app or sight.host != host:
                continue
            size = record.allocation or record.flavour
            if allocation is None or size is None or all(same(size, allocation)):
                return sight.name
        raise ActionError(f"spawn: expected a paused spare of {app} on {host}, found none of that size")

    def _micro_weight(self, app: str, allocation: Allocation | None) -> float:
        """A micro-VM's share of traffic beside a member's 1: that of its CPU."""
        for sight in self._sightings.values():
            record = sight.record
            if (
                record is not None
                and record.app == app
                and record.kind is VmKind.PRODUCTION
                and record.flavour
            ):
                return 1.0 if allocation is None else allocation[0] / record.flavour[0]
        return 1.0
