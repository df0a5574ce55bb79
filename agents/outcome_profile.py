"""What came of a controller's orders, as observations of its hypervisors: times of boots, chances of moves, hot-plug.

Whoever executes measures with its own clock and sees what the world shows afterwards; the journal keeps both. So the
same code learns from a live cluster and from a simulated one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foreshade.agents.plan import ActionState, PlannedAction
from foreshade.envs.model.action import ActionKind, Boot
from foreshade.envs.order import Order
from foreshade.envs.profiler import Profiler

_ENDED = {ActionState.SUCCEEDED: True, ActionState.FAILED: False, ActionState.COMPENSATED: False}
_BOOTS = {Boot.COLD: "boot_cold", Boot.RESTORED: "boot_restored", Boot.SPARE: "boot_spare"}


def learn_outcomes(
    profiler: Profiler,
    actions: Sequence[PlannedAction],
    hypervisor_of: Callable[[str], str],
    class_of: Callable[[Order], str] = lambda _: "",
    *,
    call_timeout_s: float = 120.0,
) -> int:
    """Tell a profiler of actions that have ended; how many said something.

    Args:
        profiler: that learns.
        actions: begun by a controller; those that have not ended, or were called off, say nothing.
        hypervisor_of: of a host by name; "" = unknown, and nothing is learned of it.
        class_of: an order's application's type; "" = of all.
        call_timeout_s: of the executor; what took longer was seen to end in a later tick, its time is not known.

    """
    learned = 0
    for action in actions:
        if action.state not in _ENDED or action.begun_s <= 0.0:
            continue
        order, good = action.order, _ENDED[action.state]
        hypervisor = hypervisor_of(order.host or order.source)
        quantity, abilities = _shows(order)
        if not hypervisor or not (quantity or abilities):
            continue
        learned += 1
        kind = class_of(order)
        for ability in abilities:
            profiler.tried(hypervisor, kind, ability, good=float(good), bad=float(not good))
        seconds = action.ended_s - action.begun_s
        if good and quantity and action.attempts <= 1 and 0.0 < seconds <= call_timeout_s:
            profiler.saw(hypervisor, kind, quantity, seconds)
    return learned


def _shows(order: Order) -> tuple[str, tuple[str, ...]]:
    """The time that an order tells of, and what it tries."""
    if order.kind is ActionKind.SPAWN:
        return (_BOOTS[Boot(int(order.value))] if order.app else "boot_cold"), ("boot",)
    if order.kind is ActionKind.SHADOW:
        return "boot_restored", ("boot",)
    if order.kind is ActionKind.MICROVM:
        return "boot_microvm", ("boot",)
    if order.kind is ActionKind.DESPAWN:
        return "shutdown", ()
    if order.kind is ActionKind.MIGRATE:
        return "", ("migration",)
    if (
        order.kind is ActionKind.RESHAPE
        and order.allocation is not None
        and order.allocation_before is not None
    ):
        pairs = zip(("cpu", "memory"), order.allocation, order.allocation_before, strict=False)
        return "", tuple(
            f"{name}_{'up' if now > before else 'down'}"
            for name, now, before in pairs
            if abs(now - before) > 1e-3 * max(before, 1.0)
        )
    return "", ()
