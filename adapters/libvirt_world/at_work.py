"""VMs that orders of this process are working on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from foreshade.envs.model.action import ActionKind
from foreshade.envs.model.state import VmState
from foreshade.envs.order import Order

_SHOWN_AS = {ActionKind.DESPAWN: VmState.STOPPING, ActionKind.MIGRATE: VmState.MIGRATING}


class AtWork:
    """As what they are shown meanwhile, and where they are going."""

    def __init__(self) -> None:
        self._busy: dict[str, VmState] = {}
        self._destinations: dict[str, str] = {}

    @contextmanager
    def on(self, order: Order) -> Iterator[None]:
        """An order is being carried out for as long as the block lasts."""
        shown_as = _SHOWN_AS.get(order.kind)
        if shown_as is not None and order.vm:
            self._busy[order.vm] = shown_as
            if order.kind is ActionKind.MIGRATE:
                self._destinations[order.vm] = order.host
        try:
            yield
        finally:
            self._busy.pop(order.vm, None)
            self._destinations.pop(order.vm, None)

    def __contains__(self, vm: object) -> bool:
        """Whether an order works on a VM of that name."""
        return vm in self._busy

    @property
    def busy(self) -> dict[str, VmState]:
        """States by name of VM, now."""
        return dict(self._busy)

    @property
    def destinations(self) -> dict[str, str]:
        """Hosts that VMs are being moved to, by name of VM, now."""
        return dict(self._destinations)
