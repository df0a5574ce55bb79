"""What every kind of order is carried out with, and the port of one kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from foreshade.adapters.libvirt_world import guest_agent
from foreshade.adapters.libvirt_world.cluster import Cluster, Found
from foreshade.adapters.libvirt_world.domain import Definition
from foreshade.adapters.libvirt_world.library import said
from foreshade.adapters.libvirt_world.record import Record, write_record
from foreshade.adapters.libvirt_world.settings import LibvirtSettings, TemplateSettings
from foreshade.adapters.libvirt_world.site import HostSize
from foreshade.adapters.power import Power, Proofs
from foreshade.adapters.traffic import Server, Traffic
from foreshade.envs.errors import ActionError
from foreshade.envs.order import Order, Result, Standing


class Deadline:
    """Until when something may take."""

    def __init__(self, timeout_s: float) -> None:
        self._end = time.monotonic() + timeout_s

    @property
    def left_s(self) -> float:
        """Seconds that are left; never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether none are."""
        return self.left_s <= 0.0

    def until(self, reached: Callable[[], bool], step_s: float = 0.05) -> bool:
        """Ask again and again until it is so; whether it became so in time."""
        while True:
            if reached():
                return True
            if self.over:
                return False
            time.sleep(min(step_s, self.left_s))
            step_s = min(step_s * 1.3, 1.0)


class Carrier(Protocol):
    """One kind of order. ``carry_out`` and ``compensate`` may raise WorldError: the world makes a result of it."""

    def refusal(self, order: Order) -> str:
        """Why it cannot be begun now, in one line: what, expected, found; "" = nothing is against it."""
        ...

    def carry_out(self, order: Order, deadline: Deadline) -> Result:
        """Begin or go on, and end; doing again what is done changes nothing."""
        ...

    def standing(self, order: Order) -> Standing:
        """How far it is, by what hypervisors and balancer show now."""
        ...

    def compensate(self, order: Order, deadline: Deadline) -> Result:
        """Bring back what stood before."""
        ...


class Abilities:
    """What was found to be impossible, so that it is not tried again: by domain or host, and what."""

    def __init__(self) -> None:
        self._lacking: dict[tuple[str, str], str] = {}

    def lacks(self, who: str, what: str) -> str:
        """Why ``who`` cannot do ``what``; "" = as far as is known it can."""
        return self._lacking.get((who, what), "")

    def learn(self, who: str, what: str, why: str) -> None:
        """It cannot."""
        self._lacking[who, what] = why

    def __iter__(self) -> Any:
        return iter(f"{who}: cannot {what}: {why}" for (who, what), why in sorted(self._lacking.items()))

    def all_lack(self, who: list[str], what: str) -> bool:
        """Whether every one of them lacks it."""
        return bool(who) and all(self.lacks(one, what) for one in who)


@dataclass(slots=True)
class Hands:
    """The cluster and everything beside it that orders touch."""

    settings: LibvirtSettings
    cluster: Cluster
    now_s: Callable[[], float]
    sizes: Callable[[str], HostSize]  # of a host by name
    traffic: Traffic | None = None
    powers: Mapping[str, Power] = field(default_factory=dict)  # by host
    rack_powers: Mapping[str, Power] = field(default_factory=dict)  # by rack
    proofs: Proofs = field(default_factory=lambda: Proofs(None))
    lost: dict[str, Record] = field(
        default_factory=dict
    )  # VMs whose host is off, by name: to be started elsewhere
    abilities: Abilities = field(default_factory=Abilities)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def template(self, app: str, name: str = "") -> TemplateSettings:
        """How guests of an application come to be.

        Raises:
            ActionError: nobody said.

        """
        known = self.settings.apps.get(app)
        key = name or (known.template if known is not None else "")
        found = self.settings.templates.get(key)
        if found is None:
            raise ActionError(f"application {app}: expected a template in the settings, found none")
        return found

    def pool(self, record: Record) -> str:
        """The storage pool that holds a guest's own disks; "" = it has none there, or nobody says so any more."""
        try:
            return self.template(record.app, record.template).pool
        except ActionError:
            return ""

    def balancer_app(self, app: str) -> str:
        """The balancer's name of an application."""
        known = self.settings.apps.get(app)
        return (known.traffic if known is not None else "") or app

    def one(self, name: str, host: str = "") -> Found:
        """The managed domain of that name that runs: on a host, or wherever it is.

        Raises:
            ActionError: it is gone, it is foreign or protected, or there are two of them.
            WorldError: a host does not answer.

        """
        places = self.cluster.search(name, [host] if host else None)
        active = [found for found in places.values() if found.active]
        if not active:
            raise ActionError(f"VM {name}: expected it on {host or 'a host'}, found it gone")
        if len(active) > 1:
            raise ActionError(f"VM {name}: expected it once, found it on {', '.join(sorted(places))}")
        self.must_be_ours(active[0].definition)
        return active[0]

    def must_be_ours(self, said_of_it: Definition) -> Record:
        """The record of a domain that may be touched.

        Raises:
            ActionError: it may not: foreign, protected, or with metadata that cannot be read.

        """
        if said_of_it.record is None:
            why = said_of_it.bad_record or "found none: it is not ours"
            raise ActionError(f"VM {said_of_it.name}: expected our metadata, {why}")
        if said_of_it.record.protected:
            raise ActionError(
                f"VM {said_of_it.name}: expected one that may be touched, found the tag protected"
            )
        return said_of_it.record

    def note(self, host: str, name: str, record: Record) -> None:
        """Write a domain's record."""
        self.cluster.domain(host, name, "note", lambda domain: write_record(domain, record))

    def agent_answers(self, host: str, name: str) -> bool:
        """Whether the guest's agent is there, asked only where its channel is connected."""
        found = self.cluster.look(host, name)
        if found is None or not found.definition.agent_connected:
            return False
        seconds = self.settings.timeouts.agent
        return self.cluster.domain(
            host, name, "ping", lambda domain: guest_agent.answers(domain, seconds), seconds + 2.0
        )

    # -- traffic ---------------------------------------------------------------------------------------------------

    def serving(self, app: str, name: str) -> Server | None:
        """What the balancer shows of a guest; None = it does not know it, or there is no balancer.

        Raises:
            TrafficError: it does not answer.

        """
        if self.traffic is None:
            return None
        return self.traffic.servers(self.balancer_app(app)).get(name)

    def take_out(self, app: str, name: str, deadline: Deadline) -> None:
        """Drain a guest, give open requests time, and make the balancer forget it.

        Raises:
            TrafficError: the balancer refuses or does not answer.

        """
        if self.traffic is None:
            return
        balancer = self.balancer_app(app)
        if name not in self.traffic.servers(balancer):
            return
        self.traffic.drain(balancer, name)
        wait = Deadline(min(deadline.left_s, self.settings.traffic.drain_s if self.settings.traffic else 0.0))

        def quiet() -> bool:
            server = self.serving(app, name)
            return server is None or server.open_requests == 0

        wait.until(quiet)
        self.traffic.remove(balancer, name)

    def bring_in(
        self, app: str, name: str, address: str, port: int, weight: float, deadline: Deadline
    ) -> bool:
        """Make a guest known, wait until it is healthy, then weigh it; whether it was healthy in time.

        Raises:
            TrafficError: the balancer refuses or does not answer.

        """
        if self.traffic is None:
            return True
        balancer = self.balancer_app(app)
        self.traffic.add(balancer, name, address, port)

        def healthy() -> bool:
            server = self.serving(app, name)
            return server is not None and server.healthy

        if not deadline.until(healthy):
            return False
        self.traffic.weigh(balancer, {name: weight})
        return True


def failed(standing: Standing, error: BaseException | str) -> Result:
    """A result that says what went wrong, in one line."""
    return Result(standing, error if isinstance(error, str) else said(error))
