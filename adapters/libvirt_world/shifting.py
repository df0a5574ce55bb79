"""An application's traffic, shifted between its guests in steps, each once those that get more are healthy."""

from __future__ import annotations

import time
from dataclasses import replace

from foreshade.adapters.libvirt_world.cluster import Found
from foreshade.adapters.libvirt_world.hands import Deadline, Hands, failed
from foreshade.adapters.libvirt_world.library import said
from foreshade.adapters.traffic import Server
from foreshade.envs.errors import ActionError, ForeshadeError
from foreshade.envs.order import Order, Result, Standing

#: Relative difference of weights that is none: balancers have whole numbers.
_SAME = 0.02


class Shifting:
    """``SHIFT``: the weight of one guest; the others keep theirs."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def refusal(self, order: Order) -> str:
        """Not running, not ours, unknown to the balancer, or failing its check while it is to get more."""
        try:
            found = self._hands.one(order.vm)
            server = self._server(found)
            if order.value < 0.0:
                return f"VM {order.vm}: expected a weight of at least 0, not to be suspended"
            if server is not None and order.value > server.weight and not server.healthy:
                return f"VM {order.vm}: expected it healthy before it gets more, found its check failing"
            others = self._others(found)
            if server is not None and order.value <= 0.0 and not any(s.weight > 0 for s in others):
                return f"VM {order.vm}: expected another guest of {self._app(found)} to serve, found none"
        except ForeshadeError as error:
            return said(error)
        return ""

    def carry_out(self, order: Order, deadline: Deadline) -> Result:
        """Step by step from the weight that it has; stops, and goes back, where health is lost on the way."""
        against = self.refusal(order)
        if against:
            return failed(self._safely(order), against)
        hands = self._hands
        found = hands.one(order.vm)
        server = self._server(found)
        if server is not None and hands.traffic is not None:
            app, traffic = hands.balancer_app(self._app(found)), hands.traffic
            said_of_it = hands.settings.traffic
            steps = 1 if said_of_it is None else said_of_it.steps
            begun = server.weight
            for step in range(1, steps + 1):
                weight = begun + (order.value - begun) * step / steps
                traffic.weigh(app, {order.vm: weight})
                if said_of_it is not None and step < steps:
                    time.sleep(min(said_of_it.settle_s, deadline.left_s))
                now = traffic.servers(app).get(order.vm)
                if now is None or (not now.healthy and order.value > begun):
                    traffic.weigh(app, {order.vm: begun} if now is not None else {})
                    return failed(
                        self._safely(order),
                        f"VM {order.vm}: expected it healthy at {weight:.2f}, found it failing",
                    )
                if deadline.over and step < steps:
                    return failed(
                        Standing.HALF_DONE,
                        f"VM {order.vm}: expected {order.value:g} in time, found {weight:g}",
                    )
        record = hands.must_be_ours(found.definition)
        hands.note(found.host, order.vm, replace(record, weight=order.value))
        return Result(self.standing(order))

    def standing(self, order: Order) -> Standing:
        """By what the balancer shows; without one, by the metadata."""
        found = self._hands.one(order.vm)
        server = self._server(found)
        record = found.definition.record
        noted = 0.0 if record is None else record.weight
        now = noted if server is None else server.weight
        if _same(now, order.value):
            return Standing.DONE if _same(noted, order.value) else Standing.HALF_DONE
        return Standing.UNTOUCHED if _same(now, order.before) else Standing.HALF_DONE

    def compensate(self, order: Order, deadline: Deadline) -> Result:
        """Back to the weight that it had."""
        result = self.carry_out(replace(order, value=order.before, before=order.value), deadline)
        if result.standing is Standing.DONE:
            return Result(Standing.UNTOUCHED)
        return failed(Standing.HALF_DONE, result.error)

    def _safely(self, order: Order) -> Standing:
        try:
            return self.standing(order)
        except ForeshadeError:
            return Standing.UNTOUCHED

    @staticmethod
    def _app(found: Found) -> str:
        return "" if found.definition.record is None else found.definition.record.app

    def _server(self, found: Found) -> Server | None:
        """What the balancer shows of it; None without a balancer.

        Raises:
            ActionError: there is one, and it does not know this guest.
            TrafficError: it does not answer.

        """
        if self._hands.traffic is None:
            return None
        server = self._hands.serving(self._app(found), found.definition.name)
        if server is None:
            raise ActionError(
                f"VM {found.definition.name}: expected the balancer to know it, found it unknown"
            )
        return server

    def _others(self, found: Found) -> list[Server]:
        if self._hands.traffic is None:
            return []
        servers = self._hands.traffic.servers(self._hands.balancer_app(self._app(found)))
        return [
            server for name, server in servers.items() if name != found.definition.name and server.healthy
        ]


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= max(_SAME * max(a, b), 1e-9)
