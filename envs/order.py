"""Actions in names that outlive a tick, and the port of a world whose actions must survive a crash.

An ``Action`` counts VMs and hosts by their slots in one state. An ``Order`` is the same in durable names, so that
it can be journalled before anything is touched, read again after a crash, compared with what the world shows then,
and finished, compensated or abandoned.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from foreshade.envs.model.action import Action, ActionKind, Allocation
from foreshade.envs.world import World


class Standing(StrEnum):
    """How far an order is, by what the world shows and not by what a call returned."""

    UNTOUCHED = "untouched"  # nothing of it can be seen
    UNDER_WAY = "under way"  # the world is at it and will end it by itself
    HALF_DONE = "half done"  # begun, and nothing works at it any more
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Order:
    """One action in durable names; JSON can hold every field."""

    key: str  # unique; an order carried out twice changes the world once
    kind: ActionKind
    vm: str = ""  # that it acts on; of spawn, shadow and microvm the one to be made, named beforehand
    primary: str = ""  # of the shadow to be made
    host: str = ""  # where it goes, or that is switched or hired
    source: str = ""  # where the VM stood when the order was made
    app: str = ""
    rack: str = ""
    value: float = 0.0  # as in ``Action``
    value2: float = 0.0
    allocation: Allocation | None = None
    before: float = 0.0  # of what ``value`` changes (weight, power), to go back to
    allocation_before: Allocation | None = None  # of a reshape, to go back to
    reason: str = ""
    by: str = ""  # who decided on it: ham, rules or person; "" = that was not noted


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a call."""

    standing: Standing
    error: str = ""  # one line where it failed: what, expected, found
    again: bool = False  # whether the same call may succeed soon: the world was busy or out of reach


class DurableWorld(World, Protocol):
    """A world whose orders can be found again after a crash of whoever gave them."""

    def order(self, action: Action, key: str) -> Order:
        """The action in durable names, from the state last observed.

        Raises:
            ActionError: it names a VM, host, rack or application that there is not.

        """
        ...

    def carry_out(self, order: Order, timeout_s: float) -> Result:
        """Do it, and say how far it came by what the world shows afterwards.

        Returns when it is done, has failed, or goes on by itself (``UNDER_WAY``: ask ``standing`` later); at the
        latest after ``timeout_s``. May be called from several threads for orders on different VMs. Never raises for
        what the world looks like or for a world that does not answer: that is a result with an error.
        """
        ...

    def standing(self, order: Order) -> Standing:
        """How far it is now; also after a restart of this process.

        Raises:
            WorldError: the world does not answer, so nothing is known.

        """
        ...

    def compensate(self, order: Order, timeout_s: float) -> Result:
        """Bring back what stood before a half-done order; ``UNTOUCHED`` where that worked."""
        ...
