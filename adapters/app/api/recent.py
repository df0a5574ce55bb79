"""The ticks behind us, kept in memory for charts: what was wanted, what hosts gave, and what each tick came to."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from foreshade.adapters.wire.forecast import Moment
from foreshade.envs.snapshot import Snapshot

F32 = npt.NDArray[np.float32]
#: A day at 300 s.
KEPT = 288
_DENSE = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """Amounts of one tick."""

    time: datetime
    demand: F32  # (n_vms, 4) as estimated
    birth: npt.NDArray[np.uint32]  # (n_vms,) tells the VMs of one slot apart
    app: npt.NDArray[np.int32]  # (n_vms,)
    usage: F32  # (n_hosts, 4)


class Recent:
    """Written by the controller's thread, read by requests; a reader sees a tick whole or not at all."""

    def __init__(self, kept: int = KEPT) -> None:
        self._samples: deque[Sample] = deque(maxlen=kept)
        self._moments: deque[Moment] = deque(maxlen=kept)

    def add(self, snapshot: Snapshot, moment: Moment) -> None:
        """One tick more."""
        vms, hosts = snapshot.vms, snapshot.hosts
        self._samples.append(
            Sample(
                datetime.fromtimestamp(snapshot.unix_s, UTC),
                np.array(vms["demand"][:, :_DENSE]),
                vms["birth"],
                vms["app"],
                np.array(hosts["usage"][:, :_DENSE]),
            )
        )
        self._moments.append(moment)

    def remember(self, moment: Moment) -> None:
        """A tick of before this process began, of which no amounts are known."""
        self._moments.append(moment)

    def moments(self, last: int) -> list[Moment]:
        """The latest ticks, the oldest first."""
        return list(self._moments)[-last:]

    def of_vm(self, slot: int, birth: int, resource: int) -> list[tuple[datetime, float]]:
        """Demand of one VM since it is there."""
        return [
            (s.time, float(s.demand[slot, resource]))
            for s in list(self._samples)
            if slot < len(s.birth) and int(s.birth[slot]) == birth
        ]

    def of_app(self, app: int, resource: int) -> list[tuple[datetime, float]]:
        """Demand of the VMs of one application."""
        return [(s.time, float(s.demand[s.app == app, resource].sum())) for s in list(self._samples)]

    def of_hosts(self, hosts: Sequence[int], resource: int) -> list[tuple[datetime, float]]:
        """Usage of some hosts together."""
        rows = np.asarray(hosts, dtype=np.int64)
        return [
            (s.time, float(s.usage[rows[rows < len(s.usage)], resource].sum())) for s in list(self._samples)
        ]
