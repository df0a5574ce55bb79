"""What the API shows of a cluster: one instant, never written after it was made.

The controller's thread makes one a tick and puts it in place with one assignment; requests that began on the one
before go on with that. Nothing here is computed before somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade._core import AnomalyLabel
from foreshade.envs.inventory import Inventory
from foreshade.envs.model.state import HostState, VmKind, VmState
from foreshade.envs.snapshot import VM_WORDS, Snapshot

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sight:
    """A snapshot with its names."""

    name: str  # of the cluster
    world: str  # what stands behind it: simulated, libvirt
    snapshot: Snapshot

    @property
    def tick(self) -> int:
        """Number of the tick."""
        return self.snapshot.tick

    @property
    def tick_s(self) -> float:
        """Length of a tick."""
        return self.snapshot.site.tick_s

    @property
    def epoch(self) -> float:
        """Unix time of the snapshot, by the world's clock."""
        return self.snapshot.unix_s

    @property
    def inventory(self) -> Inventory:
        """Names by slot."""
        return self.snapshot.inventory

    @cached_property
    def hosts(self) -> Mapping[str, Any]:
        """Columns of the hosts, as JSON shows them."""
        return {name: _readable(column) for name, column in self.snapshot.hosts.items()}

    @cached_property
    def vms(self) -> Mapping[str, Any]:
        """Columns of the VMs, likewise."""
        return {name: _readable(column) for name, column in self.snapshot.vms.items()}

    @property
    def vm_states(self) -> I64:
        """(n_vms,) codes of ``VM_STATES``."""
        return self.snapshot.vm_states

    @cached_property
    def host_names(self) -> list[str]:
        """By slot."""
        return [host.name for host in self.inventory.hosts]

    @property
    def vm_names(self) -> list[str]:
        """By slot; "" where it is free."""
        return self.snapshot.names

    @cached_property
    def vm_slots(self) -> I64:
        """Slots where a VM is, ascending."""
        there = self.vms["state"] != int(VmState.ABSENT)
        named = np.fromiter((bool(name) for name in self.vm_names), bool, len(self.vm_names))
        return np.flatnonzero(there & named)

    @cached_property
    def app_numbers(self) -> I64:
        """Applications that have a VM, ascending; one whose VMs are all gone, or are yet to come, is only a name."""
        apps = np.unique(self.vms["app"][self.vm_slots]).astype(np.int64)
        return apps[apps >= 0]

    def rack_name(self, rack: int) -> str:
        """Name of a rack; "" for none."""
        racks = self.inventory.racks
        return racks[rack] if 0 <= rack < len(racks) else ""

    def zone_name(self, zone: int) -> str:
        """Name of a zone; "" for none."""
        zones = self.inventory.zones
        return zones[zone] if 0 <= zone < len(zones) else ""

    def app_name(self, app: int) -> str:
        """Name of an application; "" for none."""
        apps = self.inventory.apps
        return apps[app] if 0 <= app < len(apps) else ""

    def host_name(self, host: int) -> str | None:
        """Name of a host; None for nowhere."""
        return self.host_names[host] if 0 <= host < len(self.host_names) else None

    def vm_name(self, vm: int) -> str | None:
        """Name of a VM; None for none."""
        return (self.vm_names[vm] or None) if 0 <= vm < len(self.vm_names) else None

    @cached_property
    def rented(self) -> npt.NDArray[np.bool_]:
        """(n_hosts,) hosts that a cloud rents us."""
        return np.asarray(self.snapshot.site.rented, bool)

    @cached_property
    def host_utilisation(self) -> F64:
        """(n_hosts, 5) usage over capacity; 0 where there is no capacity."""
        return _share(self.hosts["usage"], self.hosts["capacity"])


def word(member: HostState | VmState | VmKind | AnomalyLabel) -> str:
    """A code's name as JSON has it."""
    return member.name.lower().replace("_", "-")


HOST_STATES: Sequence[str] = [word(state) for state in HostState]
VM_STATES: Sequence[str] = [text.replace("_", "-") for text in VM_WORDS]
VM_KINDS: Sequence[str] = [word(kind) for kind in VmKind]
ANOMALIES: Sequence[str] = [word(label) for label in AnomalyLabel]


def _readable(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """float32 as numbers that people would write: amounts to 0.001, shares and rates to a millionth."""
    if column.dtype != np.float32:
        return column
    return np.asarray(np.round(column.astype(np.float64), 3 if column.ndim == 2 else 6))


def _share(used: F64, of: F64) -> F64:
    return np.asarray(np.round(np.divide(used, of, out=np.zeros_like(used), where=of > 0), 4), np.float64)
