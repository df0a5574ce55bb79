"""What every host is doing, by libvirt, by its management controller and by the cloud that rents it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from foreshade.adapters.clouds import Lease
from foreshade.adapters.libvirt_world.cluster import Cluster
from foreshade.adapters.libvirt_world.deadline import Pending
from foreshade.adapters.libvirt_world.library import said
from foreshade.adapters.libvirt_world.snapshot import HostView
from foreshade.adapters.power import Power, PowerReading, PowerState, Proofs
from foreshade.envs.errors import WorldError
from foreshade.envs.model.state import HostState

log = logging.getLogger(__name__)

#: How long an observation waits for management controllers; those that are slower are heard in the next.
_POWER_S = 1.0


class HostWatch:
    """States of hosts, and what machines and racks draw."""

    def __init__(
        self,
        cluster: Cluster,
        order: tuple[str, ...],
        powers: Mapping[str, Power],
        rack_powers: Mapping[str, Power],
        rented: frozenset[str],
        lease: Callable[[str], Lease],
        proofs: Proofs,
        now_s: Callable[[], float],
    ) -> None:
        self._cluster, self._order = cluster, order
        self._powers, self._rack_powers = powers, rack_powers
        self._rented_hosts, self._lease, self._proofs, self._now_s = rented, lease, proofs, now_s
        self.views: dict[str, HostView] = {}
        self.power: dict[str, PowerReading] = {}
        self.rack_power: dict[str, PowerReading] = {}
        self._leases: dict[str, Lease] = {}
        self._asked: dict[str, Pending[PowerReading]] = {}
        self._seen_off: set[str] = set()

    @property
    def off(self) -> frozenset[str]:
        """Hosts that are known to have no power."""
        return frozenset(name for name, reading in self.power.items() if reading.state is PowerState.OFF)

    def update(self, now: float) -> None:
        """States as they are now, from samples and readings."""
        for name in self._order:
            state = self._state(name, now)
            reading = self.power.get(name)
            told = reading is not None and now - reading.at_s < self._cluster.settings.timeouts.stale
            watts = reading.power_w if reading is not None and told else None
            before = self.views.get(name)
            since = now if before is None or before.state is not state else before.since_s
            self.views[name] = HostView(state, since, watts)

    def _state(self, name: str, now: float) -> HostState:
        live = self._cluster.hosts.get(name)
        reading = self.power.get(name)
        if name in self._rented_hosts and live is None:
            lease = self._leases.get(name, Lease.NONE)
            return HostState.RENTING if lease is Lease.COMING else HostState.UNRENTED
        if reading is not None and reading.state is PowerState.OFF:
            return HostState.OFF
        if reading is not None and reading.state is PowerState.TURNING_OFF:
            return HostState.SHUTTING_DOWN
        answers = live is not None and live.connection.connected and live.failed_samples == 0
        if answers:
            return HostState.ON
        if name in self._seen_off or (reading is not None and reading.state is PowerState.TURNING_ON):
            return HostState.BOOTING
        last = None if live is None else live.meter.last
        age = float("inf") if last is None else now - last.at_s
        # A host that is silent for long is nobody's to fill; what stands there is shown with its age.
        return HostState.ON if age < self._cluster.settings.timeouts.stale else HostState.MAINTENANCE

    def ask(self) -> None:
        """Begin to ask management controllers; those that did not answer last time are still being asked."""
        for kind, table in (("host", self._powers), ("rack", self._rack_powers)):
            for name, power in table.items():
                key = f"{kind} {name}"
                if key not in self._asked:
                    self._asked[key] = Pending(f"power of {key}", power.read)

    def hear(self) -> None:
        """What they said by now; silence keeps what was said before, with its time."""
        end = time.monotonic() + _POWER_S
        for key, pending in list(self._asked.items()):
            kind, _, name = key.partition(" ")
            try:
                reading = pending.result(end - time.monotonic())
            except WorldError:
                if pending.ended:
                    del self._asked[key]
                continue
            del self._asked[key]
            if kind == "rack":
                self.rack_power[name] = reading
                continue
            self.power[name] = reading
            if reading.state is PowerState.OFF:
                self._seen_off.add(name)
            elif reading.state is PowerState.ON and name in self._seen_off:
                live = self._cluster.hosts.get(name)
                if live is not None and live.connection.connected:
                    self._seen_off.discard(name)
                    self._proofs.prove(name, self._now_s())

    def rented(self) -> None:
        """Which rented hosts are there, by their clouds; one that does not answer changes nothing."""
        for name in self._rented_hosts:
            try:
                self._leases[name] = self._lease(name)
            except WorldError as error:
                log.warning("%s", said(error))
