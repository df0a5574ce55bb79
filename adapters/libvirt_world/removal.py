"""Guests that go: out of the balancer, asked to shut down, and destroyed when they do not."""

from __future__ import annotations

from typing import Any

from foreshade.adapters.libvirt_world.domain import Definition
from foreshade.adapters.libvirt_world.hands import Deadline, Hands, failed
from foreshade.adapters.libvirt_world.library import is_missing, is_unsupported, library, said
from foreshade.adapters.libvirt_world.volumes import remove_overlays
from foreshade.envs.errors import ForeshadeError, WorldError
from foreshade.envs.order import Order, Result, Standing


class Removal:
    """``DESPAWN``: cannot be undone, so that half of it is finished and not compensated."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def refusal(self, order: Order) -> str:
        """Foreign, protected, or in the middle of a migration."""
        try:
            for host, found in self._places(order).items():
                self._hands.must_be_ours(found)
                seen = self._hands.cluster.look(host, order.vm)
                if seen is not None and seen.job and seen.active:
                    return f"VM {order.vm}: expected it at rest, found a job at work on {host}"
        except ForeshadeError as error:
            return said(error)
        return ""

    def carry_out(self, order: Order, deadline: Deadline) -> Result:
        """Drain, shut down, destroy when it takes too long, and forget."""
        against = self.refusal(order)
        if against:
            return failed(self.standing(order), against)
        hands = self._hands
        places = self._places(order)
        for host, found in places.items():
            record = hands.must_be_ours(found)
            template = hands.settings.templates.get(record.template)
            try:
                hands.take_out(record.app, order.vm, deadline)
                remove_domain(
                    hands,
                    host,
                    order.vm,
                    graceful_s=30.0 if template is None else template.stop_s,
                    deadline=deadline,
                    pool="" if template is None else template.pool,
                )
            except (WorldError, library().libvirtError) as error:
                return failed(Standing.HALF_DONE, f"VM {order.vm} on {host}: {said(error)}")
        if not places and hands.traffic is not None and order.app:
            hands.take_out(order.app, order.vm, deadline)
        return Result(self.standing(order))

    def standing(self, order: Order) -> Standing:
        """Gone everywhere and unknown to the balancer, or not begun, or in between."""
        places = self._places(order)
        if not places:
            if order.app and self._hands.serving(order.app, order.vm) is not None:
                return Standing.HALF_DONE
            return Standing.DONE
        for found in places.values():
            record = found.record
            if record is None or self._hands.traffic is None:
                continue
            server = self._hands.serving(record.app, order.vm)
            if (server is None and record.address not in ("", "none")) or (
                server is not None and server.draining
            ):
                return Standing.HALF_DONE
        running = any(
            seen is not None and seen.active
            for seen in (self._hands.cluster.look(host, order.vm) for host in places)
        )
        return Standing.UNTOUCHED if running else Standing.HALF_DONE

    def compensate(self, order: Order, deadline: Deadline) -> Result:
        """A guest that still runs gets its traffic back; one that is down already is removed for good."""
        hands = self._hands
        for host, found in self._places(order).items():
            record = hands.must_be_ours(found)
            seen = hands.cluster.look(host, order.vm)
            if seen is None or not seen.running:
                return self.carry_out(order, deadline)
            template = hands.template(record.app, record.template)
            if record.address not in ("", "none") and not hands.bring_in(
                record.app, order.vm, record.address, template.port, record.weight, deadline
            ):
                return failed(
                    Standing.HALF_DONE, f"VM {order.vm}: expected it healthy again, found it failing"
                )
        return Result(self.standing(order))

    def _places(self, order: Order) -> dict[str, Definition]:
        found = self._hands.cluster.search(order.vm, [order.source] if order.source else None)
        return {host: one.definition for host, one in found.items()}


def _undefine(domain: Any) -> None:
    libvirt = library()
    flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    try:
        domain.undefineFlags(flags | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    except libvirt.libvirtError as error:
        if not is_unsupported(error) and error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
            raise
        domain.undefineFlags(flags)


def remove_domain(
    hands: Hands, host: str, name: str, *, graceful_s: float, deadline: Deadline, pool: str = ""
) -> None:
    """Shut a domain down, by its agent or its power button, destroy what is left, and undefine it.

    Raises:
        WorldError: the host does not answer.
        libvirtError: libvirt refuses.

    """
    libvirt = library()
    cluster = hands.cluster

    def gone() -> bool:
        found = cluster.look(host, name)
        return found is None or not found.active

    found = cluster.look(host, name)
    if found is not None and found.active and graceful_s > 0.0 and found.running:
        flag = libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT if found.definition.agent_connected else 0
        try:
            # An agent that hangs would keep the call: it is left behind, and the guest destroyed.
            cluster.domain(host, name, "shut down", lambda domain: domain.shutdownFlags(flag), 5.0)
            Deadline(min(graceful_s, deadline.left_s)).until(gone)
        except (WorldError, libvirt.libvirtError) as error:
            if gone():
                pass
            else:
                hands.abilities.learn(f"{host}/{name}", "shut down by itself", said(error))

    def finish(conn: Any) -> None:
        try:
            domain = conn.lookupByName(name)
            if domain.isActive():
                domain.destroy()
            if domain.isPersistent():
                _undefine(domain)
        except libvirt.libvirtError as error:
            if not is_missing(error):
                raise
        if pool:
            remove_overlays(conn, pool, name)

    cluster.call(host, f"remove {name}", finish, 30.0)
