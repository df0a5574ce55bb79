"""Guests that come to be: spawn, shadow, micro-VM, and a lost one started again elsewhere.

    define or restore ─► QEMU runs ─► ready (agent, balancer's check) ─► known to the balancer ─► weighed ─► noted

Each step is asked for before it is done, so that an order can be carried out again from wherever a crash left it. A
template that is prepared makes a clone in a second; where it is not, the guest boots.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

from foreshade.adapters.libvirt_world import guest_agent
from foreshade.adapters.libvirt_world.allocation import TOLERANCE, cpu_plan
from foreshade.adapters.libvirt_world.cluster import Found
from foreshade.adapters.libvirt_world.domain import definition
from foreshade.adapters.libvirt_world.guest_template import (
    Identity,
    identity,
    named,
    place_of,
    read_template,
    sized,
)
from foreshade.adapters.libvirt_world.hands import Deadline, Hands, failed
from foreshade.adapters.libvirt_world.library import library, said
from foreshade.adapters.libvirt_world.record import Record
from foreshade.adapters.libvirt_world.removal import remove_domain
from foreshade.adapters.libvirt_world.save_image import twin
from foreshade.adapters.libvirt_world.settings import TemplateSettings
from foreshade.adapters.libvirt_world.volumes import make_overlays
from foreshade.envs.elapsed import elapsed_s
from foreshade.envs.errors import ActionError, ForeshadeError, WorldError
from foreshade.envs.model.action import ActionKind, Boot
from foreshade.envs.model.state import VmKind
from foreshade.envs.order import Order, Result, Standing


class Spawning:
    """``SPAWN``, ``SHADOW`` and ``MICROVM``."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    # -- the port --------------------------------------------------------------------------------------------------

    def refusal(self, order: Order) -> str:
        """No template, a name that somebody else has, a host that is not there, or no room in an image."""
        hands = self._hands
        try:
            if self._resumes(order):
                found = hands.cluster.look(order.host, order.vm)
                if found is None or found.definition.record is None:
                    return f"spare {order.vm}: expected it on {order.host}, found none"
                hands.must_be_ours(found.definition)
                return ""
            hands.template(self._app(order))
            if order.allocation is None:
                return f"VM {order.vm}: expected an allocation, found none"
            for host, found in hands.cluster.search(order.vm, self._where_it_may_be(order)).items():
                record = found.definition.record
                if record is None:
                    return f"VM {order.vm}: expected the name to be free, found a foreign VM of that name on {host}"
                if host != order.host:
                    return f"VM {order.vm}: expected it nowhere or on {order.host}, found it on {host}"
        except ForeshadeError as error:
            return said(error)
        return ""

    def carry_out(self, order: Order, deadline: Deadline) -> Result:
        """Make it run, serve and be known; a guest that is there already is only finished."""
        against = self.refusal(order)
        if against:
            return failed(Standing.UNTOUCHED, against)
        found = self._hands.cluster.look(order.host, order.vm)
        if found is None or not found.active:
            try:
                self._start(order, found)
            except (ForeshadeError, library().libvirtError) as error:
                standing = self.standing(order)
                if standing is Standing.UNTOUCHED:
                    return failed(standing, f"VM {order.vm} on {order.host}: {said(error)}")
                return failed(Standing.HALF_DONE, f"VM {order.vm} on {order.host}: {said(error)}")
        return self._finish(order, deadline)

    def standing(self, order: Order) -> Standing:
        """By the domain on the order's host, its record and the balancer."""
        found = self._hands.cluster.look(order.host, order.vm)
        if found is None:
            return Standing.UNTOUCHED
        record = found.definition.record
        if record is None:
            return Standing.UNTOUCHED  # somebody else's of that name
        if not found.active:
            return Standing.HALF_DONE
        if self._resumes(order) and not found.running and record.spare:
            return Standing.UNTOUCHED
        if self._pauses(order):
            if not found.running and record.spare:
                return Standing.DONE
        elif record.address or self._hands.traffic is None:
            server = self._hands.serving(record.app, order.vm)
            if self._ready_noted(record) and (self._hands.traffic is None or server is not None):
                return Standing.DONE
        template = self._hands.template(self._app(order))
        young = elapsed_s(record.made_s, self._hands.now_s()) < template.boot_s
        return Standing.UNDER_WAY if young and not self._ready(order, found, template) else Standing.HALF_DONE

    def compensate(self, order: Order, deadline: Deadline) -> Result:
        """Out of the balancer and gone, or, if it was a spare, paused again."""
        hands = self._hands
        found = hands.cluster.look(order.host, order.vm)
        if found is None:
            return Result(Standing.UNTOUCHED)
        record = hands.must_be_ours(found.definition)
        hands.take_out(record.app, order.vm, deadline)
        if self._resumes(order):
            hands.note(order.host, order.vm, replace(record, spare=True, weight=1.0))
            hands.cluster.domain(order.host, order.vm, "pause", lambda domain: domain.suspend())
            return Result(Standing.UNTOUCHED)
        pool = hands.pool(record)
        remove_domain(hands, order.host, order.vm, graceful_s=0.0, deadline=deadline, pool=pool)
        gone = hands.cluster.look(order.host, order.vm) is None
        return (
            Result(Standing.UNTOUCHED)
            if gone
            else failed(
                Standing.HALF_DONE, f"VM {order.vm}: expected it gone from {order.host}, found it there"
            )
        )

    # -- what kind of order it is --------------------------------------------------------------------------------

    @staticmethod
    def _resumes(order: Order) -> bool:
        return order.kind is ActionKind.SPAWN and bool(order.app) and order.value == Boot.SPARE

    @staticmethod
    def _pauses(order: Order) -> bool:
        return order.kind is ActionKind.SPAWN and bool(order.app) and order.value2 == 1.0

    def _app(self, order: Order) -> str:
        if order.app:
            return order.app
        lost = self._hands.lost.get(order.vm)
        if lost is None:
            raise ActionError(f"VM {order.vm}: expected one that lost its host, found nobody who knows it")
        return lost.app

    def _where_it_may_be(self, order: Order) -> list[str]:
        """A name that is made for this order can only be where the order put it; a lost VM may be anywhere."""
        if order.app or order.kind is not ActionKind.SPAWN:
            return [order.host]
        hosts = list(self._hands.cluster.hosts)
        off = [h for h in hosts if h != order.host and self._off(h)]
        return [host for host in hosts if host not in off]

    def _off(self, host: str) -> bool:
        power = self._hands.powers.get(host)
        try:
            return power is not None and power.read().state.value == "off"
        except WorldError:
            return False

    @staticmethod
    def _ready_noted(record: Record) -> bool:
        return record.made_s == 0.0 or bool(record.address)

    # -- steps -----------------------------------------------------------------------------------------------------

    def _start(self, order: Order, found: Found | None) -> None:
        """Define and create, restore, or resume."""
        cluster = self._hands.cluster
        if found is not None:  # defined, and never started: a crash came between
            cluster.domain(order.host, order.vm, "start", lambda domain: domain.create(), 30.0)
            return
        host = cluster.host(order.host)
        template = self._hands.template(self._app(order))
        micro = order.kind is ActionKind.MICROVM
        path = template.microvm if micro and template.microvm is not None else template.domain
        who = identity(order.vm, self._hands.settings.mac_prefix, self._macs())
        record = self._record(order)
        wants_clone = order.kind is ActionKind.SHADOW or (
            order.kind is ActionKind.SPAWN and order.value == Boot.RESTORED
        )
        if wants_clone and template.saved is not None and host.settings.saves_here is not None:
            self._restore(order, template, who, record)
            return
        root = named(read_template(path), who, record)
        size = self._hands.sizes(order.host)
        amounts = order.allocation
        if amounts is None:
            raise ActionError(f"VM {order.vm}: expected an allocation, found none")
        most = definition(ET.tostring(root, encoding="unicode")).most_vcpus
        sized(root, cpu_plan(amounts[0], size, max(most, 1)), amounts[1])

        def make(conn: Any) -> None:
            if template.pool:
                make_overlays(conn, template.pool, root, who.name)
            conn.defineXML(ET.tostring(root, encoding="unicode")).create()

        cluster.call(order.host, f"create {order.vm}", make, 60.0)

    def _restore(self, order: Order, template: TemplateSettings, who: Identity, record: Record) -> None:
        """A twin of the parked template: it runs at once, and is then told who it is."""
        cluster = self._hands.cluster
        host = cluster.host(order.host)
        here, there = host.settings.saves_here, host.settings.saves
        if here is None or there is None or template.saved is None:
            raise WorldError(f"host {order.host}: expected a folder for saved images, found none")
        image = f".{order.vm}.restoring"

        def changed(text: str) -> str:
            root = named(text, who, record)
            if template.pool:  # on its twin's own disks both would write
                cluster.call(
                    order.host,
                    f"make disks of {order.vm}",
                    lambda conn: make_overlays(conn, template.pool, root, who.name),
                    60.0,
                )
            return ET.tostring(root, encoding="unicode")

        twin(here / template.saved, here / image, changed)

        def restore(conn: Any) -> None:
            libvirt = library()
            conn.restore(str(there / image))
            domain = conn.lookupByName(order.vm)
            # A restored domain is forgotten when it stops: kept, it survives its host's restart like any other.
            conn.defineXML(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

        try:
            cluster.call(order.host, f"restore {order.vm}", restore, 60.0)
        finally:
            (here / image).unlink(missing_ok=True)

    def _finish(self, order: Order, deadline: Deadline) -> Result:
        """From a QEMU that runs to a guest that serves."""
        hands, cluster = self._hands, self._hands.cluster
        found = cluster.look(order.host, order.vm)
        if found is None:
            return failed(Standing.UNTOUCHED, f"VM {order.vm}: expected it on {order.host}, found it gone")
        record = hands.must_be_ours(found.definition)
        if self._resumes(order) and not found.running:
            cluster.domain(order.host, order.vm, "resume", lambda domain: domain.resume())
        if self._pauses(order) and not found.running and record.spare:
            return Result(Standing.DONE)
        template = hands.template(record.app, record.template)
        if not deadline.until(lambda: self._ready(order, None, template)):
            over = elapsed_s(record.made_s, hands.now_s()) >= template.boot_s
            if over:
                return failed(
                    Standing.HALF_DONE,
                    f"VM {order.vm}: expected it to serve within {template.boot_s:.0f} s, found it silent",
                )
            return Result(Standing.UNDER_WAY)
        mac = found.definition.interfaces[0].mac if found.definition.interfaces else ""
        restored = template.saved is not None and not record.address and bool(template.readdress)
        address = place_of(mac, template.address) if template.address and mac else ""
        if restored and order.kind in (ActionKind.SHADOW, ActionKind.SPAWN):
            words = tuple(word.format(mac=mac, address=address) for word in template.readdress)
            self._readdress(order, words, deadline)
        if not address:
            address = cluster.domain(order.host, order.vm, "address", guest_agent.address, 15.0)
        if self._pauses(order):
            hands.note(order.host, order.vm, replace(record, address=address, spare=True))
            cluster.domain(order.host, order.vm, "pause", lambda domain: domain.suspend())
            return Result(Standing.DONE)
        self._fit(order, found)
        if hands.traffic is not None:
            if not address:
                return failed(Standing.HALF_DONE, f"VM {order.vm}: expected its address, found none")
            weight = record.weight
            if not hands.bring_in(record.app, order.vm, address, template.port, weight, deadline):
                return failed(
                    Standing.HALF_DONE,
                    f"VM {order.vm}: expected the balancer's check to pass, found it failing",
                )
        hands.note(order.host, order.vm, replace(record, address=address or "none", spare=False))
        return Result(Standing.DONE)

    def _readdress(self, order: Order, words: tuple[str, ...], deadline: Deadline) -> None:
        """Tell a restored guest who it is; an agent that is slow on a busy host is asked again.

        Raises:
            AgentError: it did not take it by the deadline.

        """
        cluster, seconds = self._hands.cluster, self._hands.settings.timeouts.agent
        while True:
            try:
                cluster.domain(
                    order.host, order.vm, "readdress", lambda d: guest_agent.run(d, words, seconds), 25.0
                )
                return
            except guest_agent.AgentError:
                if deadline.over:
                    raise

    def _fit(self, order: Order, found: Found) -> None:
        """It booted, or was restored, at full size: cap it to what it was ordered with."""
        if order.allocation is None:
            return
        size = self._hands.sizes(order.host)
        plan = cpu_plan(order.allocation[0], size, found.definition.vcpus)
        libvirt = library()
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE
        wanted_kib = round(order.allocation[1] * 1024)

        def fit(domain: Any) -> None:
            capped = abs(found.definition.cores - plan.cores) <= TOLERANCE * plan.cores
            if plan.cores < found.definition.vcpus and not capped:
                quota = {"global_period": 100_000, "global_quota": max(1000, round(plan.cores * 100_000))}
                domain.setSchedulerParametersFlags(quota, live)
            if found.definition.has_balloon and found.definition.current_mib * 1024 > wanted_kib:
                domain.setMemoryFlags(wanted_kib, live)

        try:
            self._hands.cluster.domain(order.host, order.vm, "fit", fit)
        except libvirt.libvirtError as error:
            self._hands.abilities.learn(order.host, "cap guests at spawn", said(error))

    def _ready(self, order: Order, found: Found | None, template: TemplateSettings) -> bool:
        """Whether the guest is up, by what its template says shows it."""
        found = found or self._hands.cluster.look(order.host, order.vm)
        if found is None or not found.active:
            raise WorldError(f"VM {order.vm}: expected it to run on {order.host}, found it gone")
        if template.ready == "running" or not found.definition.has_agent:
            return found.running
        return found.running and self._hands.agent_answers(order.host, order.vm)

    def _record(self, order: Order) -> Record:
        lost = None if order.app else self._hands.lost.get(order.vm)
        if lost is not None:
            return replace(lost, order=order.key, made_s=self._hands.now_s(), address="")
        kind = {ActionKind.SHADOW: VmKind.SHADOW, ActionKind.MICROVM: VmKind.MICRO}.get(
            order.kind, VmKind.PRODUCTION
        )
        now = self._hands.now_s()
        weight = 0.0 if kind is VmKind.SHADOW else 1.0
        if kind is VmKind.MICRO:
            weight = order.value or 1.0
        return Record(
            app=order.app,
            template=self._hands.settings.apps[order.app].template
            if order.app in self._hands.settings.apps
            else "",
            kind=kind,
            primary=order.primary,
            weight=weight,
            order=order.key,
            made_s=now,
            spare=self._pauses(order),
            fidelity=order.value2 if kind is VmKind.SHADOW else 0.0,
            expires_s=now + order.value2 if kind is VmKind.MICRO else 0.0,
            flavour=order.allocation,
            allocation=order.allocation,
        )

    def _macs(self) -> list[str]:
        return [
            card.mac
            for host in self._hands.cluster.hosts.values()
            if host.meter.last is not None
            for domain in host.meter.last.domains.values()
            for card in domain.definition.interfaces
        ]
