"""Which VMs a controller made, and how long they took to serve; learned from what is seen of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.model.action import Boot
from foreshade.envs.model.state import VmKind, VmState

#: How fast a boot time follows what is seen of it.
RATE = 0.3


class Members:
    """The production VMs that came up without having waited: a controller's, so a controller may end them.

    What was there at first, and what was seen to wait for a host, is its owner's.
    """

    def __init__(self) -> None:
        self._birth: npt.NDArray[np.uint32] | None = None
        self._there: npt.NDArray[np.bool_] | None = None
        self.elastic = np.zeros(0, np.bool_)  # (n_vms,)
        self.since_s = np.zeros(0)  # (n_vms,) when it was first seen
        self.new: tuple[int, ...] = ()  # elastic VMs that were not there a tick ago

    def look(self, state: ClusterState) -> None:
        """A tick begins."""
        vms = state.vms
        there = vms.state != VmState.ABSENT
        production = there & (vms.kind == VmKind.PRODUCTION)
        if self._birth is None or self._there is None or len(self._birth) != len(vms.birth):
            self.elastic = np.zeros(len(there), np.bool_)
            self.since_s = np.full(len(there), state.time_s)
            self.new = ()
        else:
            fresh = there & (~self._there | (vms.birth != self._birth))
            made = fresh & production & (vms.state != VmState.PENDING) & (vms.state != VmState.FAILED)
            self.elastic &= there & ~fresh
            self.elastic |= made
            self.since_s[fresh] = state.time_s
            self.new = tuple(np.flatnonzero(made).tolist())
        self._birth, self._there = np.array(vms.birth), there


@dataclass(slots=True)
class BootTimes:
    """Seconds from the request to serving, by boot path: a declared prior, corrected by what is seen.

    A VM is seen once a tick, so that what is observed of its boot is an interval; an estimate within it stands.
    """

    prior_s: Mapping[Boot, float]
    seen: dict[Boot, int] = field(default_factory=dict)
    _learned: dict[Boot, float] = field(default_factory=dict)
    _waiting: dict[tuple[int, int], tuple[Boot, float, float]] = field(default_factory=dict)

    def of(self, path: Boot) -> float:
        """The estimate."""
        return self._learned.get(path, self.prior_s[path])

    def began(self, vm: int, birth: int, path: Boot, at_s: float) -> None:
        """A VM was requested at that time."""
        self._waiting[vm, birth] = (path, at_s, at_s)

    def look(self, state: ClusterState) -> None:
        """What has come up since the last look."""
        for (vm, birth), (path, asked_s, last_s) in list(self._waiting.items()):
            if int(state.vms.birth[vm]) != birth or state.vms.state[vm] in (VmState.ABSENT, VmState.FAILED):
                del self._waiting[vm, birth]
            elif state.vms.state[vm] == VmState.BOOTING:
                self._waiting[vm, birth] = (path, asked_s, state.time_s)
            else:
                del self._waiting[vm, birth]
                self._observed(path, last_s - asked_s, state.time_s - asked_s)

    def _observed(self, path: Boot, at_least_s: float, at_most_s: float) -> None:
        now = self.of(path)
        bound = min(max(now, at_least_s), at_most_s)
        self._learned[path] = now + RATE * (bound - now)
        self.seen[path] = self.seen.get(path, 0) + 1
