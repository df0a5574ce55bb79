"""What is done every tick without anybody deciding on it: micro-VMs whose time is over go, and a balancer that was
started anew is told of the guests that serve.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Container

from foreshade.adapters.libvirt_world.deadline import Pending
from foreshade.adapters.libvirt_world.hands import Deadline, Hands
from foreshade.adapters.libvirt_world.library import said
from foreshade.adapters.libvirt_world.record import Record
from foreshade.adapters.libvirt_world.snapshot import Sighting
from foreshade.envs.errors import ActionError, WorldError
from foreshade.envs.model.action import ActionKind
from foreshade.envs.order import Order, Result

log = logging.getLogger(__name__)

_EXPIRY_S = 60.0  # for a micro-VM to go
_BRING_IN_S = 5.0  # for a guest to be healthy


class Upkeep:
    """Each thing that it does is said in the log; VMs that an order works on are left alone."""

    def __init__(
        self, hands: Hands, busy: Container[str], carry_out: Callable[[Order, float], Result]
    ) -> None:
        self._hands, self._busy, self._carry_out = hands, busy, carry_out
        self.trouble = ""  # what the balancer said instead of taking guests in; "" = nothing

    def look_after(self, seen: Collection[Sighting]) -> None:
        """Once a tick, with what was seen."""
        self._expire(seen)
        self.restore_traffic(seen)

    def restore_traffic(self, seen: Collection[Sighting]) -> list[str]:
        """Make guests known to a balancer that knows none of an application's: it was started anew; their names.

        What it still knows of is left alone: a guest that an order took out is not brought in behind its back.
        """
        traffic, restored = self._hands.traffic, []
        serving: dict[str, list[tuple[str, Record]]] = {}
        for sight in seen:
            record = sight.record
            running = sight.counters.active and not sight.lost
            if record is None or record.spare or not running or record.address in ("", "none"):
                continue
            if sight.name not in self._busy:
                serving.setdefault(record.app, []).append((sight.name, record))
        self.trouble = ""
        for app, guests in sorted(serving.items()):
            if traffic is None:
                break
            try:
                if traffic.servers(self._hands.balancer_app(app)):
                    continue
                for name, record in sorted(guests):
                    port = self._hands.template(app, record.template).port
                    deadline = Deadline(_BRING_IN_S)
                    self._hands.bring_in(app, name, record.address, port, record.weight, deadline)
                    log.info("the balancer knew no guest of %s: %s is made known to it", app, name)
                    restored.append(name)
            except (WorldError, ActionError) as error:
                self.trouble = said(error)
        return restored

    def _expire(self, seen: Collection[Sighting]) -> None:
        now = self._hands.now_s()
        for sight in seen:
            record = sight.record
            if record is None or record.protected or not 0.0 < record.expires_s <= now:
                continue
            if sight.name in self._busy:
                continue
            order = Order(
                f"expire-{sight.name}", ActionKind.DESPAWN, sight.name, source=sight.host, app=record.app
            )
            log.info("micro-VM %s on %s has served its time: it goes", sight.name, sight.host)
            Pending(f"expiry of {sight.name}", lambda order=order: self._carry_out(order, _EXPIRY_S))  # type: ignore[misc]
