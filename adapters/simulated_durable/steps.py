"""An order as the calls that a hypervisor would get, the calls that take it back, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreshade._core import ClusterState
from foreshade.adapters.simulated_durable.names import Memory, Names
from foreshade.envs.errors import ActionError
from foreshade.envs.model.action import Action, ActionKind, PowerTarget, despawn, five, reshape, shift
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.order import Order, Standing

_SAME = 1e-4  # relative: allocations are float32 in the simulator
_RESOURCES = ("cpu", "memory", "disk", "network", "gpu")


@dataclass(frozen=True, slots=True)
class Step:
    """One call."""

    name: str
    action: Action | None = None  # what the simulator plays; None = it only shows in what is remembered


@dataclass(frozen=True, slots=True)
class Sight:
    """Where an order is looked for."""

    state: ClusterState
    memory: Memory
    names: Names

    def vm(self, name: str) -> int:
        """Slot of a VM that is there; -1 = it is not."""
        return self.names.vm(name, self.state, self.memory)


def makes(order: Order) -> bool:
    """Whether an order makes a VM of the name that it gives."""
    return order.kind in (ActionKind.SHADOW, ActionKind.MICROVM) or places_new(order)


def places_new(order: Order) -> bool:
    """Whether it is a spawn of a new VM; another spawn gives a host to one that waits."""
    return order.kind is ActionKind.SPAWN and bool(order.app)


def action_of(order: Order, sight: Sight) -> Action:
    """The order in slots of the present state.

    Raises:
        ActionError: it names what there is not any more.

    """
    name = order.primary if order.kind is ActionKind.SHADOW else "" if makes(order) else order.vm
    vm = sight.vm(name) if name else -1
    if name and vm < 0:
        raise ActionError(f"{order.kind.name.lower()} {name}: expected a VM of that name, found none")
    names = sight.names
    host = -1 if order.kind in (ActionKind.RESHAPE, ActionKind.DESPAWN) else names.host(order.host)
    return Action(
        order.kind,
        vm,
        host,
        names.app(order.app),
        names.rack(order.rack),
        order.value,
        order.value2,
        order.allocation,
        order.reason,
    )


def steps_of(order: Order, sight: Sight) -> list[Step]:
    """The calls that make up an order; ActionError as above."""
    action = action_of(order, sight)
    if makes(order):
        return [Step("define"), Step("start", action)]
    if order.kind is ActionKind.MIGRATE:
        return [Step("prepare"), Step("move", action)]
    if order.kind is ActionKind.DESPAWN:
        serves = sight.state.vms.state[action.vm] in (VmState.RUNNING, VmState.MIGRATING)
        return [Step("drain", shift(action.vm, 0.0) if serves else None), Step("stop", action)]
    if order.kind is ActionKind.RESHAPE and action.allocation is not None:
        start = order.allocation_before or action.allocation
        now, steps = list(start), []
        for r, name in enumerate(_RESOURCES):
            if start[r] != action.allocation[r]:
                now[r] = action.allocation[r]
                steps.append(Step(name, reshape(action.vm, five(now))))
        return steps
    return [Step("do", action)]


def back_of(order: Order, sight: Sight) -> list[Step]:
    """The calls that bring back what stood before a half-done order; empty = nothing of it is there."""
    memory, slot, begun = sight.memory, sight.vm(order.vm), sight.memory.done.get(order.key, 0)
    if makes(order):
        if order.vm in memory.defined:
            return [Step("undefine")]
        return [Step("remove", despawn(slot))] if slot >= 0 and order.vm in memory.made else []
    if order.kind is ActionKind.MIGRATE and memory.incoming.get(order.vm) == order.host:
        return [Step("forget")]
    if order.kind is ActionKind.DESPAWN and slot >= 0 and begun == 1:
        return [Step("undrain", shift(slot, order.before))]
    if order.kind is ActionKind.RESHAPE and slot >= 0 and begun and order.allocation_before is not None:
        return [Step("restore", reshape(slot, order.allocation_before))]
    return []


def standing_of(order: Order, sight: Sight) -> Standing:
    """How far an order is, by the state and by what is half done."""
    if makes(order):
        return _of_made(order, sight)
    if order.kind is ActionKind.POWER and order.rack:
        off = order.rack in sight.memory.racks_off
        return Standing.DONE if off == (order.value != PowerTarget.ON) else Standing.UNTOUCHED
    if order.kind in (ActionKind.POWER, ActionKind.RENT):
        try:
            return _of_host(order, HostState(sight.state.hosts.state[sight.names.host(order.host)]))
        except ActionError:
            return Standing.UNTOUCHED
    return _of_vm(order, sight)


def _of_made(order: Order, sight: Sight) -> Standing:
    if order.vm in sight.memory.defined:
        return Standing.HALF_DONE
    if order.vm not in sight.memory.made:
        return Standing.UNTOUCHED
    slot = sight.vm(order.vm)
    if slot < 0:
        return Standing.DONE  # it came, and has left since
    state = VmState(sight.state.vms.state[slot])
    if state is VmState.FAILED:
        return Standing.HALF_DONE
    return Standing.UNDER_WAY if state is VmState.BOOTING else Standing.DONE


def _of_vm(order: Order, sight: Sight) -> Standing:
    vms, memory = sight.state.vms, sight.memory
    slot, begun = sight.vm(order.vm), memory.done.get(order.key, 0)
    if slot < 0:
        return Standing.DONE if order.kind is ActionKind.DESPAWN else Standing.UNTOUCHED
    state = VmState(vms.state[slot])
    if order.kind is ActionKind.DESPAWN:
        if state is VmState.STOPPING:
            return Standing.UNDER_WAY
        return Standing.HALF_DONE if begun == 1 else Standing.UNTOUCHED
    if order.kind is ActionKind.RESHAPE:
        if np.allclose(vms.allocation[slot], order.allocation or (), rtol=_SAME):
            return Standing.DONE
        before = order.allocation_before
        back = before is not None and np.allclose(vms.allocation[slot], before, rtol=_SAME)
        return Standing.HALF_DONE if begun and not back else Standing.UNTOUCHED
    if order.kind is ActionKind.SHIFT and (order.value < 0.0 or state is VmState.PAUSED):  # suspend, resume
        there = (state is VmState.PAUSED) == (order.value < 0.0)
        return Standing.DONE if there else Standing.UNTOUCHED
    if order.kind is ActionKind.SHIFT:
        same = bool(np.isclose(vms.weight[slot], order.value, rtol=_SAME))
        return Standing.DONE if same or begun else Standing.UNTOUCHED
    try:
        target = sight.names.host(order.host)
    except ActionError:
        return Standing.UNTOUCHED
    if order.kind is ActionKind.MIGRATE:
        if vms.host[slot] == target and vms.destination[slot] < 0:
            return Standing.DONE
        if vms.destination[slot] == target:
            return Standing.UNDER_WAY
        return Standing.HALF_DONE if memory.incoming.get(order.vm) == order.host else Standing.UNTOUCHED
    if vms.host[slot] != target:  # a spawn that gives a host to a VM that waits
        return Standing.UNTOUCHED
    return Standing.UNDER_WAY if state is VmState.BOOTING else Standing.DONE


def _of_host(order: Order, state: HostState) -> Standing:
    if order.kind is ActionKind.RENT:
        end, way = (HostState.ON, {HostState.RENTING}) if order.value else (HostState.UNRENTED, set())
    elif order.value == PowerTarget.ON:
        end, way = HostState.ON, {HostState.BOOTING, HostState.WAKING}
    else:
        end = HostState.OFF if order.value == PowerTarget.OFF else HostState.ASLEEP
        way = {HostState.SHUTTING_DOWN}
    return Standing.DONE if state is end else Standing.UNDER_WAY if state in way else Standing.UNTOUCHED
