"""Actions, plans and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum


class ActionKind(IntEnum):
    """What an action does; the order is that of the native enum."""

    WAIT = 0
    SPAWN = 1  # a pending VM on a host, or a new VM of an application
    DESPAWN = 2
    RESHAPE = 3
    MIGRATE = 4
    MICROVM = 5
    SHADOW = 6
    SHIFT = 7
    POWER = 8
    RENT = 9


class PowerTarget(IntEnum):
    """Value of a ``POWER`` action."""

    OFF = 0
    ON = 1
    SLEEP = 2


#: The weight of a ``SHIFT`` that suspends a shadow; 0 resumes it.
SUSPENDED = -1.0


class Boot(IntEnum):
    """How a VM comes up: value of a ``SPAWN`` or ``SHADOW`` action."""

    COLD = 0
    RESTORED = 1  # from a saved image, with its own identity
    SPARE = 2  # resume a paused spare of that application and allocation, which must stand on that host


Allocation = tuple[float, float, float, float, float]  # MHz, MiB, MiB/s, Mbit/s, GPUs


def five(amounts: Sequence[float]) -> Allocation:
    """An allocation of what the native core tells as a list."""
    cpu, memory, disk, network, gpu = amounts
    return cpu, memory, disk, network, gpu


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do to the world; the functions below build each kind."""

    kind: ActionKind
    vm: int = -1
    host: int = -1
    app: int = -1
    rack: int = -1
    value: float = 0.0  # weight, fraction, PowerTarget, Boot or 1/0, as the kind has it
    value2: float = 0.0  # fidelity of a shadow, lifetime (s) of a micro-VM, 1 = a spawned VM becomes a spare
    allocation: Allocation | None = None
    reason: str = ""
    by: str = field(
        default="", compare=False
    )  # who decided on it: ham, rules; what is done does not depend on it


def place(vm: int, host: int, reason: str = "") -> Action:
    """Give a pending or failed VM a host."""
    return Action(ActionKind.SPAWN, vm=vm, host=host, reason=reason)


def spawn(
    app: int,
    host: int,
    allocation: Allocation,
    boot: Boot = Boot.COLD,
    reason: str = "",
    *,
    paused: bool = False,
) -> Action:
    """Start one more VM of an application; it takes traffic with weight 1 once it runs.

    With ``paused`` it becomes a spare: it boots, pauses and waits to be resumed with ``Boot.SPARE``.
    """
    return Action(
        ActionKind.SPAWN,
        app=app,
        host=host,
        allocation=allocation,
        value=float(boot),
        value2=float(paused),
        reason=reason,
    )


def despawn(vm: int, reason: str = "") -> Action:
    """Drain a VM's traffic, shut it down gracefully and free its slot."""
    return Action(ActionKind.DESPAWN, vm=vm, reason=reason)


def reshape(vm: int, allocation: Allocation, reason: str = "") -> Action:
    """Change what a VM may use, within what its hypervisor can hot-plug."""
    return Action(ActionKind.RESHAPE, vm=vm, allocation=allocation, reason=reason)


def migrate(vm: int, host: int, reason: str = "", *, company: bool = False) -> Action:
    """Live-migrate a running VM; with ``company`` all that a rule keeps on one host with it, or none."""
    return Action(ActionKind.MIGRATE, vm=vm, host=host, value=float(company), reason=reason)


def microvm(app: int, host: int, allocation: Allocation, lifetime_s: float, reason: str = "") -> Action:
    """Start a micro-VM that takes part of an application's offloadable work and expires."""
    return Action(
        ActionKind.MICROVM, app=app, host=host, allocation=allocation, value2=lifetime_s, reason=reason
    )


def shadow(vm: int, host: int, fraction: float, fidelity: float = 0.0, reason: str = "") -> Action:
    """Create a warm clone of ``vm`` on another host at ``fraction`` of its allocation.

    ``fidelity`` is the share of the primary's load that is replayed on the shadow while it takes no traffic.
    """
    return Action(ActionKind.SHADOW, vm=vm, host=host, value=fraction, value2=fidelity, reason=reason)


def shift(vm: int, weight: float, reason: str = "") -> Action:
    """Set a VM's weight in its application's traffic."""
    return Action(ActionKind.SHIFT, vm=vm, value=weight, reason=reason)


def suspend(vm: int, reason: str = "") -> Action:
    """Pause a shadow that takes no traffic: it keeps its memory and its room, and wants no CPU."""
    return shift(vm, SUSPENDED, reason)


def resume(vm: int, reason: str = "") -> Action:
    """Let a suspended shadow run again, without traffic."""
    return shift(vm, 0.0, reason)


def power(host: int, target: PowerTarget, reason: str = "") -> Action:
    """Turn an empty host off or to sleep, or bring it on."""
    return Action(ActionKind.POWER, host=host, value=float(target), reason=reason)


def power_rack(rack: int, target: PowerTarget, reason: str = "") -> Action:
    """Turn a rack's own equipment off once all its hosts are off, or on again."""
    return Action(ActionKind.POWER, rack=rack, value=float(target), reason=reason)


def rent(host: int, on: bool = True, reason: str = "") -> Action:
    """Order a cloud host, or give an empty one back."""
    return Action(ActionKind.RENT, host=host, value=float(on), reason=reason)


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered actions of one tick."""

    tick: int
    actions: Sequence[Action]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the world said to one action."""

    accepted: bool
    error: str = ""  # one line: what, expected, found; empty when accepted
    vm: int = -1  # slot of the VM that the action made, where it made one
