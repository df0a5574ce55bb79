"""The host information database: a view of the newest snapshot and of the history, one row for each host.

Capacity and allocation are of the snapshot; utilisation is the mean and peak of what was measured over a window; and
of each shadow on a host, whom it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshade.adapters.control_models import HostRecord
from foreshade.adapters.store.history import History
from foreshade.envs.model.state import HostState, Resource, VmKind, VmState
from foreshade.envs.snapshot import Snapshot


def host_database(
    snapshot: Snapshot, history: History | None, window_s: float = 3_600.0
) -> Sequence[HostRecord]:
    """Every host, in the order of the inventory; without a history nothing was measured."""
    measured: dict[str, list[float]] = {}
    if history is not None:
        latest = history.latest("hosts", snapshot.unix_s - window_s)
        measured = {name: numbers for name, *numbers in latest.iter_rows()}
    vms = snapshot.vms
    shadows: dict[int, dict[str, str]] = {}
    standing = (vms["kind"] == VmKind.SHADOW) & (vms["state"] != VmState.ABSENT) & (vms["host"] >= 0)
    for slot in np.flatnonzero(standing).tolist():
        primary = int(vms["primary"][slot])
        names = shadows.setdefault(int(vms["host"][slot]), {})
        names[snapshot.names[slot]] = snapshot.names[primary] if primary >= 0 else ""
    rows = []
    for slot, facts in enumerate(snapshot.inventory.hosts):
        hosts = snapshot.hosts
        cpu, memory = (float(hosts["capacity"][slot, r]) for r in (Resource.CPU, Resource.MEMORY))
        used = measured.get(facts.name)
        of = (cpu, memory, cpu, memory)
        shares = (
            [None] * 4
            if used is None
            else [x / c if c > 0.0 else None for x, c in zip(used, of, strict=True)]
        )
        rows.append(
            HostRecord(
                name=facts.name,
                rack=facts.rack,
                zone=facts.zone,
                state=HostState(hosts["state"][slot]).name.lower(),
                cpu_mhz=cpu,
                memory_mib=memory,
                allocated_cpu_mhz=float(hosts["allocated"][slot, Resource.CPU]),
                allocated_memory_mib=float(hosts["allocated"][slot, Resource.MEMORY]),
                vms=int(hosts["n_vms"][slot]),
                mean_cpu=shares[0],
                peak_cpu=shares[2],
                mean_memory=shares[1],
                peak_memory=shares[3],
                shadows=shadows.get(slot, {}),
            )
        )
    return rows
