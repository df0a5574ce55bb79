"""Rates from counters, each with the time at which it was known.

A metric that is not there stays unknown: it is never read as zero. What a guest's memory is used for only the guest
can say; where its balloon driver is silent, all that it was given counts as used.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, fields, replace

from foreshade.adapters.libvirt_world.sample import DomainCounters, HostSample

#: Two samples closer than this give no rate: their own error would be in it.
LEAST_S = 0.2


@dataclass(frozen=True, slots=True)
class Reading:
    """A value and when it was true, on our monotonic clock."""

    value: float
    at_s: float

    def age_s(self, now_s: float) -> float:
        """Seconds since then."""
        return max(0.0, now_s - self.at_s)


@dataclass(frozen=True, slots=True)
class VmReadings:
    """One VM's metrics; None = never known."""

    cores: Reading | None = None  # CPU seconds a second
    contention: Reading | None = None  # share of wanted CPU time spent waiting
    memory_mib: Reading | None = None  # used, as the guest says
    disk_mib_s: Reading | None = None
    network_mbit: Reading | None = None

    def age_s(self, now_s: float) -> float:
        """Of the newest sample of its load; infinite before the first."""
        return float("inf") if self.cores is None else self.cores.age_s(now_s)


@dataclass(frozen=True, slots=True)
class HostReadings:
    """One host's metrics."""

    busy: Reading | None = None  # share of all its CPUs
    used_mib: Reading | None = None
    contention: Reading | None = None  # of all its guests together
    power_w: Reading | None = None  # libvirt does not tell it


class Meter:
    """The metrics of one host and its domains, from its samples in turn."""

    def __init__(self) -> None:
        self._last: HostSample | None = None
        self._rate_from: HostSample | None = None
        self.host = HostReadings()
        self.vms: dict[str, VmReadings] = {}
        self._told: dict[str, int] = {}
        self._rates = 0

    @property
    def last(self) -> HostSample | None:
        """The newest sample; None before the first."""
        return self._last

    @property
    def rated(self) -> bool:
        """Whether two samples were far enough apart for rates; also where there is nothing to rate."""
        return self._rates > 0

    def restart(self) -> None:
        """The host was away: its counters may have begun again, so that the next sample gives no rate."""
        self._rate_from = None

    def add(self, sample: HostSample) -> None:
        """Take the next sample in."""
        before = self._rate_from
        self._last = sample
        if before is not None and sample.at_s - before.at_s < LEAST_S:
            return
        self._rate_from = sample
        seconds = 0.0 if before is None else sample.at_s - before.at_s
        self._rates += before is not None
        ran = waited = 0
        vms = {}
        for uuid, now in sample.domains.items():
            then = None if before is None else before.domains.get(uuid)
            vms[uuid] = self._vm(uuid, then, now, seconds, sample.at_s)
            if then is not None and now.cpu_ns is not None and now.delay_ns is not None:
                ran += max(0, now.cpu_ns - (then.cpu_ns or 0))
                waited += max(0, now.delay_ns - (then.delay_ns or 0))
        self.vms = vms
        self._told = {uuid: told for uuid, told in self._told.items() if uuid in vms}
        self._host(before, sample, ran, waited)

    def _vm(
        self, uuid: str, then: DomainCounters | None, now: DomainCounters, seconds: float, at_s: float
    ) -> VmReadings:
        old = self.vms.get(uuid, VmReadings())
        memory = old.memory_mib
        if now.guest_available_mib is not None and now.guest_usable_mib is not None:
            # A balloon driver that stopped telling leaves its last figure: only a newer time stamp is news.
            if now.guest_told_s is None or self._told.get(uuid) != now.guest_told_s:
                memory = Reading(max(0.0, now.guest_available_mib - now.guest_usable_mib), at_s)
            if now.guest_told_s is not None:
                self._told[uuid] = now.guest_told_s
        if then is None or seconds <= 0.0:
            return VmReadings(old.cores, old.contention, memory, old.disk_mib_s, old.network_mbit)
        cores = _rate(then.cpu_ns, now.cpu_ns, seconds * 1e9)
        waited = _rate(then.delay_ns, now.delay_ns, seconds * 1e9)
        contention = old.contention
        if cores is not None and waited is not None:
            whole = cores + waited
            contention = Reading(min(waited / whole, 0.99) if whole > 0.0 else 0.0, at_s)
        return VmReadings(
            _reading(cores, at_s, old.cores),
            contention,
            memory,
            _reading(_rate(then.disk_bytes, now.disk_bytes, seconds * 2**20), at_s, old.disk_mib_s),
            _reading(
                _rate(then.network_bytes, now.network_bytes, seconds * 1e6 / 8.0), at_s, old.network_mbit
            ),
        )

    def _host(self, before: HostSample | None, now: HostSample, ran: int, waited: int) -> None:
        busy = self.host.busy
        if before is not None:
            whole = _rate(before.node.all_ns, now.node.all_ns, 1.0)
            used = _rate(before.node.busy_ns, now.node.busy_ns, 1.0)
            if whole and used is not None:
                busy = Reading(min(1.0, used / whole), now.at_s)
        memory = self.host.used_mib
        if now.node.memory_known:
            memory = Reading(max(0.0, now.node.memory_mib - now.node.free_mib), now.at_s)
        contention = self.host.contention
        if ran + waited > 0:
            contention = Reading(min(waited / (ran + waited), 0.99), now.at_s)
        elif before is not None:
            contention = Reading(0.0, now.at_s)
        self.host = HostReadings(busy, memory, contention)


class LastReadings:
    """What was measured last of each VM, wherever it stood: one that has just moved is no unknown load.

    A host's counters of a VM begin when it arrives, and give no rate before the second sample.
    """

    def __init__(self) -> None:
        self._kept: dict[str, VmReadings] = {}

    def of(self, uuid: str, here: VmReadings) -> VmReadings:
        """What its host measures of it, or else what another one did, at its own time."""
        before = self._kept.get(uuid)
        if before is not None:
            missing = {
                f.name: getattr(before, f.name) for f in fields(VmReadings) if getattr(here, f.name) is None
            }
            here = replace(here, **missing)
        self._kept[uuid] = here
        return here

    def keep(self, uuids: Container[str]) -> None:
        """Forget all others."""
        self._kept = {uuid: kept for uuid, kept in self._kept.items() if uuid in uuids}


def _rate(then: int | None, now: int | None, per: float) -> float | None:
    """Growth of a counter; None where one is missing or it began again."""
    if then is None or now is None or now < then:
        return None
    return (now - then) / per


def _reading(value: float | None, at_s: float, old: Reading | None) -> Reading | None:
    return old if value is None else Reading(value, at_s)
