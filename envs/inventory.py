"""What a cluster's slots stand for, in durable names, and the port of a world that a controller can drive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from foreshade.envs.model.action import ActionKind
from foreshade.envs.order import DurableWorld
from foreshade.envs.site import Site


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What an operator says of a host, or has proven of it."""

    name: str
    rack: str = ""
    zone: str = ""
    power_on_proven: bool = False  # it was seen coming back by power management: only then may it go off
    protected: bool = False  # nothing is switched, filled or emptied here
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class VmFacts:
    """Likewise of a VM; ``name`` is "" where the slot is free."""

    name: str = ""
    app: str = ""
    protected: bool = False  # opted out by tag or domain metadata: never touched
    forbidden: frozenset[ActionKind] = frozenset()  # kinds it opted out of
    tags: frozenset[str] = frozenset()
    together: frozenset[str] = frozenset()  # labels; VMs with one in common stand on one host
    apart: frozenset[str] = frozenset()  # labels; VMs with one in common stand on different hosts
    managed: bool = True  # False = foreign: it is seen and counted, and never touched


@dataclass(frozen=True, slots=True)
class Inventory:
    """Facts by slot of the state last observed."""

    hosts: tuple[HostFacts, ...]
    vms: tuple[VmFacts, ...]
    apps: tuple[str, ...] = ()
    racks: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    generation: int = 0  # another number = hosts, racks or applications changed: slots mean other things
    host_slot: Mapping[str, int] = field(init=False, repr=False, compare=False)
    vm_slot: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "host_slot", {host.name: i for i, host in enumerate(self.hosts)})
        object.__setattr__(self, "vm_slot", {vm.name: i for i, vm in enumerate(self.vms) if vm.name})


class Clock(Protocol):
    """Tells the time; of a simulated world its own."""

    def now_s(self) -> float:
        """Unix time in seconds; never runs backwards. For durations, and for what is written down."""
        ...

    def calendar_s(self) -> float:
        """Unix time in seconds as calendars mean it: it follows a clock that is set, forward or back."""
        ...


class ControlledWorld(DurableWorld, Protocol):
    """A durable world that says enough of itself to be driven by a controller.

    ``observe`` raises WorldError where nothing at all can be known; a host or VM that does not answer is shown
    with the age of its last sample. ``advance`` returns at once where the interval has already passed.
    """

    @property
    def clock(self) -> Clock:
        """The time that this world lives by."""
        ...

    @property
    def synced(self) -> bool:
        """Whether inventory and a first sample are there; before that nothing may be decided."""
        ...

    def site(self) -> Site:
        """Prices, power curves and capabilities, for the decision makers; anew with each generation."""
        ...

    def inventory(self) -> Inventory:
        """Facts by slot of the state last observed."""
        ...

    def troubles(self) -> Sequence[str]:
        """What is wrong now, one line each: what, expected, found. Empty = nothing."""
        ...

    def close(self) -> None:
        """Let go of connections and files; nothing in the world changes."""
        ...
