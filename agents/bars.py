"""What a tick's decisions may not touch: VMs that stay where they are, hosts that take none or are to come empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.model.action import Action

U8 = npt.NDArray[np.uint8]

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
    """A component that bars what this tick's candidates may touch."""

    def bars(self, state: ClusterState, so_far: Bars, /) -> Bars:
        """Its marks of this tick, beside those of others; asked once a tick, before anything is offered."""
        ...


@runtime_checkable
class Heeding(Barring, Protocol):
    """A component whose marks depend on those of others: it is asked after them."""

    @property
    def heeds(self) -> bool:
        """Always true: what tells it from others."""
        ...


@runtime_checkable
class BarSeer(Protocol):
    """A component that plans around what others bar."""

    def see_bars(self, bars: Bars) -> None:
        """What all components together bar this tick; comes before anything is offered."""
        ...


@runtime_checkable
class Admitting(Protocol):
    """A component that looks at the plan once more before it is carried out."""

    def admit(self, state: ClusterState, actions: Sequence[Action], bars: Bars | None = None) -> list[Action]:
        """The actions that may be, in their order, with the state as it is seen now."""
        ...
