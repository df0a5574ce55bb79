"""What a guest may use, changed while it runs.

| resource | more | less |
|---|---|---|
| CPU | plug vCPUs, have the agent use them | the agent gives CPUs up, and a quota holds it to that |
| memory | balloon up to what it booted with, then virtio-mem | virtio-mem, then balloon |
| disk | limit of each disk | the same |
| network | limit of each card, each way half | the same |

A quota caps a guest whose CPUs cannot be taken away. Each is set to an absolute amount, so that doing it again
changes nothing. What a guest or host turns out to be unable to do is remembered, and refused from then on.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

from foreshade.adapters.libvirt_world import guest_agent
from foreshade.adapters.libvirt_world.allocation import KIB_S_PER_MBIT, cpu_plan, same, shown
from foreshade.adapters.libvirt_world.cluster import Found
from foreshade.adapters.libvirt_world.hands import Deadline, Hands, failed
from foreshade.adapters.libvirt_world.library import is_unsupported, library, said
from foreshade.adapters.libvirt_world.record import write_record
from foreshade.envs.errors import ForeshadeError, WorldError
from foreshade.envs.model.action import Allocation
from foreshade.envs.order import Order, Result, Standing

_NAMES = ("CPU", "memory", "disk", "network", "GPU")
CPU, MEMORY, DISK, NETWORK, GPU = range(5)


class Reshaping:
    """``RESHAPE``."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def refusal(self, order: Order) -> str:
        """Not running, not ours, or an amount that this guest cannot take while it runs."""
        try:
            if order.allocation is None:
                return f"VM {order.vm}: expected an allocation, found none"
            found = self._hands.one(order.vm)
            now = self._shown(found)
            for i, equal in enumerate(same(now, order.allocation)):
                against = "" if equal else self._against(found, i, order.allocation, now)
                if against:
                    return f"VM {order.vm}: {_NAMES[i]}: {against}"
        except ForeshadeError as error:
            return said(error)
        return ""

    def carry_out(self, order: Order, deadline: Deadline) -> Result:
        """Each amount in turn, what is given before what is taken; then what the hypervisor shows."""
        against = self.refusal(order)
        if against or order.allocation is None:
            return failed(self._now(order), against)
        return self._bring(order, order.allocation, deadline)

    def standing(self, order: Order) -> Standing:
        """By what the hypervisor shows: as ordered, as it was, or in between."""
        if order.allocation is None:
            return Standing.UNTOUCHED
        found = self._found(order)
        if found is None:
            return Standing.UNTOUCHED
        now = self._shown(found)
        if all(same(now, order.allocation)):
            return Standing.DONE
        before = order.allocation_before
        if before is not None and all(same(now, before)):
            return Standing.UNTOUCHED
        return Standing.HALF_DONE

    def compensate(self, order: Order, deadline: Deadline) -> Result:
        """Back to what it had."""
        if order.allocation_before is None:
            return failed(
                Standing.HALF_DONE, f"VM {order.vm}: expected what it had before, found nothing noted"
            )
        result = self._bring(order, order.allocation_before, deadline)
        if result.standing is Standing.DONE:
            return Result(Standing.UNTOUCHED)
        found = self._found(order)
        back = found is not None and all(same(self._shown(found), order.allocation_before))
        return Result(Standing.UNTOUCHED if back else Standing.HALF_DONE, "" if back else result.error)

    # -- ----------------------------------------------------------------------------------------------------------

    def _found(self, order: Order) -> Found | None:
        places = self._hands.cluster.search(order.vm)
        return next((found for found in places.values() if found.active), None)

    def _now(self, order: Order) -> Standing:
        try:
            return self.standing(order)
        except WorldError:
            return Standing.UNTOUCHED

    def _shown(self, found: Found) -> Allocation:
        return shown(found.definition, None, self._hands.sizes(found.host))

    def _against(self, found: Found, i: int, wanted: Allocation, now: Allocation) -> str:
        it, size = found.definition, self._hands.sizes(found.host)
        lacking = self._hands.abilities.lacks(it.uuid, _NAMES[i]) or self._hands.abilities.lacks(
            found.host, _NAMES[i]
        )
        if lacking:
            return f"found impossible before: {lacking}"
        if i == GPU:
            return f"expected {now[GPU]:g} GPUs as they are, found {wanted[GPU]:g} asked for"
        if i == CPU and wanted[CPU] > it.most_vcpus * size.core_mhz * 1.02:
            most_mhz = it.most_vcpus * size.core_mhz
            return f"expected at most {it.most_vcpus} vCPUs ({most_mhz:.0f} MHz), found {wanted[CPU]:.0f} asked for"
        if i == CPU and it.micro and wanted[CPU] > it.vcpus * size.core_mhz * 1.02:
            return "expected a machine that can plug CPUs, found a microvm"
        if i == MEMORY:
            most = it.memory_mib
            if wanted[MEMORY] > most + 2.0:
                return f"expected at most {most:.0f} MiB, found {wanted[MEMORY]:.0f} asked for"
            if not it.has_balloon and it.virtio_mem_mib is None:
                return "expected a balloon or virtio-mem, found none"
        return ""

    def _bring(self, order: Order, wanted: Allocation, deadline: Deadline) -> Result:
        hands = self._hands
        found = self._found(order)
        if found is None:
            return failed(Standing.UNTOUCHED, f"VM {order.vm}: expected it to run, found it gone")
        hands.must_be_ours(found.definition)
        now = self._shown(found)
        equal = same(now, wanted)
        todo = [i for i in (CPU, MEMORY, DISK, NETWORK) if not equal[i]]
        errors = []
        libvirt = library()
        for i in sorted(todo, key=lambda i: wanted[i] < now[i]):
            act = (self._cpu, self._memory, self._disk, self._network)[i]
            try:
                act(found, wanted[i], deadline)
            except (ForeshadeError, libvirt.libvirtError) as error:
                errors.append(f"{_NAMES[i]}: {said(error)}")
                if isinstance(error, libvirt.libvirtError) and is_unsupported(error):
                    hands.abilities.learn(found.definition.uuid, _NAMES[i], said(error))
        record = hands.must_be_ours(found.definition)
        kept = record.allocation or record.flavour or now
        promised = (wanted[0], wanted[1], wanted[2], wanted[3], kept[4])
        hands.cluster.domain(
            found.host, order.vm, "note", lambda d: write_record(d, replace(record, allocation=promised))
        )
        after = self._found(order)
        if after is None:
            return failed(Standing.HALF_DONE, f"VM {order.vm}: expected it to run, found it gone")
        shows = self._shown(after)
        if all(same(shows, wanted)):
            return Result(Standing.DONE)
        if errors:
            return failed(self._now(order), f"VM {order.vm}: {'; '.join(errors)}")
        differs = ", ".join(
            f"{_NAMES[i]} {wanted[i]:.0f}, found {shows[i]:.0f}"
            for i, equal_now in enumerate(same(shows, wanted))
            if not equal_now
        )
        return failed(self._now(order), f"VM {order.vm}: expected {differs}")

    def _cpu(self, found: Found, mhz: float, deadline: Deadline) -> None:
        """Plug, quota, and what the guest uses of it."""
        libvirt, hands = library(), self._hands
        it = found.definition
        plan = cpu_plan(mhz, hands.sizes(found.host), it.most_vcpus)
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE
        seconds = hands.settings.timeouts.agent

        def act(domain: Any) -> None:
            plugged = it.vcpus
            if plan.vcpus > plugged:
                domain.setVcpusFlags(plan.vcpus, live)
                plugged = plan.vcpus
            quota = -1 if plan.cores >= plugged else max(1000, round(plan.cores * 100_000))
            words = {"global_period": 100_000, "global_quota": quota}
            try:
                domain.setSchedulerParametersFlags({**words, "cpu_shares": plan.shares}, live)
            except libvirt.libvirtError:
                # A host without CPU controller: what is no quota can still be fewer CPUs.
                if plan.cores < plan.vcpus or it.cores < it.vcpus:
                    raise
                if plan.vcpus < plugged:
                    domain.setVcpusFlags(plan.vcpus, live)

        hands.cluster.domain(found.host, it.name, "reshape CPU of", act, max(10.0, deadline.left_s))
        if it.agent_connected and it.most_vcpus > 1:
            # The quota holds in any case: a guest that keeps its CPUs is only less comfortable.
            try:
                hands.cluster.domain(
                    found.host,
                    it.name,
                    "use CPUs of",
                    lambda domain: guest_agent.set_online_vcpus(domain, plan.vcpus),
                    seconds + 5.0,
                )
            except WorldError as error:
                hands.abilities.learn(it.uuid, "give CPUs up", said(error))
        elif plan.vcpus > it.vcpus and not it.agent_connected:
            hands.abilities.learn(it.uuid, "be told of new CPUs", "no agent answers")

    def _memory(self, found: Found, mib: float, deadline: Deadline) -> None:
        libvirt, hands = library(), self._hands
        it = found.definition
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE
        plugged = 0.0 if it.virtio_mem_mib is None else it.virtio_mem_mib[2]
        base = it.memory_mib - (0.0 if it.virtio_mem_mib is None else it.virtio_mem_mib[0])
        if it.virtio_mem_mib is not None:
            wanted = min(it.virtio_mem_mib[0], max(0.0, mib - base))
            if abs(wanted - plugged) > 1.0:
                self._virtio_mem(found, wanted, deadline)
        if it.has_balloon:
            kib = round(mib * 1024)
            hands.cluster.domain(
                found.host, it.name, "balloon", lambda domain: domain.setMemoryFlags(kib, live), 10.0
            )

        def reached() -> bool:
            seen = hands.cluster.look(found.host, it.name)
            return (
                seen is not None
                and same((0.0, seen.definition.current_mib, 0.0, 0.0, 0.0), (0.0, mib, 0.0, 0.0, 0.0))[MEMORY]
            )

        Deadline(min(20.0, deadline.left_s)).until(reached)

    def _virtio_mem(self, found: Found, mib: float, deadline: Deadline) -> None:
        libvirt = library()

        def act(domain: Any) -> None:
            root = ET.fromstring(domain.XMLDesc(0))  # noqa: S314 - libvirt's own answer
            node = next(m for m in root.iterfind("devices/memory") if m.get("model") == "virtio-mem")
            requested, block = node.find("target/requested"), node.find("target/block")
            step = 2048 if block is None else int(block.text or 2048)
            if requested is None:
                raise WorldError("virtio-mem: expected a requested size, found none")
            requested.text, requested.attrib = str(round(mib * 1024 / step) * step), {"unit": "KiB"}
            domain.updateDeviceFlags(ET.tostring(node, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE)

        self._hands.cluster.domain(found.host, found.definition.name, "plug memory of", act, 10.0)

        def reached() -> bool:
            seen = self._hands.cluster.look(found.host, found.definition.name)
            device = None if seen is None else seen.definition.virtio_mem_mib
            return device is not None and abs(device[2] - mib) <= 2.0

        Deadline(min(20.0, deadline.left_s)).until(reached)

    def _disk(self, found: Found, mib_s: float, _deadline: Deadline) -> None:
        """Each of its disks gets an equal part of the limit; 0 = none."""
        libvirt, it = library(), found.definition
        if not it.disks:
            return  # nothing to limit: the metadata keeps what was promised
        each = _at_least_one(mib_s * 2**20 / len(it.disks))

        def act(domain: Any) -> None:
            for disk in it.disks:
                domain.setBlockIoTune(disk.target, {"total_bytes_sec": each}, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        self._hands.cluster.domain(found.host, it.name, "limit disks of", act, 10.0)

    def _network(self, found: Found, mbit: float, _deadline: Deadline) -> None:
        """Each way of each card gets an equal part, as an allocation is received and sent together; 0 = no limit."""
        libvirt, it = library(), found.definition
        if not it.interfaces:
            return
        each = _at_least_one(mbit * KIB_S_PER_MBIT / len(it.interfaces) / 2.0)

        def act(domain: Any) -> None:
            for card in it.interfaces:
                limits: dict[str, int] = {}
                for way in ("inbound", "outbound"):
                    burst = max(64, each // 16) if each else 0
                    limits |= {f"{way}.average": each, f"{way}.peak": each, f"{way}.burst": burst}
                domain.setInterfaceParameters(card.device, limits, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        self._hands.cluster.domain(found.host, it.name, "limit cards of", act, 10.0)


def _at_least_one(limit: float) -> int:
    """A limit in whole units; none stays none, which to libvirt is 0, and the smallest one stays a limit."""
    return max(1, round(limit)) if limit > 0.0 else 0
