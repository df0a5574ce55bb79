"""What a tick's decisions may not touch: VMs that stay where they are, hosts that take none or are to come empty.

Components are asked in two rounds, before anything is offered: first who marks hosts and VMs for a reason of its own
(``Barring``), then who looks at which hosts the first round empties (``Heeding``). Nobody sees marks of its own
round, so the order within one has no meaning. All marks then go to every ``offers`` and, with the plan, to
``Admitting``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.model.action import Action

U8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

OPEN, CLOSED, LEAVING = 0, 1, 2  # a host takes VMs; takes none for now; takes none and is to be emptied


@dataclass(frozen=True, slots=True)
class Bars:
    """Marks of one tick; those of several watchers add up."""

    fixed: U8  # (n_vms,) 1 = may not migrate
    hosts: U8  # (n_hosts,) OPEN, CLOSED or LEAVING

    @classmethod
    def none(cls, state: ClusterState) -> Bars:
        """Nothing is barred."""
        return cls(np.zeros(len(state.vms.state), np.uint8), np.zeros(len(state.hosts.state), np.uint8))

    def __or__(self, other: Bars) -> Bars:
        """What either of them bars."""
        return Bars(np.maximum(self.fixed, other.fixed), np.maximum(self.hosts, other.hosts))


@runtime_checkable
class Barring(Protocol):
    """A component that bars what this tick's candidates may touch, whatever others bar."""

    def bars(self, state: ClusterState) -> Bars:
        """Its marks of this tick; asked once a tick."""
        ...


@runtime_checkable
class Heeding(Protocol):
    """A component whose marks depend on the hosts that others empty."""

    def heed(self, state: ClusterState, leaving: Mask) -> Bars:
        """Its marks of this tick, where the hosts of ``leaving`` (n_hosts,) are being emptied; asked once a tick."""
        ...


@runtime_checkable
class Admitting(Protocol):
    """A component that looks at the plan once more before it is carried out."""

    def admit(self, state: ClusterState, actions: Sequence[Action], bars: Bars) -> list[Action]:
        """The actions that may be, in their order, with the state as it is seen now."""
        ...


def all_bars(components: Iterable[object], state: ClusterState) -> Bars | None:
    """What components together bar this tick, None where none of them ever bars anything."""
    barring = [c for c in components if isinstance(c, Barring)]
    heeding = [c for c in components if isinstance(c, Heeding)]
    if not barring and not heeding:
        return None
    bars = Bars.none(state)
    for component in barring:
        bars |= component.bars(state)
    leaving = bars.hosts == LEAVING
    for heeder in heeding:
        bars |= heeder.heed(state, leaving)
    return bars
