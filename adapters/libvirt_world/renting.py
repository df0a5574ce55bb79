"""Hosts that a cloud rents us: ordered, joined once libvirt answers there, and given back empty."""

from __future__ import annotations

from collections.abc import Mapping

from foreshade.adapters.clouds import Cloud, Lease
from foreshade.adapters.libvirt_world.hands import Deadline, Hands, failed
from foreshade.adapters.libvirt_world.library import said
from foreshade.adapters.libvirt_world.settings import HostSettings
from foreshade.envs.errors import ForeshadeError, WorldError
from foreshade.envs.order import Order, Result, Standing


class Renting:
    """``RENT``."""

    def __init__(self, hands: Hands, clouds: Mapping[str, Cloud]) -> None:
        self._hands, self._clouds = hands, clouds

    def lease(self, host: str) -> Lease:
        """How far a rented host is, by its cloud; joins or parts the cluster with it.

        Raises:
            WorldError: the cloud does not answer.

        """
        node = self._cloud(host).node(host)
        if node.lease is Lease.THERE:
            settings = self._settings(host)
            user = "root" if settings.cloud is None else settings.cloud.user
            uri = settings.uri.format(address=node.address, user=user)
            self._hands.cluster.join(settings, uri)
        elif host in self._hands.cluster.hosts:
            self._hands.cluster.part(host)
        return node.lease

    def refusal(self, order: Order) -> str:
        """No cloud, or guests on a host that is to be given back."""
        try:
            self._cloud(order.host)
            if order.value > 0.0 or order.host not in self._hands.cluster.hosts:
                return ""
            active = self._hands.cluster.guests(order.host)
            if active > 0:
                return f"host {order.host}: expected it empty, found {active} guests"
        except ForeshadeError as error:
            return said(error)
        return ""

    def carry_out(self, order: Order, deadline: Deadline) -> Result:
        """Order it and wait for libvirt's answer, or give it back."""
        against = self.refusal(order)
        if against:
            return failed(Standing.UNTOUCHED, against)
        cloud = self._cloud(order.host)
        if order.value > 0.0:
            cloud.order(order.host)
        else:
            self._hands.cluster.part(order.host)
            cloud.give_back(order.host)
        deadline.until(lambda: self.standing(order) is Standing.DONE, 0.2)
        return Result(self.standing(order))

    def standing(self, order: Order) -> Standing:
        """By the cloud, and for a host that is there by libvirt's answer."""
        lease = self.lease(order.host)
        if order.value > 0.0:
            if lease is Lease.NONE:
                return Standing.UNTOUCHED
            live = self._hands.cluster.hosts.get(order.host)
            answers = lease is Lease.THERE and live is not None and live.connection.connected
            return Standing.DONE if answers else Standing.UNDER_WAY
        if lease is Lease.NONE:
            return Standing.DONE
        return Standing.UNDER_WAY if lease is Lease.GOING else Standing.UNTOUCHED

    def compensate(self, order: Order, deadline: Deadline) -> Result:
        """What was ordered is given back; what is being given back cannot be kept."""
        if order.value <= 0.0:
            return failed(
                Standing.HALF_DONE, f"host {order.host}: expected it kept, found it being given back"
            )
        self._hands.cluster.part(order.host)
        self._cloud(order.host).give_back(order.host)
        deadline.until(lambda: self.lease(order.host) is Lease.NONE, 0.2)
        return Result(self.standing(order))

    def _cloud(self, host: str) -> Cloud:
        found = self._clouds.get(host)
        if found is None:
            raise WorldError(f"host {host}: expected a cloud in the settings, found none")
        return found

    def _settings(self, host: str) -> HostSettings:
        return next(one for one in self._hands.settings.hosts if one.name == host)
