"""One host's counters at one instant, as libvirt gives them. Counters only grow; ``telemetry`` makes rates of two."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foreshade.adapters.libvirt_world.domain import Definition
from foreshade.adapters.libvirt_world.incoming import definition_of, is_incoming
from foreshade.adapters.libvirt_world.library import is_lost, is_missing, library

#: A definition is read again after an event about its domain, and anyway after so many samples.
_SAMPLES_PER_DEFINITION = 10


@dataclass(frozen=True, slots=True)
class NodeCounters:
    """The machine itself."""

    cpus: int
    mhz: int
    memory_mib: float
    free_mib: float  # that could be given away, caches included
    busy_ns: int | None = None  # of all CPUs together; None = the driver does not say
    all_ns: int | None = None
    memory_known: bool = True


@dataclass(frozen=True, slots=True)
class DomainCounters:
    """One domain."""

    definition: Definition
    state: int  # of libvirt's virDomainState
    reason: int
    cpu_ns: int | None = None  # that its vCPUs ran
    delay_ns: int | None = None  # that they waited for a CPU while they could have run
    current_mib: float | None = None  # what the balloon leaves it, memory devices included
    guest_available_mib: float | None = None  # as the guest sees it
    guest_usable_mib: float | None = None  # of that, what it could still use
    guest_told_s: int | None = (
        None  # the host's clock when the guest last told: compared, never read as a time
    )
    rss_mib: float | None = None
    disk_bytes: int | None = None  # read and written
    network_bytes: int | None = None  # received and sent

    @property
    def active(self) -> bool:
        """Whether QEMU runs."""
        libvirt = library()
        return self.state not in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED, 0)


@dataclass(frozen=True, slots=True)
class HostSample:
    """Everything of one host at one instant."""

    at_s: float  # our own monotonic clock, so that hosts whose clocks are wrong do no harm
    node: NodeCounters
    domains: Mapping[str, DomainCounters]  # by UUID
    driver: str = ""  # of libvirt: QEMU, TEST, …


class Sampler:
    """Takes samples of one host; remembers definitions between them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Definition]] = {}
        self._taken = 0

    def forget(self, uuid: str, _kind: str = "") -> None:
        """What is known of this domain's definition is out of date."""
        self._known.pop(uuid, None)

    def take(self, conn: Any) -> HostSample:
        """Ask the host; blocks, so it is called through the host's connection.

        Raises:
            libvirtError: as libvirt has it; a domain that vanishes meanwhile is left out.

        """
        libvirt = library()
        self._taken += 1
        begun = time.monotonic()
        wanted = (
            libvirt.VIR_DOMAIN_STATS_STATE
            | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
            | libvirt.VIR_DOMAIN_STATS_BALLOON
            | libvirt.VIR_DOMAIN_STATS_VCPU
            | libvirt.VIR_DOMAIN_STATS_INTERFACE
            | libvirt.VIR_DOMAIN_STATS_BLOCK
        )
        # Without NOWAIT a domain that migrates or whose agent hangs would keep us until its job ends.
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        try:
            told = conn.getAllDomainStats(wanted, flags)
        except libvirt.libvirtError as error:
            if is_lost(error):
                raise
            told = conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0)  # drivers that know no flag
        domains = {}
        for domain, record in told:
            uuid = domain.UUIDString()
            try:
                domains[uuid] = self._domain(domain, uuid, record)
            except libvirt.libvirtError as error:
                if not is_missing(error):
                    raise
        self._known = {uuid: known for uuid, known in self._known.items() if uuid in domains}
        return HostSample((begun + time.monotonic()) / 2.0, _node(conn), domains, conn.getType())

    def _domain(self, domain: Any, uuid: str, record: Mapping[str, Any]) -> DomainCounters:
        known = self._known.get(uuid)
        state, reason = record.get("state.state", 0), record.get("state.reason", 0)
        if is_incoming(state, reason):
            found = known[1] if known is not None else definition_of(domain, state, reason)
            return _counters(domain, found, record)
        if known is None or self._taken - known[0] >= _SAMPLES_PER_DEFINITION:
            known = (self._taken, definition_of(domain, state, reason))
            self._known[uuid] = known
        return _counters(domain, known[1], record)


def _counters(domain: Any, said: Definition, record: Mapping[str, Any]) -> DomainCounters:
    libvirt = library()
    state, reason = record.get("state.state"), record.get("state.reason")
    if state is None:
        state, reason = domain.state()
    cpu = _sum(record, r"vcpu\.\d+\.time")
    if cpu is None:
        cpu = record.get("cpu.time")
    current = record.get("balloon.current")
    if cpu is None and state != libvirt.VIR_DOMAIN_SHUTOFF and not record.get("vcpu.current"):
        info = domain.info()
        current, cpu = info[2], info[4]
    usable = record.get("balloon.usable", record.get("balloon.unused"))
    available = record.get("balloon.available")
    return DomainCounters(
        definition=said,
        state=int(state),
        reason=int(reason or 0),
        cpu_ns=cpu,
        delay_ns=_sum(record, r"vcpu\.\d+\.delay"),
        current_mib=None if current is None else current / 1024.0,
        guest_available_mib=None if available is None else available / 1024.0,
        guest_usable_mib=None if usable is None else usable / 1024.0,
        guest_told_s=record.get("balloon.last-update"),
        rss_mib=None if record.get("balloon.rss") is None else record["balloon.rss"] / 1024.0,
        disk_bytes=_sum(record, r"block\.\d+\.(rd|wr)\.bytes") if said.disks else 0,
        network_bytes=_sum(record, r"net\.\d+\.(rx|tx)\.bytes") if said.interfaces else 0,
    )


def _sum(record: Mapping[str, Any], pattern: str) -> int | None:
    found = [value for key, value in record.items() if re.fullmatch(pattern, key)]
    return sum(found) if found else None


def _node(conn: Any) -> NodeCounters:
    libvirt = library()
    _, info_memory, cpus, mhz, *_ = conn.getInfo()
    busy = total = None
    try:
        times = conn.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS, 0)
        idle = times.get("idle", 0) + times.get("iowait", 0)
        total = sum(
            value for key, value in times.items() if key in ("kernel", "user", "idle", "iowait", "intr")
        )
        busy = total - idle
    except libvirt.libvirtError as error:
        if is_lost(error):
            raise
    known = True
    try:
        # getInfo's memory is what the kernel booted with, or less: it differs from what there is.
        memory = conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)
        whole = memory["total"] / 1024.0
        free = sum(memory.get(key, 0) for key in ("free", "buffers", "cached")) / 1024.0
    except libvirt.libvirtError as error:
        if is_lost(error):
            raise
        whole, free, known = float(info_memory), 0.0, False
    return NodeCounters(cpus, mhz, whole, free, busy, total, known)
