"""What a monitoring system measures of hosts and guests, in the place of what libvirt can tell of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from foreshade.adapters.libvirt_world.deadline import Pending
from foreshade.adapters.libvirt_world.telemetry import HostReadings, Reading, VmReadings
from foreshade.adapters.metrics import Measured, Metrics
from foreshade.envs.errors import WorldError

#: How long an observation waits for the source; what is slower is heard in the next.
_WAIT_S = 1.0


class Outside:
    """Asks each metric beside the sampling of the hosts; what was heard ages until it is heard again.

    A metric is taken from here while it is not stale, then from libvirt where that has it. What neither knows stays
    unknown, and is never zero.
    """

    def __init__(
        self,
        hosts: Mapping[str, Metrics],
        vms: Mapping[str, Metrics],
        stale_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args are by name of the field of ``HostReadings`` and ``VmReadings``; nothing is asked yet."""
        self._metrics = {("host", name): one for name, one in hosts.items()}
        self._metrics |= {("vm", name): one for name, one in vms.items()}
        self._stale_s, self._now_s = stale_s, now_s
        self._asked: dict[tuple[str, str], Pending[tuple[float, Mapping[str, Measured]]]] = {}
        self._known: dict[tuple[str, str], dict[str, Reading]] = {}
        self._errors: dict[tuple[str, str], str] = {}

    @property
    def troubles(self) -> list[str]:
        """What the source said instead of values, a line for each metric."""
        return list(dict.fromkeys(self._errors.values()))

    def ask(self) -> None:
        """Begin to ask; what did not answer last time is still being asked."""
        for key, one in self._metrics.items():
            if key not in self._asked:
                # Its age counts from before the question: an answer that took its time is older, not newer.
                begun = self._now_s()
                self._asked[key] = Pending(
                    f"metric {key[1]} of {key[0]}s",
                    lambda one=one, begun=begun: (begun, one.read()),  # type: ignore[misc]
                )

    def hear(self) -> None:
        """What was said by now; silence keeps what was said before, with its time."""
        end = time.monotonic() + _WAIT_S
        for key, pending in list(self._asked.items()):
            try:
                begun, values = pending.result(end - time.monotonic())
            except WorldError as error:
                self._errors[key] = str(error)
                if pending.ended:
                    del self._asked[key]
                continue
            del self._asked[key]
            self._errors.pop(key, None)
            known = self._known.setdefault(key, {})
            known.update({name: Reading(said.value, begun - said.age_s) for name, said in values.items()})
            self._known[key] = {n: r for n, r in known.items() if r.age_s(self._now_s()) < 2 * self._stale_s}

    def close(self) -> None:
        """Ask nothing any more."""
        for one in self._metrics.values():
            one.close()

    def vm(self, name: str, uuid: str, own: VmReadings) -> VmReadings:
        """The readings of a VM, known to the source by its name or UUID."""
        found = self._newer("vm", (name, uuid))
        return replace(own, **found) if found else own

    def host(self, name: str, own: HostReadings) -> HostReadings:
        """The readings of a host."""
        found = self._newer("host", (name,))
        return replace(own, **found) if found else own

    def _newer(self, kind: str, names: tuple[str, ...]) -> dict[str, Reading]:
        now = self._now_s()
        found: dict[str, Reading] = {}
        for (of, metric), known in self._known.items():
            for name in names:
                reading = known.get(name) if of == kind else None
                if reading is not None and reading.age_s(now) < self._stale_s:
                    found[metric] = reading
        return found
