"""The hosts together: sampled at once, each within its own deadline, and searched for domains.

What is looked up for an order is asked of the hypervisors there and then: samples may be a tick old.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from foreshade.adapters.libvirt_world.connection import Credentials, HostConnection, Retries
from foreshade.adapters.libvirt_world.deadline import Pending
from foreshade.adapters.libvirt_world.domain import Definition
from foreshade.adapters.libvirt_world.incoming import definition_of
from foreshade.adapters.libvirt_world.library import NoAnswerError, is_missing, library, said
from foreshade.adapters.libvirt_world.sample import HostSample, Sampler
from foreshade.adapters.libvirt_world.settings import HostSettings, LibvirtSettings
from foreshade.adapters.libvirt_world.telemetry import Meter
from foreshade.envs.errors import WorldError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """A domain where it was found, as it was then."""

    host: str
    definition: Definition
    state: int
    reason: int
    persistent: bool
    job: bool  # a long job such as a migration works on it

    @property
    def active(self) -> bool:
        """Whether QEMU runs."""
        libvirt = library()
        return self.state not in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED, 0)

    @property
    def running(self) -> bool:
        """Whether its CPUs run."""
        libvirt = library()
        return self.state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED)


class LiveHost:
    """One host with all that is known of it."""

    def __init__(self, said_of_it: HostSettings, uri: str, retries: Retries | None = None) -> None:
        self.settings = said_of_it
        self.name = said_of_it.name
        self.uri = uri
        self.sampler = Sampler()
        self.meter = Meter()
        self.failed_samples = 0
        credentials = None
        if said_of_it.password_file is not None:
            credentials = Credentials(said_of_it.user, said_of_it.password_file)
        self.connection = HostConnection(
            self.name, uri, credentials=credentials, retries=retries, on_event=self.sampler.forget
        )
        self._connected = 0

    @property
    def peer_uri(self) -> str:
        """How other hosts reach it."""
        return self.settings.peer_uri or self.uri

    def begin_sample(self) -> Pending[HostSample] | None:
        """Start taking one; None while it is not connected."""
        if self.connection.times_connected != self._connected:
            self._connected = self.connection.times_connected
            self.meter.restart()
        try:
            return self.connection.start("sample", self.sampler.take)
        except NoAnswerError:
            return None


class Cluster:
    """All hosts of the settings, in the order of their slots."""

    def __init__(self, settings: LibvirtSettings, retries: Retries | None = None) -> None:
        self.settings = settings
        self._retries = retries
        self.hosts: dict[str, LiveHost] = {}
        self._lock = threading.Lock()
        for host in settings.ordered_hosts:
            if host.cloud is None:
                self.hosts[host.name] = LiveHost(host, host.uri, retries)

    def join(self, host: HostSettings, uri: str) -> None:
        """A rented host is there."""
        with self._lock:
            if host.name not in self.hosts or self.hosts[host.name].uri != uri:
                self.part(host.name)
                self.hosts[host.name] = LiveHost(host, uri, self._retries)

    def part(self, name: str) -> None:
        """A rented host is gone."""
        gone = self.hosts.pop(name, None)
        if gone is not None:
            gone.connection.close()

    def close(self) -> None:
        """Disconnect from all."""
        for host in self.hosts.values():
            host.connection.close()

    def connect(self, timeout_s: float) -> None:
        """Wait until all are connected, at most so long."""
        end = time.monotonic() + timeout_s
        for host in self.hosts.values():
            host.connection.wait(end - time.monotonic())

    def sample(self, timeout_s: float) -> None:
        """Sample every host at once; who is not there in time keeps its last sample."""
        begun = {name: host.begin_sample() for name, host in list(self.hosts.items())}
        end = time.monotonic() + timeout_s
        libvirt = library()
        for name, pending in begun.items():
            host = self.hosts[name]
            if pending is None:
                host.failed_samples += 1
                continue
            try:
                host.meter.add(pending.result(end - time.monotonic()))
                host.failed_samples = 0
            except (WorldError, libvirt.libvirtError):
                host.failed_samples += 1

    def host(self, name: str) -> LiveHost:
        """The host of that name.

        Raises:
            WorldError: there is none, or it is not rented now.

        """
        found = self.hosts.get(name)
        if found is None:
            raise WorldError(f"expected a host, found none named {name!r}")
        return found

    def call(self, host: str, what: str, act: Callable[[Any], T], timeout_s: float | None = None) -> T:
        """``HostConnection.call`` of a host by name."""
        timeout = self.settings.timeouts.call if timeout_s is None else timeout_s
        return self.host(host).connection.call(what, act, timeout)

    def guests(self, host: str) -> int:
        """How many domains run there, foreign ones included."""
        return self.call(host, "count guests", lambda conn: int(conn.numOfDomains()))

    def domain(
        self, host: str, name: str, what: str, act: Callable[[Any], T], timeout_s: float | None = None
    ) -> T:
        """Do ``act(virDomain)`` to a domain of that name there; what we knew of it is forgotten."""

        def on(conn: Any) -> T:
            found = conn.lookupByName(name)
            try:
                return act(found)
            finally:
                self.host(host).sampler.forget(found.UUIDString())

        return self.call(host, f"{what} {name}", on, timeout_s)

    def look(self, host: str, name: str, timeout_s: float | None = None) -> Found | None:
        """The domain of that name on a host now; None = there is none.

        Raises:
            WorldError: the host does not answer.

        """
        libvirt = library()

        def on(conn: Any) -> Found | None:
            try:
                domain = conn.lookupByName(name)
                state, reason = domain.state()
                job = state != libvirt.VIR_DOMAIN_SHUTOFF and _has_job(domain)
                said_of_it = definition_of(domain, state, reason)
                return Found(host, said_of_it, state, reason, bool(domain.isPersistent()), job)
            except libvirt.libvirtError as error:
                if is_missing(error):
                    return None
                raise

        try:
            return self.call(host, f"look for {name}", on, timeout_s)
        except libvirt.libvirtError as error:
            raise WorldError(f"host {host}: look for {name}: {said(error)}") from error

    def search(self, name: str, hosts: Sequence[str] | None = None) -> Mapping[str, Found]:
        """Where a domain of that name is, by host: of all hosts, or of those that are named.

        Raises:
            WorldError: one of them does not answer, so that it may be there.

        """
        wanted = list(self.hosts) if hosts is None else list(hosts)
        if len(wanted) == 1:
            found = self.look(wanted[0], name)
            return {} if found is None else {wanted[0]: found}
        begun = [
            (host, Pending(f"look for {name} on {host}", lambda host=host: self.look(host, name)))  # type: ignore[misc]
            for host in wanted
        ]
        end = time.monotonic() + self.settings.timeouts.call + 1.0
        places = {}
        for host, pending in begun:
            found = pending.result(end - time.monotonic())
            if found is not None:
                places[host] = found
        return places


def _has_job(domain: Any) -> bool:
    libvirt = library()
    try:
        return bool(domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE)
    except libvirt.libvirtError:  # not of a driver without jobs, nor of a domain that just went
        return False
