"""Durable names for the slots of a simulated cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from foreshade._core import ClusterState
from foreshade.envs.errors import ActionError
from foreshade.envs.model.state import VmState
from foreshade.envs.workloads.workload import Workload


@dataclass(slots=True)
class Memory:
    """What the simulator does not hold: names, and what is half done. Made again by every replay."""

    made: dict[str, tuple[int, int]] = field(default_factory=dict)  # slot and birth of VMs that orders made
    done: dict[str, int] = field(default_factory=dict)  # steps done of each order, by its key
    defined: set[str] = field(default_factory=set)  # names taken by VMs that were never started
    incoming: dict[str, str] = field(default_factory=dict)  # VM to the host on which a copy of it waits
    racks_off: set[str] = field(default_factory=set)


def host_name(slot: int) -> str:
    """Of a host, by its slot."""
    return f"host{slot:04d}"


def rack_name(rack: int) -> str:
    """Of a rack."""
    return f"rack{rack}"


class Names:
    """Slots by name and names by slot, as a state has them."""

    def __init__(self, workload: Workload, n_hosts: int, n_racks: int) -> None:
        self.apps = workload.apps.name
        self.hosts = tuple(host_name(h) for h in range(n_hosts))
        self.racks = tuple(rack_name(r) for r in range(n_racks))
        self._own = workload.vms.name
        self._app_slots = {name: a for a, name in enumerate(self.apps)}
        self._host_slots = {name: h for h, name in enumerate(self.hosts)}
        self._rack_slots = {name: r for r, name in enumerate(self.racks)}
        self._vm_slots = {name: v for v, name in enumerate(self._own)}

    def vms(self, state: ClusterState, memory: Memory) -> list[str]:
        """Of every slot; a VM that no order made is called by its slot and birth."""
        births = state.vms.birth.tolist()
        names = [
            self._own[slot] if birth == 0 and slot < len(self._own) else f"vm{slot}.{birth}"
            for slot, birth in enumerate(births)
        ]
        for name, (slot, birth) in memory.made.items():
            if births[slot] == birth:
                names[slot] = name
        return names

    def vm(self, name: str, state: ClusterState, memory: Memory) -> int:
        """Slot of a VM that is there now; -1 = it is not."""
        slot, birth = memory.made.get(name, (self._vm_slots.get(name, -1), 0))
        if slot < 0 or state.vms.birth[slot] != birth or state.vms.state[slot] == VmState.ABSENT:
            return -1
        return slot

    def host(self, name: str) -> int:
        """Slot of a host; -1 of no name, ActionError of one that there is not."""
        return _find(name, self._host_slots, "host")

    def rack(self, name: str) -> int:
        """Likewise of a rack."""
        return _find(name, self._rack_slots, "rack")

    def app(self, name: str) -> int:
        """Likewise of an application."""
        return _find(name, self._app_slots, "application")


def _find(name: str, slots: Mapping[str, int], what: str) -> int:
    if not name:
        return -1
    if name not in slots:
        raise ActionError(f"expected a {what} {name}, found none")
    return slots[name]
