"""Hosts and racks switched on and off, through their management controllers.

A host goes off only when it is empty, by what its hypervisor shows now, and only when it was seen coming back: a
person said so, or this process once saw it off and then on again.
"""

from __future__ import annotations

from foreshade.adapters.libvirt_world.deadline import Pending
from foreshade.adapters.libvirt_world.hands import Deadline, Hands, failed
from foreshade.adapters.libvirt_world.library import NoAnswerError, library, said
from foreshade.adapters.power import Power, PowerReading, PowerState
from foreshade.envs.errors import ForeshadeError, WorldError
from foreshade.envs.model.action import PowerTarget
from foreshade.envs.order import Order, Result, Standing


class Powering:
    """``POWER`` of a host or of a rack's own equipment."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def proven(self, host: str) -> bool:
        """Whether a host was seen coming back."""
        known = self._hands.cluster.hosts.get(host)
        said_so = known is not None and known.settings.power is not None and known.settings.power.proven
        return said_so or self._hands.proofs.proven(host)

    def refusal(self, order: Order) -> str:
        """No controller, sleep, not proven, not empty, or a host that does not answer."""
        try:
            if order.value == PowerTarget.SLEEP:
                return f"{_what(order)}: expected on or off, found sleep: Redfish has none for servers"
            self._power(order)
            if order.value == PowerTarget.ON:
                return ""
            if order.rack and not order.host:
                return self._rack_busy(order.rack)
            if not self.proven(order.host):
                return f"host {order.host}: expected a host that was seen coming back, found it unproven"
            if self._read(order).state is PowerState.OFF:
                return ""
            active = self._hands.cluster.guests(order.host)
            if active > 0:
                return f"host {order.host}: expected it empty, found {active} guests, foreign ones included"
        except ForeshadeError as error:
            return said(error)
        return ""

    def carry_out(self, order: Order, deadline: Deadline) -> Result:
        """Ask for it and wait: off until there is no power, on until libvirt answers."""
        against = self.refusal(order)
        if against:
            return failed(Standing.UNTOUCHED, against)
        power = self._power(order)
        if order.value == PowerTarget.ON:
            was = self._read(order).state
            power.on()
            if deadline.until(lambda: self.standing(order) is Standing.DONE, 0.2):
                if was is PowerState.OFF and order.host:
                    self._hands.proofs.prove(order.host, self._hands.now_s())
                return Result(Standing.DONE)
            return Result(self.standing(order))
        power.off()
        half = Deadline(deadline.left_s / 2.0)
        if not half.until(lambda: self.standing(order) is Standing.DONE, 0.2):
            power.off(force=True)  # it is empty: nothing is lost
            deadline.until(lambda: self.standing(order) is Standing.DONE, 0.2)
        standing = self.standing(order)
        return (
            Result(standing)
            if standing in (Standing.DONE, Standing.UNDER_WAY)
            else failed(standing, f"{_what(order)}: expected no power, found {self._read(order).state.value}")
        )

    def standing(self, order: Order) -> Standing:
        """By the management controller, and for a host that is on by libvirt's answer."""
        state = self._read(order).state
        if order.value == PowerTarget.ON:
            if state is PowerState.OFF:
                return Standing.UNTOUCHED
            if order.rack and not order.host:
                return Standing.DONE if state is PowerState.ON else Standing.UNDER_WAY
            live = self._hands.cluster.hosts.get(order.host)
            answers = live is not None and live.connection.connected and self._answers(order.host)
            return Standing.DONE if state is PowerState.ON and answers else Standing.UNDER_WAY
        if state is PowerState.OFF:
            return Standing.DONE
        return Standing.UNDER_WAY if state is PowerState.TURNING_OFF else Standing.UNTOUCHED

    def compensate(self, order: Order, deadline: Deadline) -> Result:
        """A host that was to go off is switched on, one that was to come on is switched off: nothing is on it."""
        if order.value == PowerTarget.ON:
            self._power(order).off()
            deadline.until(lambda: self._read(order).state is PowerState.OFF, 0.2)
            return Result(self.standing(order))
        self._power(order).on()
        deadline.until(lambda: self._read(order).state is PowerState.ON, 0.2)
        return Result(self.standing(order))

    def _answers(self, host: str) -> bool:
        try:
            self._hands.cluster.call(host, "ask for its version", lambda conn: conn.getLibVersion(), 2.0)
        except (WorldError, library().libvirtError):
            return False
        return True

    def _power(self, order: Order) -> Power:
        table = self._hands.powers if order.host else self._hands.rack_powers
        found = table.get(order.host or order.rack)
        if found is None:
            raise WorldError(f"{_what(order)}: expected a management controller in the settings, found none")
        return found

    def _read(self, order: Order) -> PowerReading:
        """What the controller says, within the call's time.

        Raises:
            WorldError: it says nothing.

        """
        power = self._power(order)
        try:
            return Pending(f"power of {_what(order)}", power.read).result(self._hands.settings.timeouts.call)
        except NoAnswerError as error:
            raise WorldError(said(error)) from error

    def _rack_busy(self, rack: str) -> str:
        for host in self._hands.settings.hosts:
            if host.rack != rack:
                continue
            power = self._hands.powers.get(host.name)
            if power is None or power.read().state is not PowerState.OFF:
                return f"rack {rack}: expected all its hosts off, found {host.name} not"
        return ""


def _what(order: Order) -> str:
    return f"host {order.host}" if order.host else f"rack {order.rack}"
